//! What a workload's migration refuses, in whose words, and that nothing changes at the target.

use super::server::{DISKS, Server};
use crate::product::Product;
use serde_json::{Value, json};

/// Two servers with a directory of this test's own on each.
struct Refusing {
    source: Server,
    target: Server,
    dir: String,
    product: Product,
    _data: tempfile::TempDir,
}

impl Refusing {
    async fn new(name: &str) -> Self {
        let (source, target) = (Server::number(3), Server::number(2));
        let dir = format!("/data/refusals-{name}-{}", std::process::id());
        source.run(&format!("mkdir -p {dir}/site && echo here > {dir}/site/index"));
        target.run(&format!("mkdir -p {dir}"));
        let data = tempfile::tempdir().expect("a directory");
        let known = source.ssh.known_hosts_file.display().to_string();
        let product = Product::start_with(data.path(), &[], &["--known-hosts", &known]).await;
        Self { source, target, dir, product, _data: data }
    }

    fn place(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    /// A migration of one directory, as it ended.
    async fn moved(&self, place: &str, change: impl Fn(&mut Value)) -> Value {
        let mount_point = json!({"mount_point_name": place, "total_size": 1 << 30});
        let mut body = json!({
            "selected_mount_points": [mount_point],
            "source": self.source.workload(Some(&[(place, 1 << 30)])),
            "migration_target": {
                "cloud_type": "vsphere",
                "cloud_credentials": {"username": "me", "password": "cloud-canary"},
                "target_vm": self.target.workload(Some(&[])),
            },
        });
        change(&mut body);
        let (status, made) = self.product.post("/migrations", body).await;
        assert_eq!(status, 201, "{made:#}");
        let id = made["id"].as_str().expect("an id");
        assert_eq!(self.product.post(&format!("/migrations/{id}/start"), json!({})).await.0, 200);
        self.product.settle(id).await
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        for server in [&self.source, &self.target] {
            server.run(&format!("umount {0}/* 2>/dev/null || true; rm -rf {0}", self.dir));
        }
    }
}

/// One failed check, once, with its field and what it says.
fn assert_refused(ended: &Value, field: &str, says: &str) {
    assert_eq!((&ended["state"], &ended["finished"]), (&json!("ERROR"), &json!(true)), "{ended:#}");
    let checks = ended["error"]["details"]["failed_checks"].as_array().unwrap_or_else(|| panic!("no checks: {ended:#}"));
    assert_eq!(checks.len(), 1, "{checks:#?}");
    assert_eq!(checks[0]["field"], field, "{checks:#?}");
    let told = format!("{}. {}", checks[0]["error"].as_str().unwrap_or_default(), checks[0]["suggestion"].as_str().unwrap_or_default());
    assert!(told.contains(says), "{told}");
}

#[tokio::test]
async fn a_place_that_cannot_be_is_named_as_the_caller_named_it() {
    let _alone = DISKS.lock().await;
    let case = Refusing::new("places").await;
    let field = "selected_mount_points[0].mount_point_name";
    assert_refused(&case.moved(&case.place("none"), |_| ()).await, field, "it does not exist");
    case.target.run(&format!("echo precious > {0}/site && touch -d @1000000000 {0}", case.dir));
    assert_refused(&case.moved(&case.place("site"), |_| ()).await, field, "it is no directory. Move what is in the way");
    assert_eq!(case.target.run(&format!("cat {}/site", case.dir)), "precious\n");
    case.target.run(&format!("cd {0} && rm site && mkdir site && mount -t tmpfs -o ro,size=1M small site", case.dir));
    assert_refused(&case.moved(&case.place("site"), |_| ()).await, field, "mounted read-only. Mount it writable");
}

/// What is written while it is read is ours as soon as it stands at the target, however often it is moved again: a rollback removes it.
#[tokio::test]
async fn what_never_stood_still_is_taken_back_too() {
    let _alone = DISKS.lock().await;
    let case = Refusing::new("busy").await;
    let site = case.place("site");
    let busy = case.source.start(&format!("cd {site}; while true; do echo visit >> log; echo $$ > now; sleep 0.02; done"));
    let ended = case.moved(&site, |_| ()).await;
    busy.end();
    assert_eq!(ended["state"], "SUCCESS", "{ended:#}");
    let id = ended["migration_id"].as_str().expect("an id");
    assert_eq!(case.target.run(&format!("ls {site}")), "index\nlog\nnow\n");
    assert_eq!(case.product.post(&format!("/migrations/{id}/rollback"), json!({})).await.0, 200);
    assert_eq!(case.product.settle(id).await["status"], "rolled_back");
    assert_eq!(case.target.run(&format!("ls -A {}", case.dir)), "", "nothing of it was there before");
}

/// Room that was there at the check and is gone in the middle: everything goes back, and the letter says what is missing.
#[tokio::test]
async fn a_disk_that_fills_up_leaves_the_target_as_it_was() {
    let _alone = DISKS.lock().await;
    let case = Refusing::new("full").await;
    let site = case.place("site");
    case.source.run(&format!("cd {site} && for n in $(seq 1 500); do echo $n > $n; done"));
    // Room in bytes, which the check sees; no room for so many files.
    case.target.run(&format!("mkdir {site} && mount -t tmpfs -o size=96M,nr_inodes=100 small {site} && echo precious > {site}/1"));
    let ended = case.moved(&site, |_| ()).await;
    assert_eq!((&ended["state"], &ended["rolled_back"], &ended["error"]["code"]), (&json!("ERROR"), &json!(true), &json!("no_space")), "{ended:#}");
    assert!(ended["error"]["message"].as_str().is_some_and(|m| m.contains("the disk is full")), "{ended:#}");
    assert_eq!(case.target.run(&format!("cd {site} && ls -A && cat 1")), "1\nprecious\n");
}
