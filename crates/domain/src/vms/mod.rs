//! Virtual machines: what may be said about one, and what its status allows.

mod image;
mod snapshot;
mod spec;
mod state;

pub use image::{Image, ImageFormat, ImagePlace};
pub use snapshot::is_snapshot_name;
pub use spec::VmSpec;
pub(crate) use spec::is_path;
pub use state::{Operation, Refusal, Seen, VmState, VmStatus};
