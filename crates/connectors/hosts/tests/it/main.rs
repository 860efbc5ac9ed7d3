//! QEMU against the suite that every host of virtual machines passes, with a real Linux guest; and what is peculiar to it.

mod exports;
mod qemu;
