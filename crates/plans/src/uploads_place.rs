//! Where the uploads of a source are, and where at the destination they belong.

use crate::uploads::WithUploads;
use crate::wordpress::config::Config;
use domain::spec::{FilesAt, MigrationSpec, SystemKind};
use futures::{StreamExt, TryStreamExt};
use ports::databases::{Database, View};
use ports::files::FileTarget;
use ports::{ConnectorError, Connectors, ErrorKind, Result};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Where WordPress keeps them unless it is told otherwise; relative to the web root.
const USUAL: &str = "wp-content/uploads";

/// Uploads that lie outside the source's web root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploads {
    /// Their directory at the source.
    pub from: String,
    /// Their place at the destination, relative to the web root.
    pub to: String,
    /// The value of the option `upload_path`, if that is what names them.
    pub option: Option<String>,
}

impl Uploads {
    /// What the option `upload_path` is to be: empty means the usual place.
    pub fn new_option(&self) -> String {
        if self.to == USUAL { String::new() } else { self.to.clone() }
    }
}

fn root(at: &FilesAt) -> Option<&str> {
    match at {
        FilesAt::Local { root } | FilesAt::Sftp { root, .. } => Some(root),
        FilesAt::S3(_) | FilesAt::Objects(_) => None,
    }
}

/// The path with `.` and `..` taken out, made absolute below `root`.
fn absolute(root: &str, path: &str) -> PathBuf {
    let joined = Path::new(root).join(path);
    joined.components().fold(PathBuf::new(), |mut out, part| {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
        out
    })
}

/// What names the uploads' directory: the document, the constant `UPLOADS`, or the option `upload_path`.
async fn named(spec: &MigrationSpec, config: Option<&Config>, prefix: &str, database: Option<&Arc<dyn Database>>) -> Result<Option<(String, Option<String>)>> {
    if let Some(said) = &spec.source.uploads {
        let option = if config.is_some() { option(prefix, database).await? } else { None };
        return Ok(Some((said.clone(), option)));
    }
    let Some(config) = config else { return Ok(None) };
    if let Ok(constant) = config.text("UPLOADS") {
        return Ok(Some((constant, None)));
    }
    Ok(option(prefix, database).await?.map(|value| (value.clone(), Some(value))))
}

/// The option `upload_path`; `None` when it is empty or there is no database.
async fn option(prefix: &str, database: Option<&Arc<dyn Database>>) -> Result<Option<String>> {
    let Some((database, editor)) = database.and_then(|d| Some((d, d.cells()?))) else { return Ok(None) };
    let rows = database.read(View::Latest { connections: 1 }).await?;
    let schema = rows.schema().await;
    rows.close().await?;
    let name = format!("{prefix}options");
    let schema = schema?;
    let Some(table) = schema.tables.iter().find(|t| t.name.name == name) else { return Ok(None) };
    let columns = ["option_name".to_owned(), "option_value".to_owned()];
    let mut found = editor.containing(table, &columns, &["upload_path".to_owned()]);
    while let Some(row) = found.try_next().await? {
        if let [Some(name), Some(value)] = row.values.as_slice()
            && name == b"upload_path"
        {
            let value = String::from_utf8_lossy(value).trim().trim_end_matches('/').to_owned();
            return Ok((!value.is_empty()).then_some(value));
        }
    }
    Ok(None)
}

/// The place at the destination, relative to its web root; `None` when nothing says where.
fn destination(spec: &MigrationSpec) -> Result<Option<String>> {
    let usual = (spec.source.kind == SystemKind::Wordpress).then(|| USUAL.to_owned());
    let (Some(said), Some(root)) = (&spec.destination.uploads, spec.destination.files.as_ref().and_then(root)) else { return Ok(usual) };
    let path = absolute(root, said);
    match path.strip_prefix(root).ok().and_then(Path::to_str).filter(|p| !p.is_empty()) {
        Some(inside) => Ok(Some(inside.to_owned())),
        None => Err(ConnectorError::new(ErrorKind::Invalid, "place the uploads in", said, "it lies outside the destination's web root")
            .advice("Give a directory below destination.paths.web_root as destination.paths.uploads, or leave it out for the usual place")),
    }
}

/// The source's files with its uploads, when these lie outside the web root and there is a place for them. Reads only.
pub async fn join(
    spec: &MigrationSpec,
    wordpress: Option<(&Config, &str)>,
    database: Option<&Arc<dyn Database>>,
    web_root: Arc<dyn FileTarget>,
    connectors: &dyn Connectors,
    notes: &mut Vec<String>,
) -> Result<(Arc<dyn FileTarget>, Option<Uploads>)> {
    let to = destination(spec)?;
    let (Some(at), Some(own_root)) = (&spec.source.files, spec.source.files.as_ref().and_then(root)) else { return Ok((web_root, None)) };
    let prefix = wordpress.map(|(_, prefix)| prefix).unwrap_or_default();
    let Some((named, option)) = named(spec, wordpress.map(|(config, _)| config), prefix, database).await? else { return Ok((web_root, None)) };
    let path = absolute(own_root, &named);
    let (false, Some(to)) = (path.starts_with(own_root), to) else { return Ok((web_root, None)) };
    let from = path.to_string_lossy().into_owned();
    let door = match at {
        FilesAt::Sftp { ssh, .. } => FilesAt::Sftp { ssh: ssh.clone(), root: from.clone() },
        _ => FilesAt::Local { root: from.clone() },
    };
    let uploads = connectors.files(&door, spec.transfer.parallel_transfers).await?;
    let missing = matches!(uploads.list().next().await, Some(Err(e)) if e.kind == ErrorKind::NotFound);
    if missing && spec.source.uploads.is_none() {
        notes.push(format!("the site names {from} as its directory of uploads, but there is none"));
        return Ok((web_root, None));
    }
    notes.push(format!("the uploads in {from}, outside the web root, are moved to {to} below the destination's web root"));
    let joined = WithUploads::new(web_root, uploads, &to);
    Ok((Arc::new(joined), Some(Uploads { from, to, option })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute_below_the_web_root() {
        for (path, expected) in [("wp-content/x", "/srv/www/wp-content/x"), ("../media/", "/srv/media"), ("/data/up", "/data/up"), ("./a/../b", "/srv/www/b")] {
            assert_eq!(absolute("/srv/www", path), Path::new(expected), "{path}");
        }
    }
}
