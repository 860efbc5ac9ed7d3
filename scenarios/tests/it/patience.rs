//! How long a running server waits for clients, and how many requests it takes from one.

use crate::product::Product;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the server says until it closes the connection, and how long that takes.
async fn until_closed(product: &Product, sent: &str) -> (String, Duration) {
    let address = product.url("").trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let begun = Instant::now();
    stream.write_all(sent.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("the server closes the connection");
    closed.expect("an orderly end");
    (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_slow_loses_its_connection() {
    let dir = tempfile::tempdir().expect("a directory");
    let product = Product::start_with(dir.path(), &[], &["--header-timeout", "0.4", "--body-timeout", "0.3"]).await;
    let in_time = |took: Duration| (Duration::from_millis(250)..Duration::from_secs(10)).contains(&took);
    for (what, sent) in [("half a header", "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: a"), ("nothing at all", "")] {
        let (answer, took) = until_closed(&product, sent).await;
        assert!(in_time(took) && !answer.contains("200 OK"), "{what}: {took:?} {answer}");
    }
    let (answer, took) = until_closed(&product, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(in_time(took) && answer.contains("200 OK"), "an idle connection: {took:?} {answer}");
    let half = "POST /migrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"name\": ";
    let (answer, took) = until_closed(&product, half).await;
    assert!(in_time(took) && answer.starts_with("HTTP/1.1 408") && answer.contains("REQUEST_TIMEOUT"), "half a body: {took:?} {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_asks_too_often_is_told_when_to_come_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let product = Product::start_with(dir.path(), &[], &["--rate-limit", "1/s"]).await;
    let mut refused = None;
    // Two come at once and one a second after: a hundred cannot all have room.
    for _ in 0..100 {
        let answer = product.http.get(product.url("/migrations")).send().await.expect("an answer");
        assert_eq!(answer.headers()["ratelimit-limit"], "2");
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    let wait: u64 = refused.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=2).contains(&wait));
    assert_eq!(refused.headers()["ratelimit-remaining"], "0");
    assert_eq!(refused.json::<Value>().await.expect("JSON")["error"]["code"], "RATE_LIMITED");
    assert_eq!(product.get("/livez").await.0, 200, "who watches over the service is never refused");
}
