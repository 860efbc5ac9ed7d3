//! Every status against every operation, and every status against every observation.

use super::{Operation as O, Refusal, Seen, VmState, VmStatus as S};

const fn state(status: S) -> VmState {
    VmState { status, paused: false, busy: false }
}

/// One row a status: what each operation (in the order of `Operation::ALL`) leads to. `!` refused for good reason, `=` it is so already, `*` busy.
const TABLE: [(S, [&str; 10]); 7] = [
    //             start       stop        force       reboot     pause      resume     snapshot   restore    forget     delete
    (S::Created, ["starting", "=", "=", "!", "!", "!", "!", "!", "!", "created"]),
    (S::Starting, ["*", "*", "stopping", "*", "*", "*", "*", "*", "*", "*"]),
    (S::Running, ["=", "stopping", "stopping", "running", "running", "=", "running", "running", "running", "!"]),
    (S::Stopping, ["*", "*", "stopping", "*", "*", "*", "*", "*", "*", "*"]),
    (S::Stopped, ["starting", "=", "=", "!", "!", "!", "stopped", "stopped", "stopped", "stopped"]),
    (S::Failed, ["starting", "=", "=", "!", "!", "!", "failed", "failed", "failed", "failed"]),
    (S::Migrating, ["*", "*", "*", "*", "*", "*", "*", "*", "*", "*"]),
];

fn shown(result: Result<S, Refusal>) -> &'static str {
    match result {
        Ok(status) => status.word(),
        Err(Refusal::Already(_)) => "=",
        Err(Refusal::Busy) => "*",
        Err(Refusal::First(_)) => "!",
    }
}

#[test]
fn every_status_answers_every_operation() {
    for (status, row) in TABLE {
        for (operation, wanted) in O::ALL.into_iter().zip(row) {
            assert_eq!(shown(state(status).begin(operation)), wanted, "{} of a machine that is {}", operation.word(), status.word());
        }
    }
}

#[test]
fn an_operation_at_work_keeps_all_others_out_but_the_plug() {
    for status in [S::Running, S::Stopped, S::Failed, S::Created] {
        for operation in O::ALL {
            let busy = VmState { busy: true, ..state(status) };
            let free = state(status).begin(operation);
            let wanted = if operation == O::ForceStop || free.is_err() { free } else { Err(Refusal::Busy) };
            let found = busy.begin(operation);
            // What is not paused cannot be resumed; that somebody is at work on it is said first.
            let same = found == wanted || (operation == O::Resume && found == Err(Refusal::Busy));
            assert!(same, "{} of a busy machine that is {}: {found:?}", operation.word(), status.word());
        }
    }
}

#[test]
fn a_paused_machine_is_resumed_and_not_paused_again() {
    let paused = VmState { paused: true, ..state(S::Running) };
    assert_eq!(paused.begin(O::Resume), Ok(S::Running));
    assert_eq!(shown(paused.begin(O::Pause)), "=");
    assert_eq!(paused.begin(O::Stop), Ok(S::Stopping));
}

#[test]
fn every_status_settles_on_what_is_seen() {
    for status in S::ALL {
        assert_eq!(status.settled(Seen::Alive), S::Running);
        let (ended, crashed) = match status {
            S::Created | S::Stopped | S::Failed => (status, status),
            S::Stopping => (S::Stopped, S::Stopped),
            S::Starting | S::Running | S::Migrating => (S::Stopped, S::Failed),
        };
        assert_eq!((status.settled(Seen::Ended), status.settled(Seen::Crashed)), (ended, crashed), "{}", status.word());
        assert_eq!(S::parse(status.word()), Some(status));
    }
}
