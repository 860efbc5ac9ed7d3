//! The selected mount points of one server to another, by way of document 0's calls alone.

use super::server::{DISKS, Server};
use crate::product::Product;
use serde_json::{Value, json};

/// Makes a busy server: three file systems with files of all kinds.
const FURNISH: &str = r#"
for d in /data /srv/shop /var/lib/archive; do find $d -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +; done
cd /data && mkdir -p www/uploads mail empty && chown 33:33 www www/uploads && chmod 2775 www/uploads
i=0; while [ $i -lt 300 ]; do mkdir -p www/uploads/$i; i=$((i + 1)); done
seq 1 3000 | awk '{f = "www/uploads/" ($1 % 300) "/" $1 ".txt"; for (i = 0; i < $1 % 50 + 1; i++) print "line", i, "of", $1 > f; close(f)}'
head -c 40000000 /dev/urandom > mail/spool; ln mail/spool mail/spool.again; ln -s ../www/uploads mail/link; ln -s /nowhere mail/dangling
truncate -s 300M mail/sparse; printf tail | dd of=mail/sparse bs=1 seek=314572700 conv=notrunc 2>/dev/null
printf x > "a b
c"; mkfifo mail/fifo; touch -d '2001-02-03 04:05:06.789' mail/old; chown 1234:4321 mail/old; chmod 4711 mail/old
setfattr -n user.note -v 'kept' mail/old; setfacl -m u:1001:r mail/old; setfacl -d -m g:1002:rx www
cd /srv/shop && mkdir orders && seq 1 500 | while read n; do echo "order $n" > orders/$n; done
cd /var/lib/archive && echo stays > here
"#;

fn names(storage: &Value) -> Vec<&str> {
    storage["mount_points"].as_array().expect("mount points").iter().map(|m| m["mount_point_name"].as_str().expect("a name")).collect()
}

/// Names the lines that only one of them has.
fn assert_same(source: &str, target: &str, dir: &str) {
    let only = |a: &str, b: &str| a.lines().filter(|l| !b.lines().any(|other| other == *l)).take(20).map(str::to_owned).collect::<Vec<_>>();
    assert!(source == target, "{dir}\nonly at the source: {:#?}\nonly at the target: {:#?}", only(source, target), only(target, source));
}

#[tokio::test]
async fn selected_mount_points_move_by_document_0s_calls() {
    let _alone = DISKS.lock().await;
    let (source, target) = (Server::number(1), Server::number(2));
    source.run(FURNISH);
    target.run("for d in /data /srv/shop /var/lib/archive; do find $d -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +; done; echo mine > /var/lib/archive/before");
    let data = tempfile::tempdir().expect("a directory");
    let known = source.ssh.known_hosts_file.display().to_string();
    let product = Product::start_with(data.path(), &[], &["--known-hosts", &known]).await;

    let (status, found) = product.post("/workloads", source.workload(None)).await;
    assert_eq!(status, 201, "{found:#}");
    assert_eq!(names(&found["storage"]), ["/", "/data", "/srv/shop", "/var/lib/archive"], "{found:#}");
    assert!(found["system"]["operating_system"].as_str().is_some_and(|s| s.contains("Debian")), "{found:#}");
    assert!(found["system"]["listening"].as_array().expect("a list").iter().any(|l| l["port"] == 22), "{found:#}");
    assert!(found["storage"]["mount_points"][1]["total_size"].as_u64().is_some_and(|s| s > 1 << 30));
    let (status, vm) = product.post("/workloads", target.workload(Some(&[]))).await;
    assert_eq!(status, 201, "{vm:#}");

    let busy = source.start("while true; do echo visited >> /data/www/access.log; sleep 0.02; done");
    let all = found["storage"]["mount_points"].as_array().expect("mount points");
    let credentials = json!({"username": "AKIA", "password": "cloud-canary"});
    let body = json!({
        "selected_mount_points": [all[1], all[2]],
        "source": found,
        "migration_target": {"cloud_type": "vsphere", "cloud_credentials": credentials, "target_vm": vm},
    });
    let (status, made) = product.post("/migrations", body).await;
    assert_eq!((status, &made["state"]), (201, &json!("NOT_STARTED")), "{made:#}");
    let id = made["id"].as_str().expect("an id").to_owned();
    let (status, started) = product.post(&format!("/migrations/{id}/start"), json!({})).await;
    assert_eq!((status, &started["state"]), (200, &json!("RUNNING")), "{started:#}");
    let ended = product.settle(&id).await;
    busy.end();
    assert_eq!((&ended["state"], &ended["finished"]), (&json!("SUCCESS"), &json!(true)), "{ended:#}");
    let (_, shown) = product.get(&format!("/migrations/{id}")).await;
    assert_eq!(names(&shown["migration_target"]["target_vm"]["storage"]), ["/data", "/srv/shop"]);

    // What was written behind the last pass is not there; what is there is the beginning of the log.
    let log = |server: &Server| server.run("cat /data/www/access.log");
    assert!(log(&source).starts_with(&log(&target)) && !log(&target).is_empty());
    for server in [&source, &target] {
        server.run("rm /data/www/access.log; touch -d @1000000000 /data/www");
    }
    for dir in ["/data", "/srv/shop"] {
        assert_same(&source.everything(dir), &target.everything(dir), dir);
    }
    assert_eq!(target.run("cd /var/lib/archive; find . -mindepth 1 ! -name lost+found"), "./before\n", "it was not selected");
    let blocks = |server: &Server| server.run("stat -c %b /data/mail/sparse").trim().parse::<u64>().expect("blocks");
    assert!(blocks(&target) <= blocks(&source) + 64, "holes stay holes");
    let (status, _) = product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(product.settle(&id).await["status"], "rolled_back");
    assert_eq!(target.run("find /data /srv/shop -mindepth 1 ! -path '*/lost+found'"), "", "everything that was made is gone");
}
