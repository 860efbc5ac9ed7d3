//! One path's trouble is that path's: what cannot be listed is named, and the rest moves.

use super::world::World;
use movers::files::ProblemKind;

fn names(problems: &movers::files::Problems) -> Vec<(String, ProblemKind)> {
    problems.listed.iter().map(|p| (p.path.to_string(), p.kind)).collect()
}

#[tokio::test]
async fn a_directory_that_may_not_be_listed_is_named_and_the_rest_moves() {
    let mut world = World::trees();
    world.options.delete_extraneous = true;
    world.source.write("a", "a").write("locked/secret", "s").write("z", "z").lock_directory("locked");
    world.destination.write("locked/theirs", "kept").write("locked/deep/theirs", "kept").write("extra", "goes");
    let plan = world.plan().await.expect("a plan");
    assert_eq!(names(&plan.problems), [("locked".to_owned(), ProblemKind::Unreadable)]);
    world.move_all().await.expect("the move");
    assert!(world.verify().await.expect("verification").is_equal());
    let there: Vec<String> = world.destination.contents().into_keys().collect();
    assert_eq!(there, ["a", "locked/", "locked/deep/", "locked/deep/theirs", "locked/theirs", "z"]);
}

#[tokio::test]
async fn what_was_copied_stays_when_its_directory_can_be_listed_no_more() {
    let world = World::trees();
    world.source.write("a", "a").write("later/deep/file", "copied").write("z", "z");
    world.plan().await.expect("a plan");
    world.copy().await.expect("the copy");
    world.source.lock_directory("later");
    let last = world.final_pass().await.expect("the final pass");
    assert_eq!(names(&last.problems), [("later".to_owned(), ProblemKind::Unreadable)]);
    assert!(world.destination.read("later/deep/file").is_some());
}

#[tokio::test]
async fn excluded_directories_are_never_entered() {
    let mut world = World::trees();
    world.options.exclude = vec!["cache".to_owned()];
    world.options.delete_extraneous = true;
    world.source.write("a", "a").write("cache/page", "p").lock_directory("cache");
    world.destination.write("cache/theirs", "kept");
    let plan = world.plan().await.expect("a plan");
    assert_eq!(plan.problems.count, 0, "{:?}", plan.problems);
    assert_eq!((plan.excluded[0].entries, plan.deletes), (1, 0));
    world.move_all().await.expect("the move");
    assert!(world.destination.read("a").is_some() && world.destination.read("cache/page").is_none());
    assert!(world.destination.read("cache/theirs").is_some());
}
