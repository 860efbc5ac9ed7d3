//! Going back.

use super::{Bench, new_id};
use ports::ErrorKind;
use ports::vms::{Act, Observed};

pub async fn with_and_without_memory(bench: &Bench) {
    let (host, id) = (&bench.host, new_id());
    host.start(&id, &bench.guest()).await.expect("started");
    bench.says(&id, 0, "guest is up").await;
    assert!(host.save(&id, "running").await.expect("saved"), "a running machine's has its memory");
    assert!(host.save(&id, "running").await.expect("saved in its place"));
    host.act(&id, Act::Pause).await.expect("paused");
    host.restore(&id, "running").await.expect("restored");
    assert!(matches!(host.observe(&id).await.expect("a look"), Observed::On { .. }));
    assert_eq!(host.restore(&id, "other").await.expect_err("there is none").kind, ErrorKind::NotFound);
    host.stop(&id, None).await.expect("stopped");
    assert!(!host.save(&id, "off").await.expect("saved"), "there is no memory");
    host.restore(&id, "off").await.expect("restored");
    host.restore(&id, "running").await.expect("its disk");
    assert_eq!(host.restore(&id, "other").await.expect_err("there is none").kind, ErrorKind::NotFound);
    host.start(&id, &bench.guest()).await.expect("started");
    assert_eq!(host.restore(&id, "off").await.expect_err("no memory").kind, ErrorKind::Invalid);
    for name in ["off", "running", "running"] {
        host.forget(&id, name).await.expect("forgotten");
    }
    assert_eq!(host.restore(&id, "running").await.expect_err("gone").kind, ErrorKind::NotFound);
    host.remove(&id).await.expect("removed");
}
