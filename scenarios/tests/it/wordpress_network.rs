//! The rig's real WordPress, made into a network of two sites by WordPress itself, moves to another server under another address and
//! is served there.

use crate::product::{Product, free_port, http_client};
use crate::wordpress::{Served, Site, database, mysql, no_old_address, shell};
use mysql_async::prelude::Queryable;
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// A database of its own for the network; gone when dropped.
struct Copy(String);

impl Copy {
    fn new(name: String) -> Self {
        let server = testkit::rig::mariadb();
        let login = format!("-h{} -P{} -u{} -p{}", server.host, server.port, server.user, server.password);
        let original = testkit::rig::setting("RIG_WP_DB");
        shell(&format!("mariadb {login} -e 'CREATE DATABASE {name} CHARACTER SET utf8mb4' && mariadb-dump {login} {original} | mariadb {login} {name}"));
        Self(name)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let server = testkit::rig::mariadb();
        shell(&format!("mariadb -h{} -P{} -u{} -p{} -e 'DROP DATABASE IF EXISTS {}'", server.host, server.port, server.user, server.password, self.0));
    }
}

fn php(root: &Path, host: &str, script: &str) -> String {
    let code = format!("$_SERVER['HTTP_HOST'] = '{host}'; $_SERVER['REQUEST_URI'] = '/'; require '{}/wp-load.php'; {script}", root.display());
    let output = Command::new("php").args(["-d", "display_errors=stderr", "-r", &code]).output().expect("php");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    told
}

const MAKE: &str = "
 require_once ABSPATH.'wp-admin/includes/upgrade.php'; require_once ABSPATH.'wp-admin/includes/network.php';
 global $wpdb; foreach ($wpdb->tables('ms_global') as $table => $name) { $wpdb->$table = $name; }
 install_network(); $made = populate_network(1, 'HOST', 'a@example.test', 'Rig Network', '/', false);
 if (is_wp_error($made)) { echo $made->get_error_message(); exit(1); }";

const SECOND: &str = "
 $id = wpmu_create_blog('HOST', '/two/', 'Second Site', 1); if (is_wp_error($id)) { echo $id->get_error_message(); exit(1); }
 global $wpdb; $wpdb->update($wpdb->blogs, ['domain' => 'HOST'], ['blog_id' => $id]); clean_blog_cache($id); /* it takes the port's colon out */
 switch_to_blog($id); foreach (['home', 'siteurl'] as $option) { update_option($option, 'http://HOST/two'); }
 wp_insert_post(['post_title' => 'Two', 'post_name' => 'two', 'post_content' => '<a href=\"'.home_url('/x').'\">here</a>', 'post_status' => 'publish', 'post_author' => 1]);
 update_option('rig_two', ['home' => home_url('/')]); echo home_url('/');";

/// Makes the copy a network of two sites, as an administrator does: by WordPress's own functions, then the constants.
fn make_network(site: &Site, name: &str, host: &str) {
    let config = site.root.join("wp-config.php");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let text = text.replace(&testkit::rig::setting("RIG_WP_DB"), name);
    std::fs::write(&config, &text).expect("the configuration");
    php(&site.root, host, &MAKE.replace("HOST", host));
    let constants = format!(
        "define('MULTISITE', true); define('SUBDOMAIN_INSTALL', false); define('DOMAIN_CURRENT_SITE', '{host}'); define('PATH_CURRENT_SITE', '/'); define('SITE_ID_CURRENT_SITE', 1); define('BLOG_ID_CURRENT_SITE', 1);\n"
    );
    let at = text.find("/* That's all").or_else(|| text.find("require_once")).expect("the end of the settings");
    std::fs::write(&config, format!("{}{constants}{}", &text[..at], &text[at..])).expect("the configuration");
    assert_eq!(php(&site.root, host, &SECOND.replace("HOST", host)), format!("http://{host}/two/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_network_moves_and_is_served_under_its_new_address() {
    let site = Site::new("wp-net-from");
    let host = testkit::rig::wordpress().url.replace("http://", "");
    let copy = Copy::new(format!("wp_net_from_{}", std::process::id()));
    make_network(&site, &copy.0, &host);
    let ssh = testkit::rig::ssh();
    let to = ssh.home.join(format!("wp-net-to-{}", std::process::id()));
    let name = format!("wp_net_to_{}", std::process::id());
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let data = tempfile::tempdir().expect("a directory");
    let product = Product::start(data.path(), &[]).await;
    let spec = json!({"name": "Network", "source": site.source(),
        "destination": {"type": "wordpress", "host": ssh.host, "port": ssh.port, "username": ssh.user, "private_key": ssh.private_key(),
            "host_key": ssh.host_key(), "paths": {"web_root": to}, "url": url, "database": database(&name)}});
    let (id, status) = product.run(spec).await;
    assert_eq!((&status["status"], &status["partial"]), (&json!("completed"), &json!(false)), "{status:#}");
    {
        let _served = Served::start(&to, port);
        let http = http_client();
        for (path, wanted) in [("/", "Rig Site"), ("/post-1/", "Body 1"), ("/two/", "Second Site"), ("/two/two/", "here")] {
            let answer = http.get(format!("{url}{path}")).send().await.expect("the new site");
            // In a network WordPress sends readers of the main site's posts on to `/blog/…`.
            assert_eq!((answer.status().as_u16(), answer.url().as_str().starts_with(&url)), (200, true), "{path} {}", answer.url());
            let page = answer.text().await.expect("text");
            assert!(page.contains(wanted) && !page.contains(&host), "{path}: {page}");
        }
    }
    let places: Vec<String> = mysql().await.query(format!("SELECT CONCAT(domain, path) FROM `{name}`.wp_blogs ORDER BY blog_id")).await.expect("rows");
    assert_eq!(places, [format!("127.0.0.1:{port}/"), format!("127.0.0.1:{port}/two/")]);
    no_old_address(&name).await;
    // The served site has written into its tables: that is not discarded unasked, and saved when it is.
    let (code, answer) = product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert_eq!((code, &answer["error"]["code"]), (409, &json!("LATER_CHANGES")), "{answer:#}");
    let (code, answer) = product.post(&format!("/migrations/{id}/rollback"), json!({"discard_later_changes": true})).await;
    assert_eq!(code, 200, "{answer:#}");
    assert_eq!(product.settle(&id).await["status"], "rolled_back");
    assert!(!to.exists(), "the directory that the migration made is gone");
}
