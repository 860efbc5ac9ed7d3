//! Bringing large files from addresses that callers gave: every hop checked as for webhooks, and no patience with a server that stops sending.

use crate::addresses::Policy;
use crate::names::{CheckedNames, Lookup, SystemNames};
use crate::post::{not_sent, tls};
use ports::vms::Fetch;
use ports::{ConnectorError, ErrorKind, Result};
use reqwest::header::LOCATION;
use reqwest::{Client, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a server may send nothing.
const SILENCE: Duration = Duration::from_mins(1);
/// Publishers of images like to redirect to mirrors.
const REDIRECTS: usize = 5;

/// Fetches over HTTP from wherever `policy` allows.
pub struct Fetcher {
    client: Client,
    policy: Policy,
}

impl Fetcher {
    /// # Errors
    /// The reason, when TLS cannot be prepared on this machine.
    pub fn new(policy: Policy) -> std::result::Result<Self, String> {
        Self::with_names(policy, Arc::new(SystemNames))
    }

    /// The same, with other answers to names.
    ///
    /// # Errors
    /// As [`Fetcher::new`].
    pub fn with_names(policy: Policy, names: Arc<dyn Lookup>) -> std::result::Result<Self, String> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(CheckedNames { policy, names }))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE)
            .user_agent(concat!("migration-assistant/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("the HTTP client cannot be made: {e}"))?;
        Ok(Self { client, policy })
    }

    /// The status at the end of all redirects, whatever it is.
    ///
    /// # Errors
    /// When no answer came within ten seconds, or an address on the way may not be asked.
    pub async fn status(&self, url: &str) -> Result<u16> {
        let late = |_| ConnectorError::new(ErrorKind::TimedOut, "ask", url, format!("no answer came within {} seconds", CONNECT_TIMEOUT.as_secs()));
        let response = tokio::time::timeout(CONNECT_TIMEOUT, self.last_hop(url)).await.map_err(late)??;
        Ok(response.status().as_u16())
    }

    /// The good answer at the end of all redirects.
    async fn answer(&self, url: &str) -> Result<Response> {
        good(self.last_hop(url).await?, url)
    }

    async fn last_hop(&self, url: &str) -> Result<Response> {
        let mut at = self.policy.read(url).map_err(|why| refused(url, &format!("the address {why}")))?;
        for _ in 0..=REDIRECTS {
            let sent = self.client.get(at.clone()).send().await;
            let response = sent.map_err(|e| ConnectorError::new(ErrorKind::Unreachable, "fetch", url, not_sent(&e.without_url(), &at).reason))?;
            let Some(next) = next_hop(&response, &at, url)? else { return Ok(response) };
            self.policy.check(&next).map_err(|why| refused(url, &format!("it redirects to an address that {why}")))?;
            at = next;
        }
        Err(refused(url, &format!("it redirects more than {REDIRECTS} times")))
    }
}

#[async_trait::async_trait]
impl Fetch for Fetcher {
    async fn fetch(&self, url: &str, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<()> {
        let mut response = self.answer(url).await?;
        let wanted = response.content_length();
        let mut arrived = 0;
        let broken = |why: String| ConnectorError::new(ErrorKind::Interrupted, "fetch", url, why);
        while let Some(chunk) = response.chunk().await.map_err(|e| broken(e.without_url().to_string()))? {
            arrived += chunk.len() as u64;
            to.write_all(&chunk).await.map_err(|e| stored(url, &e))?;
        }
        to.flush().await.map_err(|e| stored(url, &e))?;
        match wanted {
            Some(wanted) if wanted != arrived => Err(broken(format!("{arrived} of {wanted} bytes came"))),
            _ => Ok(()),
        }
    }
}

/// Where a redirect leads; `None` when the answer is none. What was asked for with TLS does not come without.
fn next_hop(response: &Response, at: &Url, url: &str) -> Result<Option<Url>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
    let next = location.to_str().ok().and_then(|l| at.join(l).ok()).ok_or_else(|| refused(url, "it redirects to something that is no address"))?;
    if at.scheme() == "https" && next.scheme() != "https" {
        return Err(refused(url, "it redirects from https to http"));
    }
    Ok(Some(next))
}

fn good(response: Response, url: &str) -> Result<Response> {
    let status = response.status();
    let kind = match status.as_u16() {
        200 => return Ok(response),
        401 | 403 => ErrorKind::Permission,
        404 | 410 => ErrorKind::NotFound,
        429 => ErrorKind::Throttled,
        500..=599 => ErrorKind::Unreachable,
        _ => ErrorKind::Protocol,
    };
    Err(ConnectorError::new(kind, "fetch", url, format!("the server answered {status}")))
}

fn refused(url: &str, why: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Permission, "fetch", url, why)
}

fn stored(url: &str, error: &std::io::Error) -> ConnectorError {
    let kind = if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::NoSpace } else { ErrorKind::Internal };
    ConnectorError::new(kind, "store", url, error.to_string())
}

#[cfg(test)]
mod tests;
