//! Several servers on one PostgreSQL, each with a data directory of its own: what lies on one server's disk is only that server's business.

use super::Connectors;
use control::error::Code;
use control::{Control, Options};
use engine::{Engine, RunState, RunView, Worker, WorkerOptions};
use ports::records::Upkeep;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use testkit::product_database::ProductDatabase;
use testkit::rig;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TENANT: &str = "default";
const PATIENCE: Duration = Duration::from_mins(1);

struct Server {
    control: Control,
    engine: Engine,
    store: Arc<store::Store>,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

impl Server {
    /// A server with `dir` as its data directory. `backups`: the store that it shares with others.
    async fn start(url: &str, dir: &Path, backups: Option<&Path>) -> Self {
        let settings = plans::Settings {
            connectors: Arc::new(Connectors),
            backups_dir: backups.map_or_else(|| dir.join("backups"), Path::to_owned),
            work_dir: dir.join("work"),
            machines: None,
            images: None,
        };
        let store = store::open(url, dir).await.expect("a store");
        let plans = plans::registry(settings.clone());
        store.on_node(plans.node());
        let engine = Engine::new(store.clone(), plans.clone());
        let control = Control::new(engine.clone(), store.clone(), settings, Options { local_roots: None, ..Options::new(dir) });
        let options = WorkerOptions { poll: Duration::from_millis(20), backoff: Duration::from_millis(5), attempts: 2, ..WorkerOptions::default() };
        let (stop, worker) = (CancellationToken::new(), Worker::new(store.clone(), plans, options));
        let stopped = stop.clone();
        let worker = tokio::spawn(async move { worker.run(stopped).await.expect("the worker ends well") });
        Self { control, engine, store, stop, worker }
    }

    /// SIGTERM.
    async fn leave(self) {
        self.stop.cancel();
        self.worker.await.expect("it ends well");
    }

    async fn created(&self, site: &Site) -> String {
        let side = |path: &Path| json!({"type": "sqlite", "database": path});
        let body = json!({"name": "db", "source": side(&site.from), "destination": side(&site.to)});
        self.control.create(TENANT, body).await.expect("created").session_id
    }

    async fn migrated(&self, site: &Site) -> String {
        let id = self.created(site).await;
        self.control.start(TENANT, &id, None, false).await.expect("started");
        let run = self.until(&id, |run| run.state.is_end()).await;
        assert_eq!(run.state, RunState::Completed, "{:?}", run.error);
        id
    }

    async fn until(&self, id: &str, so: impl Fn(&RunView) -> bool) -> RunView {
        let waiting = async {
            loop {
                let run = self.engine.get(TENANT, id).await.expect("the run is there");
                if so(&run) {
                    return run;
                }
                self.engine.wait_event(TENANT, id, run.last_event, Duration::from_millis(200)).await.expect("events");
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it comes to pass in time")
    }
}

/// A source with two orders, and a destination whose own orders a migration replaces.
struct Site {
    from: PathBuf,
    to: PathBuf,
}

impl Site {
    fn new(dir: &Path, name: &str) -> Self {
        let site = Self { from: dir.join(format!("{name}-from.db")), to: dir.join(format!("{name}-to.db")) };
        for (path, note) in [(&site.from, "migrated"), (&site.to, "old")] {
            let db = rusqlite::Connection::open(path).expect("a database");
            db.execute_batch(&format!("create table orders(id integer primary key, note text); insert into orders(note) values('{note}');")).expect("a table");
        }
        site
    }

    fn notes(&self) -> Vec<String> {
        let db = rusqlite::Connection::open(&self.to).expect("a database");
        let mut all = db.prepare("select note from orders order by id").expect("the table is there");
        all.query_map([], |row| row.get(0)).expect("rows").map(|note| note.expect("a note")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_asked_of_another_node_is_refused_and_touches_nothing() {
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "two_servers"), tempfile::tempdir().expect("a directory"));
    let (url, a_dir, b_dir) = (database.url(), dir.path().join("a"), dir.path().join("b"));
    let site = Site::new(dir.path(), "x");
    let a = Server::start(&url, &a_dir, None).await;
    let id = a.migrated(&site).await;
    a.leave().await;
    std::fs::create_dir_all(&b_dir).expect("a directory");
    std::fs::copy(a_dir.join("seal.keys"), b_dir.join("seal.keys")).expect("the common key");
    let b = Server::start(&url, &b_dir, None).await;
    let node = b.engine.get(TENANT, &id).await.expect("a run").pinned_to.expect("it has a backup");
    let refused = b.control.rollback(TENANT, &id, None).await.expect_err("the backup is elsewhere");
    assert_eq!((refused.code, &refused.details["node"]), (Code::NodeUnavailable, &json!(node)), "{refused}");
    assert!(refused.message.contains(&node) && refused.message.contains("release"), "{refused}");
    assert_eq!(site.notes(), ["migrated"], "nothing was touched");

    // The node is back: whoever is asked, it takes its own migration back.
    let a = Server::start(&url, &a_dir, None).await;
    let asked = async {
        while b.control.rollback(TENANT, &id, None).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it is seen in time");
    let run = b.until(&id, |run| run.state.is_end()).await;
    assert_eq!((run.state, site.notes()), (RunState::RolledBack, vec!["old".to_owned()]), "{:?}", run.error);
    a.leave().await;
    b.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_given_up_by_force_leaves_the_migration_to_others_without_its_backup() {
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "two_released"), tempfile::tempdir().expect("a directory"));
    let (url, a_dir, b_dir) = (database.url(), dir.path().join("a"), dir.path().join("b"));
    let site = Site::new(dir.path(), "x");
    let a = Server::start(&url, &a_dir, None).await;
    let id = a.migrated(&site).await;
    a.leave().await;
    std::fs::create_dir_all(&b_dir).expect("a directory");
    std::fs::copy(a_dir.join("seal.keys"), b_dir.join("seal.keys")).expect("the common key");
    let b = Server::start(&url, &b_dir, None).await;
    let caller = || control::Caller::anonymous();
    let half = caller().acting(b.control.release(TENANT, &id, None)).await.expect_err("not without force");
    assert_eq!(half.code, Code::InvalidRequest, "{half}");
    caller().acting(b.control.release(TENANT, &id, Some(&json!({"force": true})))).await.expect("released");
    assert_eq!(b.engine.get(TENANT, &id).await.expect("a run").pinned_to, None);
    assert_eq!(site.notes(), ["migrated"], "nothing was touched");
    b.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_in_a_common_store_let_another_server_roll_back() {
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "two_shared"), tempfile::tempdir().expect("a directory"));
    let (url, a_dir, b_dir, common) = (database.url(), dir.path().join("a"), dir.path().join("b"), dir.path().join("common"));
    let site = Site::new(dir.path(), "x");
    let a = Server::start(&url, &a_dir, Some(&common)).await;
    let id = a.migrated(&site).await;
    a.leave().await;
    std::fs::create_dir_all(&b_dir).expect("a directory");
    std::fs::copy(a_dir.join("seal.keys"), b_dir.join("seal.keys")).expect("the common key");
    let b = Server::start(&url, &b_dir, Some(&common)).await;
    b.control.rollback(TENANT, &id, None).await.expect("it can reach the backup");
    let run = b.until(&id, |run| run.state.is_end()).await;
    assert_eq!((run.state, site.notes()), (RunState::RolledBack, vec!["old".to_owned()]), "{:?}", run.error);
    b.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_sealed_with_another_key_is_set_aside_and_holds_nobody_up() {
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "two_keys"), tempfile::tempdir().expect("a directory"));
    let (url, a_dir, b_dir) = (database.url(), dir.path().join("a"), dir.path().join("b"));
    let (first, second) = (Site::new(dir.path(), "x"), Site::new(dir.path(), "y"));
    let a = Server::start(&url, &a_dir, None).await;
    let sealed = a.created(&first).await;
    let (engine, store) = (a.engine.clone(), a.store.clone());
    a.leave().await;
    engine.start(TENANT, &sealed, json!({})).await.expect("started");
    // Another key file; the run stands first in its line.
    let b = Server::start(&url, &b_dir, None).await;
    b.migrated(&second).await;
    let run = b.engine.get(TENANT, &sealed).await.expect("a run");
    assert_eq!((run.state, run.held), (RunState::Running, false));
    assert_eq!(run.epoch, 1, "it was looked at once, not again and again");
    let aside = store.everything_set_aside().await.expect("a store");
    assert_eq!(aside.iter().map(|a| (a.kind.as_str(), a.id.as_str())).collect::<Vec<_>>(), [("run", sealed.as_str())]);
    assert!(aside[0].reason.contains("key"), "{aside:?}");
    let health = b.control.health().await;
    assert_eq!((health.components.work_queue, health.is_healthy()), (false, true));
    assert!(b.control.service_metrics().await.expect("metrics").contains("migration_assistant_set_aside{kind=\"run\"} 1"));
    // The node that has the key goes on with it.
    let a = Server::start(&url, &a_dir, None).await;
    let run = a.until(&sealed, |run| run.state.is_end()).await;
    assert_eq!(run.state, RunState::Completed, "{:?}", run.error);
    a.leave().await;
    b.leave().await;
}
