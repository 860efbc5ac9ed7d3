//! vSphere (vCenter, or a single ESXi host): who we are from the session, machines from the search index, which knows what VMware Tools report.
//!
//! Each question is a session of its own that is closed again; one whose question was broken off ends by itself after half an hour.

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

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Secret;
    use ports::ErrorKind;
    use ports::clouds::{Answer, Call};
    use std::sync::Mutex;

    /// A vCenter that finds nothing because it breaks; remembers what it was asked, and with which cookie.
    #[derive(Default)]
    struct Breaking(Mutex<Vec<(String, bool)>>);

    const CONTENT: &str = "<E><Body><RetrieveServiceContentResponse><returnval><about><fullName>v</fullName></about><sessionManager type=\"SessionManager\">s</sessionManager>\
         <searchIndex type=\"SearchIndex\">i</searchIndex><propertyCollector type=\"PropertyCollector\">p</propertyCollector></returnval></RetrieveServiceContentResponse></Body></E>";

    #[async_trait::async_trait]
    impl Exchange for Breaking {
        async fn post(&self, call: Call) -> Result<Answer> {
            let methods = ["RetrieveServiceContent", "Login", "FindAllByIp", "Logout"];
            let method = methods.into_iter().find(|m| call.body.expose().contains(&format!("<{m} "))).expect("a method");
            let cookie = call.headers.iter().any(|(name, value)| name == "cookie" && value.expose() == "vmware_soap_session=x");
            self.0.lock().expect("the list").push((method.to_owned(), cookie));
            let (status, body) = match method {
                "RetrieveServiceContent" => (200, CONTENT),
                "Login" => (200, "<E><Body><LoginResponse><returnval><userName>me</userName></returnval></LoginResponse></Body></E>"),
                _ => (503, ""),
            };
            Ok(Answer { status, cookies: vec!["vmware_soap_session=x; Path=/".to_owned()], body: body.as_bytes().to_vec() })
        }
    }

    #[tokio::test]
    async fn every_session_is_closed_again() {
        let at = VsphereAt { endpoint: "https://h".to_owned(), username: "me".to_owned(), password: Secret::new("p"), ca: None };
        let exchange = Arc::new(Breaking::default());
        let vsphere = Vsphere::new(at, exchange.clone());
        let error = vsphere.machines_at(&Address::parse("10.0.0.1").unwrap()).await.unwrap_err();
        assert_eq!((error.kind, vsphere.identify().await.unwrap().user.as_str()), (ErrorKind::Unreachable, "me"));
        let heard: Vec<(String, bool)> = exchange.0.lock().expect("the list").clone();
        let expected = [
            ("RetrieveServiceContent", false),
            ("Login", false),
            ("FindAllByIp", true),
            ("Logout", true),
            ("RetrieveServiceContent", false),
            ("Login", false),
            ("Logout", true),
        ];
        assert_eq!(heard, expected.map(|(method, cookie)| (method.to_owned(), cookie)));
    }
}
