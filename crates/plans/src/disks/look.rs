//! What there is to move: everything that only reads.

use super::description::{Description, LARGEST};
use super::job::{Job, Way, made_of};
use crate::Settings;
use crate::validation::CheckReport;
use crate::wordpress::detect::read_small;
use domain::spec::{MigrationSpec, NewMachine, SourceMachine, description_of};
use domain::vms::{ImageFormat, VmSpec};
use futures::StreamExt;
use ports::files::{EntryKind, FilePath, FileTarget};
use ports::{ConnectorError, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Entries of a source that are looked through for the one image with a description.
const LOOKED_THROUGH: usize = 10_000;
/// What ends the name of such an image's description.
const DESCRIBED: &str = ".qcow2.json";
/// Where a qcow2 file says how much its guest sees, and how much of the file is read for that.
const SIZE_AT: std::ops::Range<usize> = 24..32;
const HEADER: u64 = 512;
const MAGIC: &[u8] = b"QFI\xfb";

/// A disk that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The machine that it belongs to, or that is made for it.
    pub machine: VmSpec,
    /// The file outside, below its root.
    pub image: String,
    pub format: ImageFormat,
    /// Bytes that it takes now, here or there.
    pub bytes: u64,
    /// Bytes that a guest sees.
    pub size: u64,
    /// Of an image that arrives, where somebody vouches for it.
    pub sha256: Option<String>,
}

impl Disk {
    /// What the image is called beside the disk of the machine that is made.
    pub fn staged(&self) -> &'static str {
        match self.format {
            ImageFormat::Qcow2 => "image.qcow2",
            ImageFormat::Raw => "image.raw",
        }
    }
}

impl Job {
    /// `run` may have the machine already.
    pub async fn look(&self, tenant: &str, run: &str) -> Result<Disk> {
        match self.way()? {
            Way::Out(machine) => self.look_at_machine(machine, tenant, run).await,
            Way::In(machine) => self.look_at_image(machine).await,
        }
    }

    async fn look_at_machine(&self, at: &SourceMachine, tenant: &str, run: &str) -> Result<Disk> {
        let machine = self.machines.holds.find(tenant, &at.id, run).await?;
        let (bytes, size) = self.machines.disks.disk(&at.id).await?;
        let image = at.image.clone().unwrap_or_else(|| file_of(&machine.name));
        let outside = self.outside().await?;
        for name in [image.clone(), description_of(&image)] {
            let path = FilePath::from(name.as_str());
            outside.accepts(&path)?;
            if exists(outside.as_ref(), &path).await? {
                let reason = "something of that name is there, and nothing is ever replaced";
                let at = format!("{name} in {}", outside.location());
                return Err(ConnectorError::new(ErrorKind::AlreadyExists, "write", at, reason)
                    .advice("Give source.image another name, or the destination another prefix"));
            }
        }
        Ok(Disk { machine, image, format: ImageFormat::Qcow2, bytes, size, sha256: None })
    }

    async fn look_at_image(&self, new: &NewMachine) -> Result<Disk> {
        let outside = self.outside().await?.as_ref();
        let image = match &new.image {
            Some(image) => image.clone(),
            None => only_described(outside).await?,
        };
        let at = format!("{image} in {}", outside.location());
        let entry = outside.stat(&FilePath::from(image.as_str())).await?.filter(|e| matches!(e.kind, EntryKind::File { .. }));
        let entry = entry.ok_or_else(|| ConnectorError::new(ErrorKind::NotFound, "find", &at, "there is no such file").advice("Check destination.image"))?;
        let description = description(outside, &image).await?;
        let format = new.format.or(description.as_ref().map(|d| d.image.format)).unwrap_or_else(|| ImageFormat::of(&image));
        let size = match format {
            ImageFormat::Raw => entry.size(),
            ImageFormat::Qcow2 => guest_size(outside, &image, &at).await?,
        };
        let vouched = description.as_ref().map(|d| d.image.disk.sha256.to_ascii_lowercase());
        if let (Some(asked), Some(told)) = (&new.sha256, &vouched)
            && asked != told
        {
            let reason = format!("its description says SHA-256 {told}, and destination.sha256 says {asked}");
            return Err(ConnectorError::new(ErrorKind::Corrupt, "use", at, reason).advice("Find out which of them is right; do not simply leave one out"));
        }
        let machine = made_of(new, description.as_ref().map(|d| d.machine(&at)).transpose()?, size);
        self.machines.holds.admits(&machine).map_err(|(field, why)| {
            ConnectorError::new(ErrorKind::Permission, "use", format!("the {field} of the new machine"), why)
                .advice(format!("Give another destination.{field}"))
        })?;
        Ok(Disk { machine, image, format, bytes: entry.size(), size, sha256: new.sha256.clone().or(vouched) })
    }
}

/// A machine's name as the name of a file everywhere.
fn file_of(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let plain = plain.trim_start_matches(['.', '-']);
    format!("{}.qcow2", if plain.is_empty() { "disk" } else { plain })
}

async fn exists(files: &dyn FileTarget, path: &FilePath) -> Result<bool> {
    match files.stat(path).await {
        Err(e) if e.kind == ErrorKind::NotFound => Ok(false),
        found => Ok(found?.is_some()),
    }
}

/// The name of the one image that has a description.
async fn only_described(files: &dyn FileTarget) -> Result<String> {
    let (mut found, mut listed) = (Vec::new(), files.list().take(LOOKED_THROUGH));
    while let Some(entry) = listed.next().await {
        let path = entry?.path;
        found.extend(path.as_str().and_then(|path| path.strip_suffix(DESCRIBED)).map(|stem| format!("{stem}.qcow2")));
        if found.len() > 1 {
            break;
        }
    }
    match <[String; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(found) => {
            let reason = found.first().map_or_else(|| "there is none".to_owned(), |first| format!("there is more than one, {first} among them"));
            Err(ConnectorError::new(ErrorKind::NotFound, "find the one image with a description in", files.location(), reason)
                .advice("Name it with destination.image"))
        }
    }
}

async fn description(files: &dyn FileTarget, image: &str) -> Result<Option<Description>> {
    let path = FilePath::from(description_of(image).as_str());
    let Some((_, text)) = read_small(files, &path, LARGEST).await? else { return Ok(None) };
    let at = format!("{path} in {}", files.location());
    let description = Description::read(&text, &at)?;
    Ok(Some(description))
}

/// What the file says of itself; whether it is true is seen when it is here.
async fn guest_size(files: &dyn FileTarget, image: &str, at: &str) -> Result<u64> {
    let mut body = files.open(&FilePath::from(image), Some(0..HEADER)).await?.body;
    let mut header = Vec::new();
    while let Some(piece) = body.next().await {
        header.extend_from_slice(&piece?);
    }
    let size = header.get(SIZE_AT).filter(|_| header.starts_with(MAGIC)).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    size.ok_or_else(|| ConnectorError::new(ErrorKind::Invalid, "use the image", at, "it is no qcow2 file").advice("Say with destination.format what it is"))
}

/// The machine's side of a validation, as one check.
pub(crate) async fn checks(spec: &MigrationSpec, settings: &Settings, tenant: &str) -> CheckReport {
    let began = Instant::now();
    let (side, field) = if spec.source.machine.is_some() { ("source", "vm") } else { ("destination", "image") };
    let outcome = match &settings.machines {
        Some(machines) => Job::new(settings.clone(), machines.clone(), spec.clone()).look(tenant, "").await.map(|disk| words(&disk)),
        None => Err(no_machines()),
    };
    let outcome = crate::validation::machine_outcome(outcome, &format!("{side}.{field}"));
    CheckReport { check: format!("{side}_machine"), system: side.to_owned(), outcome, duration_ms: began.elapsed().as_millis() as u64 }
}

pub(crate) fn no_machines() -> ConnectorError {
    ConnectorError::new(ErrorKind::Unsupported, "move the disk of", "a virtual machine", "this program keeps none")
        .advice("Ask a server that does: add --server http://…")
}

fn words(disk: &Disk) -> String {
    format!("{}: {}, of which the guest sees {}", disk.image, domain::units::size(disk.bytes), domain::units::size(disk.size))
}

#[cfg(test)]
mod tests {
    use super::file_of;

    #[test]
    fn names_of_machines_become_names_of_files() {
        for (name, file) in [("web 1", "web-1.qcow2"), ("../../etc", "etc.qcow2"), ("ä", "disk.qcow2"), ("a.b_c-1", "a.b_c-1.qcow2")] {
            assert_eq!(file_of(name), file);
        }
    }
}
