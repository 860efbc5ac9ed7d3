//! Where images, kernels and initial ramdisks come from: files below the allowed directories, or addresses whose hash is known.

use super::{Qemu, disk};
use domain::vms::{Image, ImagePlace, VmSpec};
use ports::vms::Fetch;
use ports::{ConnectorError, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

impl Qemu {
    /// The definition with the real paths of its files, each below an allowed directory now.
    pub(super) fn checked_files(&self, spec: &VmSpec) -> Result<VmSpec> {
        let mut spec = spec.clone();
        for file in [&mut spec.kernel, &mut spec.initrd].into_iter().flatten() {
            *file = self.real(file)?.display().to_string();
        }
        Ok(spec)
    }

    fn real(&self, path: &str) -> Result<PathBuf> {
        let refused = |reason: &str| {
            ConnectorError::new(ErrorKind::Permission, "use the file", path.escape_default().to_string(), reason)
                .advice("Put it below a directory that the server was started with --image-root for")
        };
        let real = Path::new(path).canonicalize().map_err(|_| refused("it cannot be found below an allowed directory"))?;
        let allowed = self.image_roots.iter().filter_map(|r| r.canonicalize().ok()).any(|root| real.starts_with(root));
        if allowed && real.is_file() { Ok(real) } else { Err(refused("it is not a file below an allowed directory")) }
    }

    /// The image's own file on this machine; fetched the first time.
    pub(super) async fn base(&self, image: &Image) -> Result<PathBuf> {
        match &image.place {
            ImagePlace::Path { path } => self.real(path),
            ImagePlace::Url { url, sha256 } => self.fetched(image, url, sha256).await,
            ImagePlace::Moved { migration } => {
                let reason = "the machine's disk came with it, and is not there any more";
                Err(ConnectorError::new(ErrorKind::NotFound, "make a new disk out of", format!("the migration {migration}"), reason))
            }
        }
    }

    async fn fetched(&self, image: &Image, url: &str, sha256: &str) -> Result<PathBuf> {
        let directory = self.directory.join(".images");
        let file = directory.join(disk::kept_name(image, sha256));
        if file.exists() {
            return Ok(file);
        }
        let none = || ConnectorError::new(ErrorKind::Unsupported, "fetch the image", url, "this server fetches nothing from elsewhere").advice("Give a path");
        let source = self.fetch.as_ref().ok_or_else(none)?;
        let failed = |e: std::io::Error| kept(url, &e);
        tokio::fs::create_dir_all(&directory).await.map_err(failed)?;
        // Each fetch has a file of its own: two machines may want the same image at once. It is gone again unless it is whole.
        let fresh = directory.join(format!("{sha256}.{}.new", uuid::Uuid::now_v7().simple()));
        let copied = copy(source.as_ref(), &fresh, url, sha256).await;
        let done = match copied {
            Ok(()) => tokio::fs::rename(&fresh, &file).await.map_err(failed),
            Err(error) => Err(error),
        };
        if done.is_err() {
            let _gone = tokio::fs::remove_file(&fresh).await;
        }
        done.map(|()| file)
    }
}

fn kept(url: &str, error: &std::io::Error) -> ConnectorError {
    let kind = if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::NoSpace } else { ErrorKind::Interrupted };
    ConnectorError::new(kind, "fetch the image", url, error.to_string())
}

/// Down to the disk; what counts is the hash of what is there.
async fn copy(source: &dyn Fetch, to: &Path, url: &str, sha256: &str) -> Result<()> {
    let failed = |e: std::io::Error| kept(url, &e);
    let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
    source.fetch(url, &mut file).await?;
    file.sync_all().await.map_err(failed)?;
    let stored = to.to_owned();
    let hashed = tokio::task::spawn_blocking(move || hash(&stored)).await;
    let found = hashed.map_err(|e| kept(url, &std::io::Error::other(e)))?.map_err(failed)?;
    if found == sha256 {
        return Ok(());
    }
    let reason = format!("what arrived has the SHA-256 {found}, not {sha256}");
    Err(ConnectorError::new(ErrorKind::Corrupt, "fetch the image", url, reason)
        .advice("Compare the hash with what its publisher says; do not simply take the new one"))
}

pub(super) fn hash(file: &Path) -> std::io::Result<String> {
    let (mut file, mut hash) = (std::fs::File::open(file)?, Sha256::new());
    std::io::copy(&mut file, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}
