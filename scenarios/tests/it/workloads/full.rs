//! A whole server under fire: 50,000 files and 2 GiB on three mount points that are written to all the time. Two of them move to another server's,
//! are kept warm there and cut over, by document 0's calls, while SIGKILL comes at random moments.
//!
//! `MA_KILLS` sets the number of kills while it moves (10 by default).

use super::server::{DISKS, Server};
use crate::product::Product;
use rand::Rng;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const CLEAR: &str = "for d in /data /srv/shop /var/lib/archive; do find $d -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +; done";

/// Sizes as on a shop's disk: most files are small, a few are large; some have further names, attributes, holes and other owners.
const FURNISH: &str = r"python3 - <<'P'
import os, random
random.seed(4); block = os.urandom(1 << 20); total = 0
def write(path, size):
    global total
    total += size; at = random.randrange(len(block))
    with open(path, 'wb') as f:
        f.write(os.urandom(8)); left = size
        while left > 0: left -= f.write(block[at:at + left] or block[:left]); at = 0
roots = ['/data/www', '/data/mail', '/srv/shop/orders', '/var/lib/archive/old']
for n in range(49900):
    d = f'{roots[n % 4]}/d{n // 400:03}/e{n // 40 % 10}'
    os.makedirs(d, exist_ok=True); f = f'{d}/f{n:05}'
    write(f, min(int(random.paretovariate(1.1) * 4000), 2000000))
    if n % 100 == 1: os.link(f, f'{d}/l{n:05}')
    if n % 100 == 2: os.setxattr(f, 'user.note', b'x'); os.chmod(f, 0o4710)
    if n % 100 == 3: os.symlink(f'f{n:05}', f'{d}/s{n:05}')
    if n % 3 == 0: os.chown(f, 33, 1000 + n % 5)
big = max(1 << 20, ((2 << 30) - total) // 100)
for n in range(100): write(f'{roots[n % 4]}/big{n:02}', big)
with open('/data/hole', 'wb') as f: f.truncate(100 << 20); f.seek(50 << 20); f.write(b'middle')
P";

/// What a living server does all the time: logs grow, things come and go and change their names.
const LIVE: &str = r"
n=0; while :; do n=$((n + 1)); echo visit $n >>/data/www/access.log; echo order $n >/srv/shop/orders/new.$((n % 50))
echo x >/data/mail/tmp.$((n % 7)); mv /data/mail/tmp.$((n % 7)) /data/mail/mail.$((n % 90)); rm -f /data/mail/mail.$(((n + 40) % 90)); echo a >>/var/lib/archive/log; sleep 0.02; done";

/// About a hundredth of everything, in many places.
const CHANGE: &str = r#"
cd /data; find www mail -type f -name 'f*7' | head -1800 | while read f; do head -c 3000 /dev/urandom >>"$f"; done; head -c 15000000 /dev/urandom >www/new.bin; rm mail/d000/e0/f00001 mail/d000/e1/*
cd /srv/shop/orders; mv d001 moved; chown 5:6 moved; setfattr -n user.changed -v yes moved/e0; chmod 600 big02; truncate -s 10 d002/e0/f00802"#;

/// Says how far the story is, for whoever reads the output of one that failed.
struct Clock(Instant);

impl Clock {
    fn says(&self, what: &str) {
        println!("{:6.1} s  {what}", self.0.elapsed().as_secs_f64());
    }
}

fn kills() -> u32 {
    std::env::var("MA_KILLS").ok().and_then(|k| k.parse().ok()).unwrap_or(10)
}

/// Kills the server at a random moment of the next `longest` milliseconds, and starts it again on the same data.
async fn fire(product: &mut Product, longest: u64) {
    tokio::time::sleep(Duration::from_millis(rand::rng().random_range(20..longest))).await;
    product.kill();
    product.restart().await;
}

/// Waits until the status is as wanted, and gives it.
async fn until(product: &Product, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_mins(6);
    loop {
        let (_, status) = product.get(&format!("/migrations/{id}/status")).await;
        if wanted(&status) {
            return status;
        }
        assert!(status["finished"] == json!(false) && Instant::now() < deadline, "{status:#}");
        product.get(&format!("/migrations/{id}/events?after=0&wait=1&limit=1")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn passes(status: &Value) -> u64 {
    status["replication"]["passes"].as_u64().unwrap_or(0)
}

/// The whole of both mount points, for comparing.
type Told = Vec<(&'static str, String)>;

fn told(server: &Server) -> Told {
    ["/data", "/srv/shop"].map(|dir| (dir, server.everything(dir))).into()
}

fn assert_same(one: &Told, other: &Told, what: &str) {
    for ((dir, a), (_, b)) in one.iter().zip(other) {
        let (left, right): (std::collections::HashSet<_>, std::collections::HashSet<_>) = (a.lines().collect(), b.lines().collect());
        let only =
            |x: &std::collections::HashSet<&str>, y: &std::collections::HashSet<&str>| x.difference(y).take(20).map(ToString::to_string).collect::<Vec<_>>();
        assert!(a == b, "{what}: {dir}\nonly in the first: {:#?}\nonly in the second: {:#?}", only(&left, &right), only(&right, &left));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_moves_whatever_is_killed() {
    if std::env::var_os("MA_NIGHTLY").is_none() {
        println!("the largest scenario is played by `cargo xtask test --nightly`; issue 8 tells what it found last");
        return;
    }
    let _alone = DISKS.lock().await;
    let (source, target) = (Server::number(1), Server::number(2));
    let clock = Clock(Instant::now());
    source.run(&format!("{CLEAR}\n{FURNISH}"));
    clock.says("the source is furnished");
    // What stands there is overwritten: one thing before anybody looks, and one that comes late.
    target.run(&format!("{CLEAR}\nmkdir -p /data/www/d000/e0 /srv/shop/own; echo theirs >/data/www/d000/e0/f00000; chown 7:8 /data/www/d000/e0/f00000; echo own >/srv/shop/own/file; echo mine >/var/lib/archive/before"));
    let before = told(&target);
    let data = tempfile::tempdir().expect("a directory");
    let known = source.ssh.known_hosts_file.display().to_string();
    let mut product = Product::start_with(data.path(), &[], &["--known-hosts", &known]).await;
    let (status, found) = product.post("/workloads", source.workload(None)).await;
    assert_eq!(status, 201, "{found:#}");
    let busy = source.start(LIVE);

    let all = found["storage"]["mount_points"].as_array().expect("mount points");
    let cloud = json!({"username": "me", "password": "cloud-canary"});
    let body = json!({
        "selected_mount_points": [all[1], all[2]], "source": found, "mode": "warm", "pass_every": 1,
        "migration_target": {"cloud_type": "vcloud", "cloud_credentials": cloud, "target_vm": target.workload(Some(&[]))},
    });
    let (status, made) = product.post("/migrations", body).await;
    assert_eq!(status, 201, "{made:#}");
    let id = made["id"].as_str().expect("an id").to_owned();
    let (status, started) = product.post(&format!("/migrations/{id}/start"), json!({})).await;
    assert_eq!((status, &started["state"]), (200, &json!("RUNNING")), "{started:#}");
    clock.says("started");
    for _ in 0..kills() {
        fire(&mut product, 4000).await;
    }
    clock.says("killed often enough");
    until(&product, &id, |s| passes(s) >= 1).await;
    clock.says("the first pass is done");
    // Somebody else at the target is quicker than the source with a file of the same name.
    target.run("echo late >/data/www/late; touch -d @1000000000 /data/www/late");
    source.run(&format!("echo source >/data/www/late\n{CHANGE}"));
    let warm = passes(&until(&product, &id, |s| passes(s) >= 1).await);
    fire(&mut product, 1500).await;
    until(&product, &id, |s| passes(s) >= 2 || passes(s) > warm).await;
    clock.says("a warm pass is done");
    busy.end();
    source.run("rm /data/www/d001/e0/f00400; echo last >>/srv/shop/orders/big02");

    let (status, cut) = product.post(&format!("/migrations/{id}/cutover"), json!({})).await;
    assert_eq!(status, 200, "{cut:#}");
    fire(&mut product, 1500).await;
    fire(&mut product, 3000).await;
    let ended = product.settle(&id).await;
    clock.says("cut over");
    assert_eq!((&ended["state"], &ended["finished"]), (&json!("SUCCESS"), &json!(true)), "{ended:#}");
    let (_, report) = product.get(&format!("/migrations/{id}/report")).await;
    assert_eq!(report["verification"]["verified"], json!(true), "{report:#}");
    println!("standstill {} s, {} files", report["summary"]["standstill_seconds"], report["summary"]["files"]);
    let mut there = told(&target);
    for (_, text) in &mut there {
        *text = text.split_inclusive('\n').filter(|line| !line.contains("./own")).collect();
    }
    assert_same(&told(&source), &there, "the source and the target");
    assert_eq!(target.run("cd /var/lib/archive; find . -mindepth 1 ! -name lost+found"), "./before\n", "it was not selected");
    assert_eq!(target.run("find /data /srv/shop -name '.migration*'"), "", "nothing of ours is left");

    clock.says("compared");
    let (status, answer) = product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert_eq!(status, 200, "{answer:#}");
    fire(&mut product, 2000).await;
    fire(&mut product, 4000).await;
    assert_eq!(product.settle(&id).await["status"], "rolled_back");
    clock.says("rolled back");
    taken_back(&target, &before);
}

/// Everything is as it was, but for times of directories that others changed meanwhile; the late file is there again.
fn taken_back(target: &Server, before: &Told) {
    assert_eq!(target.run("cat /data/www/late; stat -c %Y /data/www/late; rm /data/www/late"), "late\n1000000000\n", "the late file came back from the backup");
    let timeless = |line: &str| line.split('|').enumerate().filter(|(n, _)| *n != 4).map(|(_, part)| part.to_owned()).collect::<Vec<_>>().join("|");
    let still = |told: &Told| told.iter().map(|(dir, text)| (*dir, text.lines().map(timeless).collect::<Vec<_>>().join("\n"))).collect::<Vec<_>>();
    assert_same(&still(before), &still(&told(target)), "before and after");
}
