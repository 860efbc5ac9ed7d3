//! Metadata of objects in a backup: a file system has no place for it, so it lies beside the content as a small file of its own.

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
    let text = serde_json::to_vec(&Stat::of(entry)).map_err(failed)?;
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
    let damaged = |e: serde_json::Error| ConnectorError::new(ErrorKind::Corrupt, "read the saved metadata of", name.to_string(), e.to_string());
    let saved: Stat = serde_json::from_slice(&text).map_err(damaged)?;
    Ok(Stat { content_type: saved.content_type, object: saved.object, modified_ns: None, mode: None, ..original.clone() })
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
