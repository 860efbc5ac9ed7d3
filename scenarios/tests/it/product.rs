//! The product as its users have it: the real binary, a server process of its own, and the documented HTTP calls.

use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

/// A running `migration-assistant serve`. Killed when dropped.
pub struct Product {
    child: Child,
    port: u16,
    pub data: PathBuf,
    roots: Vec<PathBuf>,
    /// Further arguments of `serve`.
    more: Vec<String>,
    pub http: reqwest::Client,
}

pub fn binary() -> PathBuf {
    let path = std::env::var_os("MIGRATION_ASSISTANT_BIN").map_or_else(|| testkit::rig::workspace().join("target/debug/migration-assistant"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run `cargo build` first, or use `cargo xtask test`", path.display());
    path
}

/// Below the range for outgoing connections: a client that knocks while the server is down could otherwise get its own port and talk to itself.
pub fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 9_000) as u16;
    (0..2_000)
        .map(|_| first + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

pub fn http_client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder().timeout(Duration::from_mins(2)).build().expect("an HTTP client")
}

impl Product {
    /// Starts a server on a free port with its data in `data`; local paths are allowed below `roots`.
    pub async fn start(data: &Path, roots: &[&Path]) -> Self {
        Self::start_with(data, roots, &[]).await
    }

    /// The same, with further arguments of `serve`.
    pub async fn start_with(data: &Path, roots: &[&Path], more: &[&str]) -> Self {
        let port = free_port();
        let roots: Vec<PathBuf> = roots.iter().map(|p| p.to_path_buf()).collect();
        let more: Vec<String> = more.iter().map(|m| (*m).to_owned()).collect();
        let mut product = Self { child: spawn(port, data, &roots, &more), port, data: data.to_owned(), roots, more, http: http_client() };
        product.wait_healthy().await;
        product
    }

    /// The server's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the server");
        self.child.wait().expect("reap the server");
    }

    /// SIGTERM, and waits until it has tidied up and gone.
    pub fn end(&mut self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill");
        assert!(told.success(), "the server was there");
        self.child.wait().expect("reap the server");
    }

    /// Starts it again on the same data and waits until it answers.
    pub async fn restart(&mut self) -> Duration {
        let begun = Instant::now();
        self.child = spawn(self.port, &self.data, &self.roots, &self.more);
        self.wait_healthy().await;
        begun.elapsed()
    }

    async fn wait_healthy(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(answer) = self.http.get(self.url("/health")).send().await
                && answer.status().is_success()
            {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("look at the server") {
                panic!("the server ended with {status}: {}", std::fs::read_to_string(self.data.join("server.log")).unwrap_or_default());
            }
            assert!(Instant::now() < deadline, "the server did not answer within 30 s");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        read(self.http.get(self.url(path)).send().await.expect("an answer")).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        read(self.http.post(self.url(path)).json(&body).send().await.expect("an answer")).await
    }

    /// Creates and starts a migration; gives its id.
    pub async fn begin(&self, spec: Value) -> String {
        let (status, made) = self.post("/migrations/", spec).await;
        assert_eq!(status, 201, "{made:#}");
        let id = made["session_id"].as_str().expect("a session_id").to_owned();
        let (status, started) = self.post(&format!("/migrations/{id}/start"), json!({})).await;
        assert_eq!(status, 200, "{started:#}");
        id
    }

    /// Waits by long polling until the migration is at rest, and gives its last status.
    pub async fn settle(&self, id: &str) -> Value {
        let deadline = Instant::now() + Duration::from_mins(10);
        let mut after = 0;
        loop {
            let (code, status) = self.get(&format!("/migrations/{id}/status")).await;
            assert_eq!(code, 200, "{status:#}");
            if matches!(status["status"].as_str(), Some("completed" | "failed" | "cancelled" | "rolled_back" | "stuck")) {
                return status;
            }
            assert!(Instant::now() < deadline, "not at rest after 10 minutes: {status:#}");
            let (_, page) = self.get(&format!("/migrations/{id}/events?after={after}&wait=5")).await;
            after = page["events"].as_array().and_then(|e| e.last()).and_then(|e| e["seq"].as_u64()).unwrap_or(after);
        }
    }

    pub async fn run(&self, spec: Value) -> (String, Value) {
        let id = self.begin(spec).await;
        let status = self.settle(&id).await;
        (id, status)
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // Already dead is fine: the test killed it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, data: &Path, roots: &[PathBuf], more: &[String]) -> Child {
    std::fs::create_dir_all(data).expect("the data directory");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(data.join("server.log")).expect("the server's log");
    let mut command = Command::new(binary());
    command.args(["serve", "--port", &port.to_string(), "--data-dir"]).arg(data);
    for root in roots {
        command.arg("--local-root").arg(root);
    }
    command.args(more);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log).spawn().expect("start the server")
}

async fn read(answer: reqwest::Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
