//! Many files as one stream of GNU tar's, which knows holes, owners and attributes.

use super::SshTree;
use super::exec::{self, Fed};
use super::list::names;
use crate::tar::Reader;
use futures::stream::{self, StreamExt};
use ports::files::FilePath;
use ports::files::posix::{Pack, Packed};
use ports::{ConnectorError, ErrorKind, Result};

struct Packing {
    fed: Fed,
    reader: Reader,
    location: String,
}

pub(super) async fn open(tree: &SshTree, paths: Vec<FilePath>) -> Result<Pack> {
    let attributes = if tree.tools.tar_attributes { "--xattrs --xattrs-include='*' " } else { "" };
    let script = format!(
        "exec tar -c -f - -b 128 --format=posix --no-recursion --no-unquote --ignore-failed-read --numeric-owner --sparse --hard-dereference {attributes}--null -T -"
    );
    let fed = exec::start(&tree.host, &script).await?.fed(names(paths.iter().filter(|p| p.is_plain())));
    let packing = Packing { fed, reader: Reader::new(), location: tree.host.location().to_owned() };
    let pieces = stream::unfold(Some(packing), |packing| async move {
        let mut packing = packing?;
        match packing.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(packing))),
            Ok(None) => None,
            Err(e) => Some((Err(e), None)),
        }
    });
    Ok(pieces.boxed())
}

impl Packing {
    async fn next(&mut self) -> Result<Option<Packed>> {
        loop {
            let next = self.reader.next().map_err(|e| ConnectorError::new(ErrorKind::Protocol, "read the archive from", &self.location, e.0))?;
            match next {
                Some(Packed::Begin { mut entry, data, fresh }) => {
                    let path = entry.path.as_bytes();
                    entry.path = FilePath::new(path.strip_prefix(b"./").unwrap_or(path));
                    return Ok(Some(Packed::Begin { entry, data, fresh }));
                }
                Some(piece) => return Ok(Some(piece)),
                None => {}
            }
            match self.fed.output.next().await? {
                Some(bytes) => self.reader.push(bytes),
                None => return self.end(),
            }
        }
    }

    /// Complaints about single files are not told here: who asked sees what is missing.
    fn end(&self) -> Result<Option<Packed>> {
        let ended = self.fed.output.ended()?;
        if self.reader.has_ended() {
            return Ok(None);
        }
        Err(ended.letter("pack files of", &self.location))
    }
}
