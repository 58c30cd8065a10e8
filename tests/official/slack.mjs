// Slack, by `@slack/web-api`.
import assert from "node:assert/strict";
import { WebClient, ErrorCode } from "@slack/web-api";
import { check, end, need } from "./check.mjs";

const slackApiUrl = `${need("SANDBOX_URL")}/slack/api/`;
const options = { slackApiUrl, retryConfig: { retries: 0 }, logLevel: "error" };
const slack = new WebClient(need("SLACK_TOKEN"), options);

/** The platform's word for a refusal. */
async function refusal(call) {
  const error = await call.then(
    (answer) => { throw new Error(`it was taken: ${JSON.stringify(answer)}`); },
    (error) => error,
  );
  assert.equal(error.code, ErrorCode.PlatformError, error.message);
  return error.data.error;
}

await check("auth.test", async () => {
  const who = await slack.auth.test();
  for (const name of ["url", "team", "user", "team_id", "user_id", "bot_id"]) {
    assert.equal(typeof who[name], "string", name);
  }
});
await check("auth.test with a wrong token", async () => {
  assert.equal(await refusal(new WebClient("xoxb-wrong", options).auth.test()), "invalid_auth");
});
await check("auth.test without a token", async () => {
  assert.equal(await refusal(new WebClient(undefined, options).auth.test()), "not_authed");
});

let channel;
await check("conversations.list in pages", async () => {
  const names = [];
  for await (const page of slack.paginate("conversations.list", { limit: 3 })) {
    names.push(...page.channels.map((one) => one.name));
    channel = channel ?? page.channels.find((one) => one.name === "ops")?.id;
  }
  assert.deepEqual([...names].sort(), ["data-ops", "ops", "ops-status", "vendor-support"]);
  assert.match(channel, /^C/);
});

let first;
await check("chat.postMessage", async () => {
  const metadata = { event_type: "run", event_payload: { run: "r1" } };
  const blocks = [{ type: "section", text: { type: "mrkdwn", text: "a & b = 100 %" } }];
  first = await slack.chat.postMessage({ channel: "#ops", text: "a & b = 100 %", blocks, metadata });
  assert.equal(first.channel, channel);
  assert.match(first.ts, /^\d+\.\d{6}$/);
  assert.equal(first.message.text, "a & b = 100 %");
});
await check("chat.postMessage in a thread", async () => {
  const reply = await slack.chat.postMessage({ channel, text: "more", thread_ts: first.ts });
  assert.equal(reply.message.thread_ts, first.ts);
});
await check("conversations.history", async () => {
  const { messages } = await slack.conversations.history({ channel, include_all_metadata: true, limit: 10 });
  assert.equal(messages.length, 1, "a reply is not in the channel");
  assert.equal(messages[0].text, "a & b = 100 %");
  assert.equal(messages[0].metadata.event_payload.run, "r1");
  assert.equal(messages[0].reply_count, 1);
});
await check("conversations.history since and until", async () => {
  const ask = async (range) => (await slack.conversations.history({ channel, ...range })).messages.length;
  assert.equal(await ask({ oldest: first.ts }), 0);
  assert.equal(await ask({ oldest: first.ts, inclusive: true }), 1);
  assert.equal(await ask({ latest: first.ts }), 0);
});
await check("conversations.replies", async () => {
  const { messages } = await slack.conversations.replies({ channel, ts: first.ts });
  assert.deepEqual(messages.map((one) => one.text), ["a & b = 100 %", "more"]);
});
await check("chat.update", async () => {
  await slack.chat.update({ channel, ts: first.ts, text: "changed" });
  const { messages } = await slack.conversations.history({ channel });
  assert.equal(messages[0].text, "changed");
});
await check("chat.delete", async () => {
  const { ts } = await slack.chat.postMessage({ channel, text: "to be taken back" });
  await slack.chat.delete({ channel, ts });
  const { messages } = await slack.conversations.history({ channel });
  assert.ok(!messages.some((one) => one.ts === ts));
  assert.equal(await refusal(slack.chat.delete({ channel, ts })), "message_not_found");
});
await check("reactions.add and get", async () => {
  await slack.reactions.add({ channel, timestamp: first.ts, name: "eyes" });
  const { message } = await slack.reactions.get({ channel, timestamp: first.ts });
  assert.deepEqual(message.reactions.map((one) => [one.name, one.count]), [["eyes", 1]]);
  const again = slack.reactions.add({ channel, timestamp: first.ts, name: "eyes" });
  assert.equal(await refusal(again), "already_reacted");
});
await check("errors of the platform", async () => {
  const post = (message) => refusal(slack.chat.postMessage(message));
  assert.equal(await post({ channel: "#no-such-channel", text: "t" }), "channel_not_found");
  assert.equal(await post({ channel, text: "" }), "no_text");
  assert.equal(await post({ channel, text: "t", metadata: { event_type: "run" } }), "invalid_metadata_format");
  assert.equal(await refusal(slack.conversations.history({ channel: "C0NOWHERE" })), "channel_not_found");
  assert.equal(await refusal(slack.conversations.replies({ channel, ts: "1.000001" })), "thread_not_found");
  assert.equal(await refusal(slack.conversations.history({ channel, cursor: "nonsense" })), "invalid_cursor");
  assert.equal(await refusal(slack.apiCall("no.such.method")), "unknown_method");
});
end();
