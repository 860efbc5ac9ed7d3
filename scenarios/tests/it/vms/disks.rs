//! A machine's disk goes into a bucket and comes back as another machine, which boots and shows what the first one wrote; and all of it is taken back.

use crate::bucket::Bucket;
use crate::kill_proxy::Proxy;
use crate::product::Product;
use crate::tree;
use futures::StreamExt;
use ports::ErrorKind;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::leftovers::TestDirectory;
use testkit::rig;

/// What lies below the machine's own layer, in bytes: not to be compressed, and large enough for a death in the middle.
const BASE: u64 = 48 << 20;
const IMAGE: &str = "web-1.qcow2";

struct Story {
    product: Product,
    bucket: Bucket,
    proxy: Proxy,
}

impl Story {
    /// A server with that guest's kernel and an image of random bytes, and a bucket that is not there yet.
    async fn new(dir: &Path) -> Self {
        let images = dir.join("images");
        std::fs::create_dir(&images).expect("a directory");
        tree::make_huge(&images.join("base.raw"), BASE);
        let guest = rig::guest();
        let roots = ["--image-root", guest.dir.to_str().expect("a name"), "--image-root", images.to_str().expect("a name"), "--node-name", "node-1"];
        let product = Product::start_with(&dir.join("data"), &[], &roots).await;
        let bucket = Bucket::strict("disks");
        let proxy = Proxy::before(bucket.port()).await;
        Self { product, bucket, proxy }
    }

    /// A machine that has written its mark, and is off.
    async fn machine(&self, dir: &Path, mark: &str) -> String {
        let guest = rig::guest();
        let body = json!({"name": "web 1", "memory_mib": 128, "vcpus": 2, "disk_gib": 1, "image": dir.join("images/base.raw"), "kernel": guest.kernel, "initrd": guest.initrd,
            "append": format!("console=ttyS0 quiet mark={mark}")});
        let (status, made) = self.product.post("/vms", body).await;
        assert_eq!(status, 201, "{made:#}");
        let id = made["id"].as_str().expect("an id").to_owned();
        self.act(&id, "start", 200).await;
        self.says(&id, 0, &format!("marked {mark}")).await;
        id
    }

    async fn act(&self, id: &str, what: &str, status: u16) -> Value {
        let (found, answer) = self.product.post(&format!("/vms/{id}/{what}"), json!({})).await;
        assert_eq!(found, status, "{what}: {answer:#}");
        answer
    }

    async fn vm(&self, id: &str) -> (u16, Value) {
        self.product.get(&format!("/vms/{id}")).await
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        let answer = self.product.http.delete(self.product.url(path)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// Where the console ends, once `text` stands in it behind `from`.
    async fn says(&self, id: &str, from: u64, text: &str) -> u64 {
        let (begun, mut at, mut seen) = (Instant::now(), from, String::new());
        while !seen.contains(text) {
            assert!(begun.elapsed() < Duration::from_mins(1), "'{text}' does not come: {seen}");
            let (status, part) = self.product.get(&format!("/vms/{id}/console?offset={at}&wait=5")).await;
            assert_eq!(status, 200, "{part:#}");
            at = part["next_offset"].as_u64().expect("a place");
            seen.push_str(part["text"].as_str().expect("text"));
        }
        at
    }

    fn out(&self, id: &str, port: u16) -> Value {
        json!({"name": "out", "source": {"type": "vm", "vm": id, "compress": false}, "destination": self.bucket.destination(&format!("http://127.0.0.1:{port}")),
            "transfer": {"options": {"parallel_transfers": 2, "chunk_size": "8MB"}}})
    }

    fn back(&self) -> Value {
        json!({"name": "back", "source": self.bucket.destination(&self.bucket.store.endpoint), "destination": {"type": "vm", "name": "restored", "memory_mib": 160}})
    }

    async fn rolled_back(&self, id: &str, wanted: &str) -> Value {
        let (status, answer) = self.product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
        assert_eq!(status, 200, "{answer:#}");
        self.settled(id, wanted).await
    }

    /// A migration that is rolled back was at rest before.
    async fn settled(&self, id: &str, wanted: &str) -> Value {
        let begun = Instant::now();
        loop {
            let (_, status) = self.product.get(&format!("/migrations/{id}/status")).await;
            if status["status"] == wanted {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{status:#}");
            let after = status["last_event"].as_u64().expect("a number");
            self.product.get(&format!("/migrations/{id}/events?after={after}&wait=5")).await;
        }
    }

    /// Names below the machine's directory that belong to migrations.
    fn staged(&self, id: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.product.data.join("vms").join(id)).expect("its directory").flatten();
        entries.filter_map(|e| e.file_name().into_string().ok()).filter(|name| name.starts_with("moving-")).collect()
    }

    async fn objects(&self) -> Vec<String> {
        let files = self.bucket.files().await;
        let entries: Vec<_> = files.list().collect().await;
        entries.into_iter().map(|e| e.expect("an entry").path.to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_goes_into_a_bucket_and_comes_back_as_another_machine() {
    let dir = TestDirectory::new();
    let mut story = Story::new(dir.path()).await;
    let id = story.machine(dir.path(), "kept1").await;

    let (status, made) = story.product.post("/migrations/", story.out(&id, story.proxy.port)).await;
    assert_eq!(status, 201, "{made:#}");
    let out = made["session_id"].as_str().expect("an id").to_owned();
    let (status, refused) = story.product.post(&format!("/migrations/{out}/start"), json!({})).await;
    assert_eq!((status, &refused["error"]["details"]["field"]), (422, &json!("source.vm")), "{refused:#}");
    assert!(refused["error"]["details"]["issue"].as_str().expect("words").contains("it is running"), "{refused:#}");
    story.act(&id, "stop", 200).await;

    // On its way, through the death of its server, the machine is nobody else's.
    let (status, started) = story.product.post(&format!("/migrations/{out}/start"), json!({})).await;
    assert_eq!(status, 200, "{started:#}");
    tokio::select! {
        () = story.proxy.reached(BASE / 3) => {}
        status = story.product.settle(&out) => panic!("it ended before its server did: {status:#}"),
    }
    story.product.kill();
    story.product.restart().await;
    let refused = story.act(&id, "start", 409).await;
    assert_eq!(refused["error"]["details"]["migration_id"], json!(out), "{refused:#}");
    assert_eq!(story.delete(&format!("/vms/{id}")).await.0, 409);
    assert_eq!(story.vm(&id).await.1["status"], "migrating");
    let status = story.product.settle(&out).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    let free = story.vm(&id).await.1;
    assert_eq!((&free["status"], &free["migration_id"]), (&json!("stopped"), &json!(null)), "{free:#}");
    assert_eq!((story.staged(&id), story.bucket.uploads()), (Vec::new(), Vec::new()));
    assert_eq!(story.objects().await, [IMAGE.to_owned(), format!("{IMAGE}.json")]);

    // The same again is refused: nothing is replaced.
    let (status, again) = story.product.post("/validate/", story.out(&id, story.bucket.port())).await;
    assert_eq!((status, &again["can_proceed"]), (200, &json!(false)), "{again:#}");
    assert!(again["errors"].to_string().contains("nothing is ever replaced"), "{again:#}");

    let (back, status) = story.product.run(story.back()).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    let (_, report) = story.product.get(&format!("/migrations/{back}/report")).await;
    let new = report["vm"]["id"].as_str().expect("a machine").to_owned();
    let (_, vm) = story.vm(&new).await;
    assert_eq!(
        (&vm["name"], &vm["status"], &vm["vcpus"], &vm["memory_mib"], &vm["disk_gib"]),
        (&json!("restored"), &json!("stopped"), &json!(2), &json!(160), &json!(1))
    );
    assert_eq!((&vm["image"]["migration_id"], story.staged(&new)), (&json!(back), Vec::new()), "{vm:#}");
    let (_, listed) = story.product.get("/migrations/").await;
    assert_eq!((&listed[0]["kind"], &listed[0]["destination_type"], &listed[1]["source_type"]), (&json!("disk"), &json!("vm"), &json!("vm")), "{listed:#}");
    story.act(&new, "start", 200).await;
    story.says(&new, 0, "mark 'kept1").await;

    // Nobody pulls the plug of a machine that is in use; when it is off, it goes without a trace.
    let stuck = story.rolled_back(&back, "stuck").await;
    assert!(stuck["error"]["message"].as_str().expect("why").contains("it is running"), "{stuck:#}");
    story.act(&new, "stop", 200).await;
    let (status, answer) = story.product.post(&format!("/migrations/{back}/resolve"), json!({})).await;
    assert_eq!(status, 200, "{answer:#}");
    story.settled(&back, "rolled_back").await;
    assert_eq!(story.vm(&new).await.0, 404);
    assert!(!story.product.data.join("vms").join(&new).exists());

    story.rolled_back(&out, "rolled_back").await;
    let listed: Vec<_> = story.bucket.files().await.list().collect().await;
    assert!(matches!(listed.as_slice(), [Err(e)] if e.kind == ErrorKind::NotFound), "the bucket went with what was in it");
    let (_, console) = story.product.get(&format!("/vms/{id}/console?tail=0")).await;
    story.act(&id, "start", 200).await;
    story.says(&id, console["end"].as_u64().expect("a place"), "mark 'kept1").await;
    story.act(&id, "stop?wait=60", 200).await;
    assert_eq!(story.delete(&format!("/vms/{id}")).await.0, 200);
}
