//! Calls to clouds: one address, no redirect, twenty seconds, eight megabytes. Credentials travel in them, so nothing is sent anywhere else.

use crate::addresses::Policy;
use crate::names::{CheckedNames, Lookup, SystemNames};
use crate::post::{not_sent, tls, tls_trusting};
use ports::clouds::{Answer, Call, Exchange};
use ports::{ConnectorError, ErrorKind, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use reqwest::{Client, Response};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// One whole call: names, connection, the answer.
const TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer, in bytes.
const LONGEST: usize = 8 << 20;

/// Posts over HTTP to wherever `policy` allows.
pub struct Exchanger {
    client: Client,
    policy: Policy,
}

impl Exchanger {
    /// `ca` (PEM) vouches for the other side, instead of the system's authorities.
    ///
    /// # Errors
    /// The reason, when `ca` is no certificate or TLS cannot be prepared on this machine.
    pub fn new(policy: Policy, ca: Option<&str>) -> std::result::Result<Self, String> {
        Self::with_names(policy, ca, Arc::new(SystemNames))
    }

    /// The same, with other answers to names.
    ///
    /// # Errors
    /// As [`Exchanger::new`].
    pub fn with_names(policy: Policy, ca: Option<&str>, names: Arc<dyn Lookup>) -> std::result::Result<Self, String> {
        let client = Client::builder()
            .tls_backend_preconfigured(ca.map_or_else(tls, tls_trusting)?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(CheckedNames { policy, names }))
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("migration-assistant/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("the HTTP client cannot be made: {e}"))?;
        Ok(Self { client, policy })
    }

    async fn exchange(&self, at: &Url, call: &Call) -> Result<Answer> {
        let sent = self.client.post(at.clone()).headers(headers(call, at)?).body(call.body.expose().to_owned()).send().await;
        let response = sent.map_err(|e| failed(ErrorKind::Unreachable, at, not_sent(&e.without_url(), at).reason))?;
        let status = response.status().as_u16();
        let cookies = response.headers().get_all(SET_COOKIE).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect();
        Ok(Answer { status, cookies, body: whole(response, at).await? })
    }
}

#[async_trait::async_trait]
impl Exchange for Exchanger {
    async fn post(&self, call: Call) -> Result<Answer> {
        let at = self.policy.read(&call.url);
        let at = at.map_err(|why| ConnectorError::new(ErrorKind::Permission, "ask", origin(&call.url), format!("the address {why}")))?;
        tokio::time::timeout(TIMEOUT, self.exchange(&at, &call))
            .await
            .unwrap_or_else(|_| Err(failed(ErrorKind::TimedOut, &at, format!("there was no complete answer within {} seconds", TIMEOUT.as_secs()))))
    }
}

fn headers(call: &Call, at: &Url) -> Result<HeaderMap> {
    let mut out = HeaderMap::new();
    for (name, value) in &call.headers {
        let bad = || failed(ErrorKind::Invalid, at, format!("the header '{}' cannot be sent", name.escape_default()));
        let name = HeaderName::try_from(name).map_err(|_| bad())?;
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        out.insert(name, value);
    }
    Ok(out)
}

/// The body to its end, or an error as soon as it is too long.
async fn whole(mut response: Response, at: &Url) -> Result<Vec<u8>> {
    let too_long = || failed(ErrorKind::Protocol, at, format!("it answers with more than {} MiB", LONGEST >> 20));
    if response.content_length().is_some_and(|n| n > LONGEST as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| failed(ErrorKind::Interrupted, at, e.without_url().to_string()))? {
        if body.len() + chunk.len() > LONGEST {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failed(kind: ErrorKind, at: &Url, why: impl Into<String>) -> ConnectorError {
    let advice = match kind {
        ErrorKind::Unreachable | ErrorKind::TimedOut => "Check the address, the firewalls on the way and, for a certificate of your own, `ca`",
        _ => "",
    };
    ConnectorError::new(kind, "ask", at.origin().ascii_serialization(), why).advice(advice)
}

/// What may be shown of an address that was not even read.
fn origin(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
