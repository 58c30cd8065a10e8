"""WhatsApp's Cloud API, by `pywa`."""

from pywa import WhatsApp, errors
from pywa.types.templates import BodyText, TemplateLanguage

from check import check, end, need, raises, same

PHONE, ACCOUNT = need("PHONE_ID"), need("BUSINESS_ACCOUNT_ID")


def client(token):
    made = WhatsApp(phone_id=PHONE, waba_id=ACCOUNT, token=token)
    # The client knows no other host than its vendor's; its path below the host stays what it chose.
    http = made.api._session
    http.base_url = f"{need('SANDBOX_URL')}/graph{http.base_url.path.rstrip('/')}"
    return made


wa = client(need("GRAPH_TOKEN"))


@check("send_message")
def _():
    sent = wa.send_message("250788000001", "Hello & goodbye")
    assert sent.id.startswith("wamid."), sent
    same((sent.chat.id, sent.input), ("250788000001", "250788000001"))


@check("send_message with a plus and a tracker")
def _():
    sent = wa.send_message("+250788000002", "Hello", tracker="run/1")
    same(sent.chat.id, "250788000002")


@check("send_message to nobody")
def _():
    raises(errors.InvalidParameter, lambda: wa.send_message("not-a-number", "Hello"))


@check("a wrong token")
def _():
    error = raises(errors.ExpiredAccessToken, lambda: client("wrong").send_message("250788000001", "Hello"))
    same(error.code, 190)


@check("a phone number that is not ours")
def _():
    error = raises(errors.WhatsAppError, lambda: wa.send_message("250788000001", "Hello", sender="999"))
    same((error.code, error.subcode, error.status_code), (100, 33, 400))


@check("templates: list")
def _():
    templates = {one.name: one for one in wa.get_templates()}
    assert templates, "no templates"
    for one in templates.values():
        same(one.status.value, "APPROVED")
        assert one.id and one.language and one.components, one


@check("templates: by name")
def _():
    name = next(iter(wa.get_templates())).name
    same([one.name for one in wa.get_templates(name=name)], [name])
    same(list(wa.get_templates(name="no_such_template")), [])


@check("send_template")
def _():
    template = next(iter(wa.get_templates()))
    params = [BodyText.params("Alice", "5,000")]
    sent = wa.send_template("250788000003", template.name, template.language, params)
    assert sent.id.startswith("wamid."), sent
    same(sent.status.value, "accepted")


@check("send_template with an unknown name")
def _():
    call = lambda: wa.send_template("250788000003", "no_such_template", TemplateLanguage.ENGLISH, [])
    same(raises(errors.TemplateNotExists, call).code, 132_001)


@check("send_template with too few parameters")
def _():
    template = next(iter(wa.get_templates()))
    call = lambda: wa.send_template("250788000003", template.name, template.language, [])
    same(raises(errors.TemplateParamCountMismatch, call).code, 132_000)


@check("the number's own state")
def _():
    phone = wa.get_business_phone_number()
    same((phone.id, phone.quality_rating), (PHONE, "GREEN"))


@check("what the sandbox has not is refused")
def _():
    error = raises(errors.WhatsAppError, lambda: wa.get_media_url("123456"))
    same((error.code, error.subcode), (100, 33))


end()
