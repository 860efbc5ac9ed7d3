//! The door to a server as such: what it is, which file systems it has, what runs there. Files go through [`crate::files`].

use crate::Result;
use crate::check::Examine;
use serde::{Deserialize, Serialize};

/// A file system as it hangs in the tree of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedFileSystem {
    /// `/data` or `C:\`.
    pub mount_point: String,
    /// `ext4`, `xfs`, `NTFS`, …
    pub kind: String,
    /// Bytes; as `df` counts them.
    pub total: u64,
    pub used: u64,
    /// What the user who asks may still write.
    pub free: u64,
}

/// A file system that is never moved, and why: pseudo (`proc`), in memory, or on another machine (`nfs4`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutFileSystem {
    pub mount_point: String,
    pub kind: String,
    pub reason: String,
}

/// A program that listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListeningProgram {
    /// Empty where the user who asks may not know.
    pub program: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub address: String,
    pub port: u16,
}

/// What a server told of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    pub host_name: String,
    /// `Debian GNU/Linux 12 (bookworm)`, `Microsoft Windows Server 2022`.
    pub operating_system: String,
    pub kernel: String,
    pub architecture: String,
    pub processors: u32,
    /// Bytes.
    pub memory: u64,
    pub file_systems: Vec<MountedFileSystem>,
    pub left_out: Vec<LeftOutFileSystem>,
    pub listening: Vec<ListeningProgram>,
}

/// A server that can be asked. Reads only; repeatable.
#[async_trait::async_trait]
pub trait Host: Examine {
    /// Ends within 15 seconds, with what could be learned or with the reason why nothing could.
    async fn facts(&self) -> Result<HostFacts>;
}
