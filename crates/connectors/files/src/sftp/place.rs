//! Which directory of which server it is, whatever host name and path say.

use super::whole::exec::{quoted, start_anywhere};
use super::{SftpFiles, write};
use crate::{physical, staging};
use ports::Result;
use ports::files::FilePath;
use ports::place::{FilePlace, PhysicalPath};
use std::path::PathBuf;
use std::time::Duration;

/// A server that runs programs answers at once; one that does not may say nothing.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Says: the kernel's id; the nearest directory above `$p` that exists, without links; what is missing of `$p` below it; the mounts.
const SCRIPT: &[u8] = b"; rest=; while [ ! -d \"$p\" ] && [ \"$p\" != / ]; do rest=\"/${p##*/}$rest\"; p=${p%/*}; p=${p:-/}; done; \
    cat /proc/sys/kernel/random/boot_id && cd -- \"$p\" && pwd -P && printf '%s\\n' \"$rest\" && cat /proc/self/mountinfo";

#[async_trait::async_trait]
impl FilePlace for SftpFiles {
    /// By a program on the server, where the user may start one.
    async fn physical_path(&self) -> Result<Option<PhysicalPath>> {
        let root = self.host.absolute(&FilePath::default());
        let script = [b"p=".as_slice(), &quoted(&root), SCRIPT].concat();
        let asking = async { start_anywhere(&self.host, &script).await?.answer(Vec::new()).await };
        let told = tokio::time::timeout(ANSWER_WITHIN, asking).await;
        Ok(told.ok().and_then(Result::ok).and_then(|(said, _)| read(&said)))
    }

    async fn write_mark(&self, path: &FilePath, content: &[u8], replace: bool) -> Result<()> {
        let entry = staging::mark(path, content.len(), self.host.location())?;
        let over = || if replace { write::Over::Anything } else { write::Over::Nothing };
        let write = || write::put(&self.host, &entry, staging::MARK_TAG, staging::body_of(content), over());
        staging::again_when_swept(write).await
    }
}

fn read(said: &[u8]) -> Option<PhysicalPath> {
    let said = String::from_utf8_lossy(said);
    let mut lines = said.splitn(4, '\n');
    let (boot_id, real, missing, mounts) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
    let odd = boot_id.is_empty() || !real.starts_with('/') || !(missing.is_empty() || missing.starts_with('/'));
    if odd {
        return None;
    }
    let at = physical::locate(boot_id, mounts, &PathBuf::from(real))?;
    let missing = missing.trim_start_matches('/');
    Some(if missing.is_empty() { at } else { PhysicalPath { path: at.path.join(missing), ..at } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_server_is_read_and_a_strange_one_tells_nothing() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
        let found = read(format!("id\n/srv\n/new/deep\n{mounts}").as_bytes()).unwrap();
        assert_eq!((found.file_system.as_str(), found.path), ("id 8:1", PathBuf::from("/srv/new/deep")));
        assert_eq!(read(format!("id\n/srv\n\n{mounts}").as_bytes()).unwrap().path, PathBuf::from("/srv"));
        for odd in ["", "This account is not available.\n", "id\nsrv\n\n22", "\n\n\n\n"] {
            assert_eq!(read(odd.as_bytes()), None, "{odd:?}");
        }
    }
}
