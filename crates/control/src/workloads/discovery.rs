//! Asking a server what it is: its file systems with their real sizes, its operating system, what runs there.

use super::WorkloadView;
use crate::validation::failed_checks;
use crate::{Control, Error, time};
use domain::decode::{Fields, Problems};
use domain::workloads::{MountPoint, Workload};
use jiff::Timestamp;
use ports::hosts::HostFacts;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a discovery found, beside the mount points.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Discovered {
    #[schema(example = "web-01")]
    pub host_name: String,
    #[schema(example = "Debian GNU/Linux 12 (bookworm)")]
    pub operating_system: String,
    #[schema(example = "6.1.0-26-amd64")]
    pub kernel: String,
    #[schema(example = "x86_64")]
    pub architecture: String,
    pub processors: u32,
    /// Bytes.
    pub memory: u64,
    pub listening: Vec<Listener>,
    /// File systems that are never moved.
    pub left_out: Vec<LeftOut>,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub discovered_at: String,
}

/// A program that listens.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    #[schema(example = "nginx")]
    pub program: String,
    #[schema(example = "tcp")]
    pub protocol: String,
    #[schema(example = "0.0.0.0")]
    pub address: String,
    #[schema(example = 80)]
    pub port: u16,
}

/// A file system that is never moved, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LeftOut {
    #[schema(example = "/proc")]
    pub mount_point: String,
    #[schema(example = "proc")]
    pub kind: String,
    #[schema(example = "the kernel makes it up; it is not stored anywhere")]
    pub reason: String,
}

/// The answer of a server.
pub(super) struct Found {
    pub mount_points: Vec<MountPoint>,
    pub view: Discovered,
}

impl Control {
    /// Connects to a workload and stores what it tells: its mount points (in the place of those so far), its operating system, what runs
    /// there. Body, optional: `host_key`, the fingerprint that is confirmed by this, kept with the workload.
    pub async fn discover_workload(&self, tenant: &str, ip: &str, value: Option<&Value>) -> Result<WorkloadView, Error> {
        let confirmed = confirmed(value)?;
        let stored = self.find_workload(tenant, ip).await?;
        let mut document = self.workload_document(&stored).await?;
        if let Some(key) = confirmed {
            document["ssh"]["host_key"] = key.into();
        }
        let mut workload = super::body::read(&document)?;
        let found = self.ask(&workload).await?;
        workload.mount_points = found.mount_points;
        self.replace(tenant, &stored, &workload, Some(found.view)).await?;
        self.workload(tenant, ip).await
    }

    /// What the server tells; [`crate::Code::ValidationFailed`] with the reason when it does not.
    pub(super) async fn ask(&self, workload: &Workload) -> Result<Found, Error> {
        let at = workload.ssh_at(workload.is_windows());
        let failed = |e: ports::ConnectorError| failed_checks("discovery", &e);
        let host = self.settings().connectors.host(&at).await.map_err(failed)?;
        Ok(found(host.facts().await.map_err(failed)?))
    }
}

fn confirmed(value: Option<&Value>) -> Result<Option<String>, Error> {
    let Some(value) = value else { return Ok(None) };
    let mut p = Problems::default();
    let mut key = None;
    if let Some(mut f) = Fields::of("", value, &mut p) {
        key = f.text("host_key", &mut p);
        f.done(&mut p);
    }
    if p.is_empty() { Ok(key) } else { Err(Error::request(p)) }
}

fn found(facts: HostFacts) -> Found {
    let mount_points = facts.file_systems.iter().map(|f| MountPoint { mount_point_name: f.mount_point.clone(), total_size: f.total }).collect();
    let listening = facts.listening.into_iter().map(|l| Listener { program: l.program, protocol: l.protocol, address: l.address, port: l.port }).collect();
    let left_out = facts.left_out.into_iter().map(|l| LeftOut { mount_point: l.mount_point, kind: l.kind, reason: l.reason }).collect();
    let view = Discovered {
        host_name: facts.host_name,
        operating_system: facts.operating_system,
        kernel: facts.kernel,
        architecture: facts.architecture,
        processors: facts.processors,
        memory: facts.memory,
        listening,
        left_out,
        discovered_at: time::text(Timestamp::now()),
    };
    Found { mount_points, view }
}
