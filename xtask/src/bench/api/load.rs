//! A small HTTP client for measuring: so many requests over so many connections, each timed.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer that has not come by then is an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request, ready to be written.
pub struct Request(Vec<u8>);

impl Request {
    pub fn get(path: &str, token: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes())
    }

    pub fn post(path: &str, token: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        Self(text.into_bytes())
    }
}

/// Sends `count` requests, taking them in turns, over `clients` connections. Any status but `expected` is an error. Gives how long each took,
/// the shortest first.
pub fn run(port: u16, requests: Vec<Request>, expected: u16, clients: usize, count: usize) -> Result<Vec<Duration>> {
    runtime()?.block_on(async {
        let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..clients {
            let (requests, next) = (requests.clone(), next.clone());
            tasks.spawn(async move {
                let (mut client, mut took) = (Client::new(port), Vec::new());
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return Ok::<_, anyhow::Error>(took);
                    }
                    let begun = Instant::now();
                    let (status, body) = client.send(&requests[n % requests.len()]).await?;
                    took.push(begun.elapsed());
                    ensure!(status == expected, "answered {status} instead of {expected}: {}", String::from_utf8_lossy(&body));
                }
            });
        }
        let mut all = Vec::with_capacity(count);
        while let Some(took) = tasks.join_next().await {
            all.extend(took??);
        }
        all.sort_unstable();
        Ok(all)
    })
}

/// One request and its JSON answer.
pub fn ask(port: u16, request: &Request) -> Result<(u16, Value)> {
    runtime()?.block_on(async {
        let (status, body) = Client::new(port).send(request).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// One connection, made again whenever the server has closed it.
struct Client {
    port: u16,
    link: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    fn new(port: u16) -> Self {
        Self { port, link: None, buffer: Vec::with_capacity(64 << 10) }
    }

    async fn send(&mut self, request: &Request) -> Result<(u16, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, async {
            let reused = self.link.is_some();
            match self.try_send(request).await {
                // A server may close a connection that stood idle: that is no answer yet.
                Err(_) if reused => {
                    self.link = None;
                    self.try_send(request).await
                }
                done => done,
            }
        })
        .await
        .context("no answer in time")?
    }

    async fn try_send(&mut self, request: &Request) -> Result<(u16, Vec<u8>)> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let link = TcpStream::connect(("127.0.0.1", self.port)).await?;
                link.set_nodelay(true)?;
                link
            }
        };
        link.write_all(&request.0).await?;
        self.buffer.clear();
        let (head_end, head) = loop {
            ensure!(link.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break (at + 4, String::from_utf8_lossy(&self.buffer[..at]).to_ascii_lowercase());
            }
        };
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status in the answer")?;
        let length = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let Some(length) = length else { bail!("the answer names no length: {head}") };
        while self.buffer.len() < head_end + length {
            ensure!(link.read_buf(&mut self.buffer).await? > 0, "the answer ended early");
        }
        if !head.contains("connection: close") {
            self.link = Some(link);
        }
        Ok((status, self.buffer[head_end..head_end + length].to_vec()))
    }
}
