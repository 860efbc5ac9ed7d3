//! Starting, stopping, looking.

use super::{Bench, empty, new_id};
use ports::ErrorKind;
use ports::vms::{Act, ConsoleText, Observed, Part};
use std::time::Duration;
use tokio::time::Instant;

pub async fn one_life(bench: &Bench) {
    let (host, id) = (&bench.host, new_id());
    assert_eq!(host.observe(&id).await.expect("a look"), Observed::Absent);
    let running = host.start(&id, &empty()).await.expect("started");
    assert_eq!(host.start(&id, &empty()).await.expect("as it is"), running, "a second start leaves it as it is");
    assert_eq!(host.observe(&id).await.expect("a look"), Observed::On { running: running.clone(), paused: false });
    for (act, paused) in [(Act::Pause, true), (Act::Pause, true), (Act::Resume, false), (Act::Resume, false), (Act::Reset, false)] {
        host.act(&id, act).await.expect("done");
        assert_eq!(host.observe(&id).await.expect("a look"), Observed::On { running: running.clone(), paused }, "{act:?}");
    }
    assert!(host.machines().await.expect("machines").contains(&id));
    let ending = host.stop(&id, None).await.expect("stopped");
    assert!(ending.clean && !ending.reason.is_empty(), "{ending:?}");
    assert!(matches!(host.observe(&id).await.expect("a look"), Observed::Off(ending) if ending.clean));
    assert!(host.stop(&id, None).await.expect("is so already").clean);
    let again = host.start(&id, &empty()).await.expect("started again");
    assert_ne!(again.process, running.process);
    host.remove(&id).await.expect("removed while it runs");
    assert_eq!(host.observe(&id).await.expect("a look"), Observed::Absent);
    host.remove(&id).await.expect("is so already");
}

/// The guest switches itself off, and what it wrote can be read in parts.
pub async fn the_power_button(bench: &Bench) {
    let (host, id) = (&bench.host, new_id());
    host.start(&id, &bench.guest()).await.expect("started");
    let up = bench.says(&id, 0, "guest is up").await;
    host.act(&id, Act::Reset).await.expect("reset");
    bench.says(&id, up, "guest is up").await;
    let watch = tokio::spawn({
        let (host, id) = (host.clone(), id.clone());
        async move { host.ended(&id).await }
    });
    let ending = host.stop(&id, Some(Duration::from_mins(1))).await.expect("stopped");
    assert!(ending.clean && ending.reason == "the guest switched itself off", "{ending:?}");
    assert!(watch.await.expect("the watch").expect("its end").clean);
    let whole = host.console(&id, Part::From(0), 1 << 20).await.expect("kept after its end");
    assert_eq!((whole.offset, whole.end), (0, whole.bytes.len() as u64));
    let tail = host.console(&id, Part::Tail(7), 1 << 20).await.expect("a part");
    assert_eq!((tail.offset, tail.bytes.as_slice()), (whole.end - 7, &whole.bytes[whole.bytes.len() - 7..]));
    let middle = host.console(&id, Part::From(3), 5).await.expect("a part");
    assert_eq!((middle.offset, middle.bytes.as_slice()), (3, &whole.bytes[3..8]));
    let behind = host.console(&id, Part::From(whole.end + 100), 5).await.expect("a part");
    assert_eq!((behind.offset, behind.bytes.len()), (whole.end, 0));
    host.remove(&id).await.expect("removed");
}

/// Nobody listens to the button: patience runs out, and a caller without patience ends the waiting of one with it.
pub async fn a_deaf_machine(bench: &Bench) {
    let (host, id) = (&bench.host, new_id());
    host.start(&id, &empty()).await.expect("started");
    assert!(host.stop(&id, Some(Duration::from_millis(200))).await.expect("stopped").clean);
    host.start(&id, &empty()).await.expect("started");
    let begun = Instant::now();
    let (patient, at_once) = tokio::join!(host.stop(&id, Some(Duration::from_mins(2))), host.stop(&id, None));
    assert!(patient.expect("stopped").clean && at_once.expect("stopped").clean);
    assert!(begun.elapsed() < Duration::from_mins(1), "the plug did not end the waiting");
    assert!(matches!(host.observe(&id).await.expect("a look"), Observed::Off(_)));
    host.remove(&id).await.expect("removed");
}

pub async fn what_is_not_there(bench: &Bench) {
    let (host, id) = (&bench.host, new_id());
    for act in [Act::Pause, Act::Resume, Act::Reset] {
        assert_eq!(host.act(&id, act).await.expect_err("it does not run").kind, ErrorKind::NotFound);
    }
    assert!(host.stop(&id, None).await.expect("is so already").clean);
    assert!(host.ended(&id).await.expect("is so already").clean);
    assert_eq!(host.console(&id, Part::From(0), 100).await.expect("nothing"), ConsoleText::default());
    assert_eq!(host.observe(&id).await.expect("a look"), Observed::Absent, "looking makes nothing");
}
