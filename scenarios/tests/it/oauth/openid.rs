//! Logging in through a real OpenID provider, with its real pages.

use crate::product::{binary, http_client};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server on the port that the provider sends browsers to. Killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Already dead is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn people_come_in_through_the_provider() {
    let data = tempfile::tempdir().expect("a directory");
    let openid = testkit::rig::openid();
    let base = format!("http://127.0.0.1:{}", openid.return_port);
    let log = std::fs::File::create(data.path().join("server.log")).expect("a log");
    let mut command = Command::new(binary());
    command.args(["serve", "--port", &openid.return_port.to_string(), "--auth-enabled", "--data-dir"]).arg(data.path());
    command.args(["--oidc-issuer", &openid.issuer, "--oidc-client-id", &openid.client_id, "--oidc-tenant", "default", "--oidc-scopes", "migrations:read"]);
    command.env("MIGRATION_ASSISTANT_OIDC_CLIENT_SECRET", &openid.client_secret).env("MIGRATION_ASSISTANT_ADMIN_PASSWORD", "correct horse battery");
    let server = command.stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log).spawn().expect("the server");
    let server = Server(server);
    let http = http_client();
    let deadline = Instant::now() + Duration::from_secs(30);
    while http.get(format!("{base}/health")).send().await.is_err() {
        assert!(Instant::now() < deadline, "{}", std::fs::read_to_string(data.path().join("server.log")).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let first = me(&base, &log_in(&base, "ann").await).await;
    assert_eq!((&first["name"], &first["scopes"]), (&"ann".into(), &serde_json::json!(["migrations:read"])), "{first:#}");
    let again = me(&base, &log_in(&base, "ann").await).await;
    assert_eq!(again["user_id"], first["user_id"], "the same person is the same user");
    let admin = me(&base, &log_in(&base, "admin").await).await;
    assert!(admin["name"] != "admin" && admin["scopes"] == serde_json::json!(["migrations:read"]), "a name at the provider is no name here: {admin:#}");
    drop(server);
}

/// Who the product takes the owner of these tokens for.
async fn me(base: &str, tokens: &Value) -> Value {
    let token = tokens["access_token"].as_str().unwrap_or_else(|| panic!("no token: {tokens:#}"));
    http_client().get(format!("{base}/auth/me")).bearer_auth(token).send().await.expect("an answer").json().await.expect("JSON")
}

/// What the product answers at the end of the way; the same way does not lead there twice.
async fn log_in(base: &str, user: &str) -> Value {
    let script = testkit::rig::workspace().join("scenarios/tests/it/oauth/openid.py");
    let (base, user) = (base.to_owned(), user.to_owned());
    let ended = tokio::task::spawn_blocking(move || Command::new(testkit::rig::python()).arg(script).args([base, user]).output().expect("Python"));
    let ended = ended.await.expect("Python");
    let out = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{out}\n{}", String::from_utf8_lossy(&ended.stderr));
    let (answer, after) = out.trim().rsplit_once('\n').expect("two lines");
    assert_eq!(after, "401 401", "{out}");
    serde_json::from_str(answer.strip_prefix("200 ").unwrap_or_else(|| panic!("{out}"))).expect("JSON")
}
