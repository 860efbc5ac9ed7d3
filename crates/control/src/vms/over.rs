//! Which machines lie over an image.

use super::stored::{KIND, NODE, Stored, place, tenant_of};
use crate::error::{Code, Kind};
use crate::{Control, Error};
use domain::vms::ImagePlace;
use ports::records::{RecordFilter, SYSTEM};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

impl Control {
    /// Refuses to take away an image that machines lie over, whoever has them: they could never start again. `run` made it.
    pub(crate) async fn refuse_image_in_use(&self, tenant: &str, run: &str, image: &str) -> Result<(), Error> {
        let (own, foreign): (Vec<_>, Vec<_>) = self.vms_over(image).await?.into_iter().partition(|vm| vm.record.tenant == tenant);
        if own.is_empty() && foreign.is_empty() {
            return Ok(());
        }
        let mut over = own.iter().map(|vm| format!("'{}'", vm.body.spec.name)).collect::<Vec<_>>();
        if !foreign.is_empty() {
            // Their names are nobody else's business.
            over.push(format!("{} of other tenants", foreign.len()));
        }
        let message = format!("Cannot take {image} away: the disk of {} lies over it. Delete these virtual machines first", over.join(", "));
        let ids: Vec<_> = own.iter().map(|vm| &vm.record.id).collect();
        Err(Error::new(Kind::Conflict, Code::InvalidState, message).details(json!({"session_id": run, "vm_ids": ids})))
    }

    /// Machines of every tenant, on every node.
    async fn vms_over(&self, image: &str) -> Result<Vec<Stored>, Error> {
        let real = |path: &str| Path::new(path).canonicalize().unwrap_or_else(|_| PathBuf::from(path));
        let wanted = real(image);
        let mut nodes: BTreeSet<String> = self.records().list(SYSTEM, NODE, &RecordFilter::default()).await?.into_iter().map(|node| node.id).collect();
        nodes.insert(self.own_node());
        let mut found = Vec::new();
        for node in nodes {
            for at in self.records().list(SYSTEM, &place(&node), &RecordFilter::default()).await? {
                // One that is gone meanwhile lies over nothing.
                let Some(record) = self.records().get(&tenant_of(&at), KIND, &at.id).await? else { continue };
                let vm = Stored::of(record)?;
                if matches!(vm.body.spec.image.as_ref().map(|i| &i.place), Some(ImagePlace::Path { path }) if real(path) == wanted) {
                    found.push(vm);
                }
            }
        }
        Ok(found)
    }
}
