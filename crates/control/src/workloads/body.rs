//! Reading the body of a workload, with `********` standing for what is stored already.

use super::stored::Stored;
use crate::{Control, Error};
use domain::decode::{Fields, Problems};
use domain::secret::MASK;
use domain::workloads::Workload;
use serde_json::Value;

/// Reads a workload. All bad fields come back together; `********` for a secret that is not stored is one of them.
pub(super) fn read(value: &Value) -> Result<Workload, Error> {
    let mut p = Problems::default();
    let mut workload = None;
    if let Some(mut f) = Fields::of("", value, &mut p) {
        workload = Workload::read(&mut f, &mut p);
        f.done(&mut p);
    }
    masked(value, "", &mut p);
    workload.filter(|_| p.is_empty()).ok_or_else(|| Error::request(p))
}

/// Notes every secret that reads `********` although it is wanted in full.
pub(super) fn masked(value: &Value, path: &str, p: &mut Problems) {
    let Value::Object(map) = value else { return };
    for (name, inner) in map {
        let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if domain::spec::SECRET_FIELDS.contains(&name.as_str()) && inner == MASK {
            p.note(at, "reads ********; nothing is stored under this address that it could stand for, so give it in full");
        } else {
            masked(inner, &at, p);
        }
    }
}

/// Puts the stored secrets where `value` shows `********`, and the stored key where it says nothing of keys.
pub(super) fn fill(value: &mut Value, stored: &Value) {
    for pointer in ["/credentials/password", "/ssh/private_key", "/ssh/passphrase"] {
        let Some(secret) = stored.pointer(pointer).filter(|s| s.is_string()) else { continue };
        if let Some(shown) = value.pointer_mut(pointer)
            && *shown == MASK
        {
            shown.clone_from(secret);
        }
    }
}

impl Control {
    /// The body of a change, with the secrets that it keeps.
    pub(super) async fn changed_body(&self, stored: &Stored, value: &Value) -> Result<Workload, Error> {
        let mut value = value.clone();
        fill(&mut value, &self.workload_document(stored).await?);
        read(&value)
    }
}
