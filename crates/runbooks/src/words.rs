//! Words that depend on a number.

/// `1 voucher was`, `3 vouchers were`.
pub(crate) fn counted<N>(count: N, one: &str, many: &str) -> String
where
    N: Copy + PartialEq + From<u8> + std::fmt::Display,
{
    format!("{count} {}", plural(count, one, many))
}

/// The word that fits the number.
pub(crate) fn plural<'a, N: Copy + PartialEq + From<u8>>(count: N, one: &'a str, many: &'a str) -> &'a str {
    if count == N::from(1) { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_none_is_many() {
        let told: Vec<String> = [0, 1, 2].map(|count: u64| counted(count, "scope", "scopes")).into();
        assert_eq!(told, ["0 scopes", "1 scope", "2 scopes"]);
    }
}
