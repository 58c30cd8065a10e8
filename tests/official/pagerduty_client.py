"""PagerDuty, by `pagerduty`: the Events API and the REST API."""

import httpx2
import pagerduty

from check import check, end, need, raises, same

# The client takes no other scheme, and follows only what lies below this: so the sandbox says of itself as well.
API = "https://api.example.test"


class ToSandbox(httpx2.HTTPTransport):
    """Takes what is sent to the API's address to the sandbox."""

    def __init__(self, below):
        super().__init__()
        self.sandbox = httpx2.URL(f"{need('SANDBOX_URL')}/{below}")

    def handle_request(self, request):
        path = self.sandbox.raw_path + request.url.raw_path
        request.url = self.sandbox.copy_with(raw_path=path)
        return super().handle_request(request)


def client(kind, below, key, **more):
    """One that asks the sandbox."""
    return kind(key, base_url=API, transport=ToSandbox(below), **more)


events = client(pagerduty.EventsApiV2Client, "pagerduty-events", need("PAGERDUTY_ROUTING_KEY"))
sender = "oncall@example.test"
rest = client(pagerduty.RestApiV2Client, "pagerduty", need("PAGERDUTY_KEY"), default_from=sender)


def by_key(key):
    return list(rest.iter_all("incidents", params={"incident_key": key, "date_range": "all"}))


def code_of(error):
    return error.response.json()["error"]["code"]


def put_status(incident, status, **more):
    return rest.rput(incident, json={"type": "incident_reference", "status": status}, **more)


@check("events: trigger")
def _():
    same(events.trigger("Queue stuck", "sandbox", dedup_key="a", custom_details={"run": "r1"}), "a")
    same(events.trigger("Queue stuck", "sandbox", dedup_key="a"), "a")
    (incident,) = by_key("a")
    same((incident["title"], incident["status"]), ("Queue stuck", "triggered"))


@check("events: a key of the service's own")
def _():
    key = events.trigger("Without a key", "sandbox", severity="warning")
    assert key, "no key"
    same(len(by_key(key)), 1)


@check("events: acknowledge and resolve")
def _():
    events.trigger("Short", "sandbox", dedup_key="b")
    events.acknowledge("b")
    same(by_key("b")[0]["status"], "acknowledged")
    events.resolve("b")
    same(by_key("b")[0]["status"], "resolved")
    events.acknowledge("b")
    same(by_key("b")[0]["status"], "resolved")


@check("events: after a resolve the key opens a new incident")
def _():
    events.trigger("Short, again", "sandbox", dedup_key="b")
    same(sorted(one["status"] for one in by_key("b")), ["resolved", "triggered"])


@check("events: refused")
def _():
    wrong = client(pagerduty.EventsApiV2Client, "pagerduty-events", "0" * 32)
    same(raises(pagerduty.HttpError, lambda: wrong.trigger("s", "s")).response.status_code, 400)
    error = raises(pagerduty.HttpError, lambda: events.trigger("s", "s", severity="loud"))
    same(error.response.json()["status"], "invalid event")


@check("incidents: pages and totals")
def _():
    for number in range(7):
        events.trigger(f"Many {number}", "sandbox", dedup_key=f"many-{number}")
    everything = rest.list_all("incidents", page_size=3, total=True)
    same(rest.get_total("incidents"), len(everything))
    same(len({one["id"] for one in everything}), len(everything))
    resolved = {"statuses": ["resolved"]}
    same(rest.get_total("incidents", params=resolved), len(rest.list_all("incidents", params=resolved)))


@check("incidents: acknowledge and resolve")
def _():
    (incident,) = by_key("many-0")
    acknowledged = put_status(incident, "acknowledged")
    same(acknowledged["status"], "acknowledged")
    same([one["acknowledger"]["summary"] for one in acknowledged["acknowledgements"]], ["On Call"])
    error = raises(pagerduty.HttpError, lambda: put_status(incident, "acknowledged"))
    same((error.response.status_code, code_of(error)), (400, 1002))
    same(put_status(incident, "resolved")["status"], "resolved")


@check("incidents: what is resolved stays so")
def _():
    (incident,) = by_key("many-0")
    for status in ["acknowledged", "resolved"]:
        error = raises(pagerduty.HttpError, lambda: put_status(incident, status))
        same((error.response.status_code, code_of(error)), (400, 1001))
    same(by_key("many-0")[0]["status"], "resolved")


@check("incidents: several at once")
def _():
    chosen = by_key("many-1") + by_key("many-2")
    references = [{"id": one["id"], "type": "incident_reference", "status": "resolved"} for one in chosen]
    same([one["status"] for one in rest.rput("incidents", json=references)], ["resolved", "resolved"])


@check("incidents: one by its id, notes and log")
def _():
    (incident,) = by_key("many-3")
    same(rest.rget(incident)["id"], incident["id"])
    note = rest.rpost(f"incidents/{incident['id']}/notes", json={"content": "looked at it"})
    same(note["content"], "looked at it")
    notes = rest.rget(f"incidents/{incident['id']}/notes")
    same([one["content"] for one in notes], ["looked at it"])
    put_status(incident, "acknowledged", headers={"From": "second@example.test"})
    kinds = {one["type"]: one["agent"] for one in rest.iter_all(f"incidents/{incident['id']}/log_entries")}
    same(kinds["acknowledge_log_entry"]["summary"], "Second Person")


@check("incidents: created through REST, once")
def _():
    service = rest.find("services", "Platform")
    body = {
        "type": "incident", "title": "By hand", "incident_key": "by-hand",
        "service": {"id": service["id"], "type": "service_reference"},
    }
    made = rest.rpost("incidents", json=body)
    same((made["title"], made["status"]), ("By hand", "triggered"))
    error = raises(pagerduty.HttpError, lambda: rest.rpost("incidents", json=body))
    same(error.response.status_code, 400)
    same(len(by_key("by-hand")), 1)


@check("users: by e-mail")
def _():
    user = rest.find("users", "second@example.test", attribute="email")
    same(user["name"], "Second Person")
    same(rest.find("users", "nobody@example.test", attribute="email"), None)
    same(rest.rget(f"users/{user['id']}")["email"], "second@example.test")


@check("on call and escalation policies")
def _():
    (on_call, *_rest) = rest.list_all("oncalls")
    same(on_call["user"]["summary"], "On Call")
    policy = rest.rget(f"escalation_policies/{on_call['escalation_policy']['id']}")
    assert policy["escalation_rules"], policy


@check("refused: key, sender, incident, route")
def _():
    wrong = client(pagerduty.RestApiV2Client, "pagerduty", "wrong-key-000000")
    same(raises(pagerduty.HttpError, lambda: wrong.rget("users")).response.status_code, 401)
    (incident,) = by_key("many-4")
    stranger = {"From": "stranger@example.test"}
    error = raises(pagerduty.HttpError, lambda: put_status(incident, "acknowledged", headers=stranger))
    same((error.response.status_code, code_of(error)), (400, 1008))
    error = raises(pagerduty.HttpError, lambda: rest.rget("incidents/PNOWHERE"))
    same((error.response.status_code, code_of(error)), (404, 2100))
    error = raises(pagerduty.HttpError, lambda: rest.rget("schedules/PNOWHERE"))
    same((error.response.status_code, code_of(error)), (404, 2100))


end()
