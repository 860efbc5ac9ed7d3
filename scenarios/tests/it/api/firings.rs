//! Three servers keep the schedules of one PostgreSQL database on a clock of our own, while others take schedules up and die: nothing fires twice,
//! nothing is missed.

use super::bench::{Nowhere, body};
use control::{Control, Filter, Options};
use engine::Engine;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use ports::records::{RecordFilter, Records};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use testkit::product_database::ProductDatabase;
use testkit::rig;

const TENANT: &str = "default";

async fn server(url: &str, dir: &std::path::Path) -> (Control, Arc<store::Store>) {
    let settings =
        plans::Settings { connectors: Arc::new(Nowhere), backups_dir: dir.join("backups"), work_dir: dir.join("work"), machines: None, images: None };
    let store = store::open(url, dir).await.expect("a store");
    let engine = Engine::new(store.clone(), plans::registry(settings.clone()));
    (Control::new(engine, store.clone(), settings, Options::new(dir)), store)
}

/// Minute schedules; gives their migrations and first times.
async fn scheduled(control: &Control, count: usize, more: &Value) -> Vec<(String, Timestamp)> {
    let mut out = Vec::new();
    for _ in 0..count {
        let id = control.create(TENANT, body()).await.expect("a migration").session_id;
        let mut wanted = json!({"cron": "* * * * *", "catch_up": "all", "auto_start": false});
        wanted.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let (made, _) = control::Caller::anonymous().acting(control.schedule(TENANT, &id, &wanted, None)).await.expect("scheduled");
        out.push((id, format!("{}Z", made.next_run_at.expect("a time")).parse().expect("a time")));
    }
    out
}

/// Moves the clock on until `end`, now a little and now a lot, and looks at each time.
async fn keep(control: &Control, clock: &AtomicI64, end: Timestamp) {
    let end = end.as_microsecond();
    loop {
        let step = i64::from(rand::random::<u32>() % 240) * 1_000_000;
        let now = clock.fetch_add(step, Ordering::SeqCst).min(end);
        let looked = control.turn_schedules(Timestamp::from_microsecond(now).ok()).await.expect("a store");
        if now == end && looked == 0 {
            return;
        }
    }
}

async fn times_of(store: &dyn Records, id: &str) -> (Vec<Timestamp>, BTreeSet<String>) {
    let filter = RecordFilter { parent: Some(id.to_owned()), ..RecordFilter::default() };
    let firings = store.list(TENANT, "firing", &filter).await.expect("a store");
    let times = firings.iter().map(|f| f.body["at"].as_str().expect("a time").parse().expect("a time")).collect();
    (times, firings.iter().map(|f| f.body["run"].as_str().expect("a run").to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_firings_by_three_servers() {
    const SCHEDULES: usize = 20;
    const EACH: i64 = 500;
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "firings"), tempfile::tempdir().expect("a directory"));
    let url = database.url();
    let servers = join_all((0..3).map(|_| server(&url, dir.path()))).await;
    let schedules = scheduled(&servers[0].0, SCHEDULES, &json!({})).await;
    let start = schedules.iter().map(|(_, at)| *at).max().expect("some");
    let end = start + SignedDuration::from_mins(EACH - 1);
    let clock = AtomicI64::new(start.as_microsecond());
    // Servers that take schedules and die before they have done anything.
    let dying = async {
        while clock.load(Ordering::SeqCst) < end.as_microsecond() {
            let now = Timestamp::from_microsecond(clock.load(Ordering::SeqCst)).ok();
            servers[0].1.take_due("schedule", 2, Duration::from_secs(30), now).await.expect("a store");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(join_all(servers.iter().map(|(control, _)| keep(control, &clock, end))), dying);
    // What the dead held is free again after a while; the clock stands a little later, before the next minute.
    let late = end + SignedDuration::from_secs(59);
    while servers[1].0.turn_schedules(Some(late)).await.expect("a store") > 0 {}
    let mut runs = BTreeSet::new();
    for (id, first) in &schedules {
        let (times, mine) = times_of(servers[2].1.as_ref(), id).await;
        let expected: Vec<Timestamp> = std::iter::successors(Some(*first), |at| Some(*at + SignedDuration::from_mins(1))).take_while(|at| *at <= end).collect();
        assert!(times == expected, "{id}: {} of {}", times.len(), expected.len());
        runs.extend(mine);
    }
    println!("{} firings", runs.len());
    assert!(runs.len() >= SCHEDULES * EACH as usize, "each has a migration of its own: {}", runs.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_firing_makes_one_migration() {
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "firings_made"), tempfile::tempdir().expect("a directory"));
    let url = database.url();
    let servers = join_all((0..3).map(|_| server(&url, dir.path()))).await;
    let schedules = scheduled(&servers[0].0, 4, &json!({"overlap": "allow"})).await;
    let end = schedules[0].1 + SignedDuration::from_mins(14);
    while servers[0].0.turn_schedules(Some(end)).await.expect("a store") > 0 {}
    // Some are taken by a server that dies; they are due again a minute later.
    servers[0].1.take_due("firing", 10, Duration::from_mins(1), Some(end)).await.expect("a store");
    for now in [end, end + SignedDuration::from_secs(61)] {
        join_all(servers.iter().map(|(control, _)| async move { while control.turn_firings(Some(now)).await.expect("a store") > 0 {} })).await;
    }
    let mut expected = BTreeSet::new();
    for (id, _) in &schedules {
        expected.extend(times_of(servers[1].1.as_ref(), id).await.1);
    }
    let listed = servers[2].0.list(TENANT, Filter::new(vec![("limit".to_owned(), "1000".to_owned())])).await.expect("a list");
    let models: BTreeSet<&String> = schedules.iter().map(|(id, _)| id).collect();
    let made: Vec<String> = listed.iter().filter(|m| !models.contains(&m.id)).map(|m| m.id.clone()).collect();
    assert_eq!((made.len(), made.into_iter().collect::<BTreeSet<_>>()), (expected.len(), expected));
}
