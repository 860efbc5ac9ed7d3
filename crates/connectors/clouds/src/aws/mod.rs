//! AWS, and services that speak as it does: who we are from STS, machines from EC2.

mod instance;
mod query;

use domain::workloads::{Address, AwsAt};
use ports::clouds::{Cloud, Exchange, Identity, Machine};
use ports::{ErrorKind, Result};
use query::{Query, Service};
use std::net::IpAddr;
use std::sync::Arc;

/// Machines in one answer.
const PAGE: &str = "100";
/// More pages than anybody has machines for.
const PAGES: usize = 10_000;

pub struct Aws {
    query: Query,
}

impl Aws {
    pub fn new(at: AwsAt, exchange: Arc<dyn Exchange>) -> Self {
        Self { query: Query::new(at, exchange) }
    }

    /// The machines at the address among those that a filter of EC2 leaves.
    async fn found(&self, filter: Option<&str>, address: &Address) -> Result<Vec<Machine>> {
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let mut fields = vec![("MaxResults", PAGE)];
            if let Some(name) = filter {
                fields.extend([("Filter.1.Name", name), ("Filter.1.Value.1", address.as_str())]);
            }
            if let Some(token) = &token {
                fields.push(("NextToken", token));
            }
            let body = self.query.ask(Service::Ec2, "DescribeInstances", &fields).await?;
            let page = instance::page(&body, self.query.subject())?;
            found.extend(page.machines.into_iter().filter(|(machine, _)| machine.is_at(address)));
            match page.next {
                None => return self.with_disks(found).await,
                same if same == token => break,
                next => token = next,
            }
        }
        Err(crate::xml::strange(self.query.subject(), "goes on without an end"))
    }

    /// Fills the sizes of the disks in, where the credentials may see them.
    async fn with_disks(&self, found: Vec<(Machine, Vec<String>)>) -> Result<Vec<Machine>> {
        let mut out = Vec::with_capacity(found.len());
        for (mut machine, volumes) in found {
            machine.disks = match self.disks(&volumes).await {
                Err(e) if e.kind == ErrorKind::Permission => Vec::new(),
                disks => disks?,
            };
            out.push(machine);
        }
        out.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(out)
    }

    async fn disks(&self, volumes: &[String]) -> Result<Vec<ports::clouds::Disk>> {
        if volumes.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = (1..=volumes.len()).map(|n| format!("VolumeId.{n}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(volumes.iter().map(String::as_str)).collect();
        instance::volumes(&self.query.ask(Service::Ec2, "DescribeVolumes", &fields).await?, self.query.subject())
    }
}

#[async_trait::async_trait]
impl Cloud for Aws {
    async fn identify(&self) -> Result<Identity> {
        instance::identity(&self.query.ask(Service::Sts, "GetCallerIdentity", &[]).await?, self.query.subject())
    }

    async fn machines_at(&self, address: &Address) -> Result<Vec<Machine>> {
        // EC2 finds the first addresses of its machines by itself; second ones, and those of IPv6, are found by looking at all.
        let filters: &[&str] = match address.as_str().parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => &["private-ip-address", "ip-address"],
            Ok(IpAddr::V6(_)) => &[],
            Err(_) => &["private-dns-name", "dns-name"],
        };
        for filter in filters {
            let found = self.found(Some(filter), address).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        self.found(None, address).await
    }
}
