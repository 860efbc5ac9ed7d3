//! A WordPress network of sites under a new address, and addresses in binary columns.

use super::drive::{Driven, output};
use super::settings;
use super::wordpress::{World, connect, rows};
use engine::RunState;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

/// WordPress's own tables for a network, in their real layout.
const TABLES: &str = "
 CREATE TABLE wp_blogs(blog_id BIGINT NOT NULL AUTO_INCREMENT, site_id BIGINT NOT NULL DEFAULT 0, domain VARCHAR(200) NOT NULL DEFAULT '', path VARCHAR(100) NOT NULL DEFAULT '',
  registered DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00', public TINYINT(2) NOT NULL DEFAULT 1, PRIMARY KEY (blog_id), KEY domain (domain(50), path(5)));
 CREATE TABLE wp_site(id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, domain VARCHAR(200) NOT NULL DEFAULT '', path VARCHAR(100) NOT NULL DEFAULT '', KEY domain (domain(140), path(51)));
 CREATE TABLE wp_sitemeta(meta_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, site_id BIGINT NOT NULL DEFAULT 0, meta_key VARCHAR(255), meta_value LONGTEXT);
 CREATE TABLE wp_2_options(option_id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, option_name VARCHAR(191) UNIQUE, option_value LONGTEXT NOT NULL);
 CREATE TABLE wp_2_posts(ID BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, post_content LONGTEXT);
 CREATE TABLE wp_cachelike(id INT PRIMARY KEY, body LONGBLOB);";

/// The site `main` becomes a network whose second site is at `domain` and `path`.
async fn make_network(world: &World, main: &str, second: (&str, &str), subdomains: bool) {
    let url = |domain: &str, path: &str| format!("http://{domain}{}", path.trim_end_matches('/'));
    let two = url(second.0, second.1);
    let widget = format!("{two}/wid/");
    let sql = format!(
        "USE {db}; {TABLES}
         UPDATE wp_options SET option_value = 'http://{main}' WHERE option_name IN ('home', 'siteurl');
         INSERT INTO wp_site(domain, path) VALUES ('{main}', '/');
         INSERT INTO wp_blogs(site_id, domain, path) VALUES (1, '{main}', '/'), (1, '{}', '{}'), (1, 'own.example', '/');
         INSERT INTO wp_sitemeta(site_id, meta_key, meta_value) VALUES (1, 'siteurl', 'http://{main}/'), (1, 'site_name', 'About {main}');
         INSERT INTO wp_2_options(option_name, option_value) VALUES ('home', '{two}'), ('siteurl', '{two}'), ('widget', 'a:1:{{s:3:\"url\";s:{}:\"{widget}\";}}');
         INSERT INTO wp_2_posts(post_content) VALUES ('<a href=\"{two}/p\">two</a> <a href=\"http://own.example/\">own</a>');
         INSERT INTO wp_cachelike VALUES (1, 'a:1:{{i:0;s:{}:\"{widget}\";}}'), (2, CONCAT(X'FFFE', '{two}/x')), (3, X'FF00FF');",
        second.0,
        second.1,
        widget.len(),
        widget.len(),
        db = world.from,
    );
    connect(testkit::rig::mariadb()).await.query_drop(sql).await.expect("a network");
    let config = world.dir.path().join("from/wp-config.php");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let constants = format!(
        "define('MULTISITE', true);\ndefine('SUBDOMAIN_INSTALL', {subdomains});\ndefine('DOMAIN_CURRENT_SITE', '{main}');\ndefine('PATH_CURRENT_SITE', '/');\ndefine('SITE_ID_CURRENT_SITE', 1);\n$table_prefix"
    );
    std::fs::write(config, text.replace("$table_prefix", &constants)).expect("the configuration");
}

async fn places(database: &str) -> Vec<String> {
    rows(database, "SELECT CONCAT(domain, path) FROM DB.wp_blogs ORDER BY blog_id").await
}

/// Moves the network; gives the report.
async fn moved(world: &World, url: &str) -> Value {
    let dir = world.dir.path();
    let driven = Driven::open(dir, plans::registry(settings(dir))).await;
    let mut document = world.document();
    document["destination"]["url"] = json!(url);
    driven.start(document, false).await;
    let report = output(&driven.completed().await, "finish").clone();
    driven.crash().await;
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_on_sub_domains_follows_its_domain() {
    let world = World::new().await;
    make_network(&world, "www.old.test", ("two.old.test", "/"), true).await;
    let report = moved(&world, "https://new.test").await;
    let db = &world.to;
    assert_eq!(places(db).await, ["new.test/", "two.new.test/", "own.example/"]);
    assert_eq!(rows(db, "SELECT CONCAT(domain, path) FROM DB.wp_site").await, ["new.test/"]);
    assert_eq!(rows(db, "SELECT meta_value FROM DB.wp_sitemeta ORDER BY meta_id").await, ["https://new.test/", "About www.old.test"]);
    assert_eq!(
        rows(db, "SELECT option_value FROM DB.wp_2_options ORDER BY option_id").await,
        ["https://two.new.test", "https://two.new.test", r#"a:1:{s:3:"url";s:25:"https://two.new.test/wid/";}"#]
    );
    let post = "<a href=\"https://two.new.test/p\">two</a> <a href=\"http://own.example/\">own</a>";
    assert_eq!(rows(db, "SELECT post_content FROM DB.wp_2_posts").await, [post]);
    assert_eq!(rows(db, "SELECT body FROM DB.wp_cachelike WHERE id = 1").await, [r#"a:1:{i:0;s:25:"https://two.new.test/wid/";}"#]);
    let binary: Vec<Vec<u8>> =
        connect(testkit::rig::mysql()).await.query(format!("SELECT body FROM {db}.wp_cachelike WHERE id > 1 ORDER BY id")).await.expect("rows");
    assert_eq!(binary, [b"\xff\xfehttp://two.old.test/x".to_vec(), b"\xff\x00\xff".to_vec()]);
    let config = std::fs::read_to_string(world.dir.path().join("to/wp-config.php")).expect("the configuration");
    assert!(config.contains("'DOMAIN_CURRENT_SITE', 'new.test'") && config.contains("'PATH_CURRENT_SITE', '/'"), "{config}");
    let left = report["leftovers"].as_array().expect("leftovers");
    assert!(
        left.iter()
            .any(|l| l["name"].as_str().is_some_and(|n| n.starts_with("wp_cachelike.body")) && l["reason"].as_str().is_some_and(|r| r.contains("binary"))),
        "{report:#}"
    );
    assert_eq!(report["addresses"]["own_domains"], json!(["own.example"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_below_a_path_follows_its_path() {
    let world = World::new().await;
    make_network(&world, "old.test:8080", ("old.test:8080", "/two/"), false).await;
    let report = moved(&world, "https://new.test/shop").await;
    assert_eq!(places(&world.to).await, ["new.test/shop/", "new.test/shop/two/", "own.example/"]);
    assert_eq!(rows(&world.to, "SELECT option_value FROM DB.wp_2_options WHERE option_name = 'home'").await, ["https://new.test/shop/two"]);
    let config = std::fs::read_to_string(world.dir.path().join("to/wp-config.php")).expect("the configuration");
    assert!(config.contains("'DOMAIN_CURRENT_SITE', 'new.test'") && config.contains("'PATH_CURRENT_SITE', '/shop/'"), "{config}");
    assert_eq!(report["verification"]["verified"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_on_sub_domains_is_refused_where_it_cannot_live() {
    let world = World::new().await;
    make_network(&world, "old.test", ("two.old.test", "/"), true).await;
    let dir = world.dir.path();
    let driven = Driven::open(dir, plans::registry(settings(dir))).await;
    driven.start(world.document(), false).await;
    let run = driven.ended().await;
    let error = run.error.expect("an error");
    assert_eq!((run.state, error.kind.as_str()), (RunState::Failed, "invalid"));
    assert!(error.message.contains("sub-domains") && error.message.contains("/shop"), "{}", error.message);
    driven.crash().await;
}
