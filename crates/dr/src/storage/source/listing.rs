//! The XML of ListObjectsV2.
//!
//! Read event by event, since a key may begin or end with a space, and a deserializer that trims would lose it.

use quick_xml::Reader;
use quick_xml::events::Event;

/// One page of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) next: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: Option<String>,
}

/// Reads a page, or says what is wrong with it.
pub(super) fn parse(xml: &str) -> Result<Page, String> {
    let mut reader = Reader::from_str(xml);
    let (mut page, mut object, mut text) = (Page::default(), Object::default(), String::new());
    let (mut in_object, mut whole, mut truncated) = (false, false, false);
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(tag) => {
                text.clear();
                if tag.local_name().as_ref() == b"Contents" {
                    (in_object, object) = (true, Object::default());
                }
            }
            Event::Text(piece) => text.push_str(&piece.decode().map_err(|error| error.to_string())?),
            Event::CData(piece) => text.push_str(&piece.decode().map_err(|error| error.to_string())?),
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                let name = reference.decode().map_err(|error| error.to_string())?;
                let named = quick_xml::escape::resolve_predefined_entity(&name);
                match (character, named) {
                    (Some(character), _) => text.push(character),
                    (None, Some(named)) => text.push_str(named),
                    (None, None) => return Err(format!("unknown entity &{name};")),
                }
            }
            Event::End(tag) => match tag.local_name().as_ref() {
                b"Key" if in_object => object.key = std::mem::take(&mut text),
                b"Size" if in_object => {
                    object.size = text.trim().parse().map_err(|_| format!("a size of `{text}`"))?;
                }
                b"ETag" if in_object => object.etag = Some(std::mem::take(&mut text)),
                b"Contents" => {
                    in_object = false;
                    page.objects.push(std::mem::take(&mut object));
                }
                b"IsTruncated" => truncated = text.trim() == "true",
                b"NextContinuationToken" => page.next = Some(std::mem::take(&mut text)),
                b"ListBucketResult" => whole = true,
                _ => {}
            },
            Event::Eof => break,
            _ => {}
        }
    }
    if !whole {
        return Err("the list breaks off".to_owned());
    }
    if truncated && page.next.is_none() {
        return Err("the list goes on, and does not say where".to_owned());
    }
    if !truncated {
        page.next = None;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_spaces_and_entities() {
        let page = parse(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\"><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>t&amp;1</NextContinuationToken>\
             <Contents><Key> /a &amp; b&#x1; &lt;ü&gt; </Key><Size>3</Size><ETag>&quot;e&quot;</ETag></Contents></ListBucketResult>",
        )
        .unwrap();
        assert_eq!(page.next.as_deref(), Some("t&1"));
        let etag = Some("\"e\"".to_owned());
        assert_eq!(page.objects, [Object { key: " /a & b\u{1} <ü> ".into(), size: 3, etag }]);
    }

    #[test]
    fn half_a_page_is_no_page() {
        assert!(parse("<ListBucketResult><Contents><Key>a</Key>").is_err());
        assert!(parse("<html>sign in</html>").is_err());
        assert!(parse("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>").is_err());
    }
}
