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
