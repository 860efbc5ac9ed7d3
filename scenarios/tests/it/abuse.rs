//! Clients that are slow, endless or deep: the server goes on answering, and its memory stays small.

use crate::product::{Product, http_client};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SLOW: usize = 1_000;
/// How long the abuse goes on while `/livez` is asked.
const LASTING: Duration = Duration::from_secs(8);

/// What the process holds of memory, in bytes.
fn memory(product: &Product) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", product.id())).expect("the server runs");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
}

/// One byte of a header every half second; comes again when it is thrown out. `there` counts those that are connected.
async fn slow(address: String, there: Arc<AtomicUsize>) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            there.fetch_add(1, Ordering::SeqCst);
            let _gone = stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
            while stream.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            there.fetch_sub(1, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends up to 10 GiB; gives what the server said and how much it took.
async fn endless(address: &str, head: &str) -> (String, u64) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut read, mut write) = stream.into_split();
    let head = format!("POST /migrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n");
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        if write.write_all(head.as_bytes()).await.is_err() {
            return sent;
        }
        let blanks = vec![b' '; 1 << 16];
        let chunk = if head.contains("chunked") { [b"10000\r\n".as_slice(), &blanks, b"\r\n"].concat() } else { blanks };
        while sent < 10 << 30 && write.write_all(&chunk).await.is_ok() {
            sent += 1 << 16;
        }
        sent
    });
    let mut answer = Vec::new();
    let _closed = tokio::time::timeout(Duration::from_secs(5), read.read_to_end(&mut answer)).await;
    let sent = tokio::time::timeout(Duration::from_secs(5), sending).await.expect("the server closes the connection").expect("the task ends");
    (String::from_utf8_lossy(&answer).into_owned(), sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_clients_ten_gibibytes_and_a_deep_body() {
    let dir = tempfile::tempdir().expect("a directory");
    let product = Product::start(&dir.path().join("data"), &[]).await;
    let address = product.url("").trim_start_matches("http://").to_owned();
    let before = memory(&product);
    let there = Arc::new(AtomicUsize::new(0));
    let slow: Vec<_> = (0..SLOW).map(|_| tokio::spawn(slow(address.clone(), there.clone()))).collect();
    for head in ["Content-Length: 10737418240", "Transfer-Encoding: chunked"] {
        let (answer, sent) = endless(&address, head).await;
        assert!(answer.contains("413 Payload Too Large") && answer.contains("PAYLOAD_TOO_LARGE"), "{head}: {answer}");
        println!("{head}: refused after {sent} bytes");
    }
    let client = http_client();
    for deep in ["[".repeat(1 << 19), "{\"a\":".repeat(100_000)] {
        let answer = client.post(product.url("/migrations")).header("content-type", "application/json").body(deep).send().await.expect("an answer");
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["code"], "MALFORMED_JSON");
    }
    let (begun, mut times, mut most) = (Instant::now(), Vec::new(), 0);
    while begun.elapsed() < LASTING {
        let asked = Instant::now();
        let answer = client.get(product.url("/livez")).send().await.expect("an answer");
        assert!(answer.status().is_success());
        times.push(asked.elapsed());
        most = most.max(memory(&product));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let held = there.load(Ordering::SeqCst);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    let grown = most.saturating_sub(before);
    println!("{held} slow clients held, {} questions, p99 {p99:?}, memory {before} + {grown} bytes", times.len());
    assert!(held >= SLOW * 99 / 100, "only {held} slow clients were there");
    assert!(p99 < Duration::from_millis(100), "p99 {p99:?}");
    assert!(grown < 64 << 20, "grew by {grown} bytes");
}
