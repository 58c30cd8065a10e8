// Supabase's Management API, by its own command line.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check, end, need } from "./check.mjs";

// npm chooses the program by the machine's kind; it is called as it is.
const program = new URL(`node_modules/@supabase/cli-${process.platform}-${process.arch}/bin/supabase`, import.meta.url).pathname;
const home = await mkdtemp(join(tmpdir(), "official-cli-"));
const profile = join(home, "profile.yaml");
await writeFile(profile, [
  "name: sandbox", `api_url: ${need("SANDBOX_URL")}/supabase-management`, `dashboard_url: ${need("SANDBOX_URL")}`,
  "project_host: supabase.localhost",
].join("\n"));
const environment = {
  PATH: process.env.PATH, HOME: home, SUPABASE_HOME: join(home, "state"), SUPABASE_PROFILE: profile,
  SUPABASE_ACCESS_TOKEN: need("MANAGEMENT_TOKEN"), SUPABASE_NO_KEYRING: "1", SUPABASE_TELEMETRY_DISABLED: "1",
  SUPABASE_NO_UPDATE_NOTIFIER: "1", SUPABASE_API_MAX_RETRIES: "0", NO_PROXY: "127.0.0.1",
};
const project = ["--project-ref", need("PROJECT")];

/** How a call ended, and what it said. */
function run(words, more = {}) {
  return new Promise((resolve) => {
    execFile(program, words, { cwd: home, env: { ...environment, ...more }, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? 1) : 0, stdout, stderr });
    });
  });
}

async function good(words) {
  const done = await run(words);
  assert.equal(done.code, 0, `${done.stdout} ${done.stderr}`);
  return done.stdout;
}

async function refused(words, why, more) {
  const done = await run(words, more);
  assert.notEqual(done.code, 0, `it was taken: ${done.stdout}`);
  assert.match(done.stderr + done.stdout, why);
}

await check("projects list", async () => {
  const [one] = JSON.parse(await good(["projects", "list", "-o", "json"]));
  assert.deepEqual([one.id, one.status], [need("PROJECT"), "ACTIVE_HEALTHY"]);
});
await check("projects api-keys", async () => {
  const keys = JSON.parse(await good(["projects", "api-keys", ...project, "-o", "json"]));
  assert.deepEqual(keys.slice(0, 2).map((one) => one.name), ["anon", "service_role"]);
});
await check("functions list", async () => {
  const functions = JSON.parse(await good(["functions", "list", ...project, "-o", "json"]));
  assert.ok(functions.some((one) => one.slug === "voucher-preview" && one.status === "ACTIVE"));
});
await check("functions deploy", async () => {
  const folder = join(home, "supabase", "functions", "hello");
  await mkdir(folder, { recursive: true });
  await writeFile(join(home, "supabase", "config.toml"), 'project_id = "official"\n');
  await writeFile(join(folder, "index.ts"), 'Deno.serve(() => new Response("hello"));\n');
  await good(["functions", "deploy", "hello", "--use-api", "--yes", ...project]);
  const functions = JSON.parse(await good(["functions", "list", ...project, "-o", "json"]));
  assert.ok(functions.some((one) => one.slug === "hello"));
});
await check("functions download", async () => {
  const file = join(home, "supabase", "functions", "hello", "index.ts");
  await rm(file);
  await good(["functions", "download", "hello", "--use-api", ...project]);
  assert.equal(await readFile(file, "utf8"), 'Deno.serve(() => new Response("hello"));\n');
});
await check("functions delete", async () => {
  await good(["functions", "delete", "hello", "--yes", ...project]);
  await refused(["functions", "download", "hello", "--use-api", ...project], /Function not found|404/);
});
await check("secrets set, list and unset", async () => {
  await good(["secrets", "set", "OFFICIAL=a secret", "--yes", ...project]);
  const listed = await good(["secrets", "list", ...project]);
  assert.match(listed, /OFFICIAL/);
  assert.doesNotMatch(listed, /a secret/);
  await good(["secrets", "unset", "OFFICIAL", "--yes", ...project]);
  assert.doesNotMatch(await good(["secrets", "list", ...project]), /OFFICIAL/);
});
await check("backups list", async () => {
  const backups = JSON.parse(await good(["backups", "list", ...project, "-o", "json"]));
  assert.equal(backups.backups.length, 7);
});
await check("link", async () => {
  await good(["link", ...project]);
});
await check("refused: token, project, route", async () => {
  const wrong = { SUPABASE_ACCESS_TOKEN: `sbp_${"0".repeat(40)}` };
  await refused(["projects", "list"], /Unauthorized/, wrong);
  const other = ["--project-ref", "z".repeat(20)];
  await refused(["secrets", "list", ...other], /Project not found/);
  await refused(["branches", "list", ...project], /Cannot GET/);
});
await rm(home, { recursive: true, force: true });
end();
