//! Fifty secrets, put wherever one is accepted (and where it was put by mistake), must be found nowhere afterwards: not in the database
//! and the other files of the data directory, not in the log at its most talkative, not in an answer, not on a command line.

use crate::product::{binary, free_port, http_client};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::rig;

/// The secrets handed out so far; each is a word that occurs nowhere else.
#[derive(Default)]
struct Canaries(RefCell<Vec<(String, String)>>);

impl Canaries {
    fn make(&self, place: &str) -> String {
        let number = self.0.borrow().len();
        let word = format!("cnry{number:02}{:016x}", RandomState::new().build_hasher().finish());
        self.0.borrow_mut().push((place.to_owned(), word.clone()));
        word
    }

    /// Where in `text` a canary is.
    fn found(&self, at: &str, text: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(text);
        self.0.borrow().iter().filter(|(_, word)| text.contains(word.as_str())).map(|(place, _)| format!("{place} was found in {at}")).collect()
    }
}

/// A server whose answers are all kept.
struct Watched {
    child: Child,
    base: String,
    http: reqwest::Client,
    token: RefCell<String>,
    answers: RefCell<Vec<(String, String)>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watched {
    async fn start(data: &Path, c: &Canaries) -> (Self, String) {
        let (port, admin) = (free_port(), c.make("the administrator's password"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(data.join("server.log")).expect("a log");
        let mut command = Command::new(binary());
        command.args(["serve", "--auth-enabled", "--allow-private-webhooks", "--log-format", "json", "--port", &port.to_string(), "--data-dir"]).arg(data);
        command.env("RUST_LOG", "debug").env("MIGRATION_ASSISTANT_ADMIN_PASSWORD", &admin);
        command.env("MIGRATION_ASSISTANT_JWT_SECRET", c.make("the signing secret"));
        command.env("MIGRATION_ASSISTANT_SMTP_URL", format!("smtp://user:{}@127.0.0.1:1", c.make("the SMTP password")));
        command.env("MIGRATION_ASSISTANT_MAIL_FROM", "ma@example.com");
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log).spawn().expect("started");
        let server = Self { child, base: format!("http://127.0.0.1:{port}"), http: http_client(), token: RefCell::default(), answers: RefCell::default() };
        let deadline = Instant::now() + Duration::from_secs(30);
        while server.http.get(format!("{}/readyz", server.base)).send().await.is_err() {
            assert!(Instant::now() < deadline, "not ready: {}", std::fs::read_to_string(data.join("server.log")).unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (server, admin)
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(self.token.borrow().as_str());
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.kept(&format!("the answer of {method} {path}"), request).await
    }

    async fn kept(&self, what: &str, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let head = format!("{:?}", answer.headers());
        let text = answer.text().await.expect("a body");
        let json = serde_json::from_str(&text).unwrap_or_default();
        self.answers.borrow_mut().push((what.to_owned(), head + &text));
        (status, json)
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call("POST", path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.call("GET", path, None).await.1
    }

    /// Creates it, and runs it until it has failed.
    async fn run(&self, spec: Value) -> String {
        let (status, made) = self.post("/migrations/", spec).await;
        assert_eq!(status, 201, "{made:#}");
        let id = made["id"].as_str().expect("an id").to_owned();
        self.post(&format!("/migrations/{id}/start"), json!({})).await;
        self.post(&format!("/migrations/{id}/dry-run"), json!({})).await;
        let (status, answer) = self.post(&format!("/migrations/{id}/start?skip_validation=true"), json!({})).await;
        assert_eq!(status, 200, "{answer:#}");
        let deadline = Instant::now() + Duration::from_mins(2);
        while !matches!(self.get(&format!("/migrations/{id}/status")).await["status"].as_str(), Some("completed" | "failed" | "paused" | "stuck")) {
            assert!(Instant::now() < deadline, "{id} does not end");
            self.get(&format!("/migrations/{id}/events?wait=2&after=0")).await;
        }
        id
    }
}

/// Migrations to the rig's real servers, none of which lets anybody in with such a password.
fn migrations(c: &Canaries, receiver: &str) -> Vec<Value> {
    let (ssh, s3, pg, maria) = (rig::ssh(), rig::s3(), rig::postgres15(), rig::mariadb());
    let port = s3.endpoint.rsplit(':').next().and_then(|p| p.trim_end_matches('/').parse::<u16>().ok()).expect("a port");
    let key = |what: &str| format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n", c.make(what));
    let bucket = |c: &Canaries| {
        json!({"type": "aws-s3", "bucket": "canaries", "endpoint": format!("http://127.0.0.1:{port}"), "region": "us-east-1", "access_key_id": "AKIDX",
            "secret_access_key": c.make("secret_access_key"), "session_token": c.make("session_token")})
    };
    let told = json!({"on_completion": true, "on_failure": true, "email": {"enabled": true, "recipients": ["a@example.com"]},
        "webhook": {"enabled": true, "url": receiver, "secret": c.make("the own webhook's secret")},
        "slack": {"enabled": true, "webhook_url": format!("http://127.0.0.1:9/services/{}", c.make("a chat's webhook_url"))}});
    let by_ssh = |login: Value| {
        let mut source =
            json!({"type": "static", "host": ssh.host, "port": ssh.port, "username": ssh.user, "host_key": ssh.host_key(), "paths": {"web_root": "/srv/none"}});
        source.as_object_mut().expect("an object").extend(login.as_object().expect("an object").clone());
        source
    };
    let database = |kind: &str, server: &rig::Server, what: &str| json!({"type": kind, "host": server.host, "port": server.port, "username": server.user, "password": c.make(what), "database": "none"});
    vec![
        json!({"name": "Password", "source": by_ssh(json!({"password": c.make("an SSH password")})), "destination": bucket(c), "notifications": told}),
        json!({"name": "Key", "source": by_ssh(json!({"private_key": key("a private key"), "passphrase": c.make("a passphrase")})), "destination": bucket(c)}),
        json!({"name": "PG", "source": database("postgresql", &pg, "a PostgreSQL password"), "destination": database("postgresql", &pg, "another PostgreSQL password")}),
        json!({"name": "Maria", "source": database("mysql", &maria, "a MySQL password"), "destination": database("mysql", &maria, "another MySQL password")}),
    ]
}

/// Bodies that are refused: a secret in the wrong place, under a wrong name, of a wrong type, in broken JSON.
async fn mistakes(server: &Watched, c: &Canaries) {
    let base = |source: Value| json!({"name": "x", "source": source, "destination": {"type": "static", "paths": {"web_root": "/srv/x"}}});
    for source in [
        json!({"type": "mysql", "host": "h", "pasword": c.make("a misspelt password")}),
        json!({"type": "mysql", "host": "h", "password": {"value": c.make("a password as an object")}}),
        json!({"type": "mysql", "host": "h", "password": [c.make("a password as a list")]}),
        json!({"type": "static", "host": "h", "username": "u", "private_key": c.make("a private key that is none")}),
        json!({"type": "mysql", "host": "h", "username": "u", "password": c.make("a password without a database")}),
    ] {
        server.post("/migrations/", base(source.clone())).await;
        server.post("/validate", base(source)).await;
    }
    let broken = format!("{{\"name\": \"x\", \"password\": \"{}\" oops", c.make("a password in broken JSON"));
    let request = |path: &str| server.http.post(format!("{}{path}", server.base)).bearer_auth(server.token.borrow().as_str());
    server.kept("broken JSON", request("/migrations/").header("content-type", "application/json").body(broken)).await;
    server.kept("a wrong content type", request("/migrations/").header("content-type", "text/plain").body(c.make("a body of a wrong type"))).await;
    let nobody = server.http.get(format!("{}/migrations/", server.base));
    server.kept("a wrong token", nobody.try_clone().expect("a copy").bearer_auth(c.make("a wrong token"))).await;
    server.kept("a wrong key", nobody.try_clone().expect("a copy").header("x-api-key", format!("ma_{}", c.make("a wrong API key")))).await;
    server.kept("a wrong scheme", nobody.header("authorization", format!("Basic {}", c.make("basic credentials")))).await;
    server.post("/auth/token", json!({"username": "admin", "password": c.make("a wrong password")})).await;
    server.post("/auth/token", json!({"grant_type": "refresh_token", "refresh_token": c.make("a wrong refresh token")})).await;
    server.post("/auth/token", json!({"grant_type": "authorization_code", "code": c.make("a wrong code"), "client_id": "none", "client_secret": c.make("a wrong client secret"), "code_verifier": c.make("a wrong verifier"), "redirect_uri": "http://127.0.0.1/"})).await;
    server.post("/auth/setup", json!({"token": c.make("a wrong setup token"), "password": c.make("a password for nobody")})).await;
    server.post("/auth/users", json!({"username": "bad name !", "password": c.make("a password of a refused user"), "scopes": ["none"]})).await;
}

/// Everything that keeps documents for later.
async fn keepers(server: &Watched, c: &Canaries, receiver: &str) {
    let ok = |(status, answer): (u16, Value)| {
        assert!((200..300).contains(&status), "{status} {answer:#}");
        answer
    };
    ok(server
        .post("/auth/users", json!({"username": "ann", "password": c.make("a user's password"), "tenant_id": "default", "scopes": ["migrations:read"]}))
        .await);
    let headers = json!({"Authorization": format!("Bearer {}", c.make("a webhook's token")), "X-Api-Key": c.make("a webhook's key"), "X-Other": c.make("a webhook's header")});
    let hook = ok(server.post("/webhooks/", json!({"name": "n", "url": receiver, "events": ["*"], "headers": headers})).await);
    server.post(&format!("/webhooks/{}/test", hook["id"].as_str().unwrap_or_default()), json!({})).await;
    let fixed =
        json!({"type": "static", "host": "h.example", "username": "u", "password": "{{password}}", "passphrase": c.make("a template's fixed passphrase")});
    let to = json!({"type": "aws-s3", "bucket": "b-canaries", "access_key_id": "AK", "secret_access_key": "{{key}}"});
    let template = json!({"name": "T", "template": {"name": "T", "source": fixed, "destination": to}, "variables": [
        {"name": "password", "type": "secret", "required": true}, {"name": "key", "type": "secret", "default": c.make("a template's default")}]});
    let made = ok(server.post("/templates/", template).await);
    let id = made["id"].as_str().expect("an id");
    ok(server.post(&format!("/templates/{id}/create-migration"), json!({"variables": {"password": c.make("a template's variable")}})).await);
    server.post(&format!("/templates/{id}/create-migration"), json!({"variables": {"pasword": c.make("a misspelt variable")}})).await;
    let from = json!({"type": "static", "host": "{{host}}", "username": "u", "password": c.make("a preset's fixed password")});
    let to = json!({"type": "aws-s3", "bucket": "b-canaries", "access_key_id": "AK", "secret_access_key": c.make("a preset's fixed key")});
    server.post("/presets/", json!({"id": "canary", "name": "C", "config_template": {"source": from, "destination": to}})).await;
    server.post("/presets/canary/create-migration", json!({"overrides": {"source.host": "h.example", "source.password": c.make("an override")}})).await;
    server.post("/presets/canary/create-migration", json!({"overrides": {"source.no_such": c.make("an override of nothing")}})).await;
    let site = |what: &str| json!({"name": what, "source": {"type": "static", "host": "127.0.0.1", "port": 9, "username": "u", "password": c.make(what)}, "destination": {"type": "aws-s3", "bucket": "b-canaries", "access_key_id": "AK", "secret_access_key": c.make("a key in a batch")}});
    let batch = json!({"migrations": [site("a password in a batch"), site("another password in a batch")], "batch_options": {"parallel_limit": 1, "stop_on_failure": false}});
    ok(server.post("/migrations/batch", batch).await);
    let again = server.http.post(format!("{}/migrations/", server.base)).bearer_auth(server.token.borrow().as_str());
    let again = again.header("idempotency-key", "once").json(&site("a password in a repeated request"));
    for _ in 0..2 {
        server.kept("a repeated request", again.try_clone().expect("a copy")).await;
    }
}

/// Asks for everything that can be read.
async fn read_all(server: &Watched, ids: &[String]) {
    for path in [
        "/migrations/",
        "/backups/",
        "/webhooks/",
        "/templates/",
        "/presets/",
        "/presets/canary",
        "/presets/export",
        "/batches/",
        "/audit?limit=1000",
        "/audit/export",
        "/auth/users",
        "/metrics",
        "/analytics/migrations",
        "/health",
    ] {
        let list = server.get(path).await;
        for item in list.as_array().into_iter().flatten().filter_map(|i| i["id"].as_str()).filter(|i| i.len() == 32) {
            server.get(&format!("{}/{item}", path.trim_end_matches('/'))).await;
            server.get(&format!("{}/{item}/deliveries", path.trim_end_matches('/'))).await;
        }
    }
    for id in ids {
        for what in ["", "/status", "/logs?level=DEBUG&limit=1000", "/logs?limit=1000", "/events?limit=1000", "/metrics", "/report", "/report?format=html"] {
            server.get(&format!("/migrations/{id}{what}")).await;
        }
    }
}

fn files(c: &Canaries, directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        if entry.file_type().expect("a type").is_dir() {
            files(c, &entry.path(), found);
        } else if let Ok(bytes) = std::fs::read(entry.path()) {
            found.extend(c.found(&format!("the file {}", entry.file_name().display()), &bytes));
        }
    }
}

/// Command lines of the server and of everything else that runs here.
fn command_lines(c: &Canaries, found: &mut Vec<String>) {
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        if let Ok(line) = std::fs::read(entry.path().join("cmdline")) {
            found.extend(c.found("a command line", &line));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_anywhere() {
    let (c, dir, mut found) = (Canaries::default(), tempfile::tempdir().expect("a directory"), Vec::new());
    let receiver = crate::receiver::Receiver::start().await;
    let (server, admin) = Watched::start(dir.path(), &c).await;
    let log_in = server.http.post(format!("{}/auth/token", server.base)).json(&json!({"username": "admin", "password": admin}));
    let (status, tokens) = server.kept("the log-in", log_in).await;
    assert_eq!(status, 200, "{tokens:#}");
    *server.token.borrow_mut() = tokens["access_token"].as_str().expect("a token").to_owned();
    keepers(&server, &c, &receiver.url).await;
    mistakes(&server, &c).await;
    let mut ids = Vec::new();
    for spec in migrations(&c, &receiver.url) {
        server.post("/validate", spec.clone()).await;
        ids.push(server.run(spec).await);
        command_lines(&c, &mut found);
    }
    read_all(&server, &ids).await;
    assert!(c.0.borrow().len() >= 50, "only {} canaries", c.0.borrow().len());
    for (at, text) in server.answers.borrow().iter() {
        found.extend(c.found(at, text.as_bytes()));
    }
    drop(server);
    files(&c, dir.path(), &mut found);
    let log = std::fs::read_to_string(dir.path().join("server.log")).expect("the log");
    assert!(log.lines().filter(|l| l.starts_with('{')).count() > 50, "the log is talkative");
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{} of the secrets:\n{}", found.len(), found.join("\n"));
}
