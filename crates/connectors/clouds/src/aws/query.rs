//! One call of AWS' Query interface: a form, a signature (version 4), and what the answers for bad days mean.

use crate::xml;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use domain::Secret;
use domain::workloads::{AwsAt, CloudAt};
use ports::clouds::{Answer, Call, Exchange};
use ports::{ConnectorError, ErrorKind, Result};
use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Sts,
    Ec2,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::Ec2 => "ec2",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Sts => "2011-06-15",
            Self::Ec2 => "2016-11-15",
        }
    }
}

pub struct Query {
    at: AwsAt,
    subject: String,
    exchange: Arc<dyn Exchange>,
}

impl Query {
    pub fn new(mut at: AwsAt, exchange: Arc<dyn Exchange>) -> Self {
        // Part of the address and of the signature, where only this spelling is known.
        at.region.make_ascii_lowercase();
        Self { subject: CloudAt::Aws(at.clone()).describe(), at, exchange }
    }

    /// For messages.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The body of a good answer.
    pub async fn ask(&self, service: Service, action: &str, fields: &[(&str, &str)]) -> Result<Vec<u8>> {
        let (url, body) = (self.url(service), form(service, action, fields));
        let headers = self.signed(service, &url, &body).map_err(|e| {
            ConnectorError::new(ErrorKind::Invalid, "sign a call to", &self.subject, "the endpoint or the credentials cannot be signed with").because(e)
        })?;
        let answer = self.exchange.post(Call { url, headers, body: Secret::new(body) }).await?;
        if answer.status == 200 { Ok(answer.body) } else { Err(refused(&answer, action, &self.subject)) }
    }

    fn url(&self, service: Service) -> String {
        match &self.at.endpoint {
            Some(endpoint) if endpoint.matches('/').count() > 2 => endpoint.clone(),
            Some(endpoint) => format!("{endpoint}/"),
            None => {
                let region = &self.at.region;
                let end = if region.starts_with("cn-") { ".cn" } else { "" };
                format!("https://{}.{region}.amazonaws.com{end}/", service.name())
            }
        }
    }

    /// The headers that go with it.
    fn signed(&self, service: Service, url: &str, body: &str) -> Result<Vec<(String, Secret)>, Box<dyn Error + Send + Sync>> {
        let token = self.at.session_token.as_ref().map(|t| t.expose().to_owned());
        let identity = Credentials::new(&self.at.access_key_id, self.at.secret_access_key.expose(), token, None, "migration target").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.at.region)
            .name(service.name())
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let request = SignableRequest::new("POST", url, [("content-type", FORM)].into_iter(), SignableBody::Bytes(body.as_bytes()))?;
        let (signature, _query) = sign(request, &params)?.into_parts().0.into_parts();
        let mut headers = vec![("content-type".to_owned(), Secret::new(FORM))];
        headers.extend(signature.into_iter().map(|h| (h.name().to_owned(), Secret::new(h.value()))));
        Ok(headers)
    }
}

fn form(service: Service, action: &str, fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("Action", action).append_pair("Version", service.version()).extend_pairs(fields).finish()
}

/// What an answer that is none means, as a letter.
fn refused(answer: &Answer, action: &str, subject: &str) -> ConnectorError {
    let Some((code, message)) = code(&answer.body) else {
        let kind = if answer.status >= 500 { ErrorKind::Unreachable } else { ErrorKind::Protocol };
        return ConnectorError::new(kind, "ask", subject, format!("it answered {action} with HTTP {} and no error that we read", answer.status))
            .advice("Check that migration_target.cloud.endpoint is that of the cloud's own interface");
    };
    let (kind, advice) = meaning(&code, answer.status);
    let said = if message.is_empty() { code } else { format!("{message} ({code})") };
    ConnectorError::new(kind, "ask", subject, format!("it refused {action}: {said}")).advice(advice)
}

/// STS and EC2 wrap their errors differently.
fn code(body: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(body).ok()?;
    let document = xml::parse(text, "").ok()?;
    let root = document.root_element();
    let error = xml::at(root, &["Error"]).or_else(|| xml::at(root, &["Errors", "Error"]))?;
    Some((xml::quoted(&xml::word(error, &["Code"])?), xml::quoted(&xml::word(error, &["Message"]).unwrap_or_default())))
}

fn meaning(code: &str, status: u16) -> (ErrorKind, &'static str) {
    match code {
        "ExpiredToken" | "ExpiredTokenException" => {
            (ErrorKind::Authentication, "Temporary credentials are over: get new ones, and give all three parts (username, password, cloud.session_token)")
        }
        "RequestExpired" | "RequestTimeTooSkewed" => (ErrorKind::Authentication, "Check the clock of the machine that this service runs on"),
        "AuthFailure"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "InvalidToken" => (
            ErrorKind::Authentication,
            "Check migration_target.cloud_credentials: username is the id of an access key, password its secret; temporary ones need cloud.session_token too",
        ),
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" | "OptInRequired" | "Blocked" | "PendingVerification" => {
            (ErrorKind::Permission, "Allow these credentials ec2:DescribeInstances and ec2:DescribeVolumes")
        }
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => (ErrorKind::Throttled, ""),
        _ if status >= 500 => (ErrorKind::Unreachable, "The cloud has a problem of its own; try again later"),
        _ => (ErrorKind::Protocol, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> ConnectorError {
        refused(&Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() }, "DescribeInstances", "aws in r")
    }

    #[test]
    fn bad_days_have_their_kinds() {
        let sts = |code: &str| {
            format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>No.</Message></Error><RequestId>x</RequestId></ErrorResponse>"
            )
        };
        let ec2 =
            |code: &str| format!("<Response><Errors><Error><Code>{code}</Code><Message>No.</Message></Error></Errors><RequestID>x</RequestID></Response>");
        for (status, code, kind) in [
            (403, "ExpiredToken", ErrorKind::Authentication),
            (401, "AuthFailure", ErrorKind::Authentication),
            (400, "RequestExpired", ErrorKind::Authentication),
            (403, "UnauthorizedOperation", ErrorKind::Permission),
            (503, "RequestLimitExceeded", ErrorKind::Throttled),
            (500, "InternalError", ErrorKind::Unreachable),
            (400, "InvalidParameterValue", ErrorKind::Protocol),
        ] {
            assert_eq!((error(status, &sts(code)).kind, error(status, &ec2(code)).kind), (kind, kind), "{code}");
        }
        assert_eq!(
            error(403, &sts("ExpiredToken")).to_string(),
            "could not ask aws in r: it refused DescribeInstances: No. (ExpiredToken). Temporary credentials are over: get new ones, and give all three parts \
             (username, password, cloud.session_token)"
        );
    }

    #[test]
    fn pages_of_proxies_are_not_quoted() {
        for (status, kind) in [(502, ErrorKind::Unreachable), (404, ErrorKind::Protocol), (302, ErrorKind::Protocol)] {
            let error = error(status, "<html><body>canary</body></html>");
            assert!(error.kind == kind && !error.to_string().contains("canary"), "{error}");
        }
    }
}
