// Tables and edge functions, by `@supabase/supabase-js`.
import assert from "node:assert/strict";
import { createClient } from "@supabase/supabase-js";
import { check, end, need } from "./check.mjs";

// Nothing here listens for changes; older versions of Node.js have no WebSocket, and the client asks for one at once.
const options = { auth: { persistSession: false, autoRefreshToken: false }, realtime: { transport: class {} } };
const url = `${need("SANDBOX_URL")}/supabase`;
const db = createClient(url, need("SERVICE_KEY"), options);

/** The data of a call that went well. */
async function good(call) {
  const answer = await call;
  assert.equal(answer.error, null, JSON.stringify(answer.error));
  return answer.data;
}

/** Status and code of a call that was refused as PostgREST refuses. */
async function refusal(call) {
  const { error, status } = await call;
  assert.ok(error, "it was taken");
  for (const name of ["message", "details", "hint", "code"]) assert.ok(name in error, JSON.stringify(error));
  return [status, error.code];
}

const campaigns = await good(db.from("campaigns").select("*").order("id"));
const campaign = campaigns.find((one) => one.status === "running");
const NEW = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";

await check("select with filters", async () => {
  const ids = (rows) => rows.map((one) => one.id);
  const running = campaigns.filter((one) => one.status === "running");
  assert.ok(running.length > 1);
  const ask = async (filter) => ids(await good(filter(db.from("campaigns").select("id")).order("id")));
  assert.deepEqual(await ask((q) => q.eq("status", "running")), ids(running));
  assert.deepEqual(await ask((q) => q.neq("status", "running")), ids(campaigns.filter((one) => !running.includes(one))));
  assert.deepEqual(await ask((q) => q.in("id", [campaign.id])), [campaign.id]);
  assert.deepEqual(await ask((q) => q.ilike("name", campaign.name.toUpperCase())), [campaign.id]);
  assert.deepEqual(await ask((q) => q.is("started_at", null)), ids(campaigns.filter((one) => one.started_at === null)));
  assert.deepEqual(await ask((q) => q.not("status", "eq", "running")), await ask((q) => q.neq("status", "running")));
  assert.deepEqual(await ask((q) => q.or(`id.eq.${campaign.id},status.eq.nothing`)), [campaign.id]);
  assert.deepEqual(await ask((q) => q.gte("created_at", "2000-01-01T00:00:00Z")), ids(campaigns));
  assert.deepEqual(await ask((q) => q.match({ id: campaign.id, status: "running" })), [campaign.id]);
});
await check("select with order, range and limit", async () => {
  const down = await good(db.from("send_queue").select("id").order("id", { ascending: false }).limit(3));
  assert.ok(down[0].id > down[1].id && down[1].id > down[2].id);
  const up = await good(db.from("send_queue").select("id").order("id").range(2, 4));
  const first = await good(db.from("send_queue").select("id").order("id").limit(5));
  assert.deepEqual(up, first.slice(2));
});
await check("count exact, planned and estimated", async () => {
  for (const count of ["exact", "planned", "estimated"]) {
    const head = await db.from("campaign_targets").select("*", { count, head: true });
    assert.deepEqual([head.count, head.data, head.error], [600, null, null], count);
    const page = await db.from("campaign_targets").select("id", { count }).range(0, 9);
    assert.deepEqual([page.count, page.data.length], [600, 10], count);
  }
});
await check("embedded rows are refused", async () => {
  assert.deepEqual(await refusal(db.from("campaign_targets").select("id, campaigns(name)")), [400, "PGRST200"]);
});
await check("single and maybeSingle", async () => {
  assert.equal((await good(db.from("campaigns").select("id").eq("id", campaign.id).single())).id, campaign.id);
  assert.equal(await good(db.from("campaigns").select("id").eq("id", NEW).maybeSingle()), null);
  assert.deepEqual(await refusal(db.from("campaigns").select("id").eq("id", NEW).single()), [406, "PGRST116"]);
  assert.deepEqual(await refusal(db.from("campaigns").select("id").eq("status", "running").single()), [406, "PGRST116"]);
  const many = await db.from("campaigns").select("id").eq("status", "running").maybeSingle();
  assert.equal(many.error.code, "PGRST116");
});
await check("csv", async () => {
  const text = await good(db.from("campaigns").select("id,status").eq("id", campaign.id).csv());
  assert.equal(text, `id,status\n${campaign.id},running`);
});
await check("insert", async () => {
  const row = { id: NEW, action: "official", target_table: "campaigns", target_id: campaign.id, diff: { a: 1 } };
  const kept = await good(db.from("audit_log").insert(row).select().single());
  assert.deepEqual([kept.id, kept.diff], [NEW, { a: 1 }]);
  const silent = await db.from("audit_log").insert([{ action: "two" }, { action: "three" }]);
  assert.deepEqual([silent.status, silent.data, silent.error], [201, null, null]);
  assert.equal((await good(db.from("audit_log").select("id").in("action", ["two", "three"]))).length, 2);
});
await check("unique keys", async () => {
  assert.deepEqual(await refusal(db.from("audit_log").insert({ id: NEW, action: "again" })), [409, "23505"]);
});
await check("upsert that merges duplicates", async () => {
  const row = { id: NEW, action: "merged" };
  assert.equal((await good(db.from("audit_log").upsert(row).select().single())).action, "merged");
  const kept = await good(db.from("audit_log").select("*").eq("id", NEW).single());
  assert.deepEqual([kept.action, kept.target_table], ["merged", "campaigns"], "what is not given stays");
  const target = { campaign_id: campaign.id, msisdn: "+250799999901", status: "queued" };
  const key = { onConflict: "campaign_id,msisdn" };
  const first = await good(db.from("campaign_targets").upsert(target, key).select().single());
  const second = await good(db.from("campaign_targets").upsert({ ...target, status: "sent" }, key).select().single());
  assert.deepEqual([second.id, second.status], [first.id, "sent"]);
  assert.deepEqual(await refusal(db.from("campaign_targets").upsert([target, target], key)), [500, "21000"]);
});
await check("upsert that ignores duplicates", async () => {
  const row = { id: NEW, action: "ignored" };
  assert.deepEqual(await good(db.from("audit_log").upsert(row, { ignoreDuplicates: true }).select()), []);
  assert.equal((await good(db.from("audit_log").select("action").eq("id", NEW).single())).action, "merged");
  assert.deepEqual(await refusal(db.from("audit_log").upsert(row, { onConflict: "action" })), [400, "42P10"]);
});
await check("update", async () => {
  const [voucher] = await good(db.from("vouchers").select("id,plate").eq("status", "issued").order("id").limit(1));
  const changed = await good(db.from("vouchers").update({ plate: "RAB 1" }).eq("id", voucher.id).select("id,plate"));
  assert.deepEqual(changed, [{ id: voucher.id, plate: "RAB 1" }]);
  const none = await good(db.from("vouchers").update({ plate: "RAB 2" }).eq("id", NEW).select());
  assert.deepEqual(none, []);
  const counted = await db.from("vouchers").update({ plate: "RAB 3" }, { count: "exact" }).eq("id", voucher.id);
  assert.deepEqual([counted.status, counted.count], [204, 1]);
  assert.deepEqual(await refusal(db.from("vouchers").update({ plate: "all" })), [400, "21000"]);
});
await check("update of at most so many", async () => {
  const call = db.from("vouchers").update({ plate: "RAB 4" }).eq("status", "issued").maxAffected(1);
  assert.deepEqual(await refusal(call), [400, "PGRST124"]);
  assert.deepEqual(await good(db.from("vouchers").select("id").eq("plate", "RAB 4")), []);
});
await check("delete", async () => {
  const gone = await good(db.from("audit_log").delete().eq("id", NEW).select("id"));
  assert.deepEqual(gone, [{ id: NEW }]);
  assert.equal(await good(db.from("audit_log").select("id").eq("id", NEW).maybeSingle()), null);
  const counted = await db.from("audit_log").delete({ count: "exact" }).in("action", ["two", "three"]);
  assert.deepEqual([counted.status, counted.count], [204, 2]);
  const target = db.from("campaign_targets").delete().eq("msisdn", "+250799999901").select("msisdn");
  assert.deepEqual(await good(target), [{ msisdn: "+250799999901" }]);
  assert.deepEqual(await refusal(db.from("audit_log").delete()), [400, "21000"]);
});
await check("unknown columns", async () => {
  const code = async (call) => (await refusal(call)).join(" ");
  assert.equal(await code(db.from("audit_log").insert({ action: "a", colour: "red" })), "400 PGRST204");
  assert.equal(await code(db.from("vouchers").update({ colour: "red" }).eq("id", NEW)), "400 PGRST204");
  assert.equal(await code(db.from("audit_log").upsert({ id: NEW, colour: "red" })), "400 PGRST204");
  assert.equal(await code(db.from("campaigns").select("colour")), "400 42703");
  assert.equal(await code(db.from("campaigns").select("id").eq("colour", "red")), "400 42703");
});
await check("values that are none of their type", async () => {
  const code = async (call) => (await refusal(call)).join(" ");
  assert.equal(await code(db.from("campaigns").select("id").eq("id", "banana")), "400 22P02");
  assert.equal(await code(db.from("audit_log").insert({ id: "banana", action: "a" })), "400 22P02");
  assert.equal(await code(db.from("audit_log").select("id").gte("created_at", "soon")), "400 22007");
});
await check("unknown tables and functions", async () => {
  assert.deepEqual(await refusal(db.from("no_such_table").select()), [404, "PGRST205"]);
  assert.deepEqual(await refusal(db.rpc("no_such_function", { a: 1 })), [404, "PGRST202"]);
  assert.deepEqual(await refusal(db.rpc("no_such_function", {}, { get: true })), [404, "PGRST202"]);
  assert.deepEqual(await refusal(db.schema("private").from("campaigns").select()), [406, "PGRST106"]);
});
await check("keys", async () => {
  const as = (key) => createClient(url, key, options).from("campaigns").select("id").limit(1);
  assert.equal((await good(as(need("SECRET_KEY")))).length, 1);
  assert.deepEqual(await refusal(as(need("ANON_KEY"))), [401, "42501"]);
  assert.equal((await as("nobody")).status, 401);
});
await check("functions.invoke", async () => {
  const [voucher] = await good(db.from("vouchers").select("id").eq("status", "issued").order("id").limit(1));
  const redeem = () => db.functions.invoke("ai-redeem-voucher", { body: { voucher_id: voucher.id } });
  assert.equal((await good(redeem())).success, true);
  assert.equal((await good(redeem())).success, false);
  assert.equal((await good(db.from("vouchers").select("status").eq("id", voucher.id).single())).status, "redeemed");
});
await check("functions.invoke that fails", async () => {
  const missing = await db.functions.invoke("no-such-function", { body: {} });
  assert.equal(missing.error.name, "FunctionsHttpError");
  assert.equal(missing.error.context.status, 404);
  assert.equal((await missing.error.context.json()).code, "NOT_FOUND");
  const stranger = await createClient(url, need("ANON_KEY"), options).functions.invoke("ai-redeem-voucher", { body: {} });
  assert.equal(stranger.error.context.status, 401);
});
end();
