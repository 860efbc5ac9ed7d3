//! Compare, then destroy: nothing that people wrote is replaced or removed unless it was saved, and an undo takes back only what we wrote.

use super::world::{World, furnish, pattern};
use movers::files::ProblemKind;
use ports::ErrorKind;
use std::sync::Arc;
use testkit::memory_files::{MemoryFiles, Op, Rule};

fn replacing(mut world: World) -> World {
    world.keeping = true;
    world.source.write("index", "new site").write("page", "new page").write("large", pattern(90_000, 1)).write("z", "new z");
    world.destination.write("index", "old site").write("large", pattern(70_000, 2)).write("z", "old z");
    world
}

fn worlds() -> [World; 3] {
    let coarse = World::new(MemoryFiles::tree("source"), MemoryFiles::coarse_tree("destination"));
    [World::trees(), World::to_objects(), coarse].map(replacing)
}

fn text(files: &MemoryFiles, path: &str) -> String {
    String::from_utf8(files.read(path).unwrap_or_else(|| panic!("{path} is missing")).to_vec()).expect("text")
}

#[tokio::test]
async fn undo_of_a_replaced_file_that_was_edited_since_keeps_it_and_takes_the_rest_back() {
    for world in worlds() {
        world.move_all().await.expect("the move");
        // The same size as what we wrote, so only time or hash can tell.
        world.destination.write("index", "EDITED!!").write("page", "EDITED!!");
        let undone = world.undo().await.expect("undo");
        let kept: Vec<String> = undone.kept.listed.iter().map(|p| p.path.to_string()).collect();
        assert_eq!((kept, undone.not_restored.count), (vec!["index".to_owned(), "page".to_owned()], 0), "{undone:?}");
        assert_eq!((text(&world.destination, "index"), text(&world.destination, "z")), ("EDITED!!".to_owned(), "old z".to_owned()));
        assert_eq!(world.destination.read("large").expect("restored"), pattern(70_000, 2));
        let again = world.undo().await.expect("undo again");
        assert_eq!((again.kept.count, again.not_restored.count, again.restored), (2, 0, 0), "{again:?}");
    }
}

#[tokio::test]
async fn undo_with_discard_saves_an_edited_file_before_it_is_taken_back() {
    for world in worlds() {
        let before = world.destination.contents();
        world.move_all().await.expect("the move");
        world.destination.write("index", "edited").write("page", "edited too");
        let later = MemoryFiles::tree("later");
        let mover = world.mover().discarding_later_changes(Arc::new(later.clone()));
        let undone = mover.undo(&[&world.bulk, &world.last], Some(world.saved()), &world.observer, &world.stop).await.expect("undo");
        assert!(undone.is_complete() && undone.saved_later.count == 2, "{undone:?}");
        assert_eq!(world.destination.contents(), before);
        let saved = later.contents().into_keys().filter(|name| !name.ends_with('/')).count();
        assert_eq!(saved, 2, "{:?}", later.contents());
    }
}

#[tokio::test]
async fn undo_of_a_run_that_never_touched_a_file_leaves_it_as_people_made_it() {
    for world in worlds() {
        world.plan().await.expect("a plan");
        world.back_up().await.expect("a backup");
        world.destination.write("z", "a person's edit").delete("index");
        let undone = world.undo().await.expect("undo");
        assert!(undone.is_complete() && undone.restored == 0, "{undone:?}");
        assert_eq!(text(&world.destination, "z"), "a person's edit");
        assert!(world.destination.read("index").is_none());
    }
}

#[tokio::test]
async fn an_edit_between_backup_and_overwrite_is_saved_again_and_comes_back() {
    for world in worlds() {
        world.plan().await.expect("a plan");
        world.back_up().await.expect("a backup");
        world.destination.write("z", "edited").write("large", pattern(70_000, 3));
        world.copy().await.expect("the bulk pass");
        assert_eq!(text(&world.destination, "z"), "edited", "it is left for the last pass, which can save it");
        let last = world.final_pass().await.expect("the last pass");
        assert_eq!((last.files, last.problems.lasting), (2, 0), "{last:?}");
        assert_eq!(text(&world.destination, "z"), "new z");
        assert!(world.verify().await.expect("verification").is_equal());
        let undone = world.undo().await.expect("undo");
        assert!(undone.is_complete(), "{undone:?}");
        assert_eq!(text(&world.destination, "z"), "edited");
        assert_eq!(world.destination.read("large").expect("restored"), pattern(70_000, 3));
        assert_eq!(text(&world.destination, "index"), "old site");
    }
}

#[tokio::test]
async fn an_edit_of_our_own_copy_before_the_last_pass_is_saved_before_it_is_replaced() {
    for world in worlds() {
        world.plan().await.expect("a plan");
        world.back_up().await.expect("a backup");
        world.copy().await.expect("the bulk pass");
        world.destination.write("page", "EDITED!!").write("z", "EDIT!");
        world.source.write("page", "newer page").write("z", "newer z");
        world.final_pass().await.expect("the last pass");
        assert_eq!((text(&world.destination, "page"), text(&world.destination, "z")), ("newer page".to_owned(), "newer z".to_owned()));
        assert!(world.verify().await.expect("verification").is_equal());
        let saved: Vec<bytes::Bytes> = world.backup.contents().keys().filter_map(|path| world.backup.read(path)).collect();
        for precious in ["EDITED!!", "EDIT!", "old z", "old site"] {
            assert!(saved.iter().any(|bytes| bytes == precious), "{precious} is in the backup");
        }
        assert!(world.undo().await.expect("undo").is_complete());
    }
}

#[tokio::test]
async fn what_was_edited_after_the_backup_is_not_deleted_but_named() {
    for mut world in worlds() {
        world.options.delete_extraneous = true;
        world.destination.write("extra", "extraneous").write("other", "extraneous too");
        world.plan().await.expect("a plan");
        world.back_up().await.expect("a backup");
        world.destination.write("extra", "EXTRANEOUS");
        let copied = world.copy().await.expect("the bulk pass");
        let named: Vec<String> = copied.problems.listed.iter().map(|p| p.path.to_string()).collect();
        assert_eq!((named, copied.problems.lasting, copied.removed), (vec!["extra".to_owned()], 1, 1));
        world.final_pass().await.expect("the last pass");
        assert_eq!(text(&world.destination, "extra"), "EXTRANEOUS");
        assert!(world.undo().await.expect("undo").is_complete(), "it was never touched");
        assert_eq!((text(&world.destination, "extra"), text(&world.destination, "other")), ("EXTRANEOUS".to_owned(), "extraneous too".to_owned()));
    }
}

#[tokio::test]
async fn our_copy_that_was_edited_stays_when_the_source_gives_its_own_up() {
    for world in worlds() {
        world.plan().await.expect("a plan");
        world.back_up().await.expect("a backup");
        world.copy().await.expect("the bulk pass");
        world.source.delete("page");
        world.destination.write("page", "EDITED!!");
        let last = world.final_pass().await.expect("the last pass");
        assert_eq!(last.problems.lasting, 1, "{last:?}");
        assert_eq!(text(&world.destination, "page"), "EDITED!!");
        assert!(world.verify().await.expect("verification").is_equal());
    }
}

/// A file above the limit of a single write goes back in parts, whatever the backup's own form is.
#[tokio::test]
async fn a_replaced_or_deleted_file_above_the_single_write_limit_comes_back() {
    for world in [World::trees(), World::to_objects()] {
        let destination = world.destination.clone().with_traits(|t| t.single_put_limit = 20_000);
        let mut world = World { destination, ..world };
        world.options.delete_extraneous = true;
        world.source.write("big", pattern(95_000, 1));
        world.destination.write("big", pattern(88_000, 2)).write("extra", pattern(77_000, 3));
        let before = world.destination.contents();
        world.move_all().await.expect("the move");
        let undone = world.undo().await.expect("undo");
        assert!(undone.is_complete(), "{undone:?}");
        assert_eq!(world.destination.contents(), before);
        assert_eq!(world.destination.unfinished_uploads(), 0);
    }
}

#[tokio::test]
async fn undo_of_one_path_that_cannot_be_restored_goes_on_with_the_others() {
    let world = replacing(World::trees());
    world.move_all().await.expect("the move");
    world.backup.delete("index");
    world.destination.fault(Rule::fail(Op::Remove, ErrorKind::Permission).at("page").always());
    let undone = world.undo().await.expect("undo");
    let lost: Vec<String> = undone.not_restored.listed.iter().map(|p| p.path.to_string()).collect();
    assert_eq!(lost, ["index", "page"], "{undone:?}");
    assert_eq!(text(&world.destination, "z"), "old z");
}

#[tokio::test]
async fn undo_below_a_read_only_directory_needs_no_help() {
    let mut world = World::trees();
    world.options.delete_extraneous = true;
    world.source.write("made/file", "new").set_mode("made", 0o555).write("closed/page", "new");
    world.destination.write("closed/page", "old").write("closed/extra", "x").set_mode("closed", 0o555);
    let before = world.destination.state();
    world.move_all().await.expect("the move");
    let undone = world.undo().await.expect("undo");
    assert!(undone.is_complete(), "{undone:?}");
    assert_eq!(world.destination.state(), before);
}

#[tokio::test]
async fn what_nothing_can_restore_is_never_deleted() {
    let mut world = World::trees();
    world.options.delete_extraneous = true;
    world.source.write("a", "a");
    world.destination.device("run/socket").write("run/pid", "1");
    let before = world.destination.contents();
    world.move_all().await.expect("the move");
    let plan = world.plan().await.expect("the stored plan");
    assert_eq!(plan.problems.listed.iter().map(|p| (p.path.to_string(), p.kind)).collect::<Vec<_>>(), [("run/socket".to_owned(), ProblemKind::Device)]);
    assert!(world.destination.contents().contains_key("run/socket") && world.destination.read("run/pid").is_none());
    assert!(world.undo().await.expect("undo").is_complete());
    assert_eq!(world.destination.contents(), before);
}

#[tokio::test]
async fn an_empty_source_empties_nothing_unless_that_was_asked_for() {
    let mut world = World::trees();
    world.options.delete_extraneous = true;
    world.destination.write("precious", "x");
    let error = world.plan().await.expect_err("an empty source");
    assert!(error.kind == ErrorKind::Invalid && error.to_string().contains("allow_empty_source"), "{error}");
    assert!(world.mover().survey(&world.observer, &world.stop).await.is_err(), "a dry run says the same");
    world.options.allow_empty_source = true;
    world.move_all().await.expect("as asked");
    assert!(world.destination.read("precious").is_none());
    let mut world = World::trees();
    furnish(&world.source);
    furnish(&world.destination);
    world.source.delete("wp-content");
    world.options.delete_extraneous = true;
    world.options.max_delete = Some(3);
    assert!(world.plan().await.expect_err("too many").to_string().contains("max_delete allows 3"));
}

#[tokio::test]
async fn a_source_that_is_empty_in_the_last_pass_removes_nothing() {
    let world = World::trees();
    world.source.write("a", "a").write("b", "b");
    world.plan().await.expect("a plan");
    world.copy().await.expect("the bulk pass");
    world.source.delete("a").delete("b");
    assert_eq!(world.final_pass().await.expect_err("unmounted").kind, ErrorKind::Invalid);
    assert!(world.destination.read("a").is_some());
}
