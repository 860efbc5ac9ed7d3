//! What objects have beyond their content: carried, named, and given back.

use super::world::{World, pattern};
use movers::files::ProblemKind;
use ports::files::ObjectMetadata;
use std::collections::BTreeMap;
use testkit::memory_files::MemoryFiles;

fn metadata(of: &str) -> ObjectMetadata {
    ObjectMetadata {
        cache_control: Some(format!("max-age of {of}")),
        user: BTreeMap::from([("author".to_owned(), of.to_owned())]),
        tags: BTreeMap::from([("team".to_owned(), of.to_owned())]),
        ..ObjectMetadata::default()
    }
}

/// `large` goes in parts.
fn objects() -> World {
    let mut world = World::new(MemoryFiles::objects("source"), MemoryFiles::objects("destination"));
    world.options.delete_extraneous = true;
    world.source.write("small", "small").write("large", pattern(95_000, 1)).write("bare", "bare").write("alike", "alike");
    for path in ["small", "large", "alike"] {
        world.source.set_metadata(path, metadata(path));
    }
    world
}

#[tokio::test]
async fn objects_arrive_with_their_metadata() {
    let world = objects();
    let copied = world.move_and_compare().await;
    assert_eq!(copied.problems.count, 0, "{:?}", copied.problems);
    for path in ["small", "large", "alike"] {
        assert_eq!(world.destination.metadata(path), Some(metadata(path)), "{path}");
    }
    assert_eq!(world.destination.metadata("bare"), None);
}

#[tokio::test]
async fn undo_gives_objects_their_metadata_back() {
    let world = objects();
    let there = &world.destination;
    there.write("small", "older").write("large", pattern(66_000, 4)).write("alike", "alike").write("extra", pattern(50_000, 5)).write("bare", "was bare");
    for path in ["small", "large", "alike", "extra"] {
        there.set_metadata(path, metadata(&format!("older {path}")));
    }
    let before = there.state();
    world.move_all().await.expect("the move");
    assert_eq!(there.metadata("alike"), Some(metadata("alike")), "equal bytes with other metadata are not the same object");
    assert!(there.metadata("extra").is_none());
    assert!(world.undo().await.expect("undo").is_complete());
    assert_eq!(there.state(), before);
    world.undo().await.expect("undo again");
    assert_eq!(there.state(), before);
}

#[tokio::test]
async fn what_a_tree_cannot_keep_of_objects_is_named() {
    let objects = objects();
    let world = World { destination: MemoryFiles::tree("destination"), ..objects };
    let copied = world.move_and_compare().await;
    let named: Vec<(String, ProblemKind)> = copied.problems.listed.iter().map(|p| (p.path.to_string(), p.kind)).collect();
    let lost = |path: &str| (path.to_owned(), ProblemKind::NotKept);
    assert_eq!(named, [lost("alike"), lost("large"), lost("small")]);
    assert!(copied.problems.listed[0].reason.contains("Cache-Control 'max-age of alike'; user metadata (author); tags (team)"));
    assert_eq!(copied.problems.lasting, 3);
}
