//! Disk images that virtual machines start from, made on this machine with Linux's own means.
//!
//! ```text
//! <directory>/.migration-<id>/  disk.raw    partition table, boot loader, one ext4 file system
//!                               disk.qcow2  the same in its format, when asked for
//!                               fstab.json  the workload's table of file systems, as it moved
//! <directory>/<name>            a further name of the one or the other, once it is whole
//! ```
//! The file system hangs in no directory of this machine: [`mount`] holds it by a handle, and the kernel unmounts it when the process dies.

mod boot;
mod check;
mod disk;
mod mount;
mod orphans;
mod place;

use domain::workloads::NewImage;
use mount::{Mounted, inside};
use place::Place;
use ports::files::FileTarget;
use ports::images::{Boot, DiskImages, OpenImage, Sealed};
use ports::{ConnectorError, ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::RwLock;

/// Makes a door of the handle of a directory; the text names it for people. The handle stays open as long as the door is used.
pub type Door = fn(OwnedFd, String) -> Arc<dyn FileTarget>;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    roots: Arc<[PathBuf]>,
    door: Door,
}

impl Images {
    /// Images below the `roots`; none allows nothing.
    pub fn new(roots: Vec<PathBuf>, door: Door) -> Self {
        Self { roots: roots.into(), door }
    }

    fn place(&self, id: &str, image: &NewImage) -> Result<Place> {
        Place::new(id, image, &self.roots)
    }
}

#[async_trait::async_trait]
impl DiskImages for Images {
    async fn check(&self, image: &NewImage) -> Result<()> {
        let place = self.place("check", image)?;
        check::machine(&place).await?;
        match place.image.symlink_metadata() {
            Ok(_) => Err(place::taken(&place.image)),
            Err(_) => Ok(()),
        }
    }

    async fn free_space(&self, image: &NewImage) -> Result<u64> {
        let place = self.place("check", image)?;
        let above = place.image.parent().unwrap_or(&place.image);
        let facts = rustix::fs::statvfs(above).map_err(|e| place.failed("ask for the free space of", &e.into()))?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    async fn begin(&self, id: &str, image: &NewImage) -> Result<()> {
        let place = self.place(id, image)?;
        orphans::end(&place).await?;
        if place.raw().exists() {
            return Ok(());
        }
        place.make()?;
        disk::make(&place, id, image).await
    }

    async fn open(&self, id: &str, image: &NewImage) -> Result<Arc<dyn OpenImage>> {
        let place = self.place(id, image)?;
        orphans::end(&place).await?;
        let mounted = Mounted::open(&place).await?;
        Ok(Arc::new(Open { place, id: id.to_owned(), door: self.door, mounted: Arc::new(RwLock::new(Some(mounted))) }))
    }

    async fn seal(&self, id: &str, image: &NewImage, boot: &Boot) -> Result<Sealed> {
        let place = self.place(id, image)?;
        orphans::end(&place).await?;
        disk::seal(&place, boot).await
    }

    async fn publish(&self, id: &str, image: &NewImage, sealed: &Sealed) -> Result<()> {
        self.place(id, image)?.publish(&sealed.identity)
    }

    async fn remove(&self, id: &str, image: &NewImage, sealed: Option<&Sealed>) -> Result<bool> {
        let place = self.place(id, image)?;
        orphans::end(&place).await?;
        if place.raw().exists() {
            mount::release(&place.raw().display().to_string(), false).await?;
        }
        place.clear()?;
        sealed.map_or(Ok(false), |sealed| place.withdraw(&sealed.identity))
    }
}

struct Open {
    place: Place,
    id: String,
    door: Door,
    /// `None` once it is closed.
    mounted: Arc<RwLock<Option<Mounted>>>,
}

impl Open {
    /// Does blocking work on the file system.
    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&Mounted, &Place) -> Result<T> + Send + 'static) -> Result<T> {
        let (mounted, place) = (self.mounted.clone().read_owned().await, self.place.clone());
        let shown = place.image.display().to_string();
        let done = tokio::task::spawn_blocking(move || match &*mounted {
            Some(mounted) => work(mounted, &place),
            None => Err(ConnectorError::new(ErrorKind::Internal, "use the image", place.image.display().to_string(), "it is closed already")),
        });
        done.await.unwrap_or_else(|e| Err(ConnectorError::new(ErrorKind::Internal, "use the image", shown, "the worker thread ended").because(e)))
    }
}

#[async_trait::async_trait]
impl OpenImage for Open {
    async fn directory(&self, path: &str) -> Result<Arc<dyn FileTarget>> {
        let wanted = path.to_owned();
        let handle = self.with(move |mounted, place| mounted.directory(&wanted).map_err(|e| inside(&place.image, "open the directory", &wanted, e))).await?;
        Ok((self.door)(handle, format!("{}:{path}", self.place.image.display())))
    }

    async fn make_bootable(&self, moved: &[String]) -> Result<Boot> {
        let (moved, names) = (moved.to_vec(), boot::Names { signature: disk::signature(&self.id), uuid: disk::uuid(&self.id), run: self.id.clone() });
        let (boot, menu) = self.with(move |mounted, place| boot::prepare(mounted, place, &names, &moved)).await?;
        if let Some(root) = menu {
            boot::install(&self.place, &root).await?;
        }
        self.with(|mounted, place| mounted.flush().map_err(|e| inside(&place.image, "write", "/", e))).await?;
        Ok(boot)
    }

    async fn close(&self) -> Result<()> {
        let open = self.mounted.read().await.is_some();
        if open {
            self.with(|mounted, place| mounted.settle().map_err(|e| inside(&place.image, "close", "/", e))).await?;
            self.mounted.write().await.take();
        }
        Ok(())
    }
}
