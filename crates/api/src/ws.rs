//! Live status of a migration over a WebSocket.
//!
//! One task per connection, made and owned by axum's upgrade; it reads the journal's events, so a slow client costs no memory:
//! nothing is queued for it, the next message just covers more events.

use crate::http::Failure;
use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code, rejection::WebSocketUpgradeRejection};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use control::events::{Weight, weight};
use control::migrations::{Status, StreamEvent};
use control::{Control, Credentials, Error, Filter};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use utoipa::ToSchema;

/// At most four messages a second.
const PACE: Duration = Duration::from_millis(250);
/// A quiet migration is asked again, and the client pinged, this often.
const QUIET: Duration = Duration::from_secs(20);
/// A client that does not take a message within this time is let go.
const PATIENCE: Duration = Duration::from_secs(15);
/// So many of the newest events travel with a message; `/events` has all.
const EVENTS: usize = 50;

/// One message of the stream: the status after a change, and what happened since the message before.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusMessage {
    /// `status` (the migration or a step changed, and the first message), `progress` or `log`.
    #[serde(rename = "type")]
    #[schema(example = "progress")]
    kind: &'static str,
    #[serde(flatten)]
    status: Status,
    /// The newest events since the last message, oldest first.
    events: Vec<StreamEvent>,
}

pub(crate) fn routes() -> Router<Control> {
    Router::new().route("/ws/migrations/{session_id}", get(upgrade)).route("/ws/migrations/{session_id}/", get(upgrade))
}

async fn upgrade(
    State(control): State<Control>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let asked = async {
        let asked = asked(query.as_deref().unwrap_or_default());
        let mut credentials = crate::rest::credentials(&headers);
        if let Ok((_, token @ Some(_))) = &asked {
            credentials.bearer = token.clone().or(credentials.bearer);
        }
        let caller = control.authenticate(&credentials).await?;
        caller.require("migrations:read")?;
        let (after, _) = asked?;
        let status = control.status(&caller.tenant, &id).await?;
        Ok::<_, Error>((after, caller.tenant, credentials, status))
    };
    let (after, tenant, credentials, status) = match asked.await {
        Ok(asked) => asked,
        Err(error) => return Failure::from(error).into_response(),
    };
    match socket {
        Ok(socket) => {
            let stream = Stream { control, credentials, tenant, id, seen: after.unwrap_or(status.last_event) };
            socket.max_message_size(64 << 10).on_upgrade(move |socket| stream.run(socket, status))
        }
        Err(_) => {
            let text = format!("This address speaks WebSocket only; poll /migrations/{id}/status instead");
            (axum::response::AppendHeaders([("upgrade", "websocket")]), Failure::new(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", text)).into_response()
        }
    }
}

/// `after`, and the access token of a browser, which cannot send headers here.
fn asked(query: &str) -> Result<(Option<u64>, Option<String>), Error> {
    let pairs = query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")));
    let mut filter = Filter::new(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
    let token = filter.text("access_token");
    let none = u64::MAX;
    let after = filter.number("after", 0..=u64::from(u32::MAX), none);
    filter.done()?;
    Ok(((after != none).then_some(after), token))
}

struct Stream {
    control: Control,
    /// Asked again before every message: who may no longer look is told nothing more.
    credentials: Credentials,
    tenant: String,
    id: String,
    /// Number of the last event that the client knows of.
    seen: u64,
}

type Out = SplitSink<WebSocket, Message>;

impl Stream {
    async fn run(mut self, socket: WebSocket, first: Status) {
        let (mut out, mut incoming) = socket.split();
        tokio::select! {
            () = gone(&mut incoming) => {}
            close = self.send_all(&mut out, first) => {
                if let Some(frame) = close {
                    let _gone_already = timeout(PATIENCE, out.send(Message::Close(Some(frame)))).await;
                    let _gone_already = timeout(PATIENCE, gone(&mut incoming)).await;
                }
            }
        }
    }

    async fn still_allowed(&self) -> Result<(), Error> {
        let caller = self.control.authenticate(&self.credentials).await?;
        if caller.tenant == self.tenant { caller.require("migrations:read") } else { Err(Error::tenant_not_found(&self.tenant)) }
    }

    /// Ends with the reason to close, or `None` when the client is gone.
    async fn send_all(&mut self, out: &mut Out, first: Status) -> Option<CloseFrame> {
        let mut ended = is_ended(&first) && self.seen >= first.last_event;
        send(out, "status", first, Vec::new()).await?;
        let mut next = Instant::now() + PACE;
        while !ended {
            let events = match self.control.wait_events(&self.tenant, &self.id, self.seen, QUIET).await {
                Ok(events) => events,
                Err(error) => return Some(frame(close_code::AWAY, &error.message)),
            };
            let Some(last) = events.last() else {
                timeout(PATIENCE, out.send(Message::Ping(Vec::new().into()))).await.ok()?.ok()?;
                continue;
            };
            self.seen = last.seq;
            sleep_until(next).await;
            next = Instant::now() + PACE;
            if let Err(error) = self.still_allowed().await {
                return Some(frame(close_code::POLICY, &error.message));
            }
            let status = match self.control.status(&self.tenant, &self.id).await {
                Ok(status) => status,
                Err(error) => return Some(frame(close_code::AWAY, &error.message)),
            };
            ended = is_ended(&status) && self.seen >= status.last_event;
            let kind = match events.iter().map(|e| weight(&e.kind)).max() {
                Some(Weight::Status) | None => "status",
                Some(Weight::Progress) => "progress",
                Some(Weight::Log) => "log",
            };
            let newest = events[events.len().saturating_sub(EVENTS)..].iter().map(StreamEvent::from).collect();
            send(out, kind, status, newest).await?;
        }
        Some(frame(close_code::NORMAL, "the migration has ended"))
    }
}

/// Nothing more happens by itself.
fn is_ended(status: &Status) -> bool {
    matches!(status.status, "completed" | "failed" | "cancelled" | "rolled_back" | "stuck")
}

async fn send(out: &mut Out, kind: &'static str, status: Status, events: Vec<StreamEvent>) -> Option<()> {
    let text = serde_json::to_string(&StatusMessage { kind, status, events }).ok()?;
    timeout(PATIENCE, out.send(Message::Text(text.into()))).await.ok()?.ok()
}

fn frame(code: u16, reason: &str) -> CloseFrame {
    let mut end = reason.len().min(120);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame { code, reason: reason[..end].into() }
}

/// Resolves when the client has closed or vanished; whatever it says meanwhile is ignored.
async fn gone(incoming: &mut SplitStream<WebSocket>) {
    while let Some(Ok(message)) = incoming.next().await {
        if matches!(message, Message::Close(_)) {
            break;
        }
    }
}
