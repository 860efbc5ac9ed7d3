use super::*;
use serde_json::Value;
use std::collections::BTreeMap;
use testkit::memory_files::{MemoryFiles, Op, Rule};

const OWN: &str = "<?php $upgrading = time(); ?>";

async fn context() -> StepContext {
    StepContext::for_test("files", Value::Null, Value::Null, BTreeMap::new()).await
}

fn file() -> FilePath {
    FilePath::from(maintenance::FILE)
}

fn text(site: &MemoryFiles) -> Option<String> {
    site.read(maintenance::FILE).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn switching_on_and_off_twice_has_the_effect_of_once() {
    let (cx, site) = (context().await, MemoryFiles::tree("site"));
    let observer = RunObserver::new(&cx);
    for _ in 0..2 {
        assert!(enter(&cx, &site, &file(), &observer).await.unwrap());
        assert!(text(&site).unwrap().contains(cx.run_id()));
    }
    for _ in 0..2 {
        assert!(!leave(&cx, &site, &observer).await.unwrap().on);
        assert_eq!(text(&site), None);
    }
}

#[tokio::test]
async fn a_file_of_the_sites_own_comes_back_and_a_newer_one_is_left_alone() {
    let (cx, site) = (context().await, MemoryFiles::tree("site"));
    let observer = RunObserver::new(&cx);
    site.write(maintenance::FILE, OWN);
    enter(&cx, &site, &file(), &observer).await.unwrap();
    enter(&cx, &site, &file(), &observer).await.unwrap();
    leave(&cx, &site, &observer).await.unwrap();
    assert_eq!(text(&site).as_deref(), Some(OWN));

    enter(&cx, &site, &file(), &observer).await.unwrap();
    site.write(maintenance::FILE, "<?php $upgrading = 1; // an update of the site's own began ?>");
    leave(&cx, &site, &observer).await.unwrap();
    assert!(text(&site).unwrap().contains("update of the site's own"), "not ours to remove");
}

#[tokio::test]
async fn what_another_migration_left_is_not_the_sites_own() {
    let (cx, site) = (context().await, MemoryFiles::tree("site"));
    let observer = RunObserver::new(&cx);
    site.write(maintenance::FILE, maintenance::content("another"));
    enter(&cx, &site, &file(), &observer).await.unwrap();
    leave(&cx, &site, &observer).await.unwrap();
    assert_eq!(text(&site), None);
}

#[tokio::test]
async fn a_source_that_may_not_be_written_is_said_and_not_fatal() {
    let (cx, site) = (context().await, MemoryFiles::tree("site"));
    let observer = RunObserver::new(&cx);
    site.fault(Rule::fail(Op::Put, ErrorKind::Permission));
    assert!(!enter(&cx, &site, &file(), &observer).await.unwrap());
    let now = state(&cx).await.unwrap();
    assert!(!now.on && now.unavailable.is_some());
    site.fault(Rule::fail(Op::Put, ErrorKind::Interrupted));
    let error = enter(&cx, &site, &file(), &observer).await.unwrap_err();
    assert!(error.temporary && state(&cx).await.unwrap().on, "in doubt, so standing down looks again");
    assert!(!leave(&cx, &site, &observer).await.unwrap().on);
}
