//! What runs things on this machine, behind the doors of `ports`: virtual machines with QEMU.

pub mod qemu;

pub use qemu::Qemu;
