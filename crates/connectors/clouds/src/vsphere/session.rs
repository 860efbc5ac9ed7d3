//! A session: from the service's own list of its parts, over the log-in, to the log-out.

use super::soap::{Object, Soap};
use crate::xml;
use domain::Secret;
use ports::Result;
use ports::clouds::{Answer, Identity};

/// The parts of a vCenter that we speak to. A single host names them differently.
pub struct Service {
    session_manager: Object,
    pub search_index: Object,
    pub property_collector: Object,
    account: String,
}

pub struct Session<'a> {
    pub soap: &'a Soap,
    pub service: Service,
    pub identity: Identity,
    cookie: Secret,
}

impl<'a> Session<'a> {
    pub async fn open(soap: &'a Soap, username: &str, password: &Secret) -> Result<Self> {
        let root = Object::new("ServiceInstance", "ServiceInstance");
        let service = service(&soap.call(&root, "RetrieveServiceContent", "", None).await?, soap.subject())?;
        let arguments = format!("<userName>{}</userName><password>{}</password>", soap.escape(username)?, soap.escape(password.expose())?);
        let answer = soap.call(&service.session_manager, "Login", &arguments, None).await?;
        let cookie = cookie(&answer).ok_or_else(|| xml::strange(soap.subject(), "gives no session"))?;
        let identity = Identity { account: service.account.clone(), user: String::new() };
        let mut session = Self { soap, service, identity, cookie };
        match user(&answer, soap.subject()) {
            Ok(user) => session.identity.user = user,
            Err(e) => {
                session.close().await;
                return Err(e);
            }
        }
        Ok(session)
    }

    /// Calls a method within the session.
    pub async fn call(&self, of: &Object, method: &str, arguments: &str) -> Result<Answer> {
        self.soap.call(of, method, arguments, Some(&self.cookie)).await
    }

    /// Logs out. A session that stays open by a failure here ends by itself after half an hour.
    pub async fn close(self) {
        let _over_anyway = self.call(&self.service.session_manager, "Logout", "").await;
    }
}

fn service(answer: &Answer, subject: &str) -> Result<Service> {
    let document = xml::parse(xml::text(&answer.body, subject)?, subject)?;
    let content = xml::at(document.root_element(), &["Body", "RetrieveServiceContentResponse", "returnval"]);
    let content = content.ok_or_else(|| xml::strange(subject, "is no vSphere"))?;
    let part = |name: &str| {
        let node = xml::at(content, &[name])?;
        Some(Object::new(node.attribute("type")?, node.text()?))
    };
    let about = |name: &str| xml::word(content, &["about", name]);
    let read = || {
        let account = about("instanceUuid").or_else(|| about("fullName"))?;
        Some(Service { session_manager: part("sessionManager")?, search_index: part("searchIndex")?, property_collector: part("propertyCollector")?, account })
    };
    read().ok_or_else(|| xml::strange(subject, "has no log-in or no search"))
}

/// What the session is known by: the first part of the cookie, as it came.
fn cookie(answer: &Answer) -> Option<Secret> {
    let pair = answer.cookies.iter().filter_map(|c| c.split(';').next()).find(|c| c.starts_with("vmware_soap_session="))?;
    Some(Secret::new(pair))
}

fn user(answer: &Answer, subject: &str) -> Result<String> {
    let document = xml::parse(xml::text(&answer.body, subject)?, subject)?;
    let name = xml::word(document.root_element(), &["Body", "LoginResponse", "returnval", "userName"]);
    name.ok_or_else(|| xml::strange(subject, "does not say who we are"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ports::ErrorKind;
    use ports::clouds::{Call, Exchange};

    /// Nothing is behind it.
    pub struct Silent;

    #[async_trait::async_trait]
    impl Exchange for Silent {
        async fn post(&self, _call: Call) -> Result<Answer> {
            Ok(Answer::default())
        }
    }

    #[test]
    fn the_cookie_is_given_back_as_it_came() {
        let cookies = ["a=b; Path=/", "vmware_soap_session=\"52cc; Path=/; HttpOnly; Secure"].map(str::to_owned).to_vec();
        assert_eq!(cookie(&Answer { cookies, ..Answer::default() }).unwrap().expose(), "vmware_soap_session=\"52cc");
        assert!(cookie(&Answer::default()).is_none());
    }

    #[test]
    fn another_service_is_named_as_such() {
        for body in ["<html/>", "<Envelope><Body><RetrieveServiceContentResponse><returnval/></RetrieveServiceContentResponse></Body></Envelope>", ""] {
            let answer = Answer { body: body.as_bytes().to_vec(), ..Answer::default() };
            assert_eq!(service(&answer, "s").err().map(|e| e.kind), Some(ErrorKind::Protocol), "{body}");
            assert_eq!(user(&answer, "s").unwrap_err().kind, ErrorKind::Protocol);
        }
    }
}
