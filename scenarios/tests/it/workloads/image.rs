//! A workload becomes a disk image, through a server that is killed in the middle; a machine starts from it by its own boot loader.

use super::server::Server;
use crate::product::Product;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::rig;

const UUID: &str = "0a1b2c3d-1111-2222-3333-444455556666";

/// The tree of a small server, and what a server gathers: much, small things, links, owners, attributes, holes.
fn furnish(source: &Server) {
    let tree = rig::guest().dir.join("root.tar");
    source.run("rm -rf /srv/machine && mkdir /srv/machine");
    source.feed("tar -x --numeric-owner -C /srv/machine -f -", &std::fs::read(tree).expect("the tree: rig/qemu.sh makes it"));
    source.run(&format!(
        r#"cd /srv/machine
        printf 'UUID={UUID} / xfs defaults 0 1\nUUID=ABCD-1234 /boot/efi vfat umask=0077 0 1\n' > etc/fstab
        echo "hello from the workload" > etc/greeting
        mkdir -p home/www && chown 33:33 home/www && seq 1 2000 | while read n; do echo "page $n" > home/www/$n.html; done
        head -c 200000000 /dev/urandom > home/film; ln home/film home/film.again; truncate -s 300M home/sparse
        touch home/old && chown 1234:4321 home/old && chmod 4711 home/old && setfattr -n user.note -v kept home/old && ln -s /etc/greeting home/link"#
    ));
}

fn migration(source: &Server, directory: &str, image: &Path) -> Value {
    json!({
        "selected_mount_points": [{"mount_point_name": directory, "total_size": 1 << 30, "target_directory": "/"}],
        "source": source.workload(Some(&[(directory, 6 << 30)])),
        "migration_target": {"image": {"path": image, "size_gib": 1}},
        "pass_every": 1,
    })
}

/// Whatever shows a file below the directory as a disk, or has something mounted there; waits for what is on its way out.
async fn hangs_on(dir: &Path) -> Vec<String> {
    let (begun, dir) = (Instant::now(), dir.display().to_string());
    loop {
        let loops = std::process::Command::new("losetup").args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"]).output().expect("losetup");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let all = String::from_utf8_lossy(&loops.stdout).into_owned() + &mounts;
        let found: Vec<String> = all.lines().filter(|l| l.contains(&dir)).map(str::to_owned).collect();
        if found.is_empty() || begun.elapsed() > Duration::from_secs(20) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).expect("a directory").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// Kills the server as soon as the migration is at that step and something of it is done, and starts it again.
async fn kill_in(product: &mut Product, id: &str, step: &str) {
    let mut after = 0;
    loop {
        let (_, page) = product.get(&format!("/migrations/{id}/events?after={after}&wait=5")).await;
        let events = page["events"].as_array().expect("events");
        after = events.last().and_then(|e| e["seq"].as_u64()).unwrap_or(after);
        if events.iter().any(|e| e.to_string().contains(&format!("\"{step}\""))) {
            break;
        }
        let (_, status) = product.get(&format!("/migrations/{id}/status")).await;
        assert!(status["finished"] == false, "it ended before it could be killed in '{step}': {status:#}");
    }
    product.kill();
}

async fn says(product: &Product, vm: &str, text: &str) -> String {
    let (begun, mut at, mut seen) = (Instant::now(), 0, String::new());
    while !seen.contains(text) {
        assert!(begun.elapsed() < Duration::from_mins(6), "'{text}' does not come: {seen}");
        let (status, part) = product.get(&format!("/vms/{vm}/console?offset={at}&wait=5")).await;
        assert_eq!(status, 200, "{part:#}");
        at = part["next_offset"].as_u64().expect("a place");
        seen.push_str(part["text"].as_str().expect("text"));
    }
    println!("'{text}' after {:?}", begun.elapsed());
    seen
}

/// A machine starts from the image with nothing but its name and its image, and says where it runs from. As long as it is there the migration stays.
async fn boot(product: &Product, id: &str, image: &Path) {
    let (status, made) = product.post("/vms", json!({"name": "web1", "image": image, "memory_mib": 256})).await;
    assert_eq!(status, 201, "{made:#}");
    let vm = made["id"].as_str().expect("an id");
    let (status, started) = product.post(&format!("/vms/{vm}/start"), json!({})).await;
    assert_eq!((status, &started["status"]), (200, &json!("running")), "{started:#}");
    let seen = says(product, vm, "greeting 'hello from the workload, later'").await;
    assert!(seen.contains("root is up, /dev/vda1 ext4") || seen.contains("root is up, /dev/root ext4"), "{seen}");
    says(product, vm, "tick 2").await;
    let (status, refused) = product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert_eq!((status, refused.to_string().contains("'web1'")), (409, true), "{refused:#}");
    let (status, stopped) = product.post(&format!("/vms/{vm}/stop"), json!({"force": true})).await;
    assert_eq!(status, 200, "{stopped:#}");
    let deleted = product.http.delete(product.url(&format!("/vms/{vm}"))).send().await.expect("an answer");
    assert_eq!(deleted.status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_becomes_a_machine_of_its_own() {
    let source = Server::number(1);
    furnish(&source);
    let dir = tempfile::tempdir().expect("a directory");
    let images = dir.path().join("images");
    std::fs::create_dir_all(&images).expect("a directory");
    let (known, root) = (source.ssh.known_hosts_file.display().to_string(), images.display().to_string());
    let mut product = Product::start_with(&dir.path().join("data"), &[], &["--known-hosts", &known, "--image-root", &root]).await;
    let image = images.join("web1.qcow2");

    let mut body = migration(&source, "/srv/machine", &image);
    body["mode"] = json!("warm");
    let (status, made) = product.post("/migrations", body).await;
    assert_eq!((status, &made["migration_target"]["image"]["size_gib"]), (201, &json!(1)), "{made:#}");
    let id = made["id"].as_str().expect("an id").to_owned();
    let (status, started) = product.post(&format!("/migrations/{id}/start"), json!({})).await;
    assert_eq!(status, 200, "{started:#}");
    for step in ["replicate", "publish"] {
        kill_in(&mut product, &id, step).await;
        assert_eq!(hangs_on(dir.path()).await, Vec::<String>::new(), "the kernel lets go of everything in '{step}'");
        product.restart().await;
        if step == "replicate" {
            source.run("echo 'hello from the workload, later' > /srv/machine/etc/greeting; rm /srv/machine/home/www/7.html");
            let (status, asked) = product.post(&format!("/migrations/{id}/cutover"), json!({})).await;
            assert_eq!(status, 200, "{asked:#}");
        }
    }
    let ended = product.settle(&id).await;
    assert_eq!(ended["state"], "SUCCESS", "{ended:#}");
    assert_eq!((names(&images), hangs_on(dir.path()).await), (vec!["web1.qcow2".to_owned()], Vec::new()));
    let (_, report) = product.get(&format!("/migrations/{id}/report")).await;
    let told = &report["image"]["boot"];
    assert_eq!((&told["bootable"], &told["uuid"], &report["verification"]["verified"]), (&json!(true), &json!(UUID), &json!(true)), "{report:#}");
    assert!(told["notes"].to_string().contains("/boot/efi was not moved"), "{told:#}");
    boot(&product, &id, &image).await;

    let (status, again) = product.post("/migrations", migration(&source, "/srv/machine", &image)).await;
    assert_eq!((status, again.to_string().contains("already at")), (400, true), "{again:#}");
    let (status, _) = product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(product.settle(&id).await["status"], "rolled_back");
    assert_eq!((names(&images), hangs_on(dir.path()).await), (Vec::new(), Vec::new()), "nothing is left");
    source.run("rm -r /srv/machine");
}

/// One that fails in the middle takes itself back; what it needs is told beforehand.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_too_small_leaves_nothing() {
    let source = Server::number(1);
    source.run("mkdir -p /srv/large && head -c 1100000000 /dev/zero | tr '\\0' x > /srv/large/file");
    let dir = tempfile::tempdir().expect("a directory");
    let known = source.ssh.known_hosts_file.display().to_string();
    let root = dir.path().display().to_string();
    let data = tempfile::tempdir().expect("a directory");
    let product = Product::start_with(data.path(), &[], &["--known-hosts", &known, "--image-root", &root]).await;
    let mut body = migration(&source, "/srv/large", &dir.path().join("web1.raw"));
    body["safety"] = json!({"rollback_on_failure": true});
    let (_, made) = product.post("/migrations", body).await;
    let id = made["id"].as_str().unwrap_or_else(|| panic!("{made:#}")).to_owned();
    let (status, started) = product.post(&format!("/migrations/{id}/start"), json!({})).await;
    assert_eq!(status, 200, "{started:#}");
    let ended = product.settle(&id).await;
    assert_eq!(ended["state"], "ERROR", "{ended:#}");
    let (_, shown) = product.get(&format!("/migrations/{id}")).await;
    assert!(shown.to_string().contains("larger size_gib"), "{shown:#}");
    assert_eq!((names(dir.path()), hangs_on(dir.path()).await), (Vec::new(), Vec::new()));
    source.run("rm -r /srv/large");
}
