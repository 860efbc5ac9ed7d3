//! Clients that are slow, endless or deep: the server goes on answering, and its memory stays small.

use crate::product::{Product, http_client};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const SLOW: usize = 1_000;
/// How long the abuse goes on while `/livez` is asked.
const LASTING: Duration = Duration::from_secs(8);

/// A line of what the system knows about the process's memory, in bytes.
fn memory(product: &Product, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", product.id())).expect("the server runs");
    let line = status.lines().find(|l| l.starts_with(what)).expect("its memory");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
}

/// From now on the peak is counted anew.
fn forget_peak(product: &Product) {
    std::fs::write(format!("/proc/{}/clear_refs", product.id()), "5").expect("our own server");
}

/// Half a header, or a body of which most is missing.
const BEGINNINGS: [&str; 2] = [
    "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "POST /migrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{\"name\": \"",
];

/// One byte every half second after the beginning; comes again when it is thrown out. `there` counts those that are connected.
async fn slow(address: String, beginning: &'static str, there: watch::Sender<usize>) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            there.send_modify(|n| *n += 1);
            let _gone = stream.write_all(beginning.as_bytes()).await;
            while stream.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            there.send_modify(|n| *n -= 1);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks `/livez` again and again until `enough`; gives how long each answer took.
async fn watched(client: reqwest::Client, url: String, enough: CancellationToken) -> Vec<Duration> {
    let mut times = Vec::new();
    while !enough.is_cancelled() {
        let asked = Instant::now();
        let answer = client.get(&url).send().await.expect("an answer");
        assert!(answer.status().is_success());
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times.sort();
    times
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

async fn ten_gibibytes(address: &str) {
    for head in ["Content-Length: 10737418240", "Transfer-Encoding: chunked"] {
        let (answer, sent) = endless(address, head).await;
        assert!(answer.contains("413 Payload Too Large") && answer.contains("PAYLOAD_TOO_LARGE"), "{head}: {answer}");
        println!("{head}: refused after {sent} bytes");
    }
}

async fn deep(client: &reqwest::Client, url: &str) {
    for deep in ["[".repeat(1 << 19), "{\"a\":".repeat(100_000)] {
        let answer = client.post(url).header("content-type", "application/json").body(deep).send().await.expect("an answer");
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["code"], "MALFORMED_JSON");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_clients_ten_gibibytes_and_a_deep_body() {
    let dir = tempfile::tempdir().expect("a directory");
    let product = Product::start(&dir.path().join("data"), &[]).await;
    let address = product.url("").trim_start_matches("http://").to_owned();
    forget_peak(&product);
    let before = memory(&product, "VmRSS:");
    let there = watch::Sender::new(0);
    let slow: Vec<_> = (0..SLOW).map(|n| tokio::spawn(slow(address.clone(), BEGINNINGS[n % 2], there.clone()))).collect();
    let all = tokio::time::timeout(Duration::from_secs(20), there.subscribe().wait_for(|n| *n == SLOW)).await.map(drop);
    all.unwrap_or_else(|_| panic!("only {} slow clients came", *there.borrow()));

    let (client, enough) = (http_client(), CancellationToken::new());
    let watching = tokio::spawn(watched(client.clone(), product.url("/livez"), enough.clone()));
    let (lasting, url) = (tokio::time::sleep(LASTING), product.url("/migrations"));
    let sending = async {
        for _ in 0..4 {
            tokio::join!(ten_gibibytes(&address), ten_gibibytes(&address), deep(&client, &url), deep(&client, &url));
        }
    };
    tokio::join!(sending, lasting);
    let held = *there.borrow();
    enough.cancel();
    let times = watching.await.expect("answers");
    let grown = memory(&product, "VmHWM:").saturating_sub(before);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    let p99 = times[times.len() * 99 / 100];
    println!("{held} slow clients held, {} questions, p99 {p99:?}, memory {before} + {grown} bytes at its peak", times.len());
    assert!(held >= SLOW * 99 / 100, "only {held} slow clients were there");
    assert!(p99 < Duration::from_millis(100), "p99 {p99:?}");
    assert!(grown < 64 << 20, "grew by {grown} bytes");
}
