//! Whose an image is that a migration makes. Image directories belong to the whole server; what a migration puts into one is its tenant's.
//!
//! ```text
//! new migration into an image ─► the path is its tenant's, before the run is there
//! machine over a path ─► when it is made, and at each start: the path is nobody else's
//! ```
//! What says so is a record of the installation, which every node asks. It stays: nobody can tell from here whether a migration that was rolled back or
//! deleted has left something on the disk of another node.

use crate::{Control, Error};
use domain::decode::Problems;
use domain::workloads::Target;
use ports::records::{Fields, Record, RecordsError, SYSTEM, Write};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Kind of the installation's records of such paths; the id is the path's hash.
const OWNER: &str = "image_owner";

impl Control {
    /// Makes the image's path the tenant's own; refuses, as if something were there, what is another tenant's. Repeatable.
    pub(crate) async fn own_image(&self, tenant: &str, target: &Target) -> Result<(), Error> {
        let Some(image) = target.image() else { return Ok(()) };
        let path = real(&image.path);
        let fields = Fields::body(json!({"tenant": tenant, "path": path}));
        match self.records().apply(vec![Write::insert(SYSTEM, OWNER, &id(&path), fields)]).await {
            Ok(_) => return Ok(()),
            Err(RecordsError::Taken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if !self.is_image_of_another(tenant, &image.path).await? {
            return Ok(());
        }
        let mut problems = Problems::default();
        problems.note("migration_target.image.path", super::image::taken(&image.path));
        Err(Error::configuration(problems))
    }

    /// Whether the path is another tenant's.
    pub(crate) async fn is_image_of_another(&self, tenant: &str, path: &str) -> Result<bool, Error> {
        let owner = self.records().get(SYSTEM, OWNER, &id(&real(path))).await?;
        Ok(owner.is_some_and(|record| tenant_of(&record) != Some(tenant)))
    }
}

fn tenant_of(owner: &Record) -> Option<&str> {
    owner.body["tenant"].as_str()
}

/// Where a path leads; its file need not be there.
fn real(path: &str) -> PathBuf {
    let path = Path::new(path);
    let beside = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(beside).unwrap_or_else(|| path.to_owned())
}

fn id(path: &Path) -> String {
    hex::encode(Sha256::digest(path.as_os_str().as_encoded_bytes()))
}
