//! Finding a WordPress site through a `FileSource`: its configuration, its version, what of it need not move.

use super::CONFIG;
use super::config::Config;
use futures::StreamExt;
use ports::files::{Entry, EntryKind, FilePath, FileSource};
use ports::{ConnectorError, ErrorKind, Result};

/// No real `wp-config.php` is larger, in bytes.
const CONFIG_LIMIT: u64 = 1 << 20;

/// Left behind: caches and leftovers of updates, which WordPress and its plugins make anew. Relative to the web root; what
/// matches a directory leaves out everything below it.
pub const LEFT_OUT: [&str; 7] = [
    "/wp-content/cache",
    "/wp-content/*/cache",
    "/wp-content/litespeed",
    "/wp-content/et-cache",
    "/wp-content/upgrade",
    "/wp-content/upgrade-temp-backup",
    "/wp-content/debug.log",
];

/// The site's configuration file, read and parsed.
pub struct Found {
    pub entry: Entry,
    pub text: Vec<u8>,
    pub config: Config,
}

/// Reads `wp-config.php` from the directory that holds it.
pub async fn find(files: &dyn FileSource) -> Result<Found> {
    let subject = format!("{}/{CONFIG}", files.location().trim_end_matches('/'));
    let Some((entry, text)) = read_small(files, &FilePath::from(CONFIG), CONFIG_LIMIT).await? else {
        return Err(ConnectorError::new(ErrorKind::NotFound, "read", subject, "there is no wp-config.php"));
    };
    let config = Config::parse(&text)
        .map_err(|e| ConnectorError::new(ErrorKind::Invalid, "understand", subject, e.to_string()).advice("Check the file with `php -l`"))?;
    Ok(Found { entry, text, config })
}

/// The file that every WordPress loads first; the directory that holds it is `ABSPATH`.
const CORE: &str = "wp-settings.php";
/// Directories that WordPress is often put into, where `index.php` does not name one.
const USUAL_DIRECTORIES: [&str; 4] = ["wp", "wordpress", "cms", "core"];

/// WordPress's own directory (`ABSPATH`) relative to the web root: empty for the web root itself; `None` when it is not below it.
pub async fn core(web_root: &dyn FileSource) -> Result<Option<String>> {
    let named = match read_small(web_root, &FilePath::from("index.php"), CONFIG_LIMIT).await? {
        Some((_, text)) => directory_in(&text),
        None => None,
    };
    let candidates = std::iter::once(String::new()).chain(named).chain(USUAL_DIRECTORIES.map(str::to_owned));
    for directory in candidates {
        if web_root.stat(&below(&directory, CORE)).await?.is_some() {
            return Ok(Some(directory));
        }
    }
    Ok(None)
}

/// A path below a directory that may be empty.
pub fn below(directory: &str, name: &str) -> FilePath {
    FilePath::from(if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }.as_str())
}

/// The directory of `wp-blog-header.php` as an `index.php` names it: `require __DIR__ . '/wp/wp-blog-header.php';`.
fn directory_in(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let end = text.find("/wp-blog-header.php")?;
    let start = text[..end].rfind(['\'', '"'])? + 1;
    let directory = text[start..end].trim_matches('/').trim_start_matches("./");
    let plain = !directory.is_empty() && directory.split('/').all(|part| !part.is_empty() && part != "..");
    plain.then(|| directory.to_owned())
}

/// WordPress's version, from `wp-includes/version.php` below its own directory.
pub async fn version(web_root: &dyn FileSource, core: Option<&str>) -> Result<Option<String>> {
    let path = below(core.unwrap_or_default(), "wp-includes/version.php");
    Ok(read_small(web_root, &path, CONFIG_LIMIT).await?.and_then(|(_, text)| version_in(&text)))
}

/// A whole small file; `None` when it is not there. Symbolic links are followed within the root.
pub async fn read_small(files: &dyn FileSource, path: &FilePath, limit: u64) -> Result<Option<(Entry, Vec<u8>)>> {
    let Some(entry) = files.stat(path).await? else { return Ok(None) };
    let entry = if matches!(entry.kind, EntryKind::Symlink { .. }) { files.resolve(path).await? } else { Some(entry) };
    let Some(entry) = entry else { return Ok(None) };
    if entry.size() > limit {
        let subject = format!("{}/{path}", files.location());
        return Err(ConnectorError::new(ErrorKind::Invalid, "read", subject, format!("it is larger than {limit} bytes")));
    }
    let opened = match files.open(path, None).await {
        Ok(opened) => opened,
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut body = opened.body;
    let mut text = Vec::new();
    while let Some(piece) = body.next().await {
        text.extend_from_slice(&piece?);
        if text.len() as u64 > limit {
            let subject = format!("{}/{path}", files.location());
            return Err(ConnectorError::new(ErrorKind::Changed, "read", subject, "it grew while it was read"));
        }
    }
    Ok(Some((entry, text)))
}

fn version_in(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let rest = text.split("$wp_version").nth(1)?;
    let quote = rest.find(['\'', '"'])?;
    let rest = &rest[quote + 1..];
    let end = rest.find(['\'', '"'])?;
    Some(rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_wordpress_is_read_from_index_php() {
        for (text, directory) in [
            ("<?php require __DIR__ . '/wp-blog-header.php';", None),
            ("<?php require __DIR__ . '/wp/wp-blog-header.php';", Some("wp")),
            ("<?php require(\"./wordpress/wp-blog-header.php\");", Some("wordpress")),
            ("<?php require dirname(__DIR__) . '/web/wp/wp-blog-header.php';", Some("web/wp")),
            ("<?php require '../core/wp-blog-header.php';", None),
        ] {
            assert_eq!(directory_in(text.as_bytes()).as_deref(), directory, "{text}");
        }
    }

    #[test]
    fn the_version_is_read_from_wordpress_own_file() {
        assert_eq!(version_in(b"<?php\n/** x */\n$wp_version = '6.1.6';\n$wp_db_version = 53496;").as_deref(), Some("6.1.6"));
        assert_eq!(version_in(b"<?php nothing"), None);
    }
}
