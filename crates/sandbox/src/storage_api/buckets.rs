//! Buckets: a folder each, and what it takes.

use std::fs;

use serde_json::{Value, json};

use super::{Answer, Asked, Front, Refused, json_answer, read_json};

/// What a bucket is besides its folder. One that was made as a folder is private and takes everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    public: bool,
    /// As it was given: bytes, or a text such as `20MB`.
    size_limit: Value,
    mime_types: Value,
}

impl Bucket {
    /// Takes over what a body says of it.
    fn take(&mut self, body: &Value) -> Result<(), Refused> {
        if let Some(public) = body["public"].as_bool() {
            self.public = public;
        }
        if let Some(limit) = body.get("file_size_limit") {
            if !limit.is_null() && bytes(limit).is_none() {
                let message = "Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B";
                return Err(Refused::new(400, "InvalidRequest", message));
            }
            self.size_limit = limit.clone();
        }
        if let Some(types) = body.get("allowed_mime_types") {
            self.mime_types = types.clone();
        }
        Ok(())
    }

    pub(super) fn is_public(&self) -> bool {
        self.public
    }

    /// Refuses what the bucket does not take.
    pub(super) fn check(&self, mimetype: &str, size: usize) -> Result<(), Refused> {
        let kind = mimetype.split(';').next().unwrap_or_default().trim();
        let fits = |allowed: &Value| {
            let allowed = allowed.as_str().unwrap_or_default();
            let any = allowed.strip_suffix("/*").is_some_and(|family| kind.split('/').next() == Some(family));
            allowed == kind || allowed == "*/*" || any
        };
        if self.mime_types.as_array().is_some_and(|types| !types.is_empty() && !types.iter().any(fits)) {
            return Err(Refused::new(
                415,
                "InvalidMimeType",
                format!("mime type {mimetype} is not supported"),
            ));
        }
        if bytes(&self.size_limit).is_some_and(|limit| size as u64 > limit) {
            return Err(Refused::new(413, "EntityTooLarge", "The object exceeded the maximum allowed size"));
        }
        Ok(())
    }

    fn shown(&self, name: &str) -> Value {
        let made = "2026-01-01T00:00:00Z";
        json!({ "id": name, "name": name, "owner": "", "public": self.public, "type": "STANDARD",
            "file_size_limit": bytes(&self.size_limit),
            "allowed_mime_types": self.mime_types, "created_at": made, "updated_at": made })
    }
}

/// A limit in bytes; `None` where there is none.
fn bytes(limit: &Value) -> Option<u64> {
    let text = match limit {
        Value::Number(number) => return number.as_u64(),
        other => other.as_str()?,
    };
    let number = text.trim_end_matches(|one: char| one.is_ascii_alphabetic());
    let unit: u64 = match &text[number.len()..] {
        "B" | "" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    Some(number.trim().parse::<u64>().ok()? * unit)
}

impl Front {
    pub(super) fn bucket(&self, name: &str) -> Result<Answer, Refused> {
        self.folder_of(name)?;
        Ok(json_answer(200, &self.settings_of(name).shown(name)))
    }

    pub(super) fn buckets(&self) -> Answer {
        let mut names: Vec<String> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| self.folder_of(name).is_ok())
            .collect();
        names.sort_unstable();
        json_answer(200, &names.iter().map(|name| self.settings_of(name).shown(name)).collect())
    }

    pub(super) fn settings_of(&self, bucket: &str) -> Bucket {
        self.lock().buckets.get(bucket).cloned().unwrap_or_default()
    }

    pub(super) async fn make_a_bucket(&self, asked: Asked) -> Result<Answer, Refused> {
        let body = read_json(asked).await?;
        let name = body["id"].as_str().or(body["name"].as_str());
        let name = name
            .ok_or_else(|| Refused::new(400, "InvalidRequest", "body must have required property 'name'"))?;
        let is_plain = |one: char| one.is_ascii_alphanumeric() || "_-.!'()& ".contains(one);
        if name.is_empty() || name.starts_with('.') || name.len() > 100 || !name.chars().all(is_plain) {
            return Err(Refused::new(400, "InvalidBucketName", "Bucket name invalid"));
        }
        if self.folder_of(name).is_ok() {
            return Err(Refused::new(409, "BucketAlreadyExists", "The resource already exists"));
        }
        let mut bucket = Bucket::default();
        bucket.take(&body)?;
        fs::create_dir_all(self.folder.join(name)).map_err(|error| Refused::broken(&error))?;
        self.lock().buckets.insert(name.to_owned(), bucket);
        Ok(json_answer(200, &json!({ "name": name })))
    }

    pub(super) async fn change_bucket(&self, asked: Asked) -> Result<Answer, Refused> {
        let name = asked.rest.clone();
        self.folder_of(&name)?;
        let mut bucket = self.settings_of(&name);
        bucket.take(&read_json(asked).await?)?;
        self.lock().buckets.insert(name, bucket);
        Ok(json_answer(200, &json!({ "message": "Successfully updated" })))
    }

    /// `{bucket}/empty`.
    pub(super) fn empty_bucket(&self, rest: &str) -> Result<Answer, Refused> {
        let name = rest.trim_end_matches("/empty");
        let folder = self.folder_of(name)?;
        let emptied = fs::remove_dir_all(&folder).and_then(|()| fs::create_dir_all(&folder));
        emptied.map_err(|error| Refused::broken(&error))?;
        self.lock().kept.retain(|object, _| !object.starts_with(&format!("{name}/")));
        let message = "Empty bucket has been queued. Completion may take up to an hour.";
        Ok(json_answer(200, &json!({ "message": message })))
    }

    pub(super) fn drop_bucket(&self, name: &str) -> Result<Answer, Refused> {
        let folder = self.folder_of(name)?;
        if self.objects_below(name).next().is_some() {
            let message = "The bucket you tried to delete is not empty";
            return Err(Refused::new(409, "ResourceNotEmpty", message));
        }
        fs::remove_dir_all(folder).map_err(|error| Refused::broken(&error))?;
        self.lock().buckets.remove(name);
        Ok(json_answer(200, &json!({ "message": "Successfully deleted" })))
    }
}
