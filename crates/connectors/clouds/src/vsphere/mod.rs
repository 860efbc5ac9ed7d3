//! vSphere (vCenter, or a single ESXi host): who we are from the session, machines from the search index, which knows what VMware Tools report.
//!
//! Each question is a session of its own that is closed again: nothing is left behind on the vCenter.

mod machine;
mod session;
mod soap;

use domain::workloads::{Address, CloudAt, VsphereAt};
use ports::Result;
use ports::clouds::{Cloud, Exchange, Identity, Machine};
use session::Session;
use std::net::IpAddr;
use std::sync::Arc;

pub struct Vsphere {
    at: VsphereAt,
    soap: soap::Soap,
}

impl Vsphere {
    pub fn new(at: VsphereAt, exchange: Arc<dyn Exchange>) -> Self {
        let subject = CloudAt::Vsphere(at.clone()).describe();
        Self { soap: soap::Soap::new(&at.endpoint, subject, exchange), at }
    }

    async fn log_in(&self) -> Result<Session<'_>> {
        Session::open(&self.soap, &self.at.username, &self.at.password).await
    }
}

#[async_trait::async_trait]
impl Cloud for Vsphere {
    async fn identify(&self) -> Result<Identity> {
        let session = self.log_in().await?;
        let identity = session.identity.clone();
        session.close().await;
        Ok(identity)
    }

    async fn machines_at(&self, address: &Address) -> Result<Vec<Machine>> {
        let session = self.log_in().await?;
        let found = search(&session, address).await;
        session.close().await;
        let mut found = found?;
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }
}

async fn search(session: &Session<'_>, address: &Address) -> Result<Vec<Machine>> {
    let (method, field) = if address.as_str().parse::<IpAddr>().is_ok() { ("FindAllByIp", "ip") } else { ("FindAllByDnsName", "dnsName") };
    let arguments = format!("<{field}>{}</{field}><vmSearch>true</vmSearch>", session.soap.escape(address.as_str())?);
    let answer = session.call(&session.service.search_index, method, &arguments).await?;
    let ids = machine::ids(&answer, session.soap.subject())?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let answer = session.call(&session.service.property_collector, "RetrievePropertiesEx", &machine::wanted(&ids, session.soap)?).await?;
    let machines = machine::read(&answer, session.soap.subject())?;
    Ok(machines.into_iter().filter(|m| m.is_at(address)).collect())
}
