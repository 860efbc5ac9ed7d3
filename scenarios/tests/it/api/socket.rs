//! The WebSocket against a real listener.

use super::bench::Bench;
use engine::RunState;
use engine::journal::Level;
use futures::StreamExt;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Serves the router on a free port; the task ends with the test's runtime.
pub async fn listen(bench: &Bench) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = bench.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

pub async fn connect(address: SocketAddr, path: &str) -> Socket {
    connect_async(format!("ws://{address}/ws/migrations/{path}")).await.expect("a WebSocket").0
}

/// The next status message; `None` when the server has closed.
pub async fn next(socket: &mut Socket) -> Option<Value> {
    loop {
        match tokio::time::timeout(Duration::from_secs(20), socket.next()).await.expect("a message in time") {
            Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Close(_))) | None => return None,
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("the connection broke: {error}"),
        }
    }
}

#[tokio::test]
async fn follows_a_migration_to_its_end() {
    let bench = Bench::new().await;
    let address = listen(&bench).await;
    let hands = bench.running().await;
    let mut socket = connect(address, &hands.id).await;
    let first = next(&mut socket).await.expect("a snapshot");
    assert_eq!((&first["type"], &first["status"], &first["session_id"]), (&json!("status"), &json!("running"), &json!(hands.id)));
    assert!(first["performance_metrics"].is_object() && first["progress"].is_number() && first.get("current_step").is_some());
    hands.log(Level::Info, "a line", Value::Null).await;
    let logged = next(&mut socket).await.expect("a message");
    assert_eq!((&logged["type"], &logged["events"][0]["message"]), (&json!("log"), &json!("a line")));
    hands.begin(0).await;
    let begun = next(&mut socket).await.expect("a message");
    assert_eq!(begun["type"], "status");
    hands.sample("validate", 100.0, 100).await;
    assert_eq!(next(&mut socket).await.expect("a message")["type"], "progress");
    hands.state(RunState::Completed).await;
    let last = next(&mut socket).await.expect("the final message");
    assert_eq!((&last["type"], &last["status"]), (&json!("status"), &json!("completed")));
    assert!(next(&mut socket).await.is_none(), "closed after the end");
}

#[tokio::test]
async fn at_most_four_messages_a_second_and_nothing_lost() {
    let bench = Bench::new().await;
    let address = listen(&bench).await;
    let hands = bench.running().await;
    let mut socket = connect(address, &format!("{}/?after=0", hands.id)).await;
    next(&mut socket).await.expect("a snapshot");
    let began = Instant::now();
    for n in 0..40 {
        hands.log(Level::Info, &format!("line {n}"), Value::Null).await;
    }
    hands.state(RunState::Completed).await;
    let (mut messages, mut seen) = (0, Vec::new());
    while let Some(message) = next(&mut socket).await {
        messages += 1;
        seen.extend(message["events"].as_array().expect("a list").iter().map(|e| e["seq"].as_u64().expect("a number")));
    }
    assert!(messages <= 2 + (began.elapsed().as_millis() / 250) as usize, "{messages} messages in {:?}", began.elapsed());
    let wanted: Vec<u64> = (1..=seen.len() as u64).collect();
    assert_eq!(seen, wanted, "from the first event on, without gaps");
    assert!(seen.len() >= 42);
}

#[tokio::test]
async fn resumes_behind_the_last_event_that_was_seen() {
    let bench = Bench::new().await;
    let address = listen(&bench).await;
    let hands = bench.running().await;
    hands.log(Level::Info, "one", Value::Null).await;
    let seen = bench.get(&hands.path("status")).await.json["last_event"].as_u64().expect("a number");
    hands.log(Level::Info, "two", Value::Null).await;
    let id = hands.id.clone();
    hands.state(RunState::Cancelled).await;
    let mut socket = connect(address, &format!("{id}?after={seen}")).await;
    assert_eq!(next(&mut socket).await.expect("a snapshot")["status"], "cancelled");
    let message = next(&mut socket).await.expect("what was missed");
    assert_eq!(message["events"][0]["message"], "two");
    assert!(next(&mut socket).await.is_none());
    let mut ended = connect(address, &id).await;
    assert_eq!(next(&mut ended).await.expect("a snapshot")["status"], "cancelled");
    assert!(next(&mut ended).await.is_none(), "an ended migration closes at once");
}

#[tokio::test]
async fn refuses_before_the_upgrade() {
    let bench = Bench::new().await;
    let address = listen(&bench).await;
    let refused = |path: &'static str| async move {
        match connect_async(format!("ws://{address}/ws/migrations/{path}")).await {
            Err(Error::Http(answer)) => answer.status().as_u16(),
            other => panic!("not refused: {other:?}"),
        }
    };
    assert_eq!(refused("none").await, 404);
    let id = bench.created().await;
    let plain = bench.get(&format!("/ws/migrations/{id}")).await;
    assert_eq!((plain.status.as_u16(), plain.code()), (426, "UPGRADE_REQUIRED"));
    assert_eq!(bench.get(&format!("/ws/migrations/{id}?after=x&y=1")).await.fields(), ["after", "y"]);
    let mut deleted = connect(address, &id).await;
    next(&mut deleted).await.expect("a snapshot");
    let gone = bench.call(axum::http::Method::DELETE, &format!("/migrations/{id}"), None).await;
    assert_eq!(gone.status.as_u16(), 200);
    assert!(next(&mut deleted).await.is_none(), "a deleted migration closes its listeners");
}
