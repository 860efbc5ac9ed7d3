//! Looking names up, with every answer checked. The HTTP client connects to what this gives it and to nothing else, so a name that
//! leads elsewhere at the next look is checked at that look.

use crate::addresses::Policy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where addresses of names come from.
#[async_trait::async_trait]
pub trait Lookup: Send + Sync {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own way: hosts file, then DNS.
pub struct SystemNames;

#[async_trait::async_trait]
impl Lookup for SystemNames {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|a| a.ip()).collect())
    }
}

/// A name leads where nobody may go.
#[derive(Debug)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Why a name gives no address to connect to.
#[derive(Debug)]
pub enum NoAddress {
    Refused(Refused),
    NotFound(io::Error),
}

/// The addresses of a name; none at all when one of them is refused.
pub async fn checked(names: &dyn Lookup, policy: Policy, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
    let found = names.addresses(name).await.map_err(NoAddress::NotFound)?;
    if let Some(why) = found.iter().find_map(|ip| policy.refuses(*ip)) {
        return Err(NoAddress::Refused(Refused(format!("the name {name} leads inside: {why}"))));
    }
    if found.is_empty() {
        return Err(NoAddress::NotFound(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(found)
}

/// The HTTP client's only way to addresses.
pub struct CheckedNames {
    pub policy: Policy,
    pub names: Arc<dyn Lookup>,
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, names) = (self.policy, self.names.clone());
        Box::pin(async move {
            match checked(names.as_ref(), policy, name.as_str()).await {
                Ok(found) => Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs),
                Err(NoAddress::Refused(refused)) => Err(refused.into()),
                Err(NoAddress::NotFound(error)) => Err(error.into()),
            }
        })
    }
}
