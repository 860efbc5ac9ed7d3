//! An OpenTelemetry collector on a loopback port: takes OTLP over HTTP and keeps the spans.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// A span as it came.
#[derive(Debug, Clone)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// As in OTLP: 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// As in OTLP: 2 is an error.
    pub status: i32,
    pub attributes: BTreeMap<String, String>,
    pub service: String,
}

impl Span {
    pub fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

pub struct Collector {
    pub url: String,
    spans: watch::Sender<Vec<Span>>,
    server: tokio::task::JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let spans = watch::channel(Vec::new()).0;
        let router = Router::new().route("/v1/traces", post(take)).with_state(spans.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { url, spans, server }
    }

    /// Waits until `enough` says so of everything that came.
    pub async fn wait(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let mut spans = self.spans.subscribe();
        let found = tokio::time::timeout(Duration::from_secs(30), spans.wait_for(|s| enough(s))).await;
        let came = || self.spans.borrow().iter().map(|s| format!("{} in {}", s.name, s.trace)).collect::<Vec<_>>();
        found.unwrap_or_else(|_| panic!("only these came: {:#?}", came())).expect("the collector lives").clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(spans): State<watch::Sender<Vec<Span>>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    for resource in request.resource_spans {
        let service = words(resource.resource.map(|r| r.attributes).unwrap_or_default()).remove("service.name").unwrap_or_default();
        let all = resource.scope_spans.into_iter().flat_map(|s| s.spans);
        let new: Vec<Span> = all
            .map(|s| Span {
                trace: hex::encode(&s.trace_id),
                id: hex::encode(&s.span_id),
                parent: hex::encode(&s.parent_span_id),
                kind: s.kind,
                status: s.status.map_or(0, |s| s.code),
                attributes: words(s.attributes),
                name: s.name,
                service: service.clone(),
            })
            .collect();
        spans.send_modify(|kept| kept.extend(new));
    }
    (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
}

fn words(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|a| (a.key, a.value.map(word).unwrap_or_default())).collect()
}

fn word(value: AnyValue) -> String {
    match value.value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
