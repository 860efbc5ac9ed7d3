//! Random trees and random faults: the destination equals the source, or there is an error and then, healed, it does.

use super::world::{World, pattern};
use ports::ErrorKind;
use proptest::collection::vec;
use proptest::prelude::*;
use testkit::memory_files::{Op, Rule};

#[derive(Debug, Clone)]
enum Thing {
    File(Vec<u8>, u16),
    Directory(Vec<u8>),
    Link(Vec<u8>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'-'), Just(b'!'), Just(b' '), Just(0xff)], 1..3)
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(name(), 1..4).prop_map(|names| names.join(&b'/'))
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        6 => (path(), prop_oneof![4 => 0..300u16, 1 => 40_000..60_000u16]).prop_map(|(p, n)| Thing::File(p, n)),
        1 => path().prop_map(Thing::Directory),
        1 => path().prop_map(Thing::Link),
    ]
}

fn fault() -> impl Strategy<Value = (bool, Rule)> {
    let ops =
        prop_oneof![Just(Op::Open), Just(Op::Read), Just(Op::Put), Just(Op::Make), Just(Op::Remove), Just(Op::PutPart), Just(Op::Complete), Just(Op::Stat)];
    let kinds = prop_oneof![Just(ErrorKind::TimedOut), Just(ErrorKind::Interrupted), Just(ErrorKind::NoSpace), Just(ErrorKind::Throttled)];
    (any::<bool>(), ops, kinds, 0..20u64, 1..6u64).prop_map(|(source, op, kind, skip, times)| (source, Rule::fail(op, kind).after(skip).times(times)))
}

/// Builds a tree; what collides with what is there already is left out, as a real tree would refuse it.
fn build(files: &testkit::memory_files::MemoryFiles, things: &[Thing], seed: u8) {
    for thing in things {
        let (Thing::File(path, _) | Thing::Directory(path) | Thing::Link(path)) = thing;
        let there = files.contents();
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let above = path.iter().enumerate().filter(|(_, b)| **b == b'/').any(|(at, _)| there.contains_key(&text(&path[..at])));
        if above || there.contains_key(&text(path)) || there.contains_key(&format!("{}/", text(path))) {
            continue;
        }
        match thing {
            Thing::File(path, size) => files.write_bytes(path, pattern(usize::from(*size), seed)),
            Thing::Directory(path) => files.directory_bytes(path, 0o750),
            Thing::Link(path) => files.link_bytes(path, b"somewhere"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_through_any_faults(
        ours in vec(thing(), 0..25),
        theirs in vec(thing(), 0..15),
        later in vec(thing(), 0..8),
        gone in vec(any::<prop::sample::Index>(), 0..6),
        faults in vec(fault(), 0..5),
        crashes in vec(0..12u64, 0..4),
        objects in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = if objects { World::to_objects() } else { World::trees() };
            world.options.delete_extraneous = true;
            world.options.allow_empty_source = true;
            world.keeping = true;
            // A link that the destination cannot hold stays behind, which is not the subject here.
            let flat = |things: Vec<Thing>| things.into_iter().filter(|t| !objects || !matches!(t, Thing::Link(_))).collect::<Vec<_>>();
            let (ours, theirs, later) = (flat(ours), flat(theirs), flat(later));
            build(&world.source, &ours, 1);
            build(&world.destination, &theirs, 2);
            if objects {
                world.destination.write_bytes(b"a//b", "a key");
            }
            let before = world.destination.state();
            for (source, rule) in faults {
                if source { &world.source } else { &world.destination }.fault(rule);
            }
            for crash in crashes {
                world.bulk.crash_at(crash, crash % 2 == 0);
                let _ = world.move_all().await;
                world.bulk.heal();
            }
            world.source.heal();
            world.destination.heal();
            world.plan().await.expect("a plan, once nothing fails");
            world.back_up().await.expect("a backup, once nothing fails");
            world.copy().await.expect("a copy, once nothing fails");
            build(&world.source, &later, 3);
            for index in gone.into_iter().filter(|_| !ours.is_empty()) {
                let (Thing::File(path, _) | Thing::Directory(path) | Thing::Link(path)) = index.get(&ours);
                world.source.delete_bytes(path);
            }
            world.final_pass().await.expect("a final pass, once nothing fails");
            let verified = world.verify().await.expect("verification");
            assert!(verified.is_equal(), "{:?}", verified.mismatches);
            let (mut ours, mut theirs) = (world.source.contents(), world.destination.contents());
            if objects {
                ours.retain(|path, _| !path.ends_with('/'));
                theirs.retain(|path, _| !path.ends_with('/'));
                assert_eq!(ours, theirs);
            } else {
                assert_eq!(world.source.state(), world.destination.state());
            }
            let undone = world.undo().await.expect("undo");
            assert!(undone.is_complete(), "{undone:?}");
            assert_eq!(world.destination.state(), before);
        });
    }
}
