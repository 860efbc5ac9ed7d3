//! Reading what is asked about machines: every bad field is named at once.

use crate::{Control, Error};
use domain::decode::{Fields, Problems};
use domain::vms::{ImagePlace, VmSpec, is_snapshot_name};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use utoipa::ToSchema;

/// Seconds that a guest has to switch itself off, unless the caller says otherwise.
const PATIENCE: u64 = 30;
const LONGEST_PATIENCE: u64 = 600;
/// How the names begin of what a migration makes an image from.
const UNFINISHED: &str = ".migration-";

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
pub(super) async fn definition(control: &Control, tenant: &str, body: &Value, node: &str) -> Result<VmSpec, Error> {
    let mut problems = Problems::default();
    let spec = VmSpec::decode(body, &mut problems);
    if let Some(spec) = spec.as_ref().filter(|s| s.node.as_deref().is_none_or(|n| n == node)) {
        check_files(control, tenant, spec, &mut problems).await?;
    }
    // Images come from where webhooks may lead; the address is checked again when it is fetched.
    if let Some(ImagePlace::Url { url, .. }) = spec.as_ref().and_then(|s| s.image.as_ref()).map(|i| &i.place)
        && !problems.0.iter().any(|p| p.field == "image.url")
        && let Err(why) = control.courier().admits(url)
    {
        problems.note("image.url", why);
    }
    match spec {
        Some(spec) if problems.is_empty() => Ok(spec),
        _ => Err(Error::request(problems)),
    }
}

async fn check_files(control: &Control, tenant: &str, spec: &VmSpec, problems: &mut Problems) -> Result<(), Error> {
    for (field, path) in files(spec) {
        // What is no good path was noted before.
        if problems.0.iter().any(|p| p.field.starts_with(field)) {
            continue;
        }
        let why = refusal(path, &control.options().vms.image_roots);
        let foreign = why.is_none() && control.is_image_of_another(tenant, path).await?;
        if let Some(why) = why.or_else(|| foreign.then(|| outside(path))) {
            problems.note(field, why);
        }
    }
    Ok(())
}

/// The server's own files that a machine needs, and the fields that name them.
fn files(spec: &VmSpec) -> impl Iterator<Item = (&'static str, &str)> {
    let image = spec.image.as_ref().and_then(|i| if let ImagePlace::Path { path } = &i.place { Some(path) } else { None });
    let all = [("image", image), ("kernel", spec.kernel.as_ref()), ("initrd", spec.initrd.as_ref())];
    all.into_iter().filter_map(|(field, path)| Some((field, path?.as_str())))
}

impl Control {
    /// Asked again before a start: a file of the machine may have become another tenant's since. Says why it may not be used.
    pub(super) async fn refused_file(&self, tenant: &str, spec: &VmSpec) -> Result<Option<String>, Error> {
        for (_, path) in files(spec) {
            if is_unfinished(Path::new(path)) || self.is_image_of_another(tenant, path).await? {
                return Ok(Some(outside(path)));
            }
        }
        Ok(None)
    }
}

/// Why this file may not be used; `None` when it may. What is another tenant's is asked apart: [`Control::is_image_of_another`].
pub(super) fn refusal(path: &str, roots: &[PathBuf]) -> Option<String> {
    let shown = path.escape_default();
    if roots.is_empty() {
        return Some(format!("'{shown}' is a path on the server's own disk, and this server allows none; start it with --image-root DIR to allow a directory"));
    }
    let below = |real: &Path| roots.iter().filter_map(|r| r.canonicalize().ok()).any(|root| real.starts_with(root));
    match Path::new(path).canonicalize() {
        // What lies outside looks the same whether it is there or not, and so does what a migration is still making.
        Ok(real) if !below(&real) || is_unfinished(&real) || is_unfinished(Path::new(path)) => Some(outside(path)),
        Ok(real) if !real.is_file() => Some(format!("'{shown}' is no file")),
        Ok(_) => None,
        Err(_) => Some(outside(path)),
    }
}

fn outside(path: &str) -> String {
    format!("'{}' is not a file below a directory that this server allows (see serve --image-root)", path.escape_default())
}

/// Whether it lies in what a migration makes an image from, or is that itself.
fn is_unfinished(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_made_looks_as_if_it_were_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(at(".migration-1")).unwrap();
        for name in ["good", ".migration-2.raw", ".migration-1/tree"] {
            std::fs::write(at(name), b"x").unwrap();
        }
        std::os::unix::fs::symlink(at(".migration-2.raw"), at("link")).unwrap();
        let roots = [dir.path().to_owned()];
        assert_eq!(refusal(&at("good"), &roots), None);
        for bad in [".migration-2.raw", ".migration-1/tree", ".migration-3", "missing", "link"] {
            assert_eq!(refusal(&at(bad), &roots), Some(outside(&at(bad))), "{bad}");
        }
    }
}
