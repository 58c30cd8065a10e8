//! Which call a request is, by its method and path.

use hyper::Method;

use super::{BASE, Call};

/// The first that fits counts: what has a name of its own stands before what begins with a bucket's.
const DOORS: &[(&str, &str, Call)] = &[
    ("GET", "/bucket/", Call::Bucket),
    ("GET", "/bucket", Call::Buckets),
    ("PUT", "/bucket/", Call::ChangeBucket),
    ("DELETE", "/bucket/", Call::DropBucket),
    ("POST", "/bucket/", Call::EmptyBucket),
    ("POST", "/bucket", Call::MakeBucket),
    ("POST", "/object/list-v2/", Call::ListV2),
    ("POST", "/object/list/", Call::List),
    ("POST", "/object/sign/", Call::Sign),
    ("GET", "/object/sign/", Call::Signed),
    ("POST", "/object/upload/sign/", Call::SignUpload),
    ("PUT", "/object/upload/sign/", Call::SignedUpload),
    ("POST", "/object/move", Call::Move),
    ("POST", "/object/copy", Call::Copy),
    ("GET", "/object/info/", Call::Info),
    ("GET", "/object/public/", Call::Public),
    ("HEAD", "/object/public/", Call::Public),
    ("GET", "/object/authenticated/", Call::Download),
    ("HEAD", "/object/authenticated/", Call::Download),
    ("GET", "/object/", Call::Download),
    ("HEAD", "/object/", Call::Download),
    ("POST", "/object/", Call::Upload),
    ("PUT", "/object/", Call::Replace),
    ("DELETE", "/object/", Call::Remove),
    ("PATCH", "/upload/resumable/", Call::Patch),
    ("HEAD", "/upload/resumable/", Call::Offset),
    ("DELETE", "/upload/resumable/", Call::GiveUp),
    ("POST", "/upload/resumable", Call::Begin),
];

/// The call, and what stands behind its own path, decoded.
pub(super) fn call_of(method: &Method, path: &str) -> (Call, String) {
    let path = path.strip_prefix(BASE).unwrap_or_default();
    let found = DOORS.iter().find_map(|(its, door, call)| {
        let rest = path.strip_prefix(door).filter(|_| *its == method.as_str())?;
        // A door without a slash is all of the path.
        (door.ends_with('/') || rest.is_empty() || rest == "/").then_some((*call, rest))
    });
    let (call, rest) = found.unwrap_or((Call::Other, path));
    (call, decoded(rest))
}

fn decoded(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| std::str::from_utf8(tail.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
