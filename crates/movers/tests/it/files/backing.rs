//! Backup and undo.

use super::world::{World, furnish, pattern};
use movers::files::ProblemKind;
use ports::ErrorKind;
use testkit::memory_files::{MemoryFiles, Op, Rule};

fn occupied(mut world: World) -> World {
    furnish(&world.source);
    world.options.delete_extraneous = true;
    let old = &world.destination;
    old.write("index.php", "the old site").write("wp-content/uploads/old.jpg", pattern(4000, 9)).write("wp-content/large.bin", pattern(66_000, 4));
    old.write("extra/deep/file", "extraneous").write("z", "lasu");
    old.directory("extra/hollow", 0o700).set_mode("index.php", 0o600).set_mode("wp-content", 0o700);
    world
}

#[tokio::test]
async fn undo_gives_exactly_the_state_before() {
    let flat = World::new(MemoryFiles::tree("source"), MemoryFiles::objects("destination"));
    for world in [occupied(World::trees()), {
        furnish(&flat.source);
        flat.destination.write("index.php", "old").write("odd//key", "deleted").write("/lead", "deleted").write("wp-content/large.bin", pattern(50_001, 8));
        World { options: movers::files::FileOptions { delete_extraneous: true, ..flat.options.clone() }, ..flat }
    }] {
        let before = world.destination.state();
        world.move_all().await.expect("the move");
        assert!(world.verify().await.expect("verification").is_equal());
        assert_ne!(world.destination.state(), before);
        let undone = world.undo().await.expect("undo");
        assert!(undone.is_complete(), "{undone:?}");
        assert_eq!(world.destination.state(), before);
        world.undo().await.expect("undo again");
        assert_eq!(world.destination.state(), before);
    }
}

#[tokio::test]
async fn undo_leaves_alone_what_somebody_changed_or_added_since() {
    let world = World::trees();
    furnish(&world.source);
    world.move_all().await.expect("the move");
    world.destination.write("index.php", "edited by a person").write("wp-content/notes", "added by a person");
    let undone = world.undo().await.expect("undo");
    assert!(!undone.is_complete());
    let kept: Vec<(String, ProblemKind)> = undone.kept.listed.iter().map(|p| (p.path.to_string(), p.kind)).collect();
    assert_eq!(kept, [("index.php".to_owned(), ProblemKind::Foreign), ("wp-content".to_owned(), ProblemKind::Foreign)]);
    let there: Vec<String> = world.destination.contents().into_keys().collect();
    assert_eq!(there, ["index.php", "wp-content/", "wp-content/notes"]);
}

#[tokio::test]
async fn without_a_backup_undo_says_what_it_cannot_put_back() {
    let world = occupied(World::trees());
    world.plan().await.expect("a plan");
    world.copy().await.expect("the copy");
    let undone = world.mover().undo(&[&world.bulk], None, &world.observer, &world.stop).await.expect("undo");
    let lost: Vec<String> = undone.not_restored.listed.iter().map(|p| p.path.to_string()).collect();
    assert!(lost.contains(&"index.php".to_owned()) && lost.contains(&"extra/deep/file".to_owned()), "{lost:?}");
    assert!(undone.not_restored.listed.iter().all(|p| p.kind == ProblemKind::NoBackup));
}

#[tokio::test]
async fn a_backup_is_read_back_and_one_that_cannot_be_made_stops_everything() {
    let world = occupied(World::trees());
    world.plan().await.expect("a plan");
    world.destination.fault(Rule::fail(Op::Open, ErrorKind::Permission).at("index.php").always());
    let error = world.back_up().await.expect_err("no backup of index.php");
    assert!(error.to_string().contains("index.php") && error.advice.contains("Nothing was overwritten"), "{error}");
    let world = occupied(World::trees());
    world.plan().await.expect("a plan");
    world.back_up().await.expect("a backup");
    let saved = world.backup.contents();
    assert_eq!(saved.keys().filter(|k| !k.ends_with('/')).count(), 5, "{saved:?}");
    let theirs = world.destination.contents();
    assert!(saved.iter().all(|(path, content)| theirs.get(path) == Some(content)));
    assert!(world.backup.calls(Op::Open) >= 5, "each was read back");
}

#[tokio::test]
async fn undo_goes_on_after_temporary_and_lasting_errors() {
    let world = occupied(World::trees());
    let before = world.destination.state();
    world.move_all().await.expect("the move");
    world.destination.fault(Rule::fail(Op::Remove, ErrorKind::Interrupted).times(2)).fault(Rule::fail(Op::Put, ErrorKind::TimedOut).times(1));
    world.destination.fault(Rule::fail(Op::Remove, ErrorKind::Authentication).after(4));
    assert_eq!(world.undo().await.expect_err("no access").kind, ErrorKind::Authentication);
    world.destination.heal();
    assert!(world.undo().await.expect("undo").is_complete());
    assert_eq!(world.destination.state(), before);
}
