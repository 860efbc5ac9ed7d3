//! What tests share: the addresses of the real servers of the rig.

pub mod rig;
