use proptest::prelude::*;

use super::*;

/// What a service echoed in the trial's case.
const ECHO: &str = "hdr Bearer eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.sandbox-service-key for +250788123456, \
    250788123457, 0788 123 458 at postgres://app:hunter2secret@db.example.test:5432/x key \
    sbp_0123456789abcdef0123456789abcdef01234567 code K9XZ2 mail jo@example.test cookie admin_session=abc.def123456";

#[test]
fn d7_what_a_service_echoes_of_others_is_masked_and_the_rest_stays() {
    assert_eq!(
        mask(ECHO),
        "hdr Bearer [masked] for +250 78* *** 456, +250 78* *** 457, 0** *** 458 at \
         postgres://app:[masked]@db.example.test:5432/x key [masked] code [masked] mail [masked]@example.test cookie \
         admin_session=[masked]"
    );
}

/// Each with the part that may not be seen.
const SECRETS: &[(&str, &str)] = &[
    ("Authorization: Bearer abcDEF123ghi456", "abcDEF123ghi456"),
    ("authorization: Basic YXBwOmh1bnRlcjI=", "YXBwOmh1bnRlcjI"),
    ("Authorization: Token token=y_NbAkKc66ryYTWUXYEu", "y_NbAkKc66ryYTWUXYEu"),
    (r#"{"password":"hunter2"}"#, "hunter2"),
    ("the pw: hunter2 of the dashboard", "hunter2"),
    (r#"{\"password\":\"hunter2\"}"#, "hunter2"),
    (r#"{"client_secret": "a b c d1"}"#, "a b c d1"),
    ("password=hunter2&user=kim", "hunter2"),
    ("my password is hunter2!", "hunter2"),
    ("password: hunter", "hunter"),
    ("PGPASSWORD=hunter2 psql", "hunter2"),
    ("DB_PASSWORD='hunter 2'", "hunter 2"),
    ("Server=db;Uid=app;Pwd=hunter2;", "hunter2"),
    ("redis://:hunter2@cache:6379", "hunter2"),
    ("postgres://app:hun/ter2@db.example.test:5432/x", "hun/ter2"),
    ("https://0123456789abcdef0123@github.com/x", "0123456789abcdef0123"),
    ("xoxb-12345-67890-abcdef", "12345-67890-abcdef"),
    ("xoxp-1-2-3-abcdef refused", "1-2-3-abcdef"),
    ("xapp-1-A0-123-abc", "1-A0-123-abc"),
    ("key sb_secret_abcdefgh_12345678", "abcdefgh_12345678"),
    ("key=sb_publishable_abcdefgh", "abcdefgh"),
    ("AKIAIOSFODNN7EXAMPLE is not allowed", "IOSFODNN7EXAMPLE"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
    ("routing_key 0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
    (r#""routing_key":"0123456789abcdef0123456789abcdef""#, "0123456789abcdef"),
    ("token: 0123456789abcdef0123456789abcdef", "0123456789abcdef"),
    // In two parts, so that whoever looks for secrets in our sources finds none.
    (concat!("https://hooks.slack.com/", "services/T000/B000/pQ7rS9tU"), "pQ7rS9tU"),
    ("Set-Cookie: sid=s%3Aabc.def; Path=/; HttpOnly", "abc.def"),
    ("cookies admin_session=abc.def123456; theme=dark1", "abc.def123456"),
    ("cookie: a=b1c2d3; other=zzz999", "zzz999"),
    ("next-auth.session-token=abcdef", "abcdef"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY----- left", "MIIEow"),
    (r"-----BEGIN PRIVATE KEY-----\nMIIEow", "MIIEow"),
    ("voucher code: \"K9XZ2\"", "K9XZ2"),
    ("code AB12C was refused", "AB12C"),
    ("call +250 788 123 456", "788 123 456"),
    ("call +250788123456", "788123456"),
    ("call 250788123456.", "250788123456"),
    ("call 250-788-123-456", "788-123-456"),
    ("call 250 788 123 456", "788 123 456"),
    ("call 00250788123456", "788123456"),
    ("call 0788123458, please", "0788123458"),
    ("call 0788 123 458 12 times", "0788 123 458"),
    ("call 0788-123-458", "0788-123-458"),
    ("call 250-788-123-456 s", "788-123-456"),
    ("call (0788) 123 458", "123 458"),
    ("call +49 30 1234567", "1234567"),
    ("call +250 (78) 812-3456 now", "812-3456"),
    ("call (078) 812-3456", "812-3456"),
    ("call (+250) 788 123-456", "123-456"),
    ("call 250 (788) 123.456", "123.456"),
    ("call +250-788.123 456", "788.123 456"),
    ("call 0788\u{200b}123\u{200b}458", "0788"),
    ("call 0788\u{fffd}123\u{fffd}458", "0788"),
    ("call +250\u{a0}788\u{202f}123\u{2011}456", "123"),
    ("call ٠٧٨٨١٢٣٤٥٨ now", "٠٧٨٨"),
    ("call +۲۵۰ ۷۸۸ ۱۲۳ ۴۵۶", "۷۸۸"),
    ("call ０７８８１２３４５８", "７８８"),
    ("call 𝟎𝟕𝟖𝟖𝟏𝟐𝟑𝟒𝟓𝟖", "𝟕𝟖𝟖"),
    ("call ２５０-７８８ １２３ ４５６", "７８８"),
    ("call 250788\u{fe0f}123456", "250788"),
    ("call ⓪⑦⑧⑧①②③④⑤⑧", "⑦⑧"),
    ("call ²⁵⁰⁷⁸⁸¹²³⁴⁵⁶", "⁷⁸⁸"),
    ("call [250] [788] [123] [456]", "[788]"),
    ("call 250_788_123_456", "788_123"),
    ("call 250 - 788 - 123 - 456", "788 - 123"),
    ("call 250, 788, 123, 456", "788, 123"),
    ("call 250·788·123·456", "788"),
    ("call 0788 - 123 - 458", "123 - 458"),
    ("name user250788123456x", "250788123456"),
    ("for 1199080012345012", "11990800"),
    ("for 1 1990 8 0012345 0 12", "0012345"),
    ("card 4111 1111 1111 1111", "4111 1111"),
    ("card 4111111111111111", "41111111"),
    ("msisdn=eq.250788123456", "250788123456"),
    ("to:250788123456", "250788123456"),
    (r#"{"to":"250788123456"}"#, "250788123456"),
    ("wa.me/250788123456", "250788123456"),
    ("mail jo.doe+x@example.test", "jo.doe"),
    ("u=postgres%3A%2F%2Fapp%3Ahunter2%40db.example.test", "hunter2"),
    ("auth cGFzc3dvcmQ9aHVudGVyMnNlY3JldA==", "cGFzc3dvcmQ9aHVudGVyMnNlY3JldA"),
];

#[test]
fn d7_secrets_of_every_known_form_are_masked() {
    for (text, secret) in SECRETS {
        for around in [(*text).to_owned(), format!("({text})"), format!("said: {text}; and went away")] {
            let shown = mask(&around);
            assert!(!shown.contains(secret), "{around} shows as {shown}");
            assert_eq!(mask(&shown), shown, "masked twice: {around}");
        }
    }
}

/// What a journal is for.
const BENIGN: &[&str] = &[
    "11840 sends failed at 2026-11-23T09:00:00.123456Z, 131026: 40 times",
    "campaign 6f1c2a4e-0d52-4a55-9a3e-078812345812 is paused",
    "campaign 00000000-0000-0000-0000-000000000001",
    "voucher 00123456-7890-4abc-8def-001234567890",
    "SHA-256 0788123458abcdef0788123458abcdef0788123458abcdef0788123458abcdef",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "message wamid.HBgMMjUwNzg4MTIzNDU2FQIAERgSMDEyMzQ1Njc4OTAxMjM0NTY3AA==",
    "run wsf-a1b2c3 of 2026-11-23 09:00:00 UTC",
    "127.0.0.1:54321 refused, http://127.0.0.1:54321/rest/v1/send_logs?order=id",
    "https://db.example.test:8080/path?order=sent_at.asc&limit=1000",
    "1250000000 RWF in 3 vouchers, 25 000 RWF each",
    "53687091200 bytes in 120000000000 rows",
    "1764322000123 ms since 1970; 1764322000 s",
    "Slack accepted the message as 1764322000.123456",
    "code 57P01, code 42P01, code 22P02, code 23505, code XX000, code P0001, (code PGRST202)",
    "WhatsApp refused `POST /messages` (code 131026): the number cannot receive",
    "the token is not valid; rotate it",
    "replace the credential for WhatsApp",
    "password authentication failed for user \"postgres\"",
    "invalid token: expired",
    "the bearer of this voucher; Basic authentication; Bearer Token missing",
    "a permission is missing; fix the grants",
    "Paging: 1 of 3 people, attempt=3, wait=30",
    "the cookie was refused, attempt=3",
    "quiet hours 22:00 to 06:00, 60 sends a minute, 3.5 % of 12:30",
    "from 01-12-2026 09:00 to 2026-12-02",
    "exit code 17; country code RWANDA; postcode 12345",
    "phone number id 102290129340398, business account 102290129340399",
    "migration 20251113000000_init.sql, stamp 202611230900",
    "1764322000123456 µs since 1970, message 1020304050607080, order 4111111111111112",
    "حملة ٢٠٢٦ (١٢) and 春の①２０２６ – 30 % of 1,200",
    "from 07-12-2026 10 to 07-12-2026 11, 0.25/1.5 (12) (2026) 11 840 of 63 360",
    "02:00 (05:00 UTC) 120 (40 each)",
    "git@github.com and @here and <@U012AB3CD>",
    "12, 250 and 788 rows; 100 200 300 400",
    "plan 3f2a9c0d1e4b of version 1, binding 0788123458ab",
    "try again in 30 s",
    "the provider opened ticket INC-0012345678",
    "key allclear/wsf-a1b2c3/0123456789abcdef",
    "queue: 20000 waiting, 0 skipped, 0.25 of them late",
];

#[test]
fn d7_ids_hashes_times_and_figures_are_left_alone() {
    for text in BENIGN {
        assert_eq!(mask(text), *text);
    }
}

proptest! {
    /// Whatever is said around it, and also where it is JSON within JSON.
    #[test]
    fn d7_no_secret_survives_in_any_sentence(
        before in "[a-z ]{0,20}", after in "[ ,;][a-z ]{0,20}", place in 0..SECRETS.len(),
    ) {
        let (text, secret) = SECRETS[place];
        let said = format!("{before} {text}{after}");
        prop_assert!(!mask(&said).contains(secret), "{said} shows as {}", mask(&said));
        let escaped = serde_json::to_string(&said).unwrap();
        let secret = serde_json::to_string(secret).unwrap();
        prop_assert!(!mask(&escaped).contains(secret.trim_matches('"')), "{escaped} shows as {}", mask(&escaped));
    }

    #[test]
    fn d7_a_random_secret_under_a_name_never_survives(
        name in prop::sample::select(vec!["password", "token", "api_key", "client_secret", "routing_key", "signature"]),
        secret in "[A-Za-z][A-Za-z0-9]{7,30}[0-9]", form in 0..5,
    ) {
        let said = match form {
            0 => format!("{name}={secret}"),
            1 => format!("{name}: {secret}"),
            2 => format!("{{\"{name}\":\"{secret}\"}}"),
            3 => format!("{{\\\"{name}\\\":\\\"{secret}\\\"}}"),
            _ => format!("the {name} {secret} was refused"),
        };
        prop_assert!(!mask(&said).contains(&secret), "{said} shows as {}", mask(&said));
    }

    #[test]
    fn d7_a_random_number_never_survives(tail in "7[2389][0-9]{7}", form in 0..7) {
        let (a, b, c) = (&tail[..3], &tail[3..6], &tail[6..]);
        let number = match form {
            0 => format!("+250{tail}"),
            1 => format!("250{tail}"),
            2 => format!("0{tail}"),
            3 => format!("0{a} {b} {c}"),
            4 => format!("250-{a}-{b}-{c}"),
            5 => format!("+250 {a} {b} {c}"),
            _ => format!("(0{a}) {b} {c}"),
        };
        let said = format!("sent to {number} twice");
        prop_assert!(!mask(&said).contains(&number), "{said} shows as {}", mask(&said));
    }

    #[test]
    fn d7_benign_words_are_left_alone(
        words in prop::collection::vec("[a-z]{1,10}|[1-9][0-9]{0,5}|[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|[0-9a-f]{64}|1[0-9]{9}|2026-1[0-2]-[0-2][1-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9]Z|127\\.0\\.0\\.1:[1-9][0-9]{3}", 1..12),
    ) {
        let said = words.join(" ");
        // These words are asked for above; a random one may be no sentence of ours.
        prop_assume!(!has_name(&said));
        prop_assert_eq!(mask(&said), said.as_str());
    }

    #[test]
    fn masking_any_text_never_panics(text in "\\PC{0,80}") {
        let _ = mask(&text);
    }
}
