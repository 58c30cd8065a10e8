//! S3 and Storage: what they refuse, and how their lists are ordered.

use std::fmt::Write as _;

use allclear_sandbox::s3::{ACCESS_KEY, REGION, SECRET_KEY};
use allclear_sandbox::{S3Server, SERVICE_KEY, StorageServer};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn client() -> Client {
    // A second test's installation fails and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

/// HMAC-SHA-256 (RFC 2104), for keys of at most a block.
fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let padded = |with: u8| -> Vec<u8> {
        (0..64).map(|place| key.get(place).copied().unwrap_or_default() ^ with).collect()
    };
    let inner = Sha256::digest([padded(0x36), text.as_bytes().to_vec()].concat());
    Sha256::digest([padded(0x5c), inner.to_vec()].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A request signed by hand, since a client that is right never sends what is to be refused here. Returns status, ETag and body.
#[expect(clippy::disallowed_methods, reason = "the server compares the request's time with the machine's")]
async fn signed(server: &S3Server, method: Method, query: &str, body: &str) -> (u16, String, String) {
    let host = server.base_url().replace("http://", "");
    let at = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let (day, payload) = (&at[..8], "UNSIGNED-PAYLOAD");
    let canonical = format!(
        "{method}\n/backups/dump\n{query}\nhost:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{at}\n\n\
         host;x-amz-content-sha256;x-amz-date\n{payload}"
    );
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let secret = format!("AWS4{SECRET_KEY}").into_bytes();
    let key = [day, REGION, "s3", "aws4_request"].iter().fold(secret, |key, part| hmac(&key, part));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
         Signature={}",
        hex(&hmac(&key, &to_sign))
    );
    let request = client()
        .request(method, format!("{}/backups/dump?{query}", server.base_url()))
        .header("authorization", authorization)
        .header("x-amz-content-sha256", payload)
        .header("x-amz-date", at)
        .body(body.to_owned());
    let answer = request.send().await.unwrap();
    let tag = answer.headers().get("etag").map_or("", |tag| tag.to_str().unwrap()).to_owned();
    (answer.status().as_u16(), tag, answer.text().await.unwrap())
}

#[tokio::test]
async fn f_an_upload_is_completed_with_the_parts_that_came_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(folder.path(), 0).await.unwrap();
    server.make_bucket("backups").unwrap();
    let (status, _, begun) = signed(&server, Method::POST, "uploads=", "").await;
    assert_eq!(status, 200, "{begun}");
    let (_, rest) = begun.split_once("<UploadId>").unwrap();
    let id = rest.split_once('<').unwrap().0;
    let (status, tag, said) =
        signed(&server, Method::PUT, &format!("partNumber=1&uploadId={id}"), "first").await;
    assert_eq!(status, 200, "{said}");
    let complete = async |parts: &[(u32, &str)]| {
        let part = |(number, tag): &(u32, &str)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
        };
        let list: String = parts.iter().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        signed(&server, Method::POST, &format!("uploadId={id}"), &body).await
    };
    let wrong = "&quot;00000000000000000000000000000000&quot;";
    for (parts, code) in [
        (vec![(1, wrong)], "InvalidPart"),
        (vec![(1, tag.as_str()), (2, &tag)], "InvalidPart"),
        (vec![(1, &tag), (1, &tag)], "InvalidPartOrder"),
    ] {
        let (status, _, said) = complete(&parts).await;
        assert!(status == 400 && said.contains(&format!("<Code>{code}</Code>")), "{status} {said}");
        assert!(!folder.path().join("backups/dump").exists(), "nothing is put together");
    }
    let (status, _, said) = complete(&[(1, &tag)]).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(std::fs::read(folder.path().join("backups/dump")).unwrap(), b"first");
}

/// A bucket with a few files.
async fn bucket(folder: &std::path::Path) -> StorageServer {
    let server = StorageServer::start(folder, 0).await.unwrap();
    server.make_bucket("vouchers").unwrap();
    std::fs::create_dir_all(folder.join("vouchers/old/deep")).unwrap();
    for (age, name) in ["b.png", "Bee.png", "a.png", "old/x.png", "old/deep/y.png"].iter().enumerate() {
        let file = std::fs::File::create(folder.join("vouchers").join(name)).unwrap();
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_hours(9_000 - age as u64);
        file.set_modified(at).unwrap();
    }
    server
}

async fn ask(server: &StorageServer, path: &str, body: &Value) -> Value {
    let url = format!("{}/{path}/vouchers", server.base_url());
    client().post(url).header("apikey", SERVICE_KEY).json(body).send().await.unwrap().json().await.unwrap()
}

fn names(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn f_a_folder_is_listed_in_the_order_and_from_the_beginning_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = bucket(folder.path()).await;
    let list = async |body: Value| ask(&server, "object/list", &body).await;
    let by =
        |column: &str, order: &str| json!({ "prefix": "", "sortBy": { "column": column, "order": order } });
    assert_eq!(names(&list(json!({ "prefix": "" })).await), ["old", "Bee.png", "a.png", "b.png"]);
    assert_eq!(names(&list(by("name", "desc")).await), ["old", "b.png", "a.png", "Bee.png"]);
    assert_eq!(names(&list(by("updated_at", "asc")).await), ["old", "a.png", "Bee.png", "b.png"]);
    assert_eq!(names(&list(json!({ "prefix": "", "search": "b" })).await), ["Bee.png", "b.png"]);
    assert_eq!(names(&list(json!({ "prefix": "old", "search": "d" })).await), ["deep"]);
    let odd = list(by("name", "sideways")).await;
    assert_eq!((odd["statusCode"].as_str(), odd["code"].as_str()), (Some("400"), Some("InvalidRequest")));
}

#[tokio::test]
async fn f_the_second_list_knows_a_delimiter_orders_and_cursors() {
    let folder = tempfile::tempdir().unwrap();
    let server = bucket(folder.path()).await;
    let list = async |body: Value| ask(&server, "object/list-v2", &body).await;
    let top = list(json!({ "prefix": "", "with_delimiter": true })).await;
    assert_eq!(names(&top["folders"]), ["old/"]);
    assert_eq!(names(&top["objects"]), ["Bee.png", "a.png", "b.png"]);
    let below = list(json!({ "prefix": "old/", "with_delimiter": true })).await;
    assert_eq!((names(&below["folders"]), names(&below["objects"])), (vec!["old/deep/"], vec!["old/x.png"]));
    for (column, order, expected) in [
        ("name", "asc", ["Bee.png", "a.png", "b.png", "old/deep/y.png", "old/x.png"]),
        ("name", "desc", ["old/x.png", "old/deep/y.png", "b.png", "a.png", "Bee.png"]),
        ("updated_at", "asc", ["old/deep/y.png", "old/x.png", "a.png", "Bee.png", "b.png"]),
    ] {
        let (mut found, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let sort = json!({ "column": column, "order": order });
            let page = list(json!({ "prefix": "", "limit": 2, "cursor": cursor, "sortBy": sort })).await;
            found.extend(names(&page["objects"]).into_iter().map(str::to_owned));
            cursor = page["nextCursor"].clone();
            if page["hasNext"] == false {
                break;
            }
        }
        assert_eq!(found, expected, "{column} {order}");
    }
}

#[tokio::test]
async fn f_an_object_has_an_id_of_its_own_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = bucket(folder.path()).await;
    let ids = async || {
        let rows = ask(&server, "object/list-v2", &json!({ "prefix": "" })).await;
        let ids =
            rows["objects"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let before = ids().await;
    let distinct: std::collections::BTreeSet<&String> = before.iter().collect();
    assert_eq!(distinct.len(), 5, "all have the same size, and none the same id");
    std::fs::write(folder.path().join("vouchers/a.png"), "written again").unwrap();
    assert_eq!(ids().await, before);
    let one = ask(&server, "object/list", &json!({ "prefix": "old", "search": "x" })).await;
    assert!(before.contains(&one[0]["id"].as_str().unwrap().to_owned()), "both lists know one id");
}
