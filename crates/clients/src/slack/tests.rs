use super::escape;

#[test]
fn nobody_is_woken_by_foreign_words() {
    assert_eq!(escape("<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
}
