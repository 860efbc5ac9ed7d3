//! One call of the SOAP interface: envelope, cookie, and what its faults mean.

use crate::xml;
use domain::Secret;
use ports::clouds::{Answer, Call, Exchange};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;

/// A managed object: its type and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub kind: String,
    pub id: String,
}

impl Object {
    pub fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned() }
    }
}

pub struct Soap {
    url: String,
    subject: String,
    exchange: Arc<dyn Exchange>,
}

impl Soap {
    pub fn new(endpoint: &str, subject: String, exchange: Arc<dyn Exchange>) -> Self {
        let endpoint = endpoint.trim_end_matches('/');
        let url = if endpoint.ends_with("/sdk") { endpoint.to_owned() } else { format!("{endpoint}/sdk") };
        Self { url, subject, exchange }
    }

    /// For messages.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// A text for the inside of an element.
    pub fn escape(&self, text: &str) -> Result<String> {
        xml::escaped(text).ok_or_else(|| {
            ConnectorError::new(ErrorKind::Invalid, "ask", &self.subject, "a name or a password has a control character, which its interface cannot carry")
        })
    }

    /// Calls a method of an object with `arguments`, which are XML already. The answer was good.
    pub async fn call(&self, of: &Object, method: &str, arguments: &str, cookie: Option<&Secret>) -> Result<Answer> {
        let (kind, id) = (self.escape(&of.kind)?, self.escape(&of.id)?);
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><e:Body><{method} xmlns=\"urn:vim25\"><_this type=\"{kind}\">{id}</_this>{arguments}</{method}>\
             </e:Body></e:Envelope>"
        );
        let mut headers =
            vec![("content-type".to_owned(), Secret::new("text/xml; charset=utf-8")), ("soapaction".to_owned(), Secret::new("\"urn:vim25/6.0\""))];
        headers.extend(cookie.map(|c| ("cookie".to_owned(), c.clone())));
        let answer = self.exchange.post(Call { url: self.url.clone(), headers, body: Secret::new(body) }).await?;
        if answer.status == 200 { Ok(answer) } else { Err(self.refused(&answer, method)) }
    }

    fn refused(&self, answer: &Answer, method: &str) -> ConnectorError {
        let Some((fault, words)) = fault(&answer.body) else {
            let kind = if answer.status >= 501 { ErrorKind::Unreachable } else { ErrorKind::Protocol };
            return ConnectorError::new(kind, "ask", &self.subject, format!("it answered {method} with HTTP {} and no error that we read", answer.status))
                .advice("Check that migration_target.cloud.endpoint is that of the vCenter itself");
        };
        let (kind, advice) = match fault.as_str() {
            "InvalidLogin" => (
                ErrorKind::Authentication,
                "Check migration_target.cloud_credentials: username and password as in the vSphere Client, with the domain in the name or in domain",
            ),
            "NotAuthenticated" | "PasswordExpired" | "PasswordChangeRequired" => (ErrorKind::Authentication, "Log in to the vSphere Client with them once"),
            "NoPermission" | "RestrictedByAdministrator" => (ErrorKind::Permission, "Give the account the role Read-only"),
            _ => (ErrorKind::Protocol, ""),
        };
        ConnectorError::new(kind, "ask", &self.subject, format!("it refused {method}: {words} ({fault})")).advice(advice)
    }
}

/// The fault's type and its words.
fn fault(body: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(body).ok()?;
    let document = xml::parse(text, "").ok()?;
    let fault = xml::at(document.root_element(), &["Body", "Fault"])?;
    let words = xml::word(fault, &["faultstring"]).unwrap_or_default();
    let kind = xml::at(fault, &["detail"]).and_then(|d| d.first_element_child()).map(|f| {
        let named = f.attributes().find(|a| a.name() == "type").map(|a| a.value().rsplit(':').next().unwrap_or_default().to_owned());
        named.unwrap_or_else(|| f.tag_name().name().trim_end_matches("Fault").to_owned())
    });
    Some((xml::quoted(&kind.unwrap_or_else(|| "no reason".to_owned())), xml::quoted(&words)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vsphere::session::tests::Silent;

    #[test]
    fn faults_have_their_kinds() {
        let soap = Soap::new("https://h/", "vsphere at https://h".to_owned(), Arc::new(Silent));
        let fault = |detail: &str| {
            format!(
                "<e:Envelope xmlns:e=\"x\" xmlns:xsi=\"y\"><e:Body><e:Fault><faultstring>No.</faultstring><detail>{detail}</detail></e:Fault></e:Body></e:Envelope>"
            )
        };
        let error = |body: &str| soap.refused(&Answer { status: 500, body: body.as_bytes().to_vec(), ..Answer::default() }, "Login");
        for (detail, kind) in [
            ("<InvalidLoginFault xsi:type=\"InvalidLogin\"/>", ErrorKind::Authentication),
            ("<InvalidLoginFault/>", ErrorKind::Authentication),
            ("<NoPermissionFault xmlns=\"urn:vim25\" xsi:type=\"ns1:NoPermission\"/>", ErrorKind::Permission),
            ("<x/>", ErrorKind::Protocol),
            ("", ErrorKind::Protocol),
        ] {
            assert_eq!(error(&fault(detail)).kind, kind, "{detail}");
        }
        assert!(!error("<html>canary</html>").to_string().contains("canary"));
        assert_eq!(soap.url, "https://h/sdk");
        assert_eq!(soap.escape("a\u{1}").unwrap_err().kind, ErrorKind::Invalid);
    }
}
