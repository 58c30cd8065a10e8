use super::wire::ErrorText;

#[test]
fn error_texts_of_all_shapes_have_a_code() {
    let cases = [
        (r#"{"code":"130429","message":"x","retry_after":300}"#, "130429", Some(300)),
        (r#"{"code":131026}"#, "131026", None),
        ("send failed: 190", "190", None),
        ("send failed: http_503", "http_503", None),
        ("WhatsApp error (#131048) Spam", "131048", None),
        ("it broke", "unknown", None),
        ("", "unknown", None),
    ];
    for (text, code, retry_after) in cases {
        assert_eq!(ErrorText::parse(text), ErrorText { code: code.to_owned(), retry_after }, "{text}");
    }
}

#[test]
fn a_tally_never_has_a_phone_number_or_a_stray_number_for_a_code() {
    for text in [
        "Message to 250788123012 failed",
        "250788123012",
        r#"{"code":"250788123012"}"#,
        r#"{"code":"to +250788123012"}"#,
        "socket closed after 200 ms",
        "retry in 10 s",
        "retry: 10 s",
        "10 messages left",
        "fetch failed",
        "",
    ] {
        assert_eq!(ErrorText::parse(text).code, "unknown", "{text}");
    }
    for (text, code) in [
        ("(#130429) Rate limit hit", "130429"),
        ("131026: Message undeliverable", "131026"),
        ("Error code 190: expired", "190"),
        ("error code 190 expired", "190"),
        ("190", "190"),
        ("http_503: upstream", "http_503"),
        ("throttled", "throttled"),
    ] {
        assert_eq!(ErrorText::parse(text).code, code, "{text}");
    }
}
