//! Records: their life, their keys, their secrets, and what is due.

use super::Bench;
use jiff::{Timestamp, ToSpan};
use ports::records::{Fields, Record, RecordFilter, Records, RecordsError, Write};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

impl<S: Records> Bench<S> {
    fn add(&self, id: &str, fields: Fields) -> Write {
        Write::insert(&self.tenant, &self.kind, id, fields)
    }

    async fn one(&self, write: Write) -> Result<Record, RecordsError> {
        self.store.apply(vec![write]).await.map(|mut all| all.remove(0))
    }

    async fn get(&self, id: &str) -> Option<Record> {
        self.store.get(&self.tenant, &self.kind, id).await.expect("the store answers")
    }
}

pub(super) async fn insert_read_change_delete<S: Records>(bench: Bench<S>) {
    let at = Timestamp::from_second(2_000_000_000).expect("a time");
    let made = bench.one(bench.add("a", Fields::body(json!({"n": 1})).key("name").parent("p").state("new").due(Some(at)))).await.expect("inserted");
    assert_eq!((made.version, made.key.as_deref(), made.parent.as_deref(), made.state.as_deref()), (1, Some("name"), Some("p"), Some("new")));
    assert_eq!((made.due_at, made.has_secret, &made.body), (Some(at), false, &json!({"n": 1})));
    assert_eq!(bench.get("a").await.as_ref(), Some(&made));
    let changed = bench.one(Write::update(&made, Fields::body(json!({"n": 2})).due(None))).await.expect("updated");
    assert_eq!((changed.version, changed.due_at, changed.key.as_deref(), changed.created_at), (2, None, Some("name"), made.created_at));
    assert!(bench.store.get("another tenant", &bench.kind, "a").await.expect("the store answers").is_none());
    bench.store.apply(vec![Write::delete(&changed)]).await.expect("deleted");
    assert!(bench.get("a").await.is_none());
    let gone = bench.one(Write::update(&changed, Fields::body(json!(3)))).await.unwrap_err();
    assert!(matches!(gone, RecordsError::NotFound { .. }), "{gone:?}");
}

pub(super) async fn keys_are_unique_in_their_place<S: Records>(bench: Bench<S>) {
    let made = bench.one(bench.add("a", Fields::body(json!(1)).key("k"))).await.expect("inserted");
    for (id, key) in [("a", "other"), ("b", "k")] {
        let taken = bench.one(bench.add(id, Fields::body(json!(2)).key(key))).await.unwrap_err();
        assert!(matches!(taken, RecordsError::Taken { .. }), "{taken:?}");
    }
    let other = bench.one(bench.add("b", Fields::body(json!(2)).key("k2"))).await.expect("inserted");
    let taken = bench.one(Write::update(&other, Fields::default().key("k"))).await.unwrap_err();
    assert!(matches!(taken, RecordsError::Taken { ref key, .. } if key == "k"), "{taken:?}");
    bench.one(Write::update(&made, Fields::body(json!(3)).key("k"))).await.expect("its own key is no obstacle");
    bench.one(Write::insert("another tenant of keys", &bench.kind, "a", Fields::body(json!(1)).key("k"))).await.expect("another place");
    let found = bench.store.find(&bench.tenant, &bench.kind, "k").await.expect("the store answers").expect("found");
    assert_eq!((found.id.as_str(), found.body), ("a", json!(3)));
    let away = Write::Delete { tenant: "another tenant of keys".to_owned(), kind: bench.kind.clone(), id: "a".to_owned(), version: None };
    bench.store.apply(vec![away]).await.expect("removed");
}

pub(super) async fn a_late_writer_is_refused<S: Records>(bench: Bench<S>) {
    let read = bench.one(bench.add("a", Fields::body(json!(1)))).await.expect("inserted");
    bench.one(Write::update(&read, Fields::body(json!(2)))).await.expect("the first writer");
    for late in [Write::update(&read, Fields::body(json!(9))), Write::delete(&read)] {
        let refused = bench.store.apply(vec![late]).await.unwrap_err();
        assert!(matches!(refused, RecordsError::Changed { .. }), "{refused:?}");
    }
    assert_eq!(bench.get("a").await.expect("still there").body, json!(2));
}

pub(super) async fn all_or_nothing<S: Records>(bench: Bench<S>) {
    let read = bench.one(bench.add("a", Fields::body(json!(1)))).await.expect("inserted");
    let writes = vec![Write::update(&read, Fields::body(json!(2))), bench.add("b", Fields::body(json!(1))), bench.add("b", Fields::body(json!(1)))];
    assert!(matches!(bench.store.apply(writes).await, Err(RecordsError::Taken { .. })));
    assert_eq!(bench.get("a").await.expect("there").body, json!(1));
    assert!(bench.get("b").await.is_none());
}

pub(super) async fn lists_filter_and_page<S: Records>(bench: Bench<S>) {
    let writes =
        (0..10).map(|n| bench.add(&format!("{n:02}"), Fields::body(json!(n)).parent(if n % 2 == 0 { "even" } else { "odd" }).state(format!("s{}", n % 3))));
    bench.store.apply(writes.collect()).await.expect("inserted");
    let ids = async |filter: RecordFilter| -> Vec<String> {
        bench.store.list(&bench.tenant, &bench.kind, &filter).await.expect("listed").into_iter().map(|r| r.id).collect()
    };
    assert_eq!(ids(RecordFilter { newest_first: true, limit: 3, ..RecordFilter::default() }).await, ["09", "08", "07"]);
    assert_eq!(ids(RecordFilter { newest_first: true, limit: 2, after: Some("07".to_owned()), ..RecordFilter::default() }).await, ["06", "05"]);
    assert_eq!(ids(RecordFilter { limit: 2, offset: 1, ..RecordFilter::default() }).await, ["01", "02"]);
    let even = RecordFilter { parent: Some("even".to_owned()), states: vec!["s0".to_owned(), "s1".to_owned()], ..RecordFilter::default() };
    assert_eq!(ids(even.clone()).await, ["00", "04", "06"]);
    assert_eq!(bench.store.count(&bench.tenant, &bench.kind, &even).await.expect("counted"), 3);
}

pub(super) async fn secrets_are_sealed<S: Records>(bench: Bench<S>) {
    let made = bench.one(bench.add("a", Fields::body(json!({})).secret(Some(json!("hunter2"))))).await.expect("inserted");
    assert!(made.has_secret && !format!("{made:?}").contains("hunter2"));
    let open = async || bench.store.secret(&bench.tenant, &bench.kind, "a").await.expect("opened");
    assert_eq!(open().await, Some(json!("hunter2")));
    let kept = bench.one(Write::update(&made, Fields::body(json!(1)))).await.expect("updated");
    assert_eq!(open().await, Some(json!("hunter2")), "kept by an update that does not name it");
    let without = bench.one(Write::update(&kept, Fields::default().secret(None))).await.expect("updated");
    assert!(!without.has_secret && open().await.is_none());
}

pub(super) async fn what_is_due_is_handed_out_once<S: Records + 'static>(bench: Bench<S>) {
    let noon = Timestamp::from_second(1_800_000_000).expect("a time");
    let after = move |minutes: i64| noon.checked_add(minutes.minutes()).expect("a time");
    let writes = (0..40_i64).map(|n| bench.add(&format!("{n:02}"), Fields::body(json!(n)).due(Some(after(n)))));
    bench.store.apply(writes.collect()).await.expect("inserted");
    let hold = Duration::from_hours(1);
    let takers = (0..8).map(|_| {
        let (store, kind) = (bench.store.clone(), bench.kind.clone());
        tokio::spawn(async move { store.take_due(&kind, 5, hold, Some(after(19))).await.expect("taken") })
    });
    let mut seen = BTreeSet::new();
    for taker in takers.collect::<Vec<_>>() {
        for record in taker.await.expect("the taker ends") {
            assert!(seen.insert(record.id.clone()), "{} was handed out twice", record.id);
            assert_eq!((record.version, record.due_at), (2, Some(after(79))));
        }
    }
    // A taker passes over what another one is taking at the same moment; the next look finds the rest.
    for record in bench.store.take_due(&bench.kind, 100, hold, Some(after(19))).await.expect("taken") {
        assert!(seen.insert(record.id.clone()), "{} was handed out twice", record.id);
    }
    assert_eq!(seen.len(), 20);
    assert!(bench.store.take_due(&bench.kind, 100, hold, Some(after(19))).await.expect("taken").is_empty());
    let again = bench.store.take_due(&bench.kind, 1, hold, Some(after(79))).await.expect("taken");
    assert_eq!(again[0].id, "20", "the earliest first");
}

pub(super) async fn what_is_due_now_is_handed_out_now<S: Records + 'static>(bench: Bench<S>) {
    for n in 0..20 {
        let id = format!("{n:02}");
        bench.one(bench.add(&id, Fields::body(json!(n)).due(Some(Timestamp::now())))).await.expect("inserted");
        let taken = bench.store.take_due(&bench.kind, 1, Duration::from_hours(1), None).await.expect("taken");
        assert_eq!(taken.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), [id.as_str()], "the store's clock is as fine as ours");
    }
}
