//! A small WordPress on MariaDB, moved to MySQL 9 under a new address, over an older copy.

use super::{fingerprint, settings, write};
use futures::FutureExt;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::plan_suite::{self, Case};
use testkit::rig::Server;

const OLD: &str = "http://old.test:8080";
const NEW: &str = "https://new.test/shop";

const TABLES: &str = "
 CREATE TABLE wp_options(option_id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, option_name VARCHAR(191) UNIQUE, option_value LONGTEXT NOT NULL);
 CREATE TABLE wp_posts(ID BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, post_date DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00', post_content LONGTEXT, guid VARCHAR(255), KEY d(post_date));
 CREATE TABLE other_table(id INT PRIMARY KEY, url TEXT);
 INSERT INTO wp_options(option_name, option_value) VALUES
  ('siteurl', 'http://old.test:8080'), ('home', 'http://old.test:8080'),
  ('widgets', 'a:2:{s:3:\"url\";s:25:\"http://old.test:8080/wid/\";s:1:\"n\";i:1;}'),
  ('json', '{\"u\":\"http:\\\\/\\\\/old.test:8080\\\\/x\"}'),
  ('broken', 'a:1:{s:3:\"url\";s:99:\"http://old.test:8080/\";}'),
  ('other', 'http://old.test:80801/ http://old.test/');
 INSERT INTO wp_posts(post_date, post_content, guid) VALUES ('2024-01-02 03:04:05', '<a href=\"http://old.test:8080/p\">é😀</a>', 'http://old.test:8080/?p=1'), ('0000-00-00 00:00:00', 'nothing', '');
 INSERT INTO other_table VALUES (1, 'http://old.test:8080/not-ours');";

/// Two databases and two directories; the databases go with it.
struct World {
    dir: tempfile::TempDir,
    from: String,
    to: String,
}

async fn connect(server: Server) -> mysql_async::Conn {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(server.host)
        .tcp_port(server.port)
        .user(Some(server.user))
        .pass(Some(server.password))
        .init(["SET SESSION sql_mode = ''"].to_vec());
    mysql_async::Conn::new(options).await.expect("the database server")
}

impl World {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let world = Self { dir: tempfile::tempdir().expect("a directory"), from: format!("plan_from_{tag}"), to: format!("plan_to_{tag}") };
        let mut from = connect(testkit::rig::mariadb()).await;
        from.query_drop(format!("CREATE DATABASE {0} CHARACTER SET utf8mb4; USE {0}; {TABLES}", world.from)).await.expect("the source's tables");
        let mut to = connect(testkit::rig::mysql()).await;
        let older = "CREATE TABLE wp_options(option_id INT PRIMARY KEY, old TEXT); INSERT INTO wp_options VALUES (1, 'before'); CREATE TABLE keep(id INT PRIMARY KEY); INSERT INTO keep VALUES (5);";
        to.query_drop(format!("CREATE DATABASE {0}; USE {0}; {older}", world.to)).await.expect("the destination's tables");
        world.lay_out();
        world
    }

    fn lay_out(&self) {
        let server = testkit::rig::mariadb();
        let config = format!(
            "<?php\ndefine( 'DB_NAME', '{}' );\ndefine( 'DB_USER', '{}' );\ndefine( 'DB_PASSWORD', '{}' );\ndefine( 'DB_HOST', '{}:{}' ); // here\ndefine('WP_HOME', '{OLD}');\n$table_prefix = 'wp_';\n",
            self.from, server.user, server.password, server.host, server.port
        );
        let root = self.dir.path().join("from");
        write(&root.join("wp-config.php"), &config);
        write(&root.join("index.php"), "<?php // the site");
        write(&root.join("wp-includes/version.php"), "<?php\n$wp_version = '6.1.6';\n");
        write(&root.join("wp-content/uploads/a.txt"), "upload");
        write(&root.join("wp-content/cache/page.html"), "junk");
        let to = self.dir.path().join("to");
        write(&to.join("wp-config.php"), "<?php // an older configuration");
        write(&to.join("index.php"), "<?php // older");
        write(&to.join("own.txt"), "stays");
    }

    fn document(&self) -> Value {
        let server = testkit::rig::mysql();
        json!({"name": "WordPress",
            "source": {"type": "wordpress", "paths": {"web_root": self.dir.path().join("from")}},
            "destination": {"type": "wordpress", "paths": {"web_root": self.dir.path().join("to")}, "url": NEW,
                "database": {"type": "mysql", "host": server.host, "port": server.port, "username": server.user, "password": server.password, "database": self.to}}})
    }

    async fn state(dir: &Path, from: &str, to: &str) -> String {
        let names = [from, to];
        let source = fingerprint::mysql(&mut connect(testkit::rig::mariadb()).await, from).await;
        let destination = fingerprint::mysql(&mut connect(testkit::rig::mysql()).await, to).await;
        format!("== from\n{}{source}== to\n{}{destination}", fingerprint::tree(&dir.join("from"), &names), fingerprint::tree(&dir.join("to"), &names))
    }

    fn case(self) -> Case {
        let (dir, from, to) = (self.dir.path().to_owned(), self.from.clone(), self.to.clone());
        Case {
            kind: plans::APPLICATION.to_owned(),
            registry: plans::registry(settings(&dir)),
            input: self.document(),
            options: json!({}),
            rollback_options: Value::Null,
            fingerprint: Arc::new(move || {
                let (dir, from, to) = (dir.clone(), from.clone(), to.clone());
                async move { Self::state(&dir, &from, &to).await }.boxed()
            }),
            keep: Box::new(self),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (from, to) = (self.from.clone(), self.to.clone());
        let drops = async move {
            connect(testkit::rig::mariadb()).await.query_drop(format!("DROP DATABASE IF EXISTS {from}")).await.expect("drop the source");
            connect(testkit::rig::mysql()).await.query_drop(format!("DROP DATABASE IF EXISTS {to}")).await.expect("drop the destination");
        };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ended = std::thread::spawn(move || runtime().block_on(drops)).join();
        assert!(ended.is_ok() || std::thread::panicking(), "the databases are dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_passes_both_suites_on_a_wordpress() {
    plan_suite::run(|| async { World::new().await.case() }.boxed()).await;
}
