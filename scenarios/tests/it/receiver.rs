//! A receiver of webhooks on a loopback port: keeps what it gets, answers what it is told to.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap_or_default())
    }

    pub fn event(&self) -> &str {
        self.json["type"].as_str().unwrap_or_default()
    }

    /// Number of the event in its migration.
    pub fn sequence(&self) -> u64 {
        self.json["data"]["sequence"].as_u64().unwrap_or_default()
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub enum Answering {
    Status(u16),
    With(u16, &'static str, &'static str),
    /// Nothing at all.
    Never,
}

#[derive(Clone)]
struct Shared {
    seen: watch::Sender<Vec<Seen>>,
    answers: Arc<Mutex<VecDeque<Answering>>>,
}

pub struct Receiver {
    pub url: String,
    shared: Shared,
    server: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://127.0.0.1:{}/hook", listener.local_addr().expect("an address").port());
        let shared = Shared { seen: watch::channel(Vec::new()).0, answers: Arc::default() };
        let router = Router::new().fallback(take).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { url, shared, server }
    }

    /// The next answers, one a request; 200 after them.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answering>) {
        self.shared.answers.lock().expect("answers").extend(answers);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// Takes away what came so far.
    pub fn take(&self) -> Vec<Seen> {
        self.shared.seen.send_replace(Vec::new())
    }

    /// Waits until `enough` says so of everything that came.
    pub async fn wait(&self, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let mut seen = self.shared.seen.subscribe();
        let found = tokio::time::timeout(Duration::from_mins(1), seen.wait_for(|s| enough(s))).await;
        let came = || self.seen().iter().map(|s| (s.event().to_owned(), s.sequence())).collect::<Vec<_>>();
        found.unwrap_or_else(|_| panic!("only these came within a minute: {:?}", came())).expect("the receiver lives").clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body).into_owned();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    let answer = shared.answers.lock().expect("answers").pop_front().unwrap_or(Answering::Status(200));
    shared.seen.send_modify(|seen| seen.push(Seen { headers, text, json }));
    match answer {
        Answering::Status(status) => (StatusCode::from_u16(status).expect("a status"), "thank you").into_response(),
        Answering::With(status, name, value) => {
            let header = [(HeaderName::from_static(name), HeaderValue::from_static(value))];
            (StatusCode::from_u16(status).expect("a status"), header, "later").into_response()
        }
        Answering::Never => std::future::pending().await,
    }
}
