//! Errors of single calls: tried again, named, or fatal.

use super::world::{World, furnish, pattern};
use movers::files::ProblemKind;
use ports::{ErrorKind, observe::Level};
use testkit::memory_files::{Op, Rule};

#[tokio::test]
async fn every_temporary_error_is_survived_at_every_call() {
    let ops = [Op::Open, Op::Read, Op::Put, Op::Make, Op::Begin, Op::PutPart, Op::Complete, Op::Stat];
    for op in ops {
        for kind in [ErrorKind::TimedOut, ErrorKind::Interrupted, ErrorKind::Throttled, ErrorKind::Unreachable] {
            let world = World::trees();
            furnish(&world.source);
            for files in [&world.source, &world.destination] {
                files.fault(Rule::fail(op, kind).after(1).times(2));
            }
            let moved = world.plan().await.and(world.copy().await);
            moved.unwrap_or_else(|e| panic!("{op:?} {kind:?}: {e}"));
            assert_eq!(world.source.state(), world.destination.state(), "{op:?} {kind:?}");
        }
    }
}

#[tokio::test]
async fn a_retry_is_told_as_the_document_shows_it() {
    let world = World::trees();
    world.source.write("large-file.mp4", pattern(30_000, 1));
    world.destination.fault(Rule::fail(Op::Put, ErrorKind::TimedOut));
    world.move_all().await.expect("the second try succeeds");
    let lines = world.observer.lines();
    let line = lines.iter().find(|l| l.level == Level::Warning).expect("a warning");
    assert_eq!(line.message, "Retrying transfer for large-file.mp4 (attempt 2/3)");
    assert_eq!((line.component.as_str(), line.details["file_size"].as_u64(), line.details["retry_count"].as_u64()), ("file_transfer", Some(30_000), Some(2)));
}

#[tokio::test]
async fn a_large_transfer_is_told_as_the_document_shows_it() {
    let mut world = World::to_objects();
    world.options.chunk_size = 16 << 20;
    world.source = world.source.with_pieces(1 << 16);
    world.source.write("wp-content/uploads/2024/08/image.jpg", pattern(2_202_010, 1)).write("small", "x");
    world.move_all().await.expect("the move");
    let lines = world.observer.lines();
    let line = lines.iter().find(|l| l.message.starts_with("Transferred wp-content")).expect("a line");
    assert_eq!(line.message, "Transferred wp-content/uploads/2024/08/image.jpg (2.1MB)");
    assert_eq!((line.level, line.details["file_size"].as_u64()), (Level::Info, Some(2_202_010)));
    assert!(line.details["checksum"].as_str().expect("a checksum").starts_with("md5:"));
    assert!(world.observer.operations().iter().any(|o| o.kind == "file_transfer" && o.source.starts_with("memory://source")));
}

#[tokio::test]
async fn lasting_errors_of_the_destination_stop_with_a_clear_word_and_nothing_half() {
    for kind in [ErrorKind::NoSpace, ErrorKind::Permission, ErrorKind::Authentication, ErrorKind::Protocol] {
        let world = World::trees();
        furnish(&world.source);
        world.plan().await.expect("a plan");
        world.destination.fault(Rule::fail(Op::Put, kind).after(2).always());
        let error = world.copy().await.expect_err("it stops");
        assert_eq!(error.kind, kind);
        assert!(error.to_string().starts_with("could not put memory://destination/"), "{error}");
        let source = world.source.contents();
        assert!(world.destination.contents().iter().all(|(path, content)| source.get(path) == Some(content)), "nothing half");
        world.destination.heal();
        world.copy().await.expect("it goes on when healed");
        assert_eq!(world.source.state(), world.destination.state());
    }
}

#[tokio::test]
async fn exhausted_retries_give_the_last_error() {
    let world = World::trees();
    furnish(&world.source);
    world.plan().await.expect("a plan");
    world.source.fault(Rule::fail(Op::Open, ErrorKind::Unreachable).always());
    assert_eq!(world.copy().await.expect_err("unreachable").kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn an_unreadable_file_is_named_and_the_rest_moves() {
    let world = World::trees();
    furnish(&world.source);
    world.source.fault(Rule::fail(Op::Open, ErrorKind::Permission).at("z").always());
    let copied = world.plan().await.and(world.copy().await).expect("the rest moves");
    assert_eq!(copied.problems.listed.iter().map(|p| (p.path.to_string(), p.kind)).collect::<Vec<_>>(), [("z".to_owned(), ProblemKind::Unreadable)]);
    assert_eq!(world.verify().await.expect("verification").not_copied, 1);
}

#[tokio::test]
async fn the_stop_signal_ends_the_copy_and_what_was_confirmed_is_not_sent_again() {
    let world = World::trees();
    for n in 0..2000 {
        world.source.write(&format!("f{n:04}"), pattern(3000, n as u8));
    }
    world.plan().await.expect("a plan");
    let stop = world.stop.clone();
    let (copied, ()) = tokio::join!(world.copy(), async {
        while world.destination.calls(Op::Put) < 700 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
    assert_eq!(copied.expect_err("stopped").kind, ErrorKind::Stopped);
    let sent = world.destination.calls(Op::Put);
    assert!((700..1900).contains(&sent), "{sent}");
    let resumed = World { stop: Default::default(), ..world };
    resumed.copy().await.expect("it goes on");
    let again = resumed.destination.calls(Op::Put) - 2000;
    assert!(again < 600, "{again} files were sent twice");
    assert_eq!(resumed.source.state(), resumed.destination.state());
}
