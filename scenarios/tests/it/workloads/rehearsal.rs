//! A test clone before the cutover, and the end of the way back after it: two servers with a warm migration between them, and a third to try on.

use super::server::{DISKS, Going, Server};
use crate::product::Product;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SHOP: &str = "/opt/rehearse/shop";
const MAIL: &str = "/opt/rehearse/mail";

/// What moves: small files in a tree, links, and large ones.
const FURNISH: &str = "
mkdir -p /opt/rehearse/shop/orders /opt/rehearse/mail/old; cd /opt/rehearse/shop
i=0; while [ $i -lt 40 ]; do mkdir -p tree/$i; i=$((i + 1)); done
seq 1 2000 | awk '{f = \"tree/\" ($1 % 40) \"/\" $1; for (i = 0; i < $1 % 30 + 1; i++) print \"line\", i, \"of\", $1 > f; close(f)}'
cd ../mail; head -c 60000000 /dev/urandom > spool; ln spool spool.again; ln -s ../shop link; chown 1234:4321 old; chmod 2750 old
";

/// Goes on changing, adding and removing.
const BUSY: &str = "cd /opt/rehearse/shop; i=0; while true; do i=$((i + 1)); echo $i > orders/$((i % 200)); rm -f orders/$((i * 7 % 200)); echo visit $i >> log; sleep 0.02; done";

/// Goes on adding and removing; nothing is written to twice.
const GROWING: &str = "cd /opt/rehearse/shop; i=0; while true; do i=$((i + 1)); echo $i > orders/$i; rm -f orders/$((i - 150)); sleep 0.02; done";

struct Stage {
    source: Server,
    target: Server,
    third: Server,
    _data: tempfile::TempDir,
    product: Product,
}

/// Nothing of these stories is on the server any more.
fn clear(server: &Server) {
    server.run("rm -rf /opt/rehearse /opt/tried");
}

impl Stage {
    async fn set() -> Self {
        let [source, target, third] = [1, 2, 3].map(Server::number);
        [&source, &target, &third].into_iter().for_each(clear);
        source.run(FURNISH);
        target.run(&format!("mkdir -p {SHOP}/tree/1 {MAIL}; echo mine > {SHOP}/tree/1/1; echo stays > {MAIL}/before"));
        let data = tempfile::tempdir().expect("a directory");
        let known = source.ssh.known_hosts_file.display().to_string();
        let product = Product::start_with(data.path(), &[], &["--known-hosts", &known]).await;
        let stage = Self { source, target, third, _data: data, product };
        let (status, made) = stage.product.post("/workloads", stage.third.workload(Some(&[]))).await;
        assert_eq!(status, 201, "{made:#}");
        stage
    }

    /// A warm migration that runs; its id.
    async fn warm(&self) -> String {
        let mount_points = [(SHOP, 1 << 30), (MAIL, 1 << 30)];
        let source = self.source.workload(Some(&mount_points));
        let credentials = json!({"username": "AKIA", "password": "cloud-canary"});
        let target = json!({"cloud_type": "vsphere", "cloud_credentials": credentials, "target_vm": self.target.workload(Some(&[]))});
        let selected = source["storage"]["mount_points"].clone();
        let body = json!({"selected_mount_points": selected, "source": source, "migration_target": target, "mode": "warm", "pass_every": 1});
        self.product.begin(body).await
    }

    /// Makes a test clone as soon as the migration lets it; its id.
    async fn clone(&self, id: &str, to: Value) -> String {
        let deadline = Instant::now() + Duration::from_mins(2);
        let mut after = 0;
        loop {
            let (status, made) = self.product.post(&format!("/migrations/{id}/test-clone"), to.clone()).await;
            if status == 201 {
                assert_eq!((&made["clone_of"], &made["state"]), (&json!(id), &json!("RUNNING")), "{made:#}");
                return made["id"].as_str().expect("an id").to_owned();
            }
            assert!(status == 409 && Instant::now() < deadline, "{made:#}");
            after = self.event(id, after).await;
        }
    }

    /// Waits for an event behind number `after`; the number of the newest.
    async fn event(&self, id: &str, after: u64) -> u64 {
        let (_, page) = self.product.get(&format!("/migrations/{id}/events?after={after}&wait=5")).await;
        page["events"].as_array().and_then(|e| e.last()).and_then(|e| e["seq"].as_u64()).unwrap_or(after)
    }

    /// The messages of a migration's log, oldest first.
    async fn log(&self, id: &str) -> Vec<String> {
        let (mut after, mut out) = (json!(0), Vec::new());
        loop {
            let (_, page) = self.product.get(&format!("/migrations/{id}/events?after={after}")).await;
            let events = page["events"].as_array().expect("events");
            if events.is_empty() {
                return out;
            }
            let lines = events.iter().filter(|e| e["event"] != "migration.progress").map(|e| e["message"].as_str().unwrap_or_default().to_owned());
            out.extend(lines);
            after = page["last_event"].clone();
        }
    }

    /// Waits until the log has a line that begins so, behind its first `after` lines; the line's number.
    async fn line(&self, id: &str, after: usize, begins: &str) -> usize {
        let deadline = Instant::now() + Duration::from_mins(2);
        let mut seen = 0;
        loop {
            let log = self.log(id).await;
            if let Some(at) = log.iter().skip(after).position(|line| line.starts_with(begins)) {
                return after + at;
            }
            assert!(Instant::now() < deadline, "no '{begins}' in {log:#?}");
            seen = self.event(id, seen).await;
        }
    }

    async fn steer(&self, id: &str, what: &str) {
        let (status, answer) = self.product.post(&format!("/migrations/{id}/{what}"), json!({})).await;
        assert_eq!(status, 200, "{answer:#}");
    }

    /// Cuts over when nobody writes to the source any more.
    async fn cut_over(&self, id: &str, busy: Going<'_>) {
        busy.end();
        self.steer(id, "cutover").await;
        let ended = self.product.settle(id).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
        for dir in [SHOP, MAIL] {
            self.target.run(&format!("rm -f {dir}/before"));
            // The directory itself was touched by that.
            assert_eq!(self.source.everything(dir), self.target.everything(dir), "{dir}");
        }
    }

    async fn view(&self, id: &str) -> Value {
        self.product.get(&format!("/migrations/{id}")).await.1
    }

    async fn backups(&self, id: &str) -> usize {
        let (_, all) = self.product.get("/backups").await;
        all.as_array().expect("backups").iter().filter(|b| b["session_id"] == id).count()
    }
}

#[tokio::test]
async fn what_was_replicated_is_tried_out_before_the_cutover_and_finalised_after_it() {
    let _alone = DISKS.lock().await;
    let stage = Stage::set().await;
    let busy = stage.source.start(BUSY);
    let id = stage.warm().await;

    let beside = stage.clone(&id, json!({"directory": "/opt/tried/first"})).await;
    let stood = stage.line(&id, 0, "A test clone reads").await;
    let ended = stage.product.settle(&beside).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let went_on = stage.line(&id, stood, "No test clone reads").await;
    stage.line(&id, went_on, "Pass ").await;
    let log = stage.log(&id).await;
    assert!(!log[stood..went_on].iter().any(|line| line.starts_with("Pass ")), "no pass while the clone reads: {log:#?}");
    assert!(!stage.target.run("cat /opt/tried/first/opt-rehearse-shop/log").is_empty(), "the source was busy all the time");

    let elsewhere = stage.clone(&id, json!({"directory": "/opt/tried", "target_vm": stage.third.ssh.host})).await;
    stage.line(&id, went_on, "A test clone reads").await;
    // Paused while it stands still, so that the replica can be looked at as the clone found it.
    stage.steer(&id, "pause").await;
    let ended = stage.product.settle(&elsewhere).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let tried = |dir: &str| stage.third.everything(&format!("/opt/tried/{dir}"));
    let found = [tried("opt-rehearse-shop"), tried("opt-rehearse-mail")];
    assert_eq!(found, [SHOP, MAIL].map(|dir| stage.target.everything(dir)), "exactly what was replicated");
    stage.steer(&id, "resume").await;

    let view = stage.view(&id).await;
    let clones: Vec<(&Value, &Value)> = view["test_clones"].as_array().expect("clones").iter().map(|c| (&c["id"], &c["status"])).collect();
    assert_eq!(clones, [(&json!(elsewhere), &json!("completed")), (&json!(beside), &json!("completed"))]);
    stage.cut_over(&id, busy).await;
    assert_eq!(found, [tried("opt-rehearse-shop"), tried("opt-rehearse-mail")], "the cutover left the clone alone");

    assert_eq!(stage.backups(&id).await, 1, "what stood at the target was saved");
    let (status, done) = stage.product.post(&format!("/migrations/{id}/finalize"), json!({})).await;
    assert!(status == 200 && done["finalized_at"].is_string(), "{done:#}");
    let (status, again) = stage.product.post(&format!("/migrations/{id}/finalize"), json!({})).await;
    assert_eq!((status, again), (200, done));
    assert_eq!(stage.backups(&id).await, 0);
    let (status, refused) = stage.product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert!(status == 409 && refused.to_string().contains("finalised on"), "{refused:#}");

    for (clone, server) in [(&beside, &stage.target), (&elsewhere, &stage.third)] {
        stage.steer(clone, "rollback").await;
        assert_eq!(stage.product.settle(clone).await["status"], "rolled_back");
        assert_eq!(server.run("ls -d /opt/tried 2>/dev/null || true"), "", "nothing of the clone is left");
    }
    [&stage.source, &stage.target].into_iter().for_each(clear);
}

#[tokio::test]
async fn a_killed_server_goes_on_with_the_clone_and_then_with_the_passes() {
    let _alone = DISKS.lock().await;
    let mut stage = Stage::set().await;
    let (source, second) = (Server::number(1), Server::number(2));
    let busy = source.start(GROWING);
    let id = stage.warm().await;
    let clone = stage.clone(&id, json!({"directory": "/opt/tried"})).await;
    stage.line(&clone, 0, "Replicating mount points").await;
    stage.product.kill();
    stage.product.restart().await;
    let ended = stage.product.settle(&clone).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let lines = stage.log(&id).await.len();
    stage.line(&id, lines, "Pass ").await;
    let tried = || ["/opt/tried/opt-rehearse-shop", "/opt/tried/opt-rehearse-mail"].map(|dir| second.everything(dir));
    let before = tried();
    assert_eq!(second.run("find /opt/tried -name '.migration-assistant*'"), "", "nothing half-written is left");
    stage.cut_over(&id, busy).await;
    stage.steer(&id, "rollback").await;
    let ended = stage.product.settle(&id).await;
    assert_eq!(ended["status"], "rolled_back", "{ended:#}");
    assert_eq!(second.run(&format!("cat {SHOP}/tree/1/1; find {SHOP} {MAIL} -type f")), format!("mine\n{SHOP}/tree/1/1\n"));
    assert_eq!(before, tried(), "what becomes of the migration does not touch a finished clone");
    [&stage.source, &stage.target].into_iter().for_each(clear);
}
