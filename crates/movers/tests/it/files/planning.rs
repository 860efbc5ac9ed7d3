//! What the plan says.

use super::world::{World, furnish, pattern};
use domain::spec::Symlinks;
use movers::files::{FilesPlan, ProblemKind};
use ports::files::FilePath;
use testkit::memory_files::MemoryFiles;

fn problems(plan: &FilesPlan) -> Vec<(String, ProblemKind)> {
    plan.problems.listed.iter().map(|p| (p.path.to_string(), p.kind)).collect()
}

#[tokio::test]
async fn a_tree_arrives_as_it_was_with_modes_times_links_and_empty_directories() {
    let world = World::trees();
    furnish(&world.source);
    let copied = world.move_and_compare().await;
    assert_eq!(world.source.state(), world.destination.state());
    assert_eq!((copied.files, copied.symlinks, copied.problems.count), (8, 2, 0), "{copied:?}");
    assert!(world.destination.unfinished_uploads() == 0);
    assert!(world.observer.bytes() > 100_000);
}

#[tokio::test]
async fn the_plan_counts_what_will_happen_and_a_survey_says_the_same() {
    let mut world = World::trees();
    furnish(&world.source);
    world.destination.write("z", "other").write("extra/file", "gone soon").write("extra2", "too");
    world.options.delete_extraneous = true;
    let survey = world.mover().survey(&world.observer, &world.stop).await.expect("a survey");
    let plan = world.plan().await.expect("a plan");
    assert_eq!(plan, survey);
    assert_eq!((plan.files, plan.symlinks, plan.overwrites, plan.overwritten_bytes), (8, 2, 1, 5));
    assert_eq!(plan.overwrite_examples, [FilePath::from("z")]);
    assert_eq!(plan.delete_examples, ["extra/file", "extra", "extra2"].map(FilePath::from));
    assert_eq!(plan.largest[0], (FilePath::from("wp-content/large.bin"), 95_000));
    assert_eq!(world.plan().await.expect("planning again gives the stored plan"), plan);
}

#[tokio::test]
async fn equal_files_are_left_alone_only_when_their_hash_proves_it() {
    for world in [World::trees(), World::to_objects()] {
        world.source.write("same", "0123456789").write("liar", "0123456789").write("big", pattern(70_000, 3));
        world.move_all().await.expect("a first move");
        world.destination.edit_secretly("liar", "9876543210");
        let again = World { bulk: Default::default(), last: Default::default(), own: Default::default(), ..world };
        let plan = again.plan().await.expect("a second plan");
        assert_eq!((plan.unchanged, plan.files, plan.overwrites), (2, 1, 1), "{plan:?}");
        let copied = again.copy().await.expect("a second copy");
        assert_eq!((copied.files, copied.unchanged), (1, 2));
        assert_eq!(again.destination.read("liar").expect("there"), "0123456789");
        assert!(again.verify().await.expect("verification").is_equal());
    }
}

#[tokio::test]
async fn names_devices_links_and_collisions_are_named_and_the_rest_moves() {
    let world = World::new(MemoryFiles::objects("source"), MemoryFiles::tree("destination"));
    world.source.write("a", "file").write("a/b", "below a file").write("a-b", "beside").write("x//y", "empty segment").write("/top", "leading");
    world.source.write("deep/er/file", "fine").write("dir/refused", "no");
    world.destination.refuse("dir/refused").write("deep/own", "untouched");
    let copied = world.move_all().await.expect("a partial move");
    assert_eq!(copied.files, 3);
    let plan = world.plan().await.expect("the stored plan");
    let expected = [("/top", ProblemKind::Name), ("a/b", ProblemKind::Collision), ("dir/refused", ProblemKind::Name), ("x//y", ProblemKind::Name)];
    assert_eq!(problems(&plan), expected.map(|(p, k)| (p.to_owned(), k)));
    assert_eq!(plan.problems.lasting, 4);
    let there: Vec<String> = world.destination.contents().into_keys().collect();
    assert_eq!(there, ["a", "a-b", "deep/", "deep/er/", "deep/er/file", "deep/own"]);
}

#[tokio::test]
async fn a_store_without_links_and_directories_gets_what_it_can_hold() {
    let poor = MemoryFiles::objects("destination").with_traits(|t| t.empty_directories = false);
    let world = World::new(MemoryFiles::tree("source"), poor);
    furnish(&world.source);
    world.source.device("socket");
    let plan = world.plan().await.expect("a plan");
    let expected = [
        ("current", ProblemKind::SkippedLink),
        ("socket", ProblemKind::Device),
        ("wp-content/up", ProblemKind::SkippedLink),
        ("hollow/deeper", ProblemKind::EmptyDirectory),
        ("wp-content/cache", ProblemKind::EmptyDirectory),
    ];
    assert_eq!(problems(&plan), expected.map(|(p, k)| (p.to_owned(), k)));
    world.move_all().await.expect("the move");
    assert!(world.destination.contents().keys().all(|k| !k.ends_with('/')));
    assert!(world.verify().await.expect("verification").is_equal());
}

#[tokio::test]
async fn links_are_followed_within_the_root_only() {
    let mut world = World::to_objects();
    world.options.symlinks = Some(Symlinks::Follow);
    world.source.write("real/file", "content").link("good", "real/file").link("out", "../../etc/passwd").link("abs", "/etc/passwd");
    world.source.link("dangling", "nowhere").link("folder", "real").link("chain", "good");
    let plan = world.plan().await.expect("a plan");
    let bad: Vec<String> = problems(&plan).into_iter().map(|(p, k)| (k == ProblemKind::UnfollowedLink).then_some(p).expect("an unfollowed link")).collect();
    assert_eq!(bad, ["abs", "dangling", "folder", "out"]);
    world.move_all().await.expect("the move");
    assert_eq!(world.destination.read("good").expect("followed"), "content");
    assert_eq!(world.destination.read("chain").expect("followed"), "content");
    world.options.symlinks = Some(Symlinks::Skip);
    let skipped = world.mover().survey(&world.observer, &world.stop).await.expect("a survey");
    assert_eq!((skipped.problems.count, skipped.files), (6, 0));
}

#[tokio::test]
async fn excluded_paths_stay_behind_and_are_protected_from_deletion() {
    let mut world = World::trees();
    furnish(&world.source);
    world.options.exclude = vec!["wp-content/cache".to_owned(), "*.jpg".to_owned()];
    world.options.delete_extraneous = true;
    world.source.write("wp-content/cache/page", "cached");
    world.destination.write("wp-content/cache/kept", "protected").write("junk/keep.jpg", "protected").write("junk/drop", "extraneous");
    let plan = world.plan().await.expect("a plan");
    assert_eq!(plan.delete_examples, [FilePath::from("junk/drop")]);
    assert_eq!((plan.excluded[0].entries, plan.excluded[1].entries, plan.excluded[1].bytes), (1, 2, 14_000), "an excluded directory is not entered");
    world.move_all().await.expect("the move");
    let there = world.destination.contents();
    assert!(there.contains_key("wp-content/cache/kept") && there.contains_key("junk/keep.jpg") && !there.contains_key("junk/drop"));
    assert!(!there.contains_key("wp-content/cache/page") && !there.contains_key("wp-content/uploads/2024/08/image.jpg"));
    world.options.exclude = vec!["[".to_owned()];
    assert!(world.mover().survey(&world.observer, &world.stop).await.expect_err("a bad pattern").to_string().contains("'['"));
}

#[tokio::test]
async fn things_of_the_other_type_are_cleared_away_and_come_back_on_undo() {
    let mut world = World::trees();
    world.options.delete_extraneous = true;
    world.source.write("was-file/inner", "new").write("was-link/inner", "new").write("was-dir", "new").link("linked", "was-dir").write("plain", "x");
    let old = &world.destination;
    old.write("was-file", "old")
        .link("was-link", "elsewhere")
        .write("was-dir/sub/deep", "old")
        .write("was-dir-2", "extra")
        .write("linked", "old file")
        .link("plain", "q");
    let before = world.destination.state();
    world.move_and_compare().await;
    let undone = world.undo().await.expect("undo");
    assert!(undone.is_complete(), "{undone:?}");
    assert_eq!(world.destination.state(), before);
}

#[tokio::test]
async fn a_directory_in_the_way_is_left_alone_unless_removing_was_asked_for() {
    let world = World::trees();
    world.source.write("name", "a file").write("other", "fine");
    world.destination.write("name/child", "of somebody");
    let copied = world.move_all().await.expect("the rest moves");
    assert_eq!(problems(&world.plan().await.expect("a plan")), [("name".to_owned(), ProblemKind::Collision)]);
    assert!(copied.problems.listed.iter().all(|p| p.kind == ProblemKind::Refused && p.path == FilePath::from("name")), "{copied:?}");
    assert!(world.destination.read("name/child").is_some() && world.destination.read("other").is_some());
}

#[tokio::test]
async fn a_missing_source_is_an_error_and_a_missing_destination_is_empty() {
    let world = World::trees();
    furnish(&world.source);
    world.destination.remove_root();
    assert_eq!(world.plan().await.expect("a plan").files, 8);
    world.source.remove_root();
    let error = world.mover().survey(&world.observer, &world.stop).await.expect_err("no source");
    assert_eq!(error.kind, ports::ErrorKind::NotFound);
}
