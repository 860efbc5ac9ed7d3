//! Names of snapshots: safe in a path of the API and on the disk's own list.

/// 1 to 64 letters, digits, dots, dashes or underscores, the first one a letter or digit.
pub fn is_snapshot_name(name: &str) -> bool {
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::is_snapshot_name;

    #[test]
    fn plain_names_only() {
        for good in ["a", "before-upgrade", "2024-08-26T14.30", "A_1"] {
            assert!(is_snapshot_name(good), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", "a\0", &"x".repeat(65)] {
            assert!(!is_snapshot_name(bad), "{bad}");
        }
    }
}
