// Files, by the storage client of `@supabase/supabase-js`.
import assert from "node:assert/strict";
import { createClient } from "@supabase/supabase-js";
import { check, end, need } from "./check.mjs";

const options = { auth: { persistSession: false, autoRefreshToken: false }, realtime: { transport: class {} } };
const { storage } = createClient(need("STORAGE_URL").replace(/\/storage\/v1$/, ""), need("SERVICE_KEY"), options);
const files = storage.from("backups");

async function good(call) {
  const answer = await call;
  assert.equal(answer.error, null, JSON.stringify(answer.error));
  return answer.data;
}

/** HTTP status, the true one, and the code of a refusal. */
async function refusal(call) {
  const { error } = await call;
  assert.ok(error, "it was taken");
  return [error.status, error.statusCode, error.code];
}

const NOT_THERE = [400, "404", "NoSuchKey"];
const NO_BUCKET = [400, "404", "NoSuchBucket"];

await check("createBucket, getBucket, listBuckets", async () => {
  assert.deepEqual(await good(storage.createBucket("made", { public: true, fileSizeLimit: 20, allowedMimeTypes: ["text/*"] })), { name: "made" });
  const made = await good(storage.getBucket("made"));
  assert.deepEqual([made.id, made.public, made.file_size_limit, made.allowed_mime_types], ["made", true, 20, ["text/*"]]);
  assert.deepEqual((await good(storage.listBuckets())).map((one) => one.name).sort(), ["backups", "made"]);
  assert.deepEqual(await refusal(storage.createBucket("made")), [400, "409", "BucketAlreadyExists"]);
  assert.deepEqual(await refusal(storage.getBucket("nowhere")), NO_BUCKET);
  assert.equal((await refusal(storage.createBucket("a/b")))[2], "InvalidBucketName");
});
await check("upload and download", async () => {
  const body = Buffer.from([0, 1, 2, 255]);
  const kept = await good(files.upload("a/one two.png", body, { contentType: "image/png", cacheControl: "60" }));
  assert.equal(kept.path, "a/one two.png");
  assert.equal(kept.fullPath, "backups/a/one two.png");
  assert.match(kept.id, /^[0-9a-f-]{36}$/);
  const blob = await good(files.download("a/one two.png"));
  assert.equal(blob.type, "image/png");
  assert.ok(Buffer.from(await blob.arrayBuffer()).equals(body));
});
await check("upload of a blob", async () => {
  await good(files.upload("a/blob.txt", new Blob(["from a form"], { type: "text/plain" }), { metadata: { run: "r1" } }));
  const blob = await good(files.download("a/blob.txt"));
  assert.equal(await blob.text(), "from a form");
  assert.match(blob.type, /^text\/plain/);
  assert.deepEqual((await good(files.info("a/blob.txt"))).metadata, { run: "r1" });
});
await check("upload of what is there already", async () => {
  const again = (more) => files.upload("a/blob.txt", "second", { contentType: "text/plain", ...more });
  assert.deepEqual(await refusal(again()), [400, "409", "KeyAlreadyExists"]);
  await good(again({ upsert: true }));
  assert.equal(await (await good(files.download("a/blob.txt"))).text(), "second");
  await good(files.update("a/blob.txt", "third", { contentType: "text/plain" }));
  assert.equal(await (await good(files.download("a/blob.txt"))).text(), "third");
  assert.deepEqual(await refusal(files.update("a/nothing.txt", "x")), NOT_THERE);
});
await check("what a bucket does not take", async () => {
  const made = storage.from("made");
  const put = (body, contentType) => made.upload("x", body, { contentType });
  assert.deepEqual(await refusal(put("x", "image/png")), [400, "415", "InvalidMimeType"]);
  assert.deepEqual(await refusal(put("x".repeat(21), "text/plain")), [400, "413", "EntityTooLarge"]);
  await good(put("x", "text/plain"));
  const open = await fetch(made.getPublicUrl("x").data.publicUrl);
  assert.equal(await open.text(), "x");
  const closed = await fetch(files.getPublicUrl("a/blob.txt").data.publicUrl);
  assert.equal(closed.status, 400);
});
await check("info and exists", async () => {
  const info = await good(files.info("a/one two.png"));
  assert.deepEqual([info.name, info.bucketId, info.size, info.contentType, info.cacheControl],
    ["a/one two.png", "backups", 4, "image/png", "max-age=60"]);
  assert.match(info.etag, /^"[0-9a-f]{32}"$/);
  assert.ok(info.id && info.version && info.createdAt && info.lastModified);
  assert.equal(await good(files.exists("a/one two.png")), true);
  assert.equal((await files.exists("a/nothing")).data, false);
  assert.deepEqual(await refusal(files.info("a/nothing")), NOT_THERE);
  await assert.rejects(storage.from("nowhere").exists("x"), (error) => error.code === "NoSuchBucket");
});
await check("list", async () => {
  for (const name of ["c.txt", "a.txt", "b.txt"]) await good(files.upload(`list/${name}`, name, { contentType: "text/plain" }));
  await good(files.upload("list/deep/d.txt", "d", { contentType: "text/plain" }));
  const names = async (more) => (await good(files.list("list", more))).map((one) => one.name);
  assert.deepEqual(await names(), ["deep", "a.txt", "b.txt", "c.txt"]);
  assert.deepEqual(await names({ sortBy: { column: "name", order: "desc" } }), ["deep", "c.txt", "b.txt", "a.txt"]);
  assert.deepEqual(await names({ search: "B" }), ["b.txt"]);
  assert.deepEqual(await names({ limit: 2, offset: 1 }), ["a.txt", "b.txt"]);
  const [folder, file] = await good(files.list("list"));
  assert.deepEqual([folder.id, folder.metadata], [null, null]);
  assert.equal(file.metadata.mimetype, "text/plain");
  assert.equal(file.metadata.size, 5);
});
await check("listV2", async () => {
  const first = await good(files.listV2({ prefix: "list/", limit: 2, with_delimiter: true }));
  assert.deepEqual([first.hasNext, first.objects.map((one) => one.name), first.folders.map((one) => one.name)],
    [true, ["list/a.txt", "list/b.txt"], []]);
  const rest = await good(files.listV2({ prefix: "list/", with_delimiter: true, cursor: first.nextCursor }));
  assert.deepEqual([rest.hasNext, rest.objects.map((one) => one.name), rest.folders.map((one) => one.name)],
    [false, ["list/c.txt"], ["list/deep/"]]);
});
await check("move and copy", async () => {
  assert.equal((await good(files.move("list/a.txt", "moved/a.txt"))).message, "Successfully moved");
  assert.equal((await files.exists("list/a.txt")).data, false);
  const copied = await good(files.copy("moved/a.txt", "copied.txt", { destinationBucket: "made" }));
  assert.deepEqual(copied, { path: "made/copied.txt" });
  assert.equal(await (await good(storage.from("made").download("copied.txt"))).text(), "a.txt");
});
await check("move and copy that are refused", async () => {
  assert.deepEqual(await refusal(files.move("list/nothing", "x")), NOT_THERE);
  assert.deepEqual(await refusal(files.copy("list/nothing", "x")), NOT_THERE);
  assert.deepEqual(await refusal(files.copy("list/b.txt", "list/c.txt")), [400, "409", "KeyAlreadyExists"]);
  assert.deepEqual(await refusal(files.move("list/b.txt", "list/c.txt")), [400, "409", "KeyAlreadyExists"]);
});
await check("signed links", async () => {
  const { signedUrl } = await good(files.createSignedUrl("a/one two.png", 60));
  const answer = await fetch(signedUrl);
  assert.equal(answer.status, 200);
  assert.equal((await answer.arrayBuffer()).byteLength, 4);
  const links = await good(files.createSignedUrls(["a/blob.txt", "a/nothing"], 60));
  assert.equal(await (await fetch(links[0].signedUrl)).text(), "third");
  assert.deepEqual([links[1].signedURL, typeof links[1].error], [null, "string"]);
  assert.deepEqual(await refusal(files.createSignedUrl("a/nothing", 60)), NOT_THERE);
  const load = await good(files.createSignedUrl("a/blob.txt", 60, { download: "b.txt" }));
  assert.match((await fetch(load.signedUrl)).headers.get("content-disposition"), /attachment.*b\.txt/);
});
await check("signed upload", async () => {
  const { token } = await good(files.createSignedUploadUrl("by-link.txt"));
  await good(files.uploadToSignedUrl("by-link.txt", token, "sent", { contentType: "text/plain" }));
  assert.equal(await (await good(files.download("by-link.txt"))).text(), "sent");
  assert.equal((await files.uploadToSignedUrl("by-link.txt", "wrong", "x")).error.status, 400);
});
await check("remove", async () => {
  const gone = await good(files.remove(["list/b.txt", "list/nothing"]));
  assert.deepEqual(gone.map((one) => [one.name, one.bucket_id]), [["list/b.txt", "backups"]]);
  assert.deepEqual(await refusal(files.download("list/b.txt")), NOT_THERE);
});
await check("emptyBucket and deleteBucket", async () => {
  assert.deepEqual((await refusal(storage.deleteBucket("made"))).slice(0, 2), [400, "409"]);
  await good(storage.emptyBucket("made"));
  assert.equal((await good(storage.deleteBucket("made"))).message, "Successfully deleted");
  assert.deepEqual(await refusal(storage.getBucket("made")), NO_BUCKET);
});
await check("a bucket that is not there", async () => {
  const nowhere = storage.from("nowhere");
  assert.deepEqual(await refusal(nowhere.upload("x", "x")), NO_BUCKET);
  assert.deepEqual(await refusal(nowhere.download("x")), NO_BUCKET);
  assert.deepEqual(await good(nowhere.list()), []);
});
await check("a wrong key", async () => {
  const stranger = createClient(need("STORAGE_URL").replace(/\/storage\/v1$/, ""), "nobody", options).storage;
  const { error } = await stranger.from("backups").download("a/blob.txt");
  assert.ok(error, "it was given");
});
end();
