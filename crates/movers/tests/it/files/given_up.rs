//! A copy of ours that the source gave up while a newer one was on its way: planned, and gone before it was read.

use super::world::{World, pattern};
use ports::ErrorKind;
use std::collections::BTreeMap;
use testkit::memory_files::{MemoryFiles, Op, Rule};

/// Calls of the ledger at which a pass is killed, one after the other.
const KILLS: std::ops::Range<u64> = 0..8;

fn worlds() -> Vec<World> {
    let coarse = World::new(MemoryFiles::tree("source"), MemoryFiles::coarse_tree("destination"));
    let mut worlds = vec![World::trees(), World::to_objects(), coarse];
    for world in &mut worlds {
        world.keeping = true;
        world.source.write("stays", "x").write("mail", "one");
    }
    worlds
}

async fn warm(world: &World) -> ports::Result<()> {
    world.mover().warm_pass(&world.bulk, &world.last, &world.observer, &world.stop).await.map(drop)
}

async fn copied(world: &World) -> BTreeMap<String, String> {
    let before = world.destination.contents();
    world.plan().await.expect("a plan");
    world.copy().await.expect("the bulk pass");
    before
}

/// The last pass, verification and a rollback, as they should be: both sides alike, nothing of ours in the backup, and all as before.
async fn ends_well(world: &World, before: &BTreeMap<String, String>, case: &str) {
    world.final_pass().await.expect("the last pass");
    assert_eq!(world.source.contents(), world.destination.contents(), "{case}");
    assert!(world.verify().await.expect("a verification").is_equal(), "{case}");
    assert!(world.backup.contents().is_empty(), "{case}: our own copy was saved as somebody else's");
    let undone = world.undo().await.expect("an undo");
    assert_eq!(&world.destination.contents(), before, "{case}: {undone:?}");
}

#[tokio::test]
async fn an_earlier_copy_goes_when_the_newer_one_vanished_before_it_was_read() {
    for (n, world) in worlds().into_iter().enumerate() {
        let before = copied(&world).await;
        world.source.write("mail", "two").fault(Rule::fail(Op::Open, ErrorKind::NotFound).at("mail"));
        warm(&world).await.expect("a warm pass");
        world.source.delete("mail");
        ends_well(&world, &before, &format!("world {n}")).await;
    }
}

#[tokio::test]
async fn an_earlier_copy_is_known_as_ours_when_the_source_has_the_name_again() {
    for (n, world) in worlds().into_iter().enumerate() {
        let before = copied(&world).await;
        world.source.write("mail", "two").fault(Rule::fail(Op::Open, ErrorKind::NotFound).at("mail"));
        warm(&world).await.expect("a warm pass");
        world.source.write("mail", "three");
        ends_well(&world, &before, &format!("world {n}")).await;
    }
}

/// Verification looks at what stands there: an earlier copy whose source has vanished is a difference.
#[tokio::test]
async fn what_outlives_its_source_is_found_by_verification() {
    let world = &worlds()[0];
    copied(world).await;
    world.source.write("mail", "two").fault(Rule::fail(Op::Open, ErrorKind::NotFound).at("mail"));
    warm(world).await.expect("a warm pass");
    let found = world.verify().await.expect("a verification");
    assert_eq!(found.mismatches.iter().map(|m| m.path.to_string()).collect::<Vec<_>>(), ["mail"], "{found:?}");
}

/// Changes at the source, a pass that is killed at each call of its ledger in turn, and then the source has nothing of that name.
async fn killed_and_given_up(change: impl Fn(&World)) {
    for (at, after) in KILLS.flat_map(|at| [(at, false), (at, true)]) {
        for (n, world) in worlds().into_iter().enumerate() {
            let before = copied(&world).await;
            change(&world);
            world.last.crash_at(at, after);
            let killed = warm(&world).await.is_err();
            world.last.heal();
            world.source.delete("mail");
            warm(&world).await.expect("a warm pass");
            ends_well(&world, &before, &format!("world {n}, killed at {at} {after}: {killed}")).await;
        }
    }
}

#[tokio::test]
async fn it_goes_wherever_the_pass_was_killed() {
    killed_and_given_up(|world| {
        world.source.write("mail", "two");
    })
    .await;
}

/// What is put there is not what was planned, and nobody recorded it.
#[tokio::test]
async fn it_goes_when_what_was_read_is_newer_than_the_plan() {
    let newer = Rule::rewrite_while_read("mail", &pattern(70_000, 2));
    killed_and_given_up(|world| {
        world.source.write("mail", "two two").fault(newer.clone());
    })
    .await;
}

/// Placed by the bulk pass, killed before it was recorded, gone when it goes on, and taken back at once. Without times nobody can tell whose it
/// is: then it stays and is named.
#[tokio::test]
async fn an_unrecorded_copy_is_taken_back_or_named() {
    for (at, after) in KILLS.flat_map(|at| [(at, false), (at, true)]) {
        for (n, world) in worlds().into_iter().enumerate() {
            let before = world.destination.contents();
            world.plan().await.expect("a plan");
            world.bulk.crash_at(at, after);
            let killed = world.copy().await.is_err();
            world.bulk.heal();
            world.source.delete("mail");
            world.copy().await.expect("the bulk pass");
            let undone = world.undo().await.expect("an undo");
            let case = format!("world {n}, killed at {at} {after}: {killed}, {undone:?}");
            if world.destination.read("mail").is_some() {
                assert!(n == 1 && !undone.kept.is_empty(), "{case}");
            } else {
                assert_eq!(world.destination.contents(), before, "{case}");
            }
        }
    }
}
