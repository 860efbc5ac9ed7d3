//! Metadata of objects in a backup: a file system has no place for it, so it lies beside the content as a small file of its own. Its first line
//! is the hash of the rest; files of earlier versions have no such line.

use super::item::Stat;
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use ports::{ConnectorError, ErrorKind, Result};

use futures::StreamExt;

/// Longer ones are not ours.
const MAX_FACTS: usize = 1 << 20;

/// Where the metadata of `name`, a file in the backup, lies.
fn place_of(name: &FilePath) -> FilePath {
    let hash = blake3::hash(name.as_bytes()).to_hex();
    FilePath::from(format!(".object-metadata/{}/{hash}.json", &hash[..2]).as_str())
}

/// Saves what `entry`, an object as it was read, has beyond its content. Repeatable.
pub(super) async fn save(backup: &dyn FileTarget, name: &FilePath, entry: &Entry, staging: &str) -> Result<()> {
    if entry.object.is_none() && entry.content_type.is_none() {
        return Ok(());
    }
    let failed = |e: serde_json::Error| ConnectorError::new(ErrorKind::Internal, "save the metadata of", entry.path.to_string(), e.to_string());
    let facts = serde_json::to_string(&Stat::of(entry)).map_err(failed)?;
    let text = format!("{}\n{facts}", blake3::hash(facts.as_bytes()).to_hex()).into_bytes();
    let file = Entry { mode: Some(0o600), ..Entry::new(place_of(name), EntryKind::File { size: text.len() as u64 }) };
    let body = futures::stream::once(async move { Ok(bytes::Bytes::from(text)) }).boxed();
    backup.put(&file, staging, body).await.map(drop)
}

/// `original`, a file that is to be put back, with the metadata that was saved of it. Time and mode of an object are in its metadata.
pub(super) async fn with_saved(backup: &dyn FileTarget, name: &FilePath, original: &Stat) -> Result<Stat> {
    let place = place_of(name);
    let mut body = match backup.open(&place, None).await {
        Ok(opened) => opened.body,
        Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Name) => return Ok(original.clone()),
        Err(e) => return Err(e),
    };
    let mut text = Vec::new();
    while let Some(piece) = body.next().await {
        text.extend_from_slice(&piece?);
        if text.len() > MAX_FACTS {
            break;
        }
    }
    let damaged = |why: &str| ConnectorError::new(ErrorKind::Corrupt, "read the saved metadata of", name.to_string(), why).permanent();
    let facts = checked(&text).ok_or_else(|| damaged("its hash is not the recorded one"))?;
    let saved: Stat = serde_json::from_slice(facts).map_err(|e| damaged(&e.to_string()))?;
    Ok(Stat { content_type: saved.content_type, object: saved.object, modified_ns: None, mode: None, ..original.clone() })
}

/// The metadata in a file of ours, when it is what its hash says.
fn checked(text: &[u8]) -> Option<&[u8]> {
    if text.first() == Some(&b'{') {
        return Some(text);
    }
    let (hash, facts) = text.split_at(text.iter().position(|b| *b == b'\n')?);
    let facts = &facts[1..];
    (hash == blake3::hash(facts).to_hex().as_bytes()).then_some(facts)
}

/// Whether headers, user metadata and tags of two objects are equal, as far as both are known.
pub(super) fn same_metadata(one: &Stat, other: &Stat) -> bool {
    let plain = |stat: &Stat| {
        let mut object = stat.object.as_deref().cloned().unwrap_or_default();
        object.user.retain(|name, _| !ports::files::CARRIED_AS_METADATA.contains(&name.as_str()));
        object
    };
    one.content_type == other.content_type && plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_metadata_is_told_from_what_was_saved() {
        let facts = r#"{"k":"directory"}"#;
        let text = format!("{}\n{facts}", blake3::hash(facts.as_bytes()).to_hex());
        assert_eq!(checked(text.as_bytes()), Some(facts.as_bytes()));
        assert_eq!(checked(facts.as_bytes()), Some(facts.as_bytes()), "of an earlier version");
        assert_eq!(checked(text.replace("directory", "directors").as_bytes()), None);
        assert_eq!(checked(b"cut off"), None);
    }
}
