//! HTTP posts: ten seconds, three redirects, every hop checked, and nothing taken from the environment.

use crate::addresses::Policy;
use crate::names::{CheckedNames, Lookup, Refused};
use jiff::Timestamp;
use ports::courier::{Parcel, Receipt, Undelivered};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// One whole try: names, connections, redirects, the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REDIRECTS: usize = 3;
/// How much of an answer is kept, in bytes.
const EXCERPT: usize = 1024;
/// A receiver cannot put us off for longer.
const LONGEST_REST: Duration = Duration::from_hours(24);

pub struct Posts {
    client: Client,
    policy: Policy,
}

impl Posts {
    pub fn new(policy: Policy, names: Arc<dyn Lookup>) -> Result<Self, String> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(CheckedNames { policy, names }))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(15))
            .pool_max_idle_per_host(2)
            .user_agent(concat!("migration-assistant/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("the HTTP client cannot be made: {}", chain(&e)))?;
        Ok(Self { client, policy })
    }

    pub async fn send(&self, parcel: &Parcel) -> Result<Receipt, Undelivered> {
        let begun = Instant::now();
        let outcome = tokio::time::timeout(TIMEOUT, self.follow(parcel, begun)).await;
        outcome.unwrap_or_else(|_| Err(Undelivered::for_now(format!("no complete answer within {} s", TIMEOUT.as_secs()))))
    }

    async fn follow(&self, parcel: &Parcel, begun: Instant) -> Result<Receipt, Undelivered> {
        let first = self.policy.read(&parcel.url).map_err(|why| Undelivered::for_good(format!("the address {why}")))?;
        let mut at = first.clone();
        for _ in 0..=REDIRECTS {
            let response = self.once(parcel, &at, at.origin() == first.origin()).await?;
            match next_hop(&response, &at)? {
                Some(next) => {
                    self.policy.check(&next).map_err(|why| Undelivered::for_good(format!("the receiver redirects to an address that {why}")))?;
                    at = next;
                }
                None => return Ok(receipt(response, begun).await),
            }
        }
        Err(Undelivered::for_good(format!("the receiver redirects more than {REDIRECTS} times")))
    }

    /// One request. The receiver's own headers go to the host that they were given for only.
    async fn once(&self, parcel: &Parcel, at: &Url, at_home: bool) -> Result<Response, Undelivered> {
        let mut headers = HeaderMap::new();
        for (name, value) in &parcel.headers {
            add(&mut headers, name, value)?;
        }
        for (name, value) in parcel.private_headers.iter().filter(|_| at_home) {
            add(&mut headers, name, value.expose())?;
        }
        let sent = self.client.post(at.clone()).headers(headers).body(parcel.body.clone()).send().await;
        sent.map_err(|e| not_sent(&e.without_url(), at))
    }
}

fn add(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Undelivered> {
    let bad = || Undelivered::for_good(format!("the header '{}' cannot be sent", name.escape_default()));
    let name = HeaderName::try_from(name).map_err(|_| bad())?;
    let mut value = HeaderValue::try_from(value).map_err(|_| bad())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Where a redirect leads; `None` when the answer is none. The body is posted again: a webhook that becomes a GET tells nobody anything.
fn next_hop(response: &Response, at: &Url) -> Result<Option<Url>, Undelivered> {
    if !matches!(response.status().as_u16(), 301 | 302 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
    let next = location.to_str().ok().and_then(|l| at.join(l).ok());
    let next = next.ok_or_else(|| Undelivered::for_good("the receiver redirects to something that is no address"))?;
    if next.scheme() != at.scheme() {
        return Err(Undelivered::for_good(format!("the receiver redirects from {} to {}; give the final address", at.scheme(), next.scheme())));
    }
    Ok(Some(next))
}

async fn receipt(mut response: Response, begun: Instant) -> Receipt {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| rest(v.to_str().ok()?, Timestamp::now()));
    let mut body = Vec::new();
    // A body that breaks off changes nothing: the status was told.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(EXCERPT - body.len())]);
        if body.len() >= EXCERPT {
            break;
        }
    }
    Receipt { status, latency: begun.elapsed(), retry_after, excerpt: printable(&body) }
}

/// `Retry-After`: seconds, or a date.
fn rest(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let asked = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        }
    };
    Some(asked.min(LONGEST_REST))
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

pub(crate) fn not_sent(error: &reqwest::Error, at: &Url) -> Undelivered {
    let place = at.origin().ascii_serialization();
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(refused) = current.downcast_ref::<Refused>() {
            return Undelivered::for_now(refused.0.clone());
        }
        cause = current.source();
    }
    Undelivered::for_now(format!("{place} could not be reached: {}", chain(error)))
}

/// The innermost words, which say most.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The machine's own authorities; only HTTP/1.1 is spoken.
pub(crate) fn tls() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    trusting(roots)
}

/// The same with these certificates (PEM) in the place of the machine's authorities.
pub(crate) fn tls_trusting(pem: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| format!("the certificate cannot be read: {e}"))?;
        roots.add(certificate).map_err(|e| format!("the certificate cannot be trusted: {e}"))?;
    }
    if roots.is_empty() { Err("there is no certificate in it".to_owned()) } else { trusting(roots) }
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| format!("TLS cannot be prepared: {e}"))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
