//! What this machine does for servers, behind the doors of `ports`: virtual machines with QEMU, and disk images that such machines start from.

pub mod images;
mod program;
pub mod qemu;

pub use images::Images;
pub use qemu::{Accelerator, Qemu};
