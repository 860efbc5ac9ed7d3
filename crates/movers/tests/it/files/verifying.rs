//! Verification finds what differs.

use super::world::{World, furnish, pattern};
use ports::ErrorKind;
use ports::files::FilePath;
use testkit::memory_files::{Op, Rule};

#[tokio::test]
async fn a_same_size_edit_is_found_and_named() {
    for world in [World::trees(), World::to_objects()] {
        world.source.write("dir/edited", "0123456789").write("fine", "fine").write("big", pattern(95_000, 1));
        world.move_all().await.expect("the move");
        assert!(world.verify().await.expect("verification").is_equal());
        world.destination.edit_secretly("dir/edited", "0123456780");
        world.destination.edit_secretly("big", pattern(95_000, 2));
        let verified = world.verify().await.expect("verification");
        let mut named: Vec<&FilePath> = verified.mismatches.iter().map(|m| &m.path).collect();
        named.sort();
        assert_eq!(named, [&FilePath::from("big"), &FilePath::from("dir/edited")]);
        assert!(verified.mismatches.iter().all(|m| m.expected != m.found && m.reason.contains("differs")), "{verified:?}");
        assert_eq!(verified.files, 3);
    }
}

#[tokio::test]
async fn what_differs_is_copied_once_more_and_nothing_else_is_touched() {
    for (mut world, versions) in [(World::trees(), false), (World::to_objects(), true)] {
        world.keeping = true;
        world.source.write("dir/edited", "0123456789").write("fine", "fine").write("gone", "gone").write("big", pattern(95_000, 1));
        world.move_all().await.expect("the move");
        world.destination.edit_secretly("dir/edited", "0123456780");
        world.destination.delete("gone");
        world.destination.edit_secretly("big", pattern(95_000, 2));
        // The source lives again: this is for nobody to copy now.
        world.source.write("new", "new").write("fine", "edited since").write("dir/new/deep", "new");
        let (sent, verified) = world.send_again().await.expect("sent again");
        assert_eq!((sent.files, sent.left, verified.mismatched), (3, 0, 0), "{verified:?}");
        let there = world.destination.contents();
        assert!(there.keys().all(|path| !path.contains("new")), "{there:?}");
        // What somebody had written there comes back with a rollback, where size and time do not say that it was ours.
        world.undo().await.expect("undo");
        let there = world.destination.contents();
        assert_eq!((there.contains_key("dir/edited"), there.contains_key("big"), there.contains_key("gone")), (versions, versions, false), "{there:?}");
    }
}

#[tokio::test]
async fn what_the_source_has_changed_since_stays_a_difference() {
    let world = World::trees();
    world.source.write("edited", "0123456789").write("gone", "gone");
    world.move_all().await.expect("the move");
    world.destination.edit_secretly("edited", "0123456780");
    world.destination.delete("gone");
    world.source.write("edited", "edited at the source too").delete("gone");
    let (sent, verified) = world.send_again().await.expect("sent again");
    assert_eq!((sent.files, verified.mismatched), (0, 2), "{verified:?}");
}

#[tokio::test]
async fn missing_files_wrong_sizes_wrong_links_and_missing_directories_are_found() {
    let world = World::trees();
    furnish(&world.source);
    world.move_all().await.expect("the move");
    world.destination.delete("z").write("index.php", "short").delete("hollow").link("current", "elsewhere");
    let verified = world.verify().await.expect("verification");
    let named: Vec<String> = verified.mismatches.iter().map(|m| m.path.to_string()).collect();
    assert_eq!(named, ["current", "hollow", "hollow/deeper", "index.php", "z"]);
    assert_eq!(verified.mismatched, 5);
}

#[tokio::test]
async fn verification_survives_temporary_errors_and_reports_lasting_ones() {
    let world = World::to_objects();
    furnish(&world.source);
    world.move_all().await.expect("the move");
    assert!(world.verify().await.expect("verification").is_equal());
    assert_eq!(world.destination.calls(Op::StoredDigest), 0, "the listing tells all hashes");
    world.destination.edit_secretly("z", "LAST");
    world.destination.fault(Rule::fail(Op::StoredDigest, ErrorKind::TimedOut).times(2));
    assert_eq!(world.verify().await.expect("verification").mismatched, 1);
    world.destination.fault(Rule::fail(Op::StoredDigest, ErrorKind::Authentication).always());
    assert_eq!(world.verify().await.expect_err("no access").kind, ErrorKind::Authentication);
}
