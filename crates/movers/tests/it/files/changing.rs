//! A source that lives while it is copied, and the final pass.

use super::world::{World, furnish, pattern};
use movers::files::ProblemKind;
use ports::ErrorKind;
use testkit::memory_files::{MemoryFiles, Op, Rule};

#[tokio::test]
async fn the_final_pass_takes_what_changed_and_removes_what_vanished() {
    let world = World::trees();
    furnish(&world.source);
    world.destination.write("own/file", "of the destination");
    world.plan().await.expect("a plan");
    world.copy().await.expect("the bulk pass");
    let puts = world.destination.calls(Op::Put);
    world.source.write("index.php", "<?php echo 'HELLO';").write("new/dir/file", "new").delete("z").delete("a b").link("current", "new/dir/file");
    world.source.write("wp-content/large.bin", pattern(95_000, 77)).set_mode("empty.txt", 0o600).directory("hollow2", 0o701);
    let last = world.final_pass().await.expect("the final pass");
    assert_eq!((last.files, last.symlinks, last.removed), (4, 1, 3), "{last:?}");
    assert_eq!(world.destination.calls(Op::Put) - puts, 3, "only what changed (the large one goes in parts)");
    let verified = world.verify().await.expect("verification");
    assert!(verified.is_equal(), "{:?}", verified.mismatches);
    let mut theirs = world.destination.state();
    theirs.retain(|line| !line.starts_with("own/"));
    assert_eq!(world.source.state(), theirs);
    let puts = world.destination.calls(Op::Put);
    world.final_pass().await.expect("again, with nothing to do");
    assert_eq!(world.destination.calls(Op::Put), puts);
}

#[tokio::test]
async fn a_final_pass_that_was_interrupted_catches_what_changed_since() {
    let world = World::trees();
    furnish(&world.source);
    world.plan().await.expect("a plan");
    world.copy().await.expect("the bulk pass");
    for n in 0..12 {
        world.source.write("index.php", format!("version {n}")).write(&format!("new{n}"), "x").delete(&format!("new{}", n - 2));
        world.last.crash_at(n as u64 % 6, n % 3 == 0);
        let _ = world.final_pass().await;
        world.last.heal();
    }
    world.source.write("index.php", "the very last");
    world.final_pass().await.expect("the final pass");
    assert_eq!(world.source.state(), world.destination.state());
    assert!(world.verify().await.expect("verification").is_equal());
}

#[tokio::test]
async fn a_file_that_vanishes_and_comes_back_is_there_in_the_end() {
    let world = World::to_objects();
    world.source.write("dir/file", "content").write("other", "x");
    world.plan().await.expect("a plan");
    world.copy().await.expect("the bulk pass");
    world.source.delete("dir");
    world.final_pass().await.expect("a final pass");
    assert!(world.destination.read("dir/file").is_none());
    assert!(world.verify().await.expect("verification").is_equal());
    world.source.write("dir/file", "content");
    world.final_pass().await.expect("another final pass");
    assert_eq!(world.destination.read("dir/file").expect("back"), "content");
    assert!(world.verify().await.expect("verification").is_equal());
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_read_again() {
    let world = World::trees();
    world.source.write("log", pattern(70_000, 1)).write("short", "x");
    world.plan().await.expect("a plan");
    world.source.fault(Rule::rewrite_while_read("log", &pattern(70_000, 2)));
    let copied = world.copy().await.expect("the copy");
    assert_eq!(copied.problems.count, 0);
    assert_eq!(world.destination.read("log").expect("there"), pattern(70_000, 2));
}

#[tokio::test]
async fn what_never_stands_still_is_copied_at_one_moment_and_named_and_the_rest_moves() {
    let mut world = World::trees();
    world.options.chunk_size = 1 << 20;
    world.source.write("log", pattern(70_000, 1)).write("short", "x");
    world.plan().await.expect("a plan");
    world.source.fault(Rule::rewrite_while_read("log", &pattern(71_000, 2)).always());
    let copied = world.copy().await.expect("the bulk pass goes on");
    assert_eq!(copied.problems.listed[0].kind, ProblemKind::Changed);
    assert_eq!(copied.problems.lasting, 0);
    let last = world.final_pass().await.expect("the last pass ends");
    let named: Vec<_> = last.problems.listed.iter().filter(|p| p.kind.is_lasting()).map(|p| (p.path.to_string(), p.kind)).collect();
    assert_eq!(named, [("log".to_owned(), ProblemKind::Changing)], "{last:?}");
    assert_eq!(world.destination.read("log").expect("one moment of it").len(), 71_000);
    assert!(world.verify().await.expect("verification").is_equal());
    world.source.heal();
    world.final_pass().await.expect("it stands still");
    assert_eq!(world.source.state(), world.destination.state());
}

#[tokio::test]
async fn a_file_that_vanishes_before_or_while_it_is_read_is_a_word_in_the_bulk_pass() {
    let world = World::trees();
    world.source.write("gone-before", "x").write("gone-while", pattern(30_000, 1)).write("stays", "x");
    world.plan().await.expect("a plan");
    world.source.delete("gone-before").fault(Rule::vanish_while_read("gone-while"));
    let copied = world.copy().await.expect("the bulk pass goes on");
    assert_eq!((copied.files, copied.problems.lasting), (2, 0), "{copied:?}");
    world.final_pass().await.expect("the final pass");
    assert_eq!(world.source.state(), world.destination.state());
    assert!(world.verify().await.expect("verification").is_equal());
}

#[tokio::test]
async fn what_the_plan_did_not_know_is_overwritten_only_after_it_was_saved() {
    for keeping in [false, true] {
        let mut world = World::trees();
        world.keeping = keeping;
        world.source.write("a", "a").write("same", "same");
        world.destination.write("new", "precious");
        let equal = MemoryFiles::clone(&world.destination);
        equal.write("same", "same");
        // The destination's "same" is proven equal by hash once sizes and times match.
        world.source.write("same", "same");
        world.plan().await.expect("a plan");
        world.back_up().await.expect("a backup");
        world.copy().await.expect("the bulk pass");
        let before = world.destination.read("new");
        world.source.write("new", "from the source");
        let last = world.final_pass().await.expect("the final pass");
        if keeping {
            assert_eq!(world.destination.read("new").expect("there"), "from the source");
            assert!(world.undo().await.expect("undo").is_complete());
        } else {
            assert_eq!(last.problems.listed[0].kind, ProblemKind::Occupied);
        }
        assert_eq!(world.destination.read("new"), before);
    }
}

/// Small and large, to trees and to stores: whatever is put in its place between plan and bulk pass waits for the last one.
#[tokio::test]
async fn what_appears_before_the_bulk_pass_is_left_alone_until_it_is_saved() {
    for to_objects in [false, true] {
        for keeping in [false, true] {
            let mut world = if to_objects { World::to_objects() } else { World::trees() };
            world.keeping = keeping;
            world.source.write("a", "a").write("large", pattern(90_000, 1)).write("small", "from the source").write("equal", "equal");
            world.plan().await.expect("a plan");
            world.back_up().await.expect("a backup");
            world.destination.write("large", "a precious large one").write("small", "a precious one");
            let bulk = world.copy().await.expect("the bulk pass");
            assert_eq!((bulk.files, bulk.problems.lasting), (2, 0), "{bulk:?}");
            let spared: Vec<String> = bulk.problems.listed.iter().filter(|p| p.kind == ProblemKind::Spared).map(|p| p.path.to_string()).collect();
            assert_eq!(spared, ["large", "small"]);
            assert_eq!(world.destination.read("small").expect("there"), "a precious one");
            let last = world.final_pass().await.expect("the final pass");
            assert!(world.verify().await.expect("verification").is_equal());
            if keeping {
                assert_eq!((last.files, last.problems.count), (2, 0), "{last:?}");
                assert_eq!(world.destination.read("small").expect("there"), "from the source");
                assert!(world.undo().await.expect("undo").is_complete());
            } else {
                assert_eq!(last.problems.lasting, 2, "{last:?}");
            }
            assert_eq!(world.destination.read("large").expect("there"), "a precious large one");
            assert_eq!(world.destination.read("small").expect("there"), "a precious one");
        }
    }
}

/// A pass that was planned may wait for long, when its server was killed: what came to the destination meanwhile is saved first all the same.
#[tokio::test]
async fn what_appears_before_an_interrupted_pass_goes_on_is_saved() {
    let mut met = 0;
    for at in 0..6 {
        for (after, to_objects) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut world = if to_objects { World::to_objects() } else { World::trees() };
            world.keeping = true;
            world.source.write("a", "a");
            world.plan().await.expect("a plan");
            world.back_up().await.expect("a backup");
            world.copy().await.expect("the bulk pass");
            world.source.write("large", pattern(90_000, 1)).write("small", "from the source");
            world.last.crash_at(at, after);
            let _ = world.final_pass().await;
            world.last.heal();
            let free = |path: &str| world.destination.read(path).is_none();
            let (small, large) = (free("small"), free("large"));
            if small {
                world.destination.write("small", "a precious one");
            }
            if large {
                world.destination.write("large", "a precious large one");
            }
            world.final_pass().await.expect("the final pass");
            assert!(world.verify().await.expect("verification").is_equal());
            assert_eq!(world.destination.read("small").expect("there"), "from the source");
            assert!(world.undo().await.expect("undo").is_complete());
            let left = |path: &str| world.destination.read(path);
            assert_eq!(left("small"), small.then(|| "a precious one".into()), "{at} {after} {to_objects}");
            assert_eq!(left("large"), large.then(|| "a precious large one".into()), "{at} {after} {to_objects}");
            met += u32::from(small) + u32::from(large);
        }
    }
    assert!(met > 8, "{met} met somebody else's");
}

/// A lock file: gone at the source before it was ever read, while somebody makes one of the same name at the destination.
#[tokio::test]
async fn what_the_source_gave_up_before_it_was_read_takes_nothing_along() {
    let mut world = World::trees();
    world.keeping = true;
    world.source.write("a", "a").write("lock", "of the source");
    world.plan().await.expect("a plan");
    world.back_up().await.expect("a backup");
    world.source.delete("lock");
    world.destination.write("lock", "precious");
    world.copy().await.expect("the bulk pass");
    world.final_pass().await.expect("the final pass");
    assert_eq!(world.destination.read("lock").expect("there"), "precious");
    let undone = world.undo().await.expect("undo");
    assert_eq!((undone.kept.count, undone.not_restored.count), (1, 0), "it is named, and stays: {undone:?}");
    assert_eq!(world.destination.read("lock").expect("there"), "precious");
}

#[tokio::test]
async fn what_appears_before_the_bulk_pass_stays_when_the_source_gives_its_own_up() {
    let world = World::trees();
    world.source.write("a", "a").write("gone", "from the source");
    world.plan().await.expect("a plan");
    world.destination.write("gone", "precious");
    world.copy().await.expect("the bulk pass");
    assert!(world.undo().await.expect("undo").is_complete(), "nothing of it is ours");
    assert_eq!(world.destination.read("gone").expect("there"), "precious");
    world.source.delete("gone");
    world.final_pass().await.expect("the final pass");
    assert_eq!(world.destination.read("gone").expect("there"), "precious");
}

/// `a` sorts before `a.txt`, but is planned behind it.
#[tokio::test]
async fn names_that_begin_like_others_are_removed_in_the_last_pass_and_verified() {
    for world in [World::trees(), World::to_objects()] {
        for name in ["a", "a.txt", "a b", "b", "b!", "b-1/c", "b/c", "m"] {
            world.source.write(if name == "b" { "bb" } else { name }, "x");
        }
        world.plan().await.expect("a plan");
        world.copy().await.expect("the bulk pass");
        world.source.delete("a").delete("a.txt").delete("a b").delete("b!").delete("b-1").delete("b");
        world.final_pass().await.expect("the last pass");
        let verified = world.verify().await.expect("verification");
        assert!(verified.is_equal(), "{:?}", verified.mismatches);
        assert_eq!(world.source.contents(), world.destination.contents());
        assert!(world.undo().await.expect("undo").is_complete());
    }
}

/// Times in whole seconds: an edit of the same size in the second of the recorded time shows in no listing.
#[tokio::test]
async fn an_edit_in_the_second_of_the_recorded_time_is_seen_by_the_last_pass() {
    let world = World::new(MemoryFiles::coarse_tree("source"), MemoryFiles::tree("destination"));
    world.source.write("old", "0001").write("counter", "0001");
    world.plan().await.expect("a plan");
    world.copy().await.expect("the bulk pass");
    world.source.edit_secretly("counter", "0002");
    let last = world.final_pass().await.expect("the last pass");
    assert_eq!(last.files, 1, "only what differs is copied again");
    assert_eq!(world.destination.read("counter").expect("there"), "0002");
    assert!(world.verify().await.expect("verification").is_equal());
    let opened = world.source.calls(Op::Open);
    world.final_pass().await.expect("again");
    assert_eq!(world.source.calls(Op::Open) - opened, 1, "only the newest file is in doubt");
}

#[tokio::test]
async fn a_file_that_is_listed_but_cannot_be_opened_is_named_and_the_rest_moves() {
    let world = World::to_objects();
    world.source.write("ghost", "x").write("fine", "x");
    world.source.fault(Rule::fail(Op::Open, ErrorKind::NotFound).at("ghost").always());
    world.plan().await.expect("a plan");
    world.copy().await.expect("the bulk pass");
    let last = world.final_pass().await.expect("the last pass");
    let named: Vec<_> = last.problems.listed.iter().filter(|p| p.kind.is_lasting()).map(|p| (p.path.to_string(), p.kind)).collect();
    assert_eq!(named, [("ghost".to_owned(), ProblemKind::Unreadable)]);
    assert!(world.destination.read("fine").is_some());
}

#[tokio::test]
async fn a_file_that_became_a_directory_between_the_passes_arrives_as_one() {
    let world = World::trees();
    world.source.write("a", "file").write("b/inner", "x");
    world.plan().await.expect("a plan");
    world.source.delete("a").write("a/inner", "now a directory");
    world.copy().await.expect("the bulk pass");
    world.source.delete("b").write("b", "now a file");
    world.final_pass().await.expect("the last pass");
    assert!(world.verify().await.expect("verification").is_equal());
    assert_eq!(world.source.state(), world.destination.state());
}
