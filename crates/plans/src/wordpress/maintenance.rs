//! WordPress's own maintenance mode: a file `.maintenance` in the directory of WordPress itself (`ABSPATH`) that names a moment.
//!
//! WordPress shows its maintenance page while that moment is less than ten minutes past (`wp_is_maintenance_mode`). Ours is the file's own time of
//! change, less seven minutes: by the clock of the site's machine, the mode ends three minutes after the file was written last, whatever happens to us.

/// The file, relative to WordPress's directory.
pub const FILE: &str = ".maintenance";

/// Of WordPress's ten minutes, how many seconds are taken off.
const EARLIER: u32 = 420;

const MARK: &str = "migration-assistant run ";

/// The file's content.
pub fn content(run: &str) -> String {
    let run: String = run.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("<?php $upgrading = filemtime(__FILE__) - {EARLIER}; /* {MARK}{run} */ ?>\n")
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
        let text = content("0198-ab");
        assert_eq!(text, "<?php $upgrading = filemtime(__FILE__) - 420; /* migration-assistant run 0198-ab */ ?>\n");
        assert!(is_ours(text.as_bytes()) && is_of_run(text.as_bytes(), "0198-ab"));
        assert!(!is_of_run(text.as_bytes(), "0198-abc") && !is_of_run(text.as_bytes(), "198-ab*"));
        assert!(!is_ours(b"<?php $upgrading = time(); ?>"));
    }
}
