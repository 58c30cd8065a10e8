// An edge function that answers as its caller asks: the `template_id` names the answer. Written for the contract test of the
// function client; it sends nothing.
const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });

const answers: Record<string, () => Response | Promise<Response>> = {
  accepted: () => json(202, { message_id: "wamid.1" }),
  ok: () => json(200, { message_id: "wamid.2" }),
  skipped: () => json(202, { status: "skipped", reason: "endpoint_not_configured" }),
  "no-id": () => json(202, {}),
  "limited-seconds": () => json(429, { error: { code: 130429 } }, { "retry-after": "90" }),
  "limited-date": () => json(429, { error: { code: 130429 } }, {
    // A date means what the answer's own clock says.
    date: "Mon, 23 Nov 2026 09:00:00 GMT",
    "retry-after": "Mon, 23 Nov 2026 09:02:00 GMT",
  }),
  limited: () => json(429, { error: { code: 130429 } }),
  invalid: () => json(400, { error: { code: 131026 } }),
  expired: () => json(500, { error: { code: 190 } }),
  bare: () => new Response(null, { status: 503 }),
  failed: () => json(500, { message: "boom" }),
  page: () => new Response("<html></html>", { status: 200, headers: { "content-type": "text/html" } }),
  cut: () => new Response('{"message_id": "wam', { status: 202, headers: { "content-type": "application/json" } }),
  slow: async () => {
    await new Promise((done) => setTimeout(done, 30_000));
    return json(202, { message_id: "wamid.late" });
  },
};

// The sandbox's legacy key for servers, which is no secret.
const key = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.sandbox-service-key";

Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(JSON.stringify({ port })) },
  async (request: Request) => {
    const path = new URL(request.url).pathname;
    if (request.method !== "POST" || path !== "/functions/v1/wa-send-media") return json(404, { message: "no such function" });
    if (request.headers.get("authorization") !== key) return json(401, { message: "no key" });
    const body = await request.json();
    return await (answers[body.template_id] ?? (() => json(400, { message: "unknown" })))();
  },
);
