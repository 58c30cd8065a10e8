//! Takes passwords out of what programs and servers say.

use allclear_core::secrets::masked;

use super::url::{DatabaseUrl, spellings};

/// Knows the passwords of this work and takes them out of any text; also those of URLs that it does not know.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    pub(crate) fn of<'a>(urls: impl IntoIterator<Item = &'a DatabaseUrl>) -> Self {
        Self { secrets: urls.into_iter().flat_map(spellings).collect() }
    }

    /// The text without passwords, control characters, and all but its last 600 characters.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut clean: String =
            text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        for secret in &self.secrets {
            clean = clean.replace(secret.as_str(), "[password]");
        }
        clean = masked(clean);
        let count = clean.chars().count();
        clean.chars().skip(count.saturating_sub(600)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_password_passes() {
        let url: DatabaseUrl = "postgres://me:a%3Ab%40c@127.0.0.1/db".parse().unwrap();
        let redactor = Redactor::of([&url]);
        let said = "no a:b@c, a%3Ab%40c, a\\:b@c nor postgres://you:other@h/db";
        let clean = redactor.clean(said);
        assert_eq!(clean, "no [password], [password], [password] nor postgres://you:[masked]@h/db");
    }
}
