//! What goes wrong in real life: each ends in a clear error or a clean resume, nothing lost, nothing half-written under its final name.

use crate::product::{Product, free_port, http_client};
use crate::tree;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn sftp(root: &Path) -> Value {
    let ssh = testkit::rig::ssh();
    json!({"type": "static", "host": ssh.host, "port": ssh.port, "username": ssh.user, "password": ssh.password,
        "host_key": ssh.host_key(), "paths": {"web_root": root}})
}

fn local(root: &Path) -> Value {
    json!({"type": "static", "paths": {"web_root": root}})
}

fn spec(name: &str, source: Value, destination: Value) -> Value {
    json!({"name": name, "source": source, "destination": destination, "transfer": {"options": {"chunk_size": "5MB"}}})
}

/// A directory below the SSH user's home, removed when dropped.
struct Remote(PathBuf);

impl Remote {
    fn new(name: &str) -> Self {
        let path = testkit::rig::ssh().home.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A leftover below the rig's home does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn product(dir: &Path) -> Product {
    Product::start(&dir.join("data"), &[dir]).await
}

/// Starting must be refused with 422 and a failed check that says `words`; the destination stays as it was.
async fn refused(source: Value, destination: Value, to: &Path, words: &[&str]) {
    let dir = tempfile::tempdir().expect("a directory");
    let product = Product::start(&dir.path().join("data"), &[to.parent().expect("a parent"), &std::env::temp_dir()]).await;
    let before = tree::state(to);
    let (code, made) = product.post("/migrations/", spec("refused", source, destination)).await;
    assert_eq!(code, 201, "{made:#}");
    let begun = Instant::now();
    let (code, answer) = product.post(&format!("/migrations/{}/start", made["session_id"].as_str().expect("an id")), json!({})).await;
    assert_eq!((code, answer["error"]["code"].as_str()), (422, Some("VALIDATION_FAILED")), "{answer:#}");
    assert!(begun.elapsed() < Duration::from_secs(15), "a dead end must answer soon, not after {:?}", begun.elapsed());
    let text = answer["error"]["details"]["failed_checks"].to_string();
    for word in words {
        assert!(text.contains(word), "'{word}' is missing in {answer:#}");
    }
    assert_eq!(before, tree::state(to), "nothing changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut source = sftp(Path::new("/srv"));
    source["host"] = json!("no-such-host.invalid");
    refused(source, local(&dir.path().join("to")), &dir.path().join("to"), &["source", "no-such-host.invalid"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused() {
    let from = Remote::new("wrong-password");
    let dir = tempfile::tempdir().expect("a directory");
    let mut source = sftp(&from.0);
    source["password"] = json!("not the password");
    refused(source, local(&dir.path().join("to")), &dir.path().join("to"), &["credentials", "password"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_key_is_refused_with_its_fingerprint() {
    let from = Remote::new("unknown-key");
    let dir = tempfile::tempdir().expect("a directory");
    let mut source = sftp(&from.0);
    source.as_object_mut().expect("an object").remove("host_key");
    refused(source, local(&dir.path().join("to")), &dir.path().join("to"), &["SHA256:", "host_key"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_source_bucket_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let s3 = testkit::rig::s3();
    let source = json!({"type": "aws-s3", "bucket": "no-such-bucket-here", "endpoint": s3.endpoint, "access_key_id": s3.access_key_id, "secret_access_key": s3.secret_access_key});
    refused(source, local(&dir.path().join("to")), &dir.path().join("to"), &["no-such-bucket-here"]).await;
}

/// A tiny file system, unmounted when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn new(dir: &Path, megabytes: u32) -> Self {
        let path = dir.join("tiny");
        std::fs::create_dir_all(&path).expect("a directory");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(&path).status().expect("mount");
        assert!(status.success(), "mounting a small file system needs root");
        Self(path)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_space_is_seen_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let tiny = Tiny::new(dir.path(), 8);
    let source = dir.path().join("source");
    std::fs::create_dir_all(&source).expect("a directory");
    tree::make_large(&source.join("film.bin"), 24 << 20);
    let product = product(dir.path()).await;
    let to = tiny.0.join("site");
    let (_, status) = product.run(spec("too small", local(&source), local(&to))).await;
    assert_eq!((&status["status"], &status["rolled_back"]), (&json!("failed"), &json!(true)), "{status:#}");
    assert_eq!(status["error"]["step"], "validate", "{status:#}");
    assert!(status["error"].to_string().contains("space"), "{status:#}");
    assert!(!to.exists(), "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_meanwhile_is_named_and_the_destination_is_as_before() {
    let from = Remote::new("full-disk");
    tree::make_large(&from.0.join("film.bin"), 48 << 20);
    let proxy = Proxy::new(testkit::rig::ssh().port);
    proxy.set(json!({"rate": 12 << 20})).await;
    let dir = tempfile::tempdir().expect("a directory");
    let tiny = Tiny::new(dir.path(), 64);
    let product = product(dir.path()).await;
    let to = tiny.0.join("site");
    let mut source = sftp(&from.0);
    source["port"] = json!(proxy.listen);
    let id = product.begin(spec("full disk", source, local(&to))).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while std::fs::read_dir(&to).map_or(0, Iterator::count) == 0 {
        assert!(Instant::now() < deadline, "the copy never began");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tree::fill(&tiny.0.join("somebody-elses-file"));
    let status = product.settle(&id).await;
    assert_eq!((&status["status"], &status["rolled_back"]), (&json!("failed"), &json!(true)), "{status:#}");
    assert!(status["error"].to_string().contains("space"), "{status:#}");
    assert!(!to.exists(), "the destination is as before");
}

/// A fault proxy in front of the rig's SSH server, stopped when dropped.
struct Proxy {
    dir: tempfile::TempDir,
    listen: u16,
    control: u16,
}

impl Proxy {
    fn new(target: u16) -> Self {
        let proxy = Self { dir: tempfile::tempdir().expect("a directory"), listen: free_port(), control: free_port() };
        proxy.script("start", target);
        proxy
    }

    fn script(&self, verb: &str, target: u16) {
        let script = testkit::rig::workspace().join("rig/faultproxy.sh");
        let status = Command::new(script)
            .arg(verb)
            .env("RIG", testkit::rig::setting("RIG_DIR"))
            .env("RUN", self.dir.path())
            .env("FP_CTL", self.control.to_string())
            .env("FP", format!("{}:{target}", self.listen))
            .status()
            .expect("the proxy script");
        assert!(status.success());
    }

    async fn set(&self, fault: Value) {
        let url = format!("http://127.0.0.1:{}/{}", self.control, self.listen);
        http_client().post(url).body(fault.to_string()).send().await.expect("the proxy's control port");
    }

    /// Bytes that passed since the last setting.
    async fn passed(&self) -> u64 {
        let text = http_client().get(format!("http://127.0.0.1:{}/", self.control)).send().await.expect("the proxy").text().await.expect("text");
        let all: Value = serde_json::from_str(&text).expect("JSON");
        all[self.listen.to_string()]["bytes"].as_u64().unwrap_or(0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.script("stop", 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_the_middle_is_a_clean_resume() {
    let from = Remote::new("cut");
    tree::make(&from.0, 800);
    tree::make_large(&from.0.join("film.bin"), 48 << 20);
    let ssh = testkit::rig::ssh();
    let proxy = Proxy::new(ssh.port);
    let dir = tempfile::tempdir().expect("a directory");
    let product = product(dir.path()).await;
    let to = dir.path().join("to");
    let mut source = sftp(&from.0);
    source["port"] = json!(proxy.listen);
    proxy.set(json!({"reset_after": 20 << 20})).await;
    let id = product.begin(spec("cut", source, local(&to))).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while proxy.passed().await < 20 << 20 {
        assert!(Instant::now() < deadline, "the cut never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.set(json!({})).await;
    let status = product.settle(&id).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    assert_eq!(tree::state(&from.0), tree::state(&to), "the destination equals the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_and_vanish_meanwhile_are_taken_as_they_are_at_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, to) = (dir.path().join("source"), dir.path().join("to"));
    std::fs::create_dir_all(&source).expect("a directory");
    tree::make(&source, 3000);
    tree::make_large(&source.join("film.bin"), 64 << 20);
    let product = product(dir.path()).await;
    let id = product.begin(spec("busy", local(&source), local(&to))).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    // Work on the site until the first files have arrived, so that the bulk pass sees old and new states.
    let mut n = 0;
    while !to.join("d000/f00001.bin").exists() && n < 100_000 {
        assert!(Instant::now() < deadline, "nothing arrived");
        std::fs::write(source.join("d000/f00003.bin"), format!("edition {n}")).expect("edit");
        n += 1;
        let (_, status) = product.get(&format!("/migrations/{id}/status")).await;
        if status["status"] != "running" {
            break;
        }
    }
    std::fs::remove_file(source.join("d000/f00005.bin")).expect("remove");
    std::fs::write(source.join("d029/f02999.bin"), "the last edition").expect("edit");
    let status = product.settle(&id).await;
    assert!(matches!(status["status"].as_str(), Some("completed" | "failed")), "{status:#}");
    if status["status"] == "completed" {
        for path in ["film.bin", "d010/f01000.bin"] {
            assert_eq!(std::fs::read(source.join(path)).expect("source"), std::fs::read(to.join(path)).expect("destination"), "{path}");
        }
    } else {
        assert!(status["error"].to_string().contains("chang"), "the error says that the source changed: {status:#}");
    }
}
