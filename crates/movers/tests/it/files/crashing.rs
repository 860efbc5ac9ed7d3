//! The ledger crashes at every single write: going on gives the same destination, and little is sent twice.

use super::world::{World, furnish, pattern};
use testkit::memory_files::MemoryFiles;
use testkit::memory_ledger::MemoryLedger;

fn world() -> World {
    let mut world = World::trees();
    furnish(&world.source);
    for n in 0..600 {
        world.source.write(&format!("many/{}/f{n}", n % 7), pattern(50 + n, n as u8));
    }
    world.destination.write("z", "overwritten").write("extra/file", "deleted").write("many/3/f3", "overwritten");
    world.options.delete_extraneous = true;
    world
}

/// Goes the whole way, again and again, until nothing crashes.
async fn persevere(world: &World, ledgers: [&MemoryLedger; 3], mut crash_at: Option<u64>, after_effect: bool) -> u32 {
    let mut tries = 0;
    loop {
        tries += 1;
        if let Some(at) = crash_at {
            for ledger in ledgers {
                ledger.crash_at(at, after_effect);
            }
        }
        let ended = world.move_all().await;
        let crashed = ended.is_err();
        for ledger in ledgers {
            ledger.heal();
        }
        if !crashed {
            return tries;
        }
        crash_at = None;
    }
}

#[tokio::test]
async fn a_crash_at_any_write_of_the_ledger_changes_nothing_in_the_end() {
    let calm = world();
    persevere(&calm, [&calm.bulk, &calm.last, &calm.own], None, false).await;
    let (expected, most) = (calm.destination.contents(), calm.bulk.writes());
    assert_eq!(expected, calm.source.contents());
    for after_effect in [false, true] {
        for at in 0..=most {
            let world = world();
            persevere(&world, [&world.bulk, &world.last, &world.own], Some(at), after_effect).await;
            assert_eq!(world.destination.contents(), expected, "crash at write {at}");
            assert_eq!(world.source.state(), world.destination.state(), "crash at write {at}");
            let writes = world.destination.writes();
            assert!(writes.values().all(|n| *n <= 2), "crash at write {at}: sent more than twice: {writes:?}");
            assert!(world.verify().await.expect("verification").is_equal());
        }
    }
}

#[tokio::test]
async fn crash_after_crash_at_every_write_still_arrives() {
    let world = world();
    let mut crashes = 0u64;
    loop {
        for ledger in [&world.bulk, &world.last, &world.own] {
            ledger.crash_at(1, crashes.is_multiple_of(2));
        }
        let ended = world.move_all().await;
        for ledger in [&world.bulk, &world.last, &world.own] {
            ledger.heal();
        }
        crashes += 1;
        if ended.is_ok() || crashes > 200 {
            break;
        }
    }
    assert!((3..200).contains(&crashes), "{crashes}");
    assert_eq!(world.source.state(), world.destination.state());
    assert!(world.undo().await.expect("undo").is_complete());
}

#[tokio::test]
async fn undo_after_a_crash_at_any_write_gives_the_state_before() {
    let before = world().destination.state();
    for at in 0..40 {
        let world = world();
        world.bulk.crash_at(at, at % 2 == 0);
        let _ = world.move_all().await;
        world.bulk.heal();
        let undone = world.undo().await.expect("undo");
        assert!(undone.is_complete(), "crash at write {at}: {undone:?}");
        assert_eq!(world.destination.state(), before, "crash at write {at}");
        assert_eq!(world.destination.unfinished_uploads(), 0);
    }
}

#[tokio::test]
async fn planning_that_crashed_goes_on_behind_what_it_had_planned() {
    let build = || {
        let world = World::new(MemoryFiles::tree("source"), MemoryFiles::tree("destination"));
        for n in 0..40_000u32 {
            world.source.write(&format!("d{:02}/f{n:05}", n / 1000), "x");
        }
        world
    };
    let calm = build();
    let expected = calm.plan().await.expect("a plan");
    assert_eq!(expected.files, 40_000);
    for at in 0..4 {
        let world = build();
        world.bulk.crash_at(at, false);
        world.plan().await.expect_err("the crash");
        world.bulk.heal();
        // What vanishes between the two tries must not shift the rest out of the plan.
        world.source.delete("d00/f00001");
        let plan = world.plan().await.expect("a plan");
        let missing = u64::from(at == 0);
        assert_eq!(plan.files, 40_000 - missing, "crash at write {at}");
        let copied = world.copy().await.expect("the copy");
        assert_eq!(copied.files, 39_999);
        world.final_pass().await.expect("the final pass");
        assert_eq!(world.source.contents(), world.destination.contents());
    }
}

/// A log grows between the plan, a try that crashes and the next one: each time something else is put in its place.
#[tokio::test]
async fn what_lives_is_known_as_ours_after_a_crash() {
    let mut crashes = 0;
    for goes_on in [true, false] {
        for at in 0..8 {
            let mut world = World::trees();
            world.keeping = true;
            world.source.write("a", "a").write("log", "one").write("large", pattern(60_000, 3));
            let before = world.destination.state();
            world.plan().await.expect("a plan");
            world.back_up().await.expect("a backup");
            world.source.write("log", "one two");
            world.bulk.crash_at(at, at % 2 == 0);
            crashes += u32::from(world.copy().await.is_err());
            world.bulk.heal();
            world.source.write("log", "one two three");
            if goes_on {
                world.copy().await.expect("the bulk pass");
                world.final_pass().await.expect("the final pass");
                assert!(world.verify().await.expect("verification").is_equal(), "crash at write {at}");
                assert_eq!(world.backup.contents().len(), 0, "crash at write {at}: nothing there was another's");
            }
            assert!(world.undo().await.expect("undo").is_complete(), "crash at write {at}");
            assert_eq!(world.destination.state(), before, "crash at write {at}");
        }
    }
    assert!(crashes >= 4, "{crashes}");
}
