//! Reading what is asked about machines: every bad field is named at once.

use super::Setup;
use crate::Error;
use domain::decode::{Fields, Problems};
use domain::vms::{ImagePlace, VmSpec, is_snapshot_name};
use ports::Courier;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use utoipa::ToSchema;

/// Seconds that a guest has to switch itself off, unless the caller says otherwise.
const PATIENCE: u64 = 30;
const LONGEST_PATIENCE: u64 = 600;

/// Body of `POST /vms`. A name alone is enough.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VmBody {
    #[schema(example = "vm1")]
    pub name: String,
    /// 1 to 64; 1 unless said otherwise.
    pub vcpus: Option<u32>,
    /// 16 to 1048576; 512 unless said otherwise.
    pub memory_mib: Option<u64>,
    /// 1 to 65536; as large as the image unless said otherwise, without an image 1.
    pub disk_gib: Option<u64>,
    /// Absolute path of a qcow2 or raw image below one of the server's image directories, or an object: `{"path", "format"?}` or
    /// `{"url", "sha256", "format"?}`. The image is never written to.
    pub image: Option<Value>,
    /// A Linux kernel to boot without a boot loader; a path like the image's.
    pub kernel: Option<String>,
    pub initrd: Option<String>,
    /// The kernel's command line; `console=ttyS0` unless said otherwise.
    pub append: Option<String>,
    /// Where it is to run; wherever the request arrived unless said otherwise.
    pub node: Option<String>,
}

/// Body of `POST /vms/{id}/stop`; may be left out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StopBody {
    /// Pulls the plug at once, also of a machine that is starting or stopping.
    pub force: Option<bool>,
    /// How long the guest has to switch itself off after its power button was pressed, before the plug is pulled: 1 to 600, 30 unless said otherwise.
    #[schema(example = 30)]
    pub timeout_seconds: Option<u64>,
}

/// Body of `POST /vms/{id}/snapshots`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SnapshotBody {
    /// 1 to 64 letters, digits, dots, dashes and underscores; the time unless said otherwise.
    #[schema(example = "before-upgrade")]
    pub name: Option<String>,
}

/// The definition, checked against this node's directories when it is to run here.
pub(super) fn definition(body: &Value, setup: &Setup, node: &str, courier: &dyn Courier) -> Result<VmSpec, Error> {
    let mut problems = Problems::default();
    let spec = VmSpec::decode(body, &mut problems);
    if let Some(spec) = spec.as_ref().filter(|s| s.node.as_deref().is_none_or(|n| n == node)) {
        check_files(spec, &setup.image_roots, &mut problems);
    }
    // Images come from where webhooks may lead; the address is checked again when it is fetched.
    if let Some(ImagePlace::Url { url, .. }) = spec.as_ref().and_then(|s| s.image.as_ref()).map(|i| &i.place)
        && !problems.0.iter().any(|p| p.field == "image.url")
        && let Err(why) = courier.admits(url)
    {
        problems.note("image.url", why);
    }
    match spec {
        Some(spec) if problems.is_empty() => Ok(spec),
        _ => Err(Error::request(problems)),
    }
}

fn check_files(spec: &VmSpec, roots: &[PathBuf], problems: &mut Problems) {
    let image = spec.image.as_ref().and_then(|i| if let ImagePlace::Path { path } = &i.place { Some(path) } else { None });
    for (field, path) in [("image", image), ("kernel", spec.kernel.as_ref()), ("initrd", spec.initrd.as_ref())] {
        // What is no good path was noted before.
        let known = problems.0.iter().any(|p| p.field.starts_with(field));
        if let Some(why) = path.filter(|_| !known).and_then(|p| refusal(p, roots)) {
            problems.note(field, why);
        }
    }
}

/// Why this file may not be used; `None` when it may.
pub(super) fn refusal(path: &str, roots: &[PathBuf]) -> Option<String> {
    let shown = path.escape_default();
    if roots.is_empty() {
        return Some(format!("'{shown}' is a path on the server's own disk, and this server allows none; start it with --image-root DIR to allow a directory"));
    }
    let below = |real: &Path| roots.iter().filter_map(|r| r.canonicalize().ok()).any(|root| real.starts_with(root));
    match Path::new(path).canonicalize() {
        // What lies outside looks the same whether it is there or not.
        Ok(real) if !below(&real) => Some(format!("'{shown}' is not a file below a directory that this server allows (see serve --image-root)")),
        Ok(real) if !real.is_file() => Some(format!("'{shown}' is no file")),
        Ok(_) => None,
        Err(_) => Some(format!("'{shown}' is not a file below a directory that this server allows (see serve --image-root)")),
    }
}

/// `None`: pull the plug at once; else for how long the guest is waited for.
pub(super) fn stop(body: Option<&Value>) -> Result<Option<u64>, Error> {
    let (mut force, mut patience) = (false, PATIENCE);
    read(body, |f, p| {
        force = f.flag("force", false, p);
        patience = f.integer("timeout_seconds", 1..=LONGEST_PATIENCE, p).unwrap_or(PATIENCE);
        if force && f.has("timeout_seconds") {
            p.note("timeout_seconds", "makes no sense beside force");
        }
    })?;
    Ok((!force).then_some(patience))
}

/// The name of a new snapshot.
pub(super) fn snapshot(body: Option<&Value>) -> Result<String, Error> {
    let mut name = jiff::Timestamp::now().strftime("%Y-%m-%dT%H.%M.%S.%3f").to_string();
    read(body, |f, p| {
        let Some(given) = f.text("name", p) else { return };
        if !is_snapshot_name(&given) {
            p.note("name", "must be 1 to 64 letters, digits, dots, dashes or underscores, the first one a letter or digit");
        }
        name = given;
    })?;
    Ok(name)
}

/// A body that may only be empty.
pub(super) fn nothing(body: Option<&Value>) -> Result<(), Error> {
    read(body, |_, _| {})
}

fn read(body: Option<&Value>, each: impl FnOnce(&mut Fields<'_>, &mut Problems)) -> Result<(), Error> {
    let empty = json!({});
    let mut problems = Problems::default();
    if let Some(mut fields) = Fields::of("", body.unwrap_or(&empty), &mut problems) {
        each(&mut fields, &mut problems);
        fields.done(&mut problems);
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::request(problems)) }
}
