//! Several who tell, and some who are cut off.

use super::{bench, later, tell, webhook};
use crate::receiver::{Answering, Receiver};
use engine::RunState;
use std::collections::BTreeSet;

#[tokio::test]
async fn several_tellers_on_one_store_tell_everything_once() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    webhook(&bench, &receiver, &["*"]).await;
    for _ in 0..5 {
        bench.running().await;
    }
    let tellers: Vec<_> = (0..4)
        .map(|_| {
            let control = bench.control.clone();
            tokio::spawn(async move { while control.tell_once(None).await.expect("a round") > 0 {} })
        })
        .collect();
    for teller in tellers {
        teller.await.expect("a teller");
    }
    tell(&bench, None).await;
    let seen = receiver.seen();
    let told: BTreeSet<(String, u64)> = seen.iter().map(|s| (s.json["data"]["session_id"].to_string(), s.sequence())).collect();
    assert_eq!((seen.len(), told.len()), (10, 10));
}

/// A teller is cut off again and again, at any moment: nothing is lost, and each migration's events first arrive in their order.
#[tokio::test(flavor = "multi_thread")]
async fn tellers_that_are_cut_off_lose_nothing() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    webhook(&bench, &receiver, &["*"]).await;
    let mut events = 0;
    for cut in 0..60_u64 {
        if cut % 3 == 0 {
            let hands = bench.running().await;
            hands.begin(0).await;
            hands.state(RunState::Completed).await;
            events += 4;
        }
        if cut % 7 == 0 {
            receiver.answer([Answering::Never]);
        }
        // Every cut is behind the hold of the one before.
        let (control, now) = (bench.control.clone(), Some(later(cut as i64 * 40)));
        let teller = tokio::spawn(async move { control.tell_once(now).await });
        let _cut_off_or_not =
            tokio::time::timeout(std::time::Duration::from_micros(rand::random_range(0..40_000)), async { receiver.wait(|s| s.len() > 10_000).await }).await;
        teller.abort();
        let _ended = teller.await;
    }
    tell(&bench, Some(later(10_000))).await;
    tell(&bench, Some(later(20_000))).await;
    let seen = receiver.seen();
    let mut arrived = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for one in &seen {
        let sequences = arrived.entry(one.json["data"]["session_id"].to_string()).or_default();
        if !sequences.contains(&one.sequence()) {
            sequences.push(one.sequence());
        }
    }
    assert_eq!(arrived.values().map(Vec::len).sum::<usize>(), events, "{arrived:?}");
    assert!(arrived.values().all(|sequences| sequences.is_sorted()), "{arrived:?}");
    assert!(seen.len() > events, "some of them arrived twice, or nothing was cut off in the middle");
}
