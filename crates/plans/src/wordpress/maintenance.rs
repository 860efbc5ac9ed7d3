//! WordPress's own maintenance mode: a file `.maintenance` in the web root that names a moment.
//!
//! WordPress shows its maintenance page while that moment is less than ten minutes past. A moment in the future keeps the
//! mode on for longer; if everything on our side dies at once, the site comes back by itself.

/// The file, relative to the web root.
pub const FILE: &str = ".maintenance";

/// How far ahead the moment is set, in seconds. Refreshed well before it passes.
pub const AHEAD: i64 = 1800;

const MARK: &str = "migration-assistant run ";

/// The file's content: maintenance until `until` (seconds since 1970) plus WordPress's ten minutes.
pub fn content(run: &str, until: i64) -> String {
    let run: String = run.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("<?php $upgrading = {until}; /* {MARK}{run} */ ?>\n")
}

/// Whether a `.maintenance` file was written by a migration, whichever.
pub fn is_ours(content: &[u8]) -> bool {
    String::from_utf8_lossy(content).contains(MARK)
}

/// Whether this very run wrote it.
pub fn is_of_run(content: &[u8], run: &str) -> bool {
    String::from_utf8_lossy(content).contains(&format!("{MARK}{run} */"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_php_that_wordpress_understands_and_names_its_owner() {
        let text = content("0198-ab", 1_724_682_622);
        assert_eq!(text, "<?php $upgrading = 1724682622; /* migration-assistant run 0198-ab */ ?>\n");
        assert!(is_ours(text.as_bytes()) && is_of_run(text.as_bytes(), "0198-ab"));
        assert!(!is_of_run(text.as_bytes(), "0198-abc") && !is_of_run(text.as_bytes(), "198-ab*"));
        assert!(!is_ours(b"<?php $upgrading = time(); ?>"));
    }
}
