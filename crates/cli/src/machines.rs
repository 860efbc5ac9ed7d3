//! `serve`'s options for virtual machines, and what runs them.

use crate::failure::Failure;
use clap::{Args, ValueEnum};
use ports::files::FileTarget;
use ports::images::DiskImages;
use ports::vms::Fetch;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Virtual machines")]
pub struct Machines {
    /// Directory for images, kernels and initial ramdisks, new images too (repeatable; none by default)
    #[arg(long, value_name = "DIR")]
    pub image_root: Vec<PathBuf>,
    /// Name of this node, where several servers share a database [default: the machine's host name]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub node_name: Option<String>,
    /// What runs the guests' instructions: the processor (kvm), QEMU's translator (tcg), or kvm wherever a guest really runs with it
    #[arg(long, value_enum, default_value = "auto")]
    pub accelerator: Accelerator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    Kvm,
    Tcg,
    Auto,
}

impl From<Accelerator> for connectors_hosts::Accelerator {
    fn from(given: Accelerator) -> Self {
        match given {
            Accelerator::Kvm => Self::Kvm,
            Accelerator::Tcg => Self::Tcg,
            Accelerator::Auto => Self::Auto,
        }
    }
}

impl Machines {
    /// QEMU, with its machines in the data directory.
    pub fn setup(&self, data_dir: &Path, fetch: Arc<dyn Fetch>) -> Result<control::vms::Setup, Failure> {
        let resolved = |root: &PathBuf| match root.canonicalize() {
            Ok(path) if path.is_dir() => Ok(path),
            Ok(_) => Err(Failure::usage(format!("--image-root {}: is no directory", root.display()))),
            Err(e) => Err(Failure::usage(format!("--image-root {}: {e}", root.display()))),
        };
        let image_roots = self.image_root.iter().map(resolved).collect::<Result<Vec<_>, _>>()?;
        let host = connectors_hosts::Qemu::new(data_dir.join("vms"), image_roots.clone(), Some(fetch));
        let host = Arc::new(host.accelerated_by(self.accelerator.into()));
        Ok(control::vms::Setup { host: Some(host.clone()), disks: Some(host), node: self.node_name.clone().unwrap_or_default(), image_roots })
    }
}

/// What makes disk images below these directories; nothing where none is allowed.
pub fn images(roots: &[PathBuf]) -> Option<Arc<dyn DiskImages>> {
    let door = |handle, shown| -> Arc<dyn FileTarget> { Arc::new(connectors_files::local::LocalFiles::of_handle(handle, shown)) };
    (!roots.is_empty()).then(|| -> Arc<dyn DiskImages> { Arc::new(connectors_hosts::Images::new(roots.to_vec(), door)) })
}

fn name(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good { Ok(text.to_owned()) } else { Err("must be 1 to 64 letters, digits, dots, dashes or underscores".to_owned()) }
}
