//! The contract of [`ports::vms`], as a suite: every host calls [`run`] and nothing else.

mod life;
mod snapshots;

use domain::decode::Problems;
use domain::vms::VmSpec;
use ports::vms::{Part, VmHost};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest that a guest may take to come up on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(90);

/// A host, and a guest that says `guest is up` on its console and obeys the power button.
#[derive(Clone)]
pub struct Bench {
    pub host: Arc<dyn VmHost>,
    /// The fields of a definition that boot it.
    pub guest: Value,
}

/// All cases, one after the other.
pub async fn run(bench: Bench) {
    life::one_life(&bench).await;
    life::the_power_button(&bench).await;
    life::a_deaf_machine(&bench).await;
    life::what_is_not_there(&bench).await;
    snapshots::with_and_without_memory(&bench).await;
    assert_eq!(bench.host.machines().await.expect("machines"), Vec::<String>::new(), "nothing is left");
}

impl Bench {
    /// The guest's definition.
    fn guest(&self) -> VmSpec {
        let mut body = json!({"name": "suite", "memory_mib": 128});
        for (field, value) in self.guest.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        spec(&body)
    }

    /// The part of the console from `from` on, as soon as `text` is in it; gives where it ends.
    async fn says(&self, id: &str, from: u64, text: &str) -> u64 {
        let deadline = Instant::now() + BOOT;
        loop {
            let part = self.host.console(id, Part::From(from), 1 << 20).await.expect("a console");
            let found = String::from_utf8_lossy(&part.bytes).into_owned();
            if found.contains(text) {
                return part.end;
            }
            assert!(Instant::now() < deadline, "the guest did not say '{text}' within {BOOT:?}: {found}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// A machine without anything to boot.
fn empty() -> VmSpec {
    spec(&json!({"name": "suite", "memory_mib": 64}))
}

fn spec(body: &Value) -> VmSpec {
    let mut problems = Problems::default();
    let spec = VmSpec::decode(body, &mut problems);
    assert!(problems.is_empty(), "{:?}", problems.0);
    spec.expect("a definition")
}
