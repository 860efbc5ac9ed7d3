//! The control plane behind a URL.

use super::{Door, Reply};
use crate::failure::{Exit, Failure};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::time::Duration;

/// Longest wait for a connection, and for the answer to one request: a long poll lasts up to 30 seconds.
const CONNECTING: Duration = Duration::from_secs(10);
const ANSWERING: Duration = Duration::from_mins(5);

pub struct Remote {
    base: String,
    client: reqwest::Client,
}

impl Remote {
    pub fn new(url: &str, api_key: Option<&str>, token: Option<&str>) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Failure::usage(format!("--server {url}: write the address with its scheme, for example http://127.0.0.1:8000")));
        }
        let agent = concat!("migration-assistant/", env!("CARGO_PKG_VERSION"));
        let client =
            reqwest::Client::builder().user_agent(agent).default_headers(proof(api_key, token)?).connect_timeout(CONNECTING).timeout(ANSWERING).build();
        let client = client.map_err(|e| Failure::new(Exit::Failed, "INTERNAL_ERROR", format!("The HTTP client could not be made: {e}")))?;
        Ok(Self { base, client })
    }

    /// The control plane of another process of this user.
    pub fn through_socket(path: &std::path::Path) -> Result<Self, Failure> {
        let client = reqwest::Client::builder().unix_socket(path).timeout(ANSWERING).build();
        let client = client.map_err(|e| Failure::new(Exit::Failed, "INTERNAL_ERROR", format!("The HTTP client could not be made: {e}")))?;
        Ok(Self { base: "http://localhost".to_owned(), client })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut why: &dyn std::error::Error = error;
        while let Some(cause) = why.source() {
            why = cause;
        }
        let words = if error.is_timeout() { "there was no answer in time".to_owned() } else { why.to_string() };
        Failure::new(Exit::Temporary, super::UNREACHABLE, format!("The control plane at {} cannot be reached: {words}", self.base))
            .advice("Is it running (`migration-assistant serve`), and is this its address? Without --server the work is done in this process.")
    }
}

/// The headers that prove who asks. An API key is the plainer of the two and goes first.
fn proof(api_key: Option<&str>, token: Option<&str>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let (name, text, option) = match (api_key, token) {
        (Some(key), _) => (HeaderName::from_static("x-api-key"), key.to_owned(), "--api-key"),
        (None, Some(token)) => (http::header::AUTHORIZATION, format!("Bearer {token}"), "--token"),
        (None, None) => return Ok(headers),
    };
    let mut value =
        HeaderValue::from_str(&text).map_err(|_| Failure::usage(format!("{option}: it has letters that cannot be sent; was something else pasted?")))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(headers)
}

#[async_trait::async_trait]
impl Door for Remote {
    async fn call(&self, method: http::Method, path: &str, body: Option<&Value>) -> Result<Reply, Failure> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).header("accept", "application/json");
        if let Some(value) = body {
            request = request.json(value);
        }
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        Ok(Reply { status, body: body.to_vec() })
    }

    fn address(&self) -> Option<&str> {
        Some(&self.base)
    }

    async fn close(self: Box<Self>) {}
}
