//! Which machines lie over an image.

use super::stored::{KIND, Stored};
use crate::error::{Code, Kind};
use crate::{Control, Error};
use domain::vms::ImagePlace;
use ports::records::RecordFilter;
use serde_json::json;
use std::path::{Path, PathBuf};

impl Control {
    /// Refuses to take away an image that machines of the tenant lie over: they could never start again. `run` made it.
    pub(crate) async fn refuse_image_in_use(&self, tenant: &str, run: &str, image: &str) -> Result<(), Error> {
        let real = |path: &str| Path::new(path).canonicalize().unwrap_or_else(|_| PathBuf::from(path));
        let wanted = real(image);
        let mut over = Vec::new();
        for record in self.records().list(tenant, KIND, &RecordFilter::default()).await? {
            let vm = Stored::of(record)?;
            let image = vm.body.spec.image.map(|i| i.place);
            if matches!(&image, Some(ImagePlace::Path { path }) if real(path) == wanted) {
                over.push((vm.record.id, vm.body.spec.name));
            }
        }
        if over.is_empty() {
            return Ok(());
        }
        let names = over.iter().map(|(_, name)| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let message = format!("Cannot take {image} away: the disk of {names} lies over it. Delete these virtual machines first");
        let ids: Vec<_> = over.into_iter().map(|(id, _)| id).collect();
        Err(Error::new(Kind::Conflict, Code::InvalidState, message).details(json!({"session_id": run, "vm_ids": ids})))
    }
}
