//! Large files in parts.

use super::world::{World, pattern};
use ports::ErrorKind;
use testkit::memory_files::{Op, Rule};

#[tokio::test]
async fn a_killed_upload_goes_on_from_its_last_part() {
    for world in [World::trees(), World::to_objects()] {
        world.source.write("big", pattern(95_000, 5));
        world.plan().await.expect("a plan");
        world.destination.fault(Rule::fail(Op::PutPart, ErrorKind::NoSpace).after(6).always());
        let error = world.copy().await.expect_err("the disk is full");
        assert_eq!(error.kind, ErrorKind::NoSpace);
        assert!(world.destination.read("big").is_none(), "nothing under the final name");
        world.destination.heal();
        world.copy().await.expect("it goes on");
        assert_eq!(world.destination.calls(Op::Begin), 1, "the same upload");
        assert_eq!(world.destination.read("big").expect("there"), pattern(95_000, 5));
        let writes = world.destination.writes();
        assert_eq!(writes.len(), 10);
        assert!(writes.values().all(|n| *n == 1), "{writes:?}");
        assert!(world.verify().await.expect("verification").is_equal());
    }
}

#[tokio::test]
async fn a_crash_between_putting_in_place_and_recording_is_harmless() {
    let world = World::to_objects();
    world.source.write("big", pattern(50_001, 5));
    world.plan().await.expect("a plan");
    for crash in 0..20 {
        world.bulk.crash_at(crash % 5, crash % 2 == 0);
        let _ = world.copy().await;
        world.bulk.heal();
    }
    let copied = world.copy().await.expect("done in the end");
    assert_eq!((copied.files, copied.bytes), (1, 50_001));
    let writes = world.destination.writes();
    assert!(writes.values().all(|n| *n <= 2), "{writes:?}");
    assert!(world.verify().await.expect("verification").is_equal());
    assert_eq!(world.destination.unfinished_uploads(), 0);
}

#[tokio::test]
async fn a_lost_upload_or_a_changed_file_is_sent_anew() {
    let world = World::to_objects();
    world.source.write("big", pattern(95_000, 5)).write("moving", pattern(60_000, 6));
    world.plan().await.expect("a plan");
    world.destination.fault(Rule::fail(Op::PutPart, ErrorKind::NoSpace).after(3).always());
    world.copy().await.expect_err("the disk is full");
    world.destination.heal();
    world.destination.lose_uploads();
    world.source.write("moving", pattern(70_000, 9));
    world.copy().await.expect("both are sent anew");
    assert_eq!(world.source.contents(), world.destination.contents());
    assert!(world.verify().await.expect("verification").is_equal());
    assert_eq!(world.destination.unfinished_uploads(), 0);
}

#[tokio::test]
async fn a_file_beyond_the_single_put_limit_that_grew_after_planning_goes_in_parts() {
    let mut world = World::to_objects();
    world.destination = world.destination.with_traits(|t| t.single_put_limit = 20_000);
    world.options.chunk_size = 8_000;
    world.source.write("grows", pattern(100, 1));
    world.plan().await.expect("a plan");
    world.source.write("grows", pattern(30_000, 2));
    world.copy().await.expect("the copy");
    assert_eq!(world.destination.read("grows").expect("there"), pattern(30_000, 2));
    assert_eq!(world.destination.calls(Op::PutPart), 4);
    assert!(world.verify().await.expect("verification").is_equal());
}
