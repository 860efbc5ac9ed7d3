//! What the target's cloud is asked before a workload moves, and what follows from its answers.

use super::server::{DISKS, Server};
use crate::product::Product;
use serde_json::{Value, json};
use testkit::rig::{Clouds, clouds};

/// A directory of our own on both servers.
const PLACE: &str = "/data/clouds";

struct Story {
    product: Product,
    source: Server,
    target: Server,
}

impl Story {
    async fn new(data: &std::path::Path, source: u8, target: u8) -> Self {
        let (source, target) = (Server::number(source), Server::number(target));
        source.run(&format!("rm -rf {PLACE}; mkdir -p {PLACE}; echo moves > {PLACE}/file"));
        target.run(&format!("rm -rf {PLACE}; mkdir -p {PLACE}; echo mine > {PLACE}/before"));
        let known = source.ssh.known_hosts_file.display().to_string();
        let product = Product::start_with(data, &[], &["--known-hosts", &known, "--allow-private-webhooks"]).await;
        Self { product, source, target }
    }

    fn body(&self, cloud_type: &str, login: (&str, &str), cloud: Value) -> Value {
        let place = [(PLACE, 1 << 20)];
        json!({
            "selected_mount_points": [{"mount_point_name": PLACE, "total_size": 1 << 20}],
            "source": self.source.workload(Some(&place)),
            "migration_target": {
                "cloud_type": cloud_type, "cloud_credentials": {"username": login.0, "password": login.1},
                "cloud": cloud, "target_vm": self.target.workload(Some(&place)),
            },
        })
    }

    /// Runs it to its end; its id and its last status.
    async fn run(&self, body: Value) -> (String, Value) {
        let (status, made) = self.product.post("/migrations", body).await;
        assert_eq!(status, 201, "{made:#}");
        let id = made["id"].as_str().expect("an id").to_owned();
        let (status, started) = self.product.post(&format!("/migrations/{id}/start"), json!({})).await;
        assert_eq!(status, 200, "{started:#}");
        let ended = self.product.settle(&id).await;
        (id, ended)
    }

    async fn report(&self, id: &str) -> Value {
        self.product.get(&format!("/migrations/{id}/report")).await.1
    }

    /// What is at the target now.
    fn there(&self) -> String {
        self.target.run(&format!("cd {PLACE}; find . -mindepth 1 | sort"))
    }

    fn tidy(self) {
        for server in [&self.source, &self.target] {
            server.run(&format!("rm -rf {PLACE}"));
        }
    }
}

fn aws(rig: &Clouds) -> Value {
    json!({"endpoint": rig.aws, "region": "eu-central-1", "ca": rig.ca})
}

#[tokio::test]
async fn the_cloud_vouches_for_the_target() {
    let _alone = DISKS.lock().await;
    let rig = clouds();
    let data = tempfile::tempdir().expect("a directory");
    let story = Story::new(data.path(), 1, 2).await;
    let (id, secret) = rig.key("MIGRATOR");
    let body = story.body("aws", (&id, &secret), aws(&rig));
    let (status, plan) = story.product.post("/migrations/dry-run", body.clone()).await;
    assert_eq!((status, &plan["cloud"]["machine"]["id"], &plan["refusals"]), (200, &json!(rig.known("TARGET_ID")), &json!([])), "{plan:#}");
    let (moved, ended) = story.run(body).await;
    assert_eq!(ended["state"], "SUCCESS", "{ended:#}");
    let cloud = &story.report(&moved).await["cloud"];
    assert_eq!((&cloud["asked"], &cloud["machine"]["id"], &cloud["warnings"]), (&json!(true), &json!(rig.known("TARGET_ID")), &json!([])), "{cloud:#}");
    assert_eq!((&cloud["machine"]["state"], &cloud["cloud_type"]), (&json!("running"), &json!("aws")));
    assert!(cloud["identity"]["user"].as_str().is_some_and(|u| u.ends_with(":user/migrator")), "{cloud:#}");

    let (user, password) = &rig.vcenter_login;
    let (name, domain) = user.split_once('@').expect("a domain");
    let mut body = story.body("vsphere", (name, password), json!({"endpoint": rig.vcenter, "ca": rig.ca}));
    body["migration_target"]["cloud_credentials"]["domain"] = json!(domain);
    let (moved, ended) = story.run(body).await;
    assert_eq!(ended["state"], "SUCCESS", "{ended:#}");
    let cloud = &story.report(&moved).await["cloud"];
    assert_eq!((&cloud["asked"], &cloud["identity"]["user"]), (&json!(true), &json!(user)), "{cloud:#}");
    assert_eq!((&cloud["machine"]["state"], &cloud["machine"]["disks"][0]["bytes"].is_u64()), (&json!("running"), &true));
    story.tidy();
}

#[tokio::test]
async fn wrong_credentials_end_it_before_anything_is_written() {
    let _alone = DISKS.lock().await;
    let rig = clouds();
    let data = tempfile::tempdir().expect("a directory");
    let story = Story::new(data.path(), 1, 2).await;
    let (id, _) = rig.key("MIGRATOR");
    let before = story.there();
    let cases = [("aws", id.as_str(), aws(&rig)), ("vsphere", rig.vcenter_login.0.as_str(), json!({"endpoint": rig.vcenter, "ca": rig.ca}))];
    for (cloud_type, user, cloud) in cases {
        let body = story.body(cloud_type, (user, "wrong-canary"), cloud);
        let (status, plan) = story.product.post("/migrations/dry-run", body.clone()).await;
        assert_eq!((status, &plan["cloud"]), (200, &Value::Null), "{plan:#}");
        assert!(plan["refusals"][0].as_str().is_some_and(|r| r.contains("cloud_credentials")), "{plan:#}");
        let (failed, ended) = story.run(body).await;
        assert_eq!(
            (&ended["state"], &ended["error"]["code"], &ended["error"]["retryable"]),
            (&json!("ERROR"), &json!("authentication"), &json!(false)),
            "{ended:#}"
        );
        assert!(ended["error"]["message"].as_str().is_some_and(|m| m.contains("migration_target.cloud_credentials")), "{ended:#}");
        assert_eq!(story.there(), before, "nothing was written");
        let (_, logs) = story.product.get(&format!("/migrations/{failed}/logs")).await;
        assert!(![&ended, &plan, &logs].iter().any(|v| v.to_string().contains("wrong-canary")));
    }
    story.tidy();
}

#[tokio::test]
async fn a_machine_that_is_off_is_no_target_and_an_unknown_one_is_a_warning() {
    let _alone = DISKS.lock().await;
    let rig = clouds();
    let data = tempfile::tempdir().expect("a directory");
    let (id, secret) = rig.key("MIGRATOR");
    // Both clouds say that server 3 is off.
    let off = Story::new(data.path(), 1, 3).await;
    let before = off.there();
    let (_, ended) = off.run(off.body("aws", (&id, &secret), aws(&rig))).await;
    assert_eq!((&ended["state"], &ended["error"]["code"], &ended["error"]["retryable"]), (&json!("ERROR"), &json!("unreachable"), &json!(false)), "{ended:#}");
    assert!(ended["error"]["message"].as_str().is_some_and(|m| m.contains("(asleep), which is stopped") && m.contains("Start it there")), "{ended:#}");
    assert_eq!(off.there(), before, "nothing was written");
    off.tidy();

    let data = tempfile::tempdir().expect("a directory");
    let story = Story::new(data.path(), 2, 1).await;
    let (moved, ended) = story.run(story.body("aws", (&id, &secret), aws(&rig))).await;
    assert_eq!(ended["state"], "SUCCESS", "{ended:#}");
    let report = story.report(&moved).await;
    assert_eq!((&report["cloud"]["asked"], &report["cloud"]["machine"]), (&json!(true), &Value::Null), "{report:#}");
    assert!(report["warnings"].to_string().contains("knows no machine with the address"), "{report:#}");
    let (moved, ended) = story.run(story.body("azure", ("me", "secret"), Value::Null)).await;
    assert_eq!(ended["state"], "SUCCESS", "{ended:#}");
    let cloud = &story.report(&moved).await["cloud"];
    assert_eq!((&cloud["asked"], &cloud["reason"]), (&json!(false), &json!("this version can ask aws and vsphere, not azure")), "{cloud:#}");
    story.tidy();
}
