//! A machine that really boots, driven through the API of a real server, which is killed in between. Nothing may be left.

use crate::product::Product;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testkit::leftovers::TestDirectory;
use testkit::rig;

/// Where a machine is, and what it needs of its server.
struct Story {
    product: Product,
    id: String,
}

impl Story {
    fn path(&self, what: &str) -> String {
        format!("/vms/{}{what}", self.id)
    }

    async fn act(&self, what: &str, body: Value, status: u16) -> Value {
        let begun = Instant::now();
        let (found, answer) = self.product.post(&self.path(what), body).await;
        assert_eq!(found, status, "{what}: {answer:#}");
        println!("{what}: {found} after {:?}", begun.elapsed());
        answer
    }

    async fn shown(&self) -> Value {
        let (status, vm) = self.product.get(&self.path("")).await;
        assert_eq!(status, 200, "{vm:#}");
        vm
    }

    /// Where the console ends, once `text` stands in it behind `from`. The server answers as soon as something new is there.
    async fn says(&self, from: u64, text: &str) -> u64 {
        let (begun, mut at, mut seen) = (Instant::now(), from, String::new());
        while !seen.contains(text) {
            assert!(begun.elapsed() < Duration::from_mins(1), "'{text}' does not come: {seen}");
            let (status, part) = self.product.get(&self.path(&format!("/console?offset={at}&wait=5"))).await;
            assert_eq!(status, 200, "{part:#}");
            at = part["next_offset"].as_u64().expect("a place");
            seen.push_str(part["text"].as_str().expect("text"));
        }
        println!("'{text}' after {:?}", begun.elapsed());
        at
    }
}

/// Processes whose command line names this machine.
fn processes(id: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    let ids = all.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|p| std::fs::read(format!("/proc/{p}/cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains(&format!("guest={id}")))).collect()
}

/// Everything below a directory that is named after the machine, and sockets that are open in it.
fn left_of(id: &str, data: &Path) -> Vec<String> {
    let mut left: Vec<String> = processes(id).into_iter().map(|p| format!("process {p}")).collect();
    let named = std::fs::read_dir(data.join("vms")).expect("the machines").flatten().filter(|e| e.file_name().to_string_lossy().contains(id));
    left.extend(named.map(|e| e.path().display().to_string()));
    let sockets = std::fs::read_to_string("/proc/net/unix").expect("sockets");
    left.extend(sockets.lines().filter(|l| l.contains(id)).map(str::to_owned));
    for groups in ["/sys/fs/cgroup/migration-assistant.vms", "/sys/fs/cgroup/unified/migration-assistant.vms"] {
        let group = PathBuf::from(groups).join(id);
        left.extend(group.exists().then(|| group.display().to_string()));
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_boots_outlives_its_server_and_goes_without_a_trace() {
    let begun = Instant::now();
    let dir = TestDirectory::new();
    let guest = rig::guest();
    let data = dir.path().join("data");
    let root = guest.dir.to_str().expect("a name");
    let product = Product::start_with(&data, &[], &["--image-root", root, "--node-name", "node-1"]).await;
    let definition = json!({"name": "real", "memory_mib": 128, "kernel": guest.kernel, "initrd": guest.initrd, "append": "console=ttyS0 quiet"});
    let (status, made) = product.post("/vms", definition).await;
    assert_eq!((status, &made["status"], &made["node"]), (201, &json!("created"), &json!("node-1")), "{made:#}");
    let mut story = Story { product, id: made["id"].as_str().expect("an id").to_owned() };

    let started = story.act("/start", json!({}), 200).await;
    assert_eq!((&started["status"], started["accelerator"].is_string()), (&json!("running"), true), "{started:#}");
    let up = story.says(0, "guest is up").await;
    story.act("/start", json!({}), 409).await;
    let one = processes(&story.id);
    assert_eq!(one.len(), 1);

    // The server dies without a word; the machine does not notice, and the next server has it again.
    story.product.kill();
    assert_eq!(processes(&story.id), one, "the machine went with its server");
    story.product.restart().await;
    assert_eq!(story.shown().await["status"], "running");
    story.says(up, "tick 2").await;
    story.act("/pause", json!({}), 200).await;
    assert_eq!(story.act("/resume", json!({}), 200).await["paused"], false);
    let before = story.shown().await;
    assert_eq!((&before["status"], processes(&story.id)), (&json!("running"), one.clone()));

    let (_, console) = story.product.get(&story.path("/console?tail=0")).await;
    story.act("/reboot", json!({}), 200).await;
    story.says(console["end"].as_u64().expect("a place"), "guest is up").await;

    // The button, while nobody but the guest hears it; then a start that is cut short by the server's death.
    let stopped = story.act("/stop", json!({"timeout_seconds": 60}), 200).await;
    assert_eq!((&stopped["status"], &stopped["reason"]), (&json!("stopped"), &json!("the guest switched itself off")), "{stopped:#}");
    assert_eq!(processes(&story.id), Vec::<u32>::new());
    story.act("/stop", json!({}), 409).await;
    story.act("/start?wait=0", json!({}), 202).await;
    story.product.kill();
    story.product.restart().await;
    let (_, console) = story.product.get(&story.path("/console?tail=0")).await;
    story.says(console["end"].as_u64().expect("a place"), "guest is up").await;
    assert_eq!(processes(&story.id).len(), 1);

    // A machine that dies while its server is away.
    story.product.kill();
    let killed = std::process::Command::new("kill").args(["-9", &processes(&story.id)[0].to_string()]).status().expect("kill");
    assert!(killed.success());
    story.product.restart().await;
    let failed = settled(&story, "failed").await;
    assert!(failed["reason"].as_str().expect("why").contains("killed"), "{failed:#}");

    story.act("/start", json!({}), 200).await;
    let (status, refused) = delete(&story).await;
    assert_eq!(status, 409, "{refused:#}");
    let forced = story.act("/stop", json!({"force": true}), 200).await;
    assert_eq!(forced["status"], "stopped");
    let (status, deleted) = delete(&story).await;
    assert_eq!((status, &deleted["status"]), (200, &json!("deleted")), "{deleted:#}");
    assert_eq!(left_of(&story.id, &data), Vec::<String>::new());
    let took = begun.elapsed();
    println!("the whole story: {took:?}");
    assert!(took < Duration::from_mins(2), "{took:?}");
}

async fn delete(story: &Story) -> (u16, Value) {
    let answer = story.product.http.delete(story.product.url(&story.path(""))).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// The machine, once the server has looked at it.
async fn settled(story: &Story, status: &str) -> Value {
    let begun = Instant::now();
    loop {
        let vm = story.shown().await;
        if vm["status"] == json!(status) {
            return vm;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "not {status}: {vm:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
