//! A small WordPress on MariaDB, moved to MySQL 9 under a new address, over an older copy.

use super::drive::{Driven, disturbed, output};
use super::hold::{Hold, HoldingConnectors};
use super::{fingerprint, settings, write};
use engine::RunState;
use futures::FutureExt;
use mysql_async::prelude::Queryable;
use plans::application::{Wanted, rollback_preview};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::plan_suite::{self, Case};
use testkit::rig::Server;

pub const OLD: &str = "http://old.test:8080";
pub const NEW: &str = "https://new.test/shop";

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
pub struct World {
    pub dir: tempfile::TempDir,
    pub from: String,
    pub to: String,
}

pub async fn connect(server: Server) -> mysql_async::Conn {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(server.host)
        .tcp_port(server.port)
        .user(Some(server.user))
        .pass(Some(server.password))
        .init(["SET SESSION sql_mode = ''"].to_vec());
    mysql_async::Conn::new(options).await.expect("the database server")
}

impl World {
    pub async fn new() -> Self {
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
        write(&root.join("wp-settings.php"), "<?php // what every WordPress loads");
        write(&root.join("wp-includes/version.php"), "<?php\n$wp_version = '6.1.6';\n");
        write(&root.join("wp-content/uploads/a.txt"), "upload");
        write(&root.join("wp-content/cache/page.html"), "junk");
        let to = self.dir.path().join("to");
        write(&to.join("wp-config.php"), "<?php // an older configuration");
        write(&to.join("index.php"), "<?php // older");
        write(&to.join("own.txt"), "stays");
    }

    pub fn document(&self) -> Value {
        let server = testkit::rig::mysql();
        json!({"name": "WordPress",
            "source": {"type": "wordpress", "paths": {"web_root": self.dir.path().join("from")}},
            "destination": {"type": "wordpress", "paths": {"web_root": self.dir.path().join("to")}, "url": NEW,
                "database": {"type": "mysql", "host": server.host, "port": server.port, "username": server.user, "password": server.password, "database": self.to}}})
    }

    pub async fn state(dir: &Path, from: &str, to: &str) -> String {
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

pub async fn rows(database: &str, sql: &str) -> Vec<String> {
    connect(testkit::rig::mysql()).await.query(sql.replace("DB", database)).await.expect("rows")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_site_has_its_configuration_and_its_address_everywhere() {
    let world = World::new().await;
    let dir = world.dir.path();
    let driven = Driven::open(dir, plans::registry(settings(dir))).await;
    let before = fingerprint::mysql(&mut connect(testkit::rig::mysql()).await, &world.to).await;
    let mut document = world.document();
    document["safety"] = json!({"backup_source_database": true});
    driven.start(document, true).await;
    let run = driven.completed().await;
    let config = std::fs::read_to_string(dir.join("to/wp-config.php")).expect("the new configuration");
    let server = testkit::rig::mysql();
    let host = format!("define( 'DB_HOST', '{}:{}' ); // here", server.host, server.port);
    assert!(config.contains(&format!("'DB_NAME', '{}'", world.to)) && config.contains(&host) && config.contains(&format!("'WP_HOME', '{NEW}'")), "{config}");
    assert!(!dir.join("to/wp-content/cache").exists(), "caches stay behind");
    let options = rows(&world.to, "SELECT option_value FROM DB.wp_options ORDER BY option_id").await;
    assert_eq!(
        options,
        [
            NEW,
            NEW,
            r#"a:2:{s:3:"url";s:26:"https://new.test/shop/wid/";s:1:"n";i:1;}"#,
            r#"{"u":"https:\/\/new.test\/shop\/x"}"#,
            r#"a:1:{s:3:"url";s:99:"http://old.test:8080/";}"#,
            "http://old.test:80801/ http://old.test/",
        ]
    );
    assert_eq!(rows(&world.to, "SELECT guid FROM DB.wp_posts ORDER BY ID").await, ["https://new.test/shop/?p=1", ""]);
    let there = rows(&world.to, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'DB' AND table_name = 'other_table'").await;
    assert_eq!(there, Vec::<String>::new(), "only the site's own tables");
    let report = output(&run, "finish");
    assert_eq!((&report["partial"], &report["leftovers_count"]), (&json!(true), &json!(1)), "{report:#}");
    assert_eq!(report["leftovers"][0]["kind"], "old address");
    assert_eq!((&report["addresses"]["rows"], &report["verification"]["rewritten_rows"]), (&json!(5), &json!(5)), "{report:#}");
    assert!(report["summary"]["standstill_seconds"].as_f64().is_some_and(|s| s > 0.0), "{report:#}");
    assert_eq!(report["backup"]["state"], "verified");
    let parts: Vec<_> = report["backup"]["parts"].as_array().expect("parts").iter().map(|p| p["kind"].clone()).collect();
    assert_eq!(parts, ["files", "database", "configuration", "source_database"]);
    let told = run.steps.iter().fold(plans::report::html(report), |told, s| told + &format!("{:?}", s.output));
    assert!(!told.contains(&server.password), "no password in any output");
    assert_eq!(plans::backups::list(&settings(dir), "default").await.expect("backups").len(), 1);

    // Taking back needs no source: it may be gone by then.
    connect(testkit::rig::mariadb()).await.query_drop(format!("DROP DATABASE {}", world.from)).await.expect("drop the source");
    std::fs::remove_dir_all(dir.join("from")).expect("remove the source");
    let plans = driven.crash().await;
    let driven = Driven::open(dir, plans).await;
    let run = driven.rollback(Value::Null).await;
    assert_eq!(run.state, RunState::RolledBack, "{:?}", run.error);
    assert_eq!(fingerprint::mysql(&mut connect(testkit::rig::mysql()).await, &world.to).await, before);
    assert_eq!(std::fs::read_to_string(dir.join("to/index.php")).expect("restored"), "<?php // older");
    driven.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_restores_only_what_was_asked_for() {
    let world = World::new().await;
    let dir = world.dir.path();
    let before = World::state(dir, &world.from, &world.to).await;
    let driven = Driven::open(dir, plans::registry(settings(dir))).await;
    driven.start(world.document(), true).await;
    let run = driven.completed().await;
    let backup = output(&run, "backup")["backup"]["id"].clone();
    let run = driven
        .rollback(json!({"backup_id": backup, "rollback_options": {"restore_files": true, "restore_database": false, "restore_configuration": true}}))
        .await;
    assert_eq!(run.state, RunState::RolledBack, "{:?}", run.error);
    assert_eq!(std::fs::read_to_string(dir.join("to/index.php")).expect("restored"), "<?php // older");
    assert_eq!(std::fs::read_to_string(dir.join("to/wp-config.php")).expect("restored"), "<?php // an older configuration");
    assert_eq!(rows(&world.to, "SELECT option_value FROM DB.wp_options WHERE option_name = 'home'").await, [NEW], "the database stays");
    let after = World::state(dir, &world.from, &world.to).await;
    let files = |text: &str| text[text.find("== to").expect("a part")..].lines().take_while(|l| !l.starts_with("table")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(files(&before), files(&after));
    driven.crash().await;
}

/// What rewriting addresses changed is known as the migration's own also where nothing is verified.
#[tokio::test(flavor = "multi_thread")]
async fn rewritten_rows_are_nobody_elses_changes_without_a_verification() {
    let world = World::new().await;
    let dir = world.dir.path();
    let driven = Driven::open(dir, plans::registry(settings(dir))).await;
    let mut document = world.document();
    document["safety"] = json!({"verify_after": false});
    driven.start(document.clone(), true).await;
    let run = driven.completed().await;
    let wanted = Wanted { backup: None, files: true, database: true, configuration: true, look_at_files: false };
    let settings = settings(dir);
    let preview = || async { rollback_preview(&settings, &driven.engine, &run, &document, &wanted).await.expect("a preview") };
    let found = preview().await;
    assert!(found.possible && found.tables.is_empty(), "{:?}", found.tables);
    connect(testkit::rig::mysql()).await.query_drop(format!("UPDATE {}.wp_posts SET post_content = 'edited' WHERE ID = 1", world.to)).await.expect("an edit");
    let found = preview().await;
    assert_eq!(found.tables.iter().map(|t| t.table.name.as_str()).collect::<Vec<_>>(), ["wp_posts"], "{:?}", found.tables);
    driven.crash().await;
}

const OWN: &str = "<?php $upgrading = time(); // the site's own ?>";

/// Brings a run to the middle of its last pass, where the site stands still.
async fn in_the_last_pass(world: &World, hold: &Arc<Hold>) -> Driven {
    let dir = world.dir.path();
    let connectors = Arc::new(HoldingConnectors(hold.clone()));
    let driven = Driven::open(dir, plans::registry(plans::Settings { connectors, ..settings(dir) })).await;
    driven.start(world.document(), false).await;
    hold.reached.notified().await;
    let text = std::fs::read_to_string(dir.join("from/.maintenance")).expect("the site stands still");
    assert!(text.contains("migration-assistant run"), "{text}");
    driven
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_last_pass_leaves_the_site_as_it_was() {
    let world = World::new().await;
    let maintenance = world.dir.path().join("from/.maintenance");
    std::fs::write(&maintenance, OWN).expect("the site's own maintenance file");
    let driven = in_the_last_pass(&world, &Arc::default()).await;
    driven.cancel().await;
    assert_eq!(driven.ended().await.state, RunState::Cancelled);
    assert_eq!(std::fs::read_to_string(&maintenance).expect("its own file is back"), OWN);
    driven.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_last_pass_never_leaves_the_site_standing() {
    let world = World::new().await;
    let hold = Arc::new(Hold::default());
    let driven = in_the_last_pass(&world, &hold).await;
    let plans = driven.crash().await;
    let maintenance = world.dir.path().join("from/.maintenance");
    assert!(maintenance.exists(), "nobody was there to take it back");
    hold.release();
    let driven = Driven::open(world.dir.path(), plans).await;
    let run = driven.completed().await;
    assert!(!maintenance.exists(), "the one who took over has taken it back");
    assert!(output(&run, "files")["standstill_seconds"].as_f64().is_some_and(|s| s > 0.0));
    driven.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_before_the_verification_is_sent_again_or_named() {
    let world = World::new().await;
    let (file, database) = (world.dir.path().join("to/wp-content/uploads/a.txt"), world.to.clone());
    let deed = Arc::new(move || {
        let (file, database) = (file.clone(), database.clone());
        async move {
            std::fs::write(&file, "UPLOAD").expect("a same-size edit");
            let sql = format!("UPDATE {database}.wp_posts SET post_content = 'edited' WHERE ID = 1");
            connect(testkit::rig::mysql()).await.query_drop(sql).await.expect("an edit");
        }
        .boxed()
    });
    let dir = world.dir.path();
    let driven = Driven::open(dir, disturbed(plans::registry(settings(dir)), "verify", deed)).await;
    driven.start(world.document(), false).await;
    let run = driven.ended().await;
    assert_eq!(run.state, RunState::Failed);
    let error = run.error.expect("an error");
    assert_eq!((error.kind.as_str(), error.temporary), ("verification_mismatch", false), "{error:?}");
    // The file came once more; in a table whose rows were rewritten the difference is told.
    assert!(error.message.contains("1 named rows") && error.message.contains("table wp_posts"), "{}", error.message);
    assert_ne!(std::fs::read_to_string(world.dir.path().join("to/wp-content/uploads/a.txt")).expect("the file"), "UPLOAD");
    driven.crash().await;
}
