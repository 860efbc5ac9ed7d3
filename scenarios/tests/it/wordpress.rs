//! A real WordPress moves from SFTP + MariaDB to S3 + MySQL 9, and to another SFTP directory + MySQL 9, where it is served again
//! and compared with the original over HTTP.

use crate::product::{Product, free_port, http_client};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rig's WordPress, copied to where the SSH user may put it into maintenance mode.
pub struct Site {
    pub root: PathBuf,
}

impl Site {
    pub fn new(name: &str) -> Self {
        let wordpress = testkit::rig::wordpress();
        let ssh = testkit::rig::ssh();
        let root = ssh.home.join(format!("{name}-{}", std::process::id()));
        shell(&format!(
            "rm -rf {0} && cp -a {1} {0} && mkdir -p {0}/wp-content/cache && echo junk > {0}/wp-content/cache/page.html && chown -R {2} {0} && chmod 711 {3}",
            root.display(),
            wordpress.root.display(),
            ssh.user,
            ssh.home.display()
        ));
        Self { root }
    }

    pub fn source(&self) -> Value {
        let ssh = testkit::rig::ssh();
        json!({"type": "wordpress", "host": ssh.host, "port": ssh.port, "username": ssh.user, "password": ssh.password,
            "host_key": ssh.host_key(), "paths": {"web_root": self.root}})
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        shell(&format!("rm -rf {}", self.root.display()));
    }
}

pub fn shell(command: &str) {
    let status = Command::new("bash").args(["-c", command]).status().expect("a shell");
    assert!(status.success(), "{command}");
}

pub async fn mysql() -> mysql_async::Conn {
    let server = testkit::rig::mysql();
    let options = mysql_async::OptsBuilder::default().ip_or_hostname(server.host).tcp_port(server.port).user(Some(server.user)).pass(Some(server.password));
    mysql_async::Conn::new(options).await.expect("MySQL")
}

pub fn database(name: &str) -> Value {
    let server = testkit::rig::mysql();
    json!({"type": "mysql", "host": server.host, "port": server.port, "username": server.user, "password": server.password, "database": name})
}

/// The migrated copy, served by nginx and php-fpm; stopped when dropped.
pub struct Served {
    port: u16,
}

impl Served {
    pub fn start(root: &Path, port: u16) -> Self {
        let rig = testkit::rig::workspace().join("rig/wordpress.sh");
        shell(&format!("RIG={} {} serve {} {port}", testkit::rig::setting("RIG_DIR"), rig.display(), root.display()));
        Self { port }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let rig = testkit::rig::workspace().join("rig/wordpress.sh");
        shell(&format!("RIG={} WP_PORT={} {} stop", testkit::rig::setting("RIG_DIR"), self.port, rig.display()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_to_another_server_and_is_served_there() {
    let site = Site::new("wp-from");
    let ssh = testkit::rig::ssh();
    let to = ssh.home.join(format!("wp-to-{}", std::process::id()));
    let name = format!("wp_to_{}", std::process::id());
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let data = tempfile::tempdir().expect("a directory");
    let product = Product::start(data.path(), &[]).await;
    let spec = json!({
        "name": "WordPress to another server",
        "source": site.source(),
        "destination": {"type": "wordpress", "host": ssh.host, "port": ssh.port, "username": ssh.user, "private_key": ssh.private_key(),
            "host_key": ssh.host_key(), "paths": {"web_root": to}, "url": url, "database": database(&name)},
    });
    let (id, status) = product.run(spec).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    assert_eq!(status["steps_completed"], status["steps_total"]);
    assert!(!site.root.join(".maintenance").exists(), "maintenance mode was taken back");
    assert!(!to.join(".maintenance").exists(), "maintenance mode did not travel");
    assert!(!to.join("wp-content/cache/page.html").exists(), "caches stay behind");

    {
        let _served = Served::start(&to, port);
        compare_over_http(&url).await;
        serialised_option_is_whole(&to, &url);
    }
    no_old_address(&name).await;
    no_secret_told(&product, &id).await;

    // The served site has written into its tables: that is not discarded unasked, and saved when it is.
    let (code, answer) = product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert_eq!((code, &answer["error"]["code"]), (409, &json!("LATER_CHANGES")), "{answer:#}");
    let (code, answer) = product.post(&format!("/migrations/{id}/rollback"), json!({"discard_later_changes": true})).await;
    assert_eq!(code, 200, "{answer:#}");
    let status = product.settle(&id).await;
    assert_eq!((&status["status"], &status["rolled_back"]), (&json!("rolled_back"), &json!(true)), "{status:#}");
    assert!(!to.exists(), "the directory that the migration made is gone");
    let left: Option<String> = mysql().await.query_first(format!("SHOW DATABASES LIKE '{name}'")).await.expect("ask");
    assert_eq!(left, None, "the database that the migration made is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_to_an_object_store() {
    let site = Site::new("wp-s3");
    let s3 = testkit::rig::s3();
    let name = format!("wp_s3_{}", std::process::id());
    let bucket = format!("wp-{}", std::process::id());
    let data = tempfile::tempdir().expect("a directory");
    let product = Product::start(data.path(), &[]).await;
    let spec = json!({
        "name": "WordPress to S3",
        "source": site.source(),
        "destination": {"type": "aws-s3", "region": "us-east-1", "bucket": bucket, "endpoint": s3.endpoint, "access_key_id": s3.access_key_id,
            "secret_access_key": s3.secret_access_key, "database": database(&name)},
    });
    let (id, status) = product.run(spec).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    let (_, report) = product.get(&format!("/migrations/{id}/report")).await;
    assert!(report.to_string().contains("wp-config.php"), "the report says that wp-config.php stayed behind: {report:#}");
    let posts: Option<u64> = mysql().await.query_first(format!("SELECT COUNT(*) FROM `{name}`.wp_posts")).await.expect("count");
    assert!(posts.is_some_and(|n| n >= 20), "the posts are there");
    let (code, answer) = product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert_eq!(code, 200, "{answer:#}");
    assert_eq!(product.settle(&id).await["status"], "rolled_back");
}

/// Front page, 20 posts, images and the log-in answer the same on both sites, but for their own addresses.
async fn compare_over_http(url: &str) {
    let old = testkit::rig::wordpress().url;
    let http = http_client();
    let mut paths = vec!["/".to_owned()];
    paths.extend((1..=20).map(|n| format!("/post-{n}/")));
    for path in paths {
        let before = http.get(format!("{old}{path}")).send().await.expect("the old site");
        let after = http.get(format!("{url}{path}")).send().await.expect("the new site");
        assert_eq!((before.status().as_u16(), after.status().as_u16()), (200, 200), "{path}");
        let (before, after) = (before.text().await.expect("text"), after.text().await.expect("text"));
        let before = in_every_spelling(&before, &old, url);
        let (before, after) = (one_gravatar(&before), one_gravatar(&after));
        let differing = before.lines().zip(after.lines()).find(|(a, b)| a != b);
        assert_eq!((differing, before.len()), (None, after.len()), "{path} differs");
        for image in images(&after, url) {
            let there = http.get(&image).send().await.expect("an image");
            assert_eq!(there.status().as_u16(), 200, "{image}");
            let original = http.get(image.replace(url, &old)).send().await.expect("the original image");
            assert_eq!(there.bytes().await.expect("bytes"), original.bytes().await.expect("bytes"), "{image}");
        }
    }
    let form = "log=admin&pwd=rigAdmin1%21&wp-submit=Log+In&testcookie=1";
    let no_redirects = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let answer = no_redirects
        .post(format!("{url}/wp-login.php"))
        .header("Cookie", "wordpress_test_cookie=WP%20Cookie%20check")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .expect("the log-in");
    assert_eq!(answer.status().as_u16(), 302, "logged in");
    let cookies: Vec<String> =
        answer.headers().get_all("set-cookie").iter().filter_map(|c| c.to_str().ok()?.split(';').next().map(ToOwned::to_owned)).collect();
    let admin = no_redirects.get(format!("{url}/wp-admin/")).header("Cookie", cookies.join("; ")).send().await.expect("the dashboard");
    assert_eq!(admin.status().as_u16(), 200, "the dashboard opens");
}

/// Replaces an address as it is, in JSON, and encoded for a URL.
fn in_every_spelling(page: &str, old: &str, new: &str) -> String {
    let encoded = |url: &str| url.replace(':', "%3A").replace('/', "%2F");
    page.replace(old, new).replace(&old.replace('/', "\\/"), &new.replace('/', "\\/")).replace(&encoded(old), &encoded(new))
}

/// WordPress picks one of three hosts at random for visitors without an address.
fn one_gravatar(page: &str) -> String {
    ["1", "2"].iter().fold(page.to_owned(), |page, n| page.replace(&format!("//{n}.gravatar.com"), "//0.gravatar.com"))
}

fn images(page: &str, url: &str) -> Vec<String> {
    page.split(['"', '\'', ' ']).filter(|word| word.strip_suffix(".png").is_some_and(|rest| rest.starts_with(url))).map(ToOwned::to_owned).collect()
}

fn serialised_option_is_whole(root: &Path, url: &str) {
    let script = format!("require '{}/wp-load.php'; echo json_encode(get_option('rig_serialized'));", root.display());
    let output = Command::new("php").args(["-r", &script]).output().expect("php");
    let option: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stdout)));
    assert_eq!(option, json!({"home": url, "é": "xxxxxxxxxx"}));
}

/// No text column of any table holds the old address in any spelling.
pub async fn no_old_address(database: &str) {
    let mut db = mysql().await;
    let old = testkit::rig::wordpress().url.replace("http://", "");
    let columns: Vec<(String, String)> = db
        .query(format!(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = '{database}' AND data_type IN ('char','varchar','text','mediumtext','longtext','tinytext')"
        ))
        .await
        .expect("the columns");
    assert!(columns.len() > 50, "a real WordPress has many text columns");
    for (table, column) in columns {
        let found: Option<u64> = db.query_first(format!("SELECT COUNT(*) FROM `{database}`.`{table}` WHERE `{column}` LIKE '%{old}%'")).await.expect("count");
        assert_eq!(found, Some(0), "{table}.{column} still holds {old}");
    }
}

/// No answer and no log line holds a password.
async fn no_secret_told(product: &Product, id: &str) {
    let mut told = String::new();
    for path in ["", "/status", "/logs?limit=1000", "/report", "/metrics", "/events?limit=1000"] {
        told += &product.get(&format!("/migrations/{id}{path}")).await.1.to_string();
    }
    told += &std::fs::read_to_string(product.data.join("server.log")).expect("the server's log");
    let secrets = [testkit::rig::ssh().password, testkit::rig::s3().secret_access_key];
    for secret in secrets {
        assert!(!told.contains(&format!("\"{secret}\"")) && !told.contains(&format!(":{secret}@")), "a secret was told");
    }
}
