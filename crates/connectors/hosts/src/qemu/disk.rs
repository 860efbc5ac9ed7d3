//! A machine's own disk: empty, or a layer over an image that is never written to.

use super::Qemu;
use super::place::Place;
use crate::program::{IMG, run};
use domain::vms::{Image, ImageFormat, VmSpec};
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::Value;
use std::path::Path;

/// Size of an empty disk unless the definition says otherwise, in GiB.
const EMPTY: u64 = 1;

impl Qemu {
    /// Makes it if there is none. It appears whole or not at all.
    pub(super) async fn prepare_disk(&self, place: &Place, spec: &VmSpec) -> Result<()> {
        let disk = place.file("disk.qcow2");
        if disk.exists() {
            return Ok(());
        }
        let fresh = place.file("disk.qcow2.new");
        let mut words: Vec<String> = ["create", "-q", "-f", "qcow2"].map(str::to_owned).into();
        let mut gib = spec.disk_gib;
        if let Some(image) = &spec.image {
            let base = self.base(image).await?;
            check_image(&base, image.format, spec.disk_gib).await?;
            words.extend(["-b".to_owned(), base.display().to_string(), "-F".to_owned(), image.format.word().to_owned()]);
        } else {
            gib = Some(gib.unwrap_or(EMPTY));
        }
        words.push(fresh.display().to_string());
        words.extend(gib.map(|gib| format!("{gib}G")));
        run(IMG, &words).await.map_err(|e| about(place, e))?;
        std::fs::rename(&fresh, &disk).map_err(|e| place.failed("make the disk of", &e))
    }
}

fn about(place: &Place, error: ConnectorError) -> ConnectorError {
    let subject = format!("virtual machine {}", place.id);
    ConnectorError { operation: "make the disk of".to_owned(), subject, ..error }
}

/// What QEMU's tool says of a disk, which nobody trusts yet: with limits on its memory and time.
pub(super) async fn described(file: &Path, format: ImageFormat) -> Result<Value> {
    let file = file.display().to_string();
    let words = ["--as=2147483648", "--cpu=30", IMG, "info", "-U", "--output=json", "-f", format.word(), &file];
    let text = run("prlimit", words).await.map_err(|e| if e.kind == ErrorKind::Unsupported { e } else { unusable(&file, &e.reason) })?;
    serde_json::from_str(&text).map_err(|e| unusable(&file, &e.to_string()))
}

pub(super) fn unusable(file: &str, why: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, "use the image", file, why).advice("Give a complete qcow2 or raw image, and its format if the name does not tell")
}

/// What a whole image is: bytes that its guest sees. An image may point to other files of this machine, which its guest would then read: refused.
pub(super) async fn whole_size(file: &Path, format: ImageFormat) -> Result<u64> {
    let facts = described(file, format).await?;
    let shown = file.display().to_string();
    let points = facts.get("backing-filename").is_some() || facts["format-specific"]["data"].get("data-file").is_some();
    if points {
        return Err(unusable(&shown, "it is made of more than one file"));
    }
    if facts["encrypted"] == Value::Bool(true) {
        return Err(unusable(&shown, "it is encrypted"));
    }
    facts["virtual-size"].as_u64().ok_or_else(|| unusable(&shown, "it has no size"))
}

async fn check_image(file: &Path, format: ImageFormat, gib: Option<u64>) -> Result<()> {
    let size = whole_size(file, format).await?;
    match gib {
        Some(gib) if gib << 30 < size => {
            let reason = format!("it is {} GiB large, and the machine's disk is to have {gib}", size.div_ceil(1 << 30));
            Err(ConnectorError::new(ErrorKind::Invalid, "use the image", file.display().to_string(), reason)
                .advice("Give the machine a larger disk_gib, or none"))
        }
        _ => Ok(()),
    }
}

/// The snapshots on a disk that no process has open: each with the size of its memory.
pub(super) async fn snapshots(place: &Place) -> Result<Vec<(String, u64)>> {
    let facts = described(&place.file("disk.qcow2"), ImageFormat::Qcow2).await?;
    Ok(named(&facts["snapshots"]))
}

/// Names and sizes of memories out of a list as QEMU writes it.
pub(super) fn named(list: &Value) -> Vec<(String, u64)> {
    let each = list.as_array().into_iter().flatten();
    each.filter_map(|s| Some((s["name"].as_str()?.to_owned(), s["vm-state-size"].as_u64().unwrap_or(0)))).collect()
}

/// The format of an image that is kept under its hash.
pub(super) fn kept_name(image: &Image, sha256: &str) -> String {
    format!("{sha256}.{}", image.format.word())
}
