//! The door to a cloud: whose credentials are these, and which machine has this address. Nothing is ever changed through it.

use crate::Result;
use domain::Secret;
use domain::workloads::Address;
use serde::{Deserialize, Serialize};

/// Whose credentials they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cloud's own word for what is billed or administered as one: an account's number, a vCenter's id.
    pub account: String,
    pub user: String,
}

/// Whether a machine is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerState {
    Running,
    Starting,
    Stopping,
    Stopped,
    Suspended,
    /// The cloud uses a word that we do not know.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub id: String,
    pub bytes: u64,
}

/// A machine as its cloud shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub id: String,
    pub name: Option<String>,
    pub state: PowerState,
    /// IP addresses and host names, inner and outer ones.
    pub addresses: Vec<String>,
    /// Where in the cloud it is, in the cloud's own word.
    pub zone: Option<String>,
    /// Empty when the credentials may not see them.
    pub disks: Vec<Disk>,
}

impl Machine {
    /// Whether it has this address, in any spelling.
    pub fn is_at(&self, address: &Address) -> bool {
        self.addresses.iter().any(|a| Address::parse(a).is_ok_and(|a| a == *address))
    }
}

/// The door.
#[async_trait::async_trait]
pub trait Cloud: Send + Sync {
    /// [`crate::ErrorKind::Authentication`] when the cloud does not take the credentials (any more).
    async fn identify(&self) -> Result<Identity>;

    /// Machines with this address among those that the credentials may see; those that are being thrown away left out. None is no error,
    /// and an inner address may belong to several. [`crate::ErrorKind::Permission`] when the credentials may not look.
    async fn machines_at(&self, address: &Address) -> Result<Vec<Machine>>;
}

/// What is posted to a cloud.
#[derive(Debug, Clone)]
pub struct Call {
    pub url: String,
    pub headers: Vec<(String, Secret)>,
    pub body: Secret,
}

/// What came back, whatever its status.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    /// As in `Set-Cookie`.
    pub cookies: Vec<String>,
    pub body: Vec<u8>,
}

/// Carries calls to clouds. Whoever implements it decides which addresses may be spoken to, how long that may take and how long an answer may be.
#[async_trait::async_trait]
pub trait Exchange: Send + Sync {
    /// Posts to this address and to no other: a redirect is an answer like any other.
    async fn post(&self, call: Call) -> Result<Answer>;
}
