// Resumable uploads, by `tus-js-client`.
import assert from "node:assert/strict";
import { Upload } from "tus-js-client";
import { check, end, need } from "./check.mjs";

const endpoint = `${need("STORAGE_URL")}/upload/resumable`;
const key = need("SERVICE_KEY");
const headers = { authorization: `Bearer ${key}`, apikey: key };
const CHUNK = 6 * 1024 * 1024;
const content = Buffer.alloc(2 * CHUNK + 1000, 0);
for (let place = 0; place < content.length; place += 997) content[place] = place % 251;

const metadataOf = (objectName) => ({ bucketName: "backups", objectName, contentType: "application/zip", cacheControl: "60" });

function upload(bytes, objectName, more) {
  return new Promise((resolve, reject) => {
    const options = {
      endpoint, headers, chunkSize: CHUNK, retryDelays: null, metadata: metadataOf(objectName),
      uploadDataDuringCreation: true, removeFingerprintOnSuccess: true,
      onError: reject, onSuccess: () => resolve(one), ...more,
    };
    const one = new Upload(bytes, options);
    one.start();
  });
}

async function stored(objectName) {
  const answer = await fetch(`${need("STORAGE_URL")}/object/authenticated/backups/${objectName}`, { headers });
  assert.equal(answer.status, 200, await answer.clone().text().then((text) => text.slice(0, 200)));
  assert.equal(answer.headers.get("content-type"), "application/zip");
  return Buffer.from(await answer.arrayBuffer());
}

await check("upload with data at creation", async () => {
  const small = Buffer.from("all at once");
  const requests = [];
  await upload(small, "small.zip", { onBeforeRequest: (request) => { requests.push(request.getMethod()); } });
  assert.deepEqual(requests, ["POST"]);
  assert.ok((await stored("small.zip")).equals(small));
});
await check("upload in chunks", async () => {
  await upload(content, "chunks.zip");
  assert.ok((await stored("chunks.zip")).equals(content));
});
await check("upload without data at creation", async () => {
  await upload(content, "later.zip", { uploadDataDuringCreation: false });
  assert.ok((await stored("later.zip")).equals(content));
});
await check("upload resumed after an abort", async () => {
  const url = await new Promise((resolve, reject) => {
    const one = new Upload(content, {
      endpoint, headers, chunkSize: CHUNK, retryDelays: null, metadata: metadataOf("resumed.zip"),
      uploadDataDuringCreation: true, onError: reject,
      onChunkComplete: () => { one.abort().then(() => resolve(one.url), reject); },
    });
    one.start();
  });
  const head = await fetch(url, { method: "HEAD", headers: { ...headers, "tus-resumable": "1.0.0" } });
  assert.equal(head.headers.get("upload-offset"), String(CHUNK));
  const requests = [];
  await upload(content, "resumed.zip", {
    uploadUrl: url, onBeforeRequest: (request) => { requests.push(request.getMethod()); },
  });
  assert.deepEqual(requests, ["HEAD", "PATCH", "PATCH"]);
  assert.ok((await stored("resumed.zip")).equals(content));
});
await check("an upload that is given up", async () => {
  const one = await new Promise((resolve, reject) => {
    const one = new Upload(content, {
      endpoint, headers, chunkSize: CHUNK, retryDelays: null, metadata: metadataOf("given-up.zip"),
      uploadDataDuringCreation: true, onError: reject,
      onChunkComplete: () => { one.abort(true).then(() => resolve(one), reject); },
    });
    one.start();
  });
  const head = await fetch(one.url, { method: "HEAD", headers: { ...headers, "tus-resumable": "1.0.0" } });
  assert.equal(head.status, 404);
});
await check("what is there already", async () => {
  const error = await upload(Buffer.from("again"), "small.zip").then(() => null, (error) => error);
  assert.equal(error?.originalResponse?.getStatus(), 409, String(error));
  await upload(Buffer.from("again"), "small.zip", { headers: { ...headers, "x-upsert": "true" } });
  assert.equal(String(await stored("small.zip")), "again");
});
await check("a bucket that is not there", async () => {
  const metadata = { ...metadataOf("a.zip"), bucketName: "nowhere" };
  const error = await upload(Buffer.from("a"), "a.zip", { metadata }).then(() => null, (error) => error);
  assert.equal(error?.originalResponse?.getStatus(), 404, String(error));
});
await check("a wrong key", async () => {
  const wrong = { authorization: "Bearer nobody" };
  const error = await upload(Buffer.from("a"), "b.zip", { headers: wrong }).then(() => null, (error) => error);
  const status = error?.originalResponse?.getStatus();
  assert.ok(status === 400 || status === 403, `${status} ${error}`);
});
end();
