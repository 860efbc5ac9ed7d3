//! Where a WordPress keeps its `wp-config.php`: in the web root, or one directory above it (if that is no WordPress of its own).

use crate::wordpress::CONFIG;
use domain::spec::{FilesAt, System};
use ports::files::{FilePath, FileTarget};
use ports::{ConnectorError, Connectors, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;

/// The door to the directory that holds the file.
pub struct ConfigPlace {
    pub files: Arc<dyn FileTarget>,
    /// It is the directory above the web root.
    pub above: bool,
}

/// The directory above a web root; `None` where there is none, as in a bucket.
fn above(at: &FilesAt) -> Option<FilesAt> {
    let parent = |root: &str| Path::new(root).parent().map(|p| p.to_string_lossy().into_owned());
    match at {
        FilesAt::Local { root } => Some(FilesAt::Local { root: parent(root)? }),
        FilesAt::Sftp { ssh, root } => Some(FilesAt::Sftp { ssh: ssh.clone(), root: parent(root)? }),
        FilesAt::S3(_) | FilesAt::Objects(_) => None,
    }
}

/// Whether the document says that the file is above the web root.
fn said_above(system: &System) -> bool {
    let (Some(config), Some(FilesAt::Local { root } | FilesAt::Sftp { root, .. })) = (&system.config, &system.files) else { return false };
    config.trim_end_matches('/') != root.trim_end_matches('/')
}

async fn open_above(system: &System, connectors: &dyn Connectors) -> Result<Option<ConfigPlace>> {
    let Some(at) = system.files.as_ref().and_then(above) else { return Ok(None) };
    let files = connectors.files(&at, 1).await?;
    Ok(Some(ConfigPlace { files, above: true }))
}

/// Where the source's file is; `None` when it is nowhere. Reads only.
pub async fn of_source(system: &System, web_root: &Arc<dyn FileTarget>, connectors: &dyn Connectors) -> Result<Option<ConfigPlace>> {
    let file = FilePath::from(CONFIG);
    if !said_above(system) {
        if web_root.stat(&file).await?.is_some() {
            return Ok(Some(ConfigPlace { files: web_root.clone(), above: false }));
        }
        if system.config.is_some() {
            return Ok(None);
        }
    }
    let place = match open_above(system, connectors).await {
        Ok(Some(place)) => place,
        Ok(None) => return Ok(None),
        // Not ours to look into: then it is not there.
        Err(e) if matches!(e.kind, ErrorKind::Permission | ErrorKind::NotFound) && !said_above(system) => return Ok(None),
        Err(e) => return Err(e),
    };
    let (config, settings) = tokio::try_join!(place.files.stat(&file), async { place.files.stat(&FilePath::from("wp-settings.php")).await })?;
    Ok((config.is_some() && settings.is_none()).then_some(place))
}

/// Where the destination's file is to be: above the web root only when the document says so.
pub async fn of_destination(system: &System, web_root: &Arc<dyn FileTarget>, connectors: &dyn Connectors) -> Result<ConfigPlace> {
    let there = ConfigPlace { files: web_root.clone(), above: false };
    Ok(if said_above(system) { open_above(system, connectors).await?.unwrap_or(there) } else { there })
}

/// What to say when the source has none.
pub fn missing(location: &str) -> ConnectorError {
    let subject = format!("{}/{CONFIG}", location.trim_end_matches('/'));
    let reason = "there is no wp-config.php, neither there nor one directory above, so this is no WordPress web root";
    ConnectorError::new(ErrorKind::NotFound, "read", subject, reason).advice("Check paths.web_root, or use the type 'server'")
}
