//! An undo from a backup whose files are damaged: what stands at the destination stays, is named, and the rest goes back.

use super::world::{World, pattern};
use bytes::Bytes;
use movers::files::{FilesBackup, FilesUndone, ProblemKind};
use testkit::memory_files::{MemoryFiles, Op};
use testkit::memory_ledger::MemoryLedger;

/// One file is replaced as a whole, one in parts at both places, one is removed; one of each kind is left undamaged.
fn occupied(mut world: World) -> World {
    world.options.delete_extraneous = true;
    for (name, size) in [("index", 4000), ("page", 3000), ("large", 66_000), ("huge", 71_000)] {
        world.source.write(name, pattern(size + 7, 1));
        world.destination.write(name, pattern(size, 2));
    }
    world.destination.write("extra", pattern(900, 3)).write("surplus", pattern(800, 4));
    world
}

fn worlds() -> [World; 3] {
    let parts = World::to_objects();
    let destination = parts.destination.clone().with_traits(|t| t.single_put_limit = 20_000);
    [World::trees(), World::to_objects(), World { destination, ..parts }].map(occupied)
}

/// Changes one byte in the middle of a file of the backup, and nothing that a listing shows.
fn damage(backup: &MemoryFiles, content: &[u8]) {
    let path = saved_as(backup, content);
    let mut changed = content.to_vec();
    changed[content.len() / 2] ^= 0x40;
    backup.edit_secretly(&path, changed);
}

fn saved_as(backup: &MemoryFiles, content: &[u8]) -> String {
    let mut paths = backup.contents().into_keys();
    paths.find(|path| backup.read(path).is_some_and(|bytes| bytes == content)).expect("the backup holds it")
}

fn lost(undone: &FilesUndone) -> Vec<(String, ProblemKind)> {
    undone.not_restored.listed.iter().map(|p| (p.path.to_string(), p.kind)).collect()
}

fn named(paths: &[&str]) -> Vec<(String, ProblemKind)> {
    paths.iter().map(|path| ((*path).to_owned(), ProblemKind::BackupDamaged)).collect()
}

#[tokio::test]
async fn undo_of_a_file_whose_backup_has_other_content_keeps_what_stands_there() {
    for world in worlds() {
        world.move_all().await.expect("the move");
        let moved = |name: &str| world.destination.read(name);
        let (index, large) = (moved("index"), moved("large"));
        for content in [pattern(4000, 2), pattern(66_000, 2), pattern(900, 3)] {
            damage(&world.backup, &content);
        }
        for _ in 0..2 {
            let undone = world.undo().await.expect("undo goes on");
            assert_eq!(lost(&undone), named(&["index", "large", "extra"]), "{undone:?}");
            assert_eq!(undone.backup_damaged, 3);
            let reasons = undone.not_restored.listed.iter().map(|p| &p.reason);
            assert!(reasons.into_iter().all(|reason| reason.starts_with("the backup is damaged")), "{undone:?}");
            assert_eq!((moved("index"), moved("large"), moved("extra")), (index.clone(), large.clone(), None));
            let back = |name: &str, size, seed| assert_eq!(moved(name), Some(Bytes::from(pattern(size, seed))), "{name}");
            back("page", 3000, 2);
            back("huge", 71_000, 2);
            back("surplus", 800, 4);
            assert_eq!(world.destination.unfinished_uploads(), 0);
        }
    }
}

#[tokio::test]
async fn undo_and_its_preview_name_what_the_backup_has_lost_or_holds_in_part() {
    for world in worlds() {
        world.move_all().await.expect("the move");
        let index = world.destination.read("index");
        world.backup.write(&saved_as(&world.backup, &pattern(4000, 2)), pattern(3999, 2));
        world.backup.delete(&saved_as(&world.backup, &pattern(900, 3)));
        let preview = world.preview_undo().await.expect("the preview");
        assert_eq!(lost(&preview), named(&["index", "extra"]), "{preview:?}");
        let undone = world.undo().await.expect("undo goes on");
        assert_eq!(lost(&undone), named(&["index", "extra"]), "{undone:?}");
        assert_eq!(world.destination.read("index"), index);
        assert_eq!(world.destination.read("surplus"), Some(Bytes::from(pattern(800, 4))));
    }
}

#[tokio::test]
async fn what_the_last_pass_saved_is_compared_with_its_own_hash() {
    for mut world in [World::trees(), World::to_objects()] {
        world.keeping = true;
        world.source.write("page", "new page").write("index", "new index");
        world.destination.write("page", "old page").write("index", "old index");
        world.plan().await.expect("a plan");
        world.back_up().await.expect("a backup");
        world.destination.write("page", "precious 1").write("index", "precious 2");
        world.copy().await.expect("the copy");
        world.final_pass().await.expect("the last pass");
        damage(&world.backup, b"precious 1");
        let undone = world.undo().await.expect("undo");
        assert_eq!(lost(&undone), named(&["page"]), "{undone:?}");
        assert_eq!(world.destination.read("page"), Some(Bytes::from("new page")));
        assert_eq!(world.destination.read("index"), Some(Bytes::from("precious 2")));
    }
}

#[tokio::test]
async fn a_backup_without_recorded_hashes_is_restored_from() {
    let world = occupied(World::trees());
    let before = world.destination.state();
    world.move_all().await.expect("the move");
    let unknown = MemoryLedger::default();
    let saved = FilesBackup { ledger: &unknown, ..world.saved() };
    let undone = world.mover().undo(&[&world.bulk, &world.last], Some(saved), &world.observer, &world.stop).await.expect("undo");
    assert!(undone.is_complete(), "{undone:?}");
    assert_eq!(world.destination.state(), before);
}

/// The destination, not the backup, says whether a file is as it was.
#[tokio::test]
async fn an_untouched_file_is_as_before_whatever_its_backup_holds() {
    let world = occupied(World::to_objects());
    let before = world.destination.state();
    world.plan().await.expect("a plan");
    world.back_up().await.expect("a backup");
    damage(&world.backup, &pattern(4000, 2));
    world.backup.delete(&saved_as(&world.backup, &pattern(3000, 2)));
    let undone = world.undo().await.expect("undo");
    assert!(undone.is_complete(), "{undone:?}");
    assert_eq!((world.destination.state(), world.destination.calls(Op::Remove)), (before, 0));
}

/// Many files: every recorded hash is found, in the order of the plan.
#[tokio::test]
async fn every_one_of_many_files_is_compared() {
    let mut world = World::trees();
    world.options.delete_extraneous = true;
    for n in 0..3000 {
        world.source.write(&format!("d{}/f{n}", n % 7), format!("new content {n}"));
        world.destination.write(&format!("d{}/f{n}", n % 7), format!("old {n}"));
        world.destination.write(&format!("e{}/g{n}", n % 5), format!("gone {n}"));
    }
    world.move_all().await.expect("the move");
    for n in 0..3000 {
        world.backup.edit_secretly(&format!("d{}/f{n}", n % 7), format!("odd {n}"));
        world.backup.edit_secretly(&format!("e{}/g{n}", n % 5), format!("lost {n}"));
    }
    let undone = world.undo().await.expect("undo");
    assert_eq!((undone.backup_damaged, undone.not_restored.count), (6000, 6000));
    assert_eq!(world.destination.read("d0/f0"), Some(Bytes::from("new content 0")));
}
