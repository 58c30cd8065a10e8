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
