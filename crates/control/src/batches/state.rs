//! What is known of a batch, and what follows from it: pure, so that every rule can be tried without a clock and without a database.

use crate::author::Author;
use crate::error::Code;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// After this time a start that was decided and never came to pass is tried again. Trying twice does no harm.
const STARTING: Duration = Duration::from_secs(10);

/// How a batch works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchOptions {
    /// How many of its migrations are at work side by side.
    #[schema(example = 2)]
    pub parallel_limit: usize,
    /// After a failure nothing more is started; what runs goes on to its end.
    #[schema(example = false)]
    pub stop_on_failure: bool,
    /// Begin at once; otherwise `POST /batches/{batch_id}/start` does.
    #[schema(example = true)]
    pub auto_start: bool,
    /// Start each migration without the checks before it.
    pub skip_validation: bool,
    /// As in the start of a migration. Default: as each configuration says.
    pub auto_rollback: Option<bool>,
    pub send_notifications: Option<bool>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { parallel_limit: 4, stop_on_failure: false, auto_start: true, skip_validation: false, auto_rollback: None, send_notifications: None }
    }
}

/// What callers want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wanted {
    /// Not begun.
    Hold,
    Go,
    Pause,
    Cancel,
}

/// How a migration of the batch ended, as it was first seen; what happens to it afterwards changes nothing in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Completed,
    Failed,
    Cancelled,
    /// Never started by the batch.
    Skipped,
}

/// Why a migration failed, was skipped or is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    #[schema(example = "VALIDATION_FAILED")]
    pub code: String,
    #[schema(example = "Pre-migration validation failed")]
    pub message: String,
}

impl Reason {
    /// Why a migration failed. A start that was refused stands in the batch by the code of the answer and in the migration by its kind: one word for
    /// both, whichever is read first.
    pub(super) fn of_migration(kind: String, message: String) -> Self {
        let refused = [Code::ValidationFailed, Code::InvalidConfiguration];
        let code = refused.iter().map(|code| code.word()).find(|word| word.eq_ignore_ascii_case(&kind)).map_or(kind, str::to_owned);
        Self::new(code, message)
    }

    pub(super) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// One migration of the batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Member {
    /// Chosen before the run is made.
    pub id: String,
    pub name: String,
    pub wave: u64,
    /// Indexes.
    pub depends_on: Vec<usize>,
    /// The run was made; if it is not there any more, somebody deleted it.
    pub made: bool,
    /// It was seen at work.
    pub started: bool,
    /// A start was decided; until then it is taken to be under way.
    pub starting_until: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub reason: Option<Reason>,
}

/// A batch as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub name: Option<String>,
    pub options: BatchOptions,
    pub wanted: Wanted,
    pub members: Vec<Member>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Who made it: its migrations are that one's. `None`: it was made before this was stored.
    #[serde(default)]
    pub author: Option<Author>,
    /// Who asked last that it starts, pauses or is cancelled.
    #[serde(default)]
    pub asked_by: Option<Author>,
}

/// What callers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Paused,
    Cancelling,
    Completed,
    /// Ended; some completed and some did not.
    Partial,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 8] = [Self::Created, Self::Running, Self::Paused, Self::Cancelling, Self::Completed, Self::Partial, Self::Failed, Self::Cancelled];

    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Partial | Self::Failed | Self::Cancelled)
    }
}

/// What a migration's run shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    /// Not started.
    Waiting,
    /// Started, not ended. A paused one keeps its place.
    AtWork,
    Ended(Outcome, Option<Reason>),
}

impl Member {
    pub fn is_at_work(&self, now: Timestamp) -> bool {
        self.outcome.is_none() && (self.started || self.starting_until.is_some_and(|until| until > now))
    }

    pub fn see(&mut self, seen: Seen) {
        if self.outcome.is_some() {
            return;
        }
        match seen {
            Seen::Waiting => {}
            Seen::AtWork => (self.started, self.reason) = (true, None),
            Seen::Ended(outcome, reason) => self.end(outcome, reason),
        }
    }

    /// A start was refused for now, and is tried again then.
    pub fn waits_for(&mut self, then: Timestamp, reason: Reason) {
        (self.starting_until, self.reason) = (Some(then), Some(reason));
    }

    pub fn end(&mut self, outcome: Outcome, reason: Option<Reason>) {
        self.outcome = Some(outcome);
        self.reason = reason;
    }
}

impl Stored {
    pub fn count(&self, outcome: Outcome) -> usize {
        self.members.iter().filter(|m| m.outcome == Some(outcome)).count()
    }

    pub fn status(&self) -> Status {
        if self.members.iter().any(|m| m.outcome.is_none()) {
            return match self.wanted {
                Wanted::Go if self.started_at.is_some() => Status::Running,
                Wanted::Hold | Wanted::Go => Status::Created,
                Wanted::Pause => Status::Paused,
                Wanted::Cancel => Status::Cancelling,
            };
        }
        let (completed, failed, cancelled) = (self.count(Outcome::Completed), self.count(Outcome::Failed), self.count(Outcome::Cancelled));
        match () {
            () if completed == self.members.len() => Status::Completed,
            () if self.wanted == Wanted::Cancel => Status::Cancelled,
            () if failed > 0 && (completed == 0 || self.options.stop_on_failure) => Status::Failed,
            () if completed == 0 && cancelled > 0 => Status::Cancelled,
            () => Status::Partial,
        }
    }

    /// Skips what will never be started: all that wait on something that did not complete, and everything after a failure if so asked.
    pub fn skip(&mut self) {
        let failed = self.members.iter().find(|m| m.outcome == Some(Outcome::Failed)).map(|m| m.name.clone());
        if let Some(name) = failed.filter(|_| self.options.stop_on_failure) {
            let why = Reason::new("STOPPED", format!("'{name}' failed, and the batch stops on a failure"));
            self.members.iter_mut().filter(|m| m.outcome.is_none() && !m.started).for_each(|m| m.end(Outcome::Skipped, Some(why.clone())));
        }
        while let Some((index, why)) = self.next_without_hope() {
            self.members[index].end(Outcome::Skipped, Some(Reason::new("DEPENDENCY", why)));
        }
    }

    fn next_without_hope(&self) -> Option<(usize, String)> {
        let lost = |index: &usize| self.members[*index].outcome.is_some_and(|o| o != Outcome::Completed);
        self.members.iter().enumerate().filter(|(_, m)| m.outcome.is_none() && !m.started).find_map(|(index, member)| {
            let on = member.depends_on.iter().copied().find(lost)?;
            Some((index, format!("It depends on '{}', which did not complete", self.members[on].name)))
        })
    }

    /// Which may start now, in their order, within the limit.
    pub fn ready(&self, now: Timestamp) -> Vec<usize> {
        if self.wanted != Wanted::Go {
            return Vec::new();
        }
        let free = self.options.parallel_limit.saturating_sub(self.members.iter().filter(|m| m.is_at_work(now)).count());
        let wave = self.members.iter().filter(|m| m.outcome.is_none()).map(|m| m.wave).min();
        let complete = |on: &usize| self.members[*on].outcome == Some(Outcome::Completed);
        let waits = |m: &Member| m.made && m.outcome.is_none() && !m.is_at_work(now);
        let ready = self.members.iter().enumerate().filter(|(_, m)| waits(m) && Some(m.wave) == wave && m.depends_on.iter().all(complete));
        ready.map(|(index, _)| index).take(free).collect()
    }

    /// Notes that a start is under way from `now` on.
    pub fn starting(&mut self, index: usize, now: Timestamp) {
        self.members[index].starting_until = Some(now + STARTING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// Members by wave and dependencies.
    fn batch(limit: usize, stop: bool, members: &[(u64, &[usize])]) -> Stored {
        let member = |(i, (wave, on)): (usize, &(u64, &[usize]))| Member {
            id: format!("id{i}"),
            name: format!("n{i}"),
            wave: *wave,
            depends_on: on.to_vec(),
            made: true,
            started: false,
            starting_until: None,
            outcome: None,
            reason: None,
        };
        Stored {
            name: None,
            options: BatchOptions { parallel_limit: limit, stop_on_failure: stop, ..BatchOptions::default() },
            wanted: Wanted::Go,
            members: members.iter().enumerate().map(member).collect(),
            started_at: Some(at(0)),
            ended_at: None,
            author: None,
            asked_by: None,
        }
    }

    fn end(batch: &mut Stored, index: usize, outcome: Outcome) {
        batch.members[index].see(Seen::Ended(outcome, None));
        batch.skip();
    }

    #[test]
    fn never_more_than_the_limit() {
        let mut b = batch(2, false, &[(1, &[]), (1, &[]), (1, &[])]);
        assert_eq!(b.ready(at(0)), [0, 1]);
        b.starting(0, at(0));
        b.members[1].see(Seen::AtWork);
        assert_eq!(b.ready(at(1)), Vec::<usize>::new());
        assert_eq!(b.ready(at(60)), [0], "a start that never came to pass is tried again");
        end(&mut b, 1, Outcome::Completed);
        assert_eq!(b.ready(at(1)), [2]);
        b.wanted = Wanted::Pause;
        assert_eq!(b.ready(at(1)), Vec::<usize>::new());
    }

    #[test]
    fn waves_in_order_and_dependencies_before() {
        let mut b = batch(9, false, &[(2, &[]), (1, &[]), (1, &[1]), (2, &[1])]);
        assert_eq!(b.ready(at(0)), [1]);
        end(&mut b, 1, Outcome::Completed);
        assert_eq!(b.ready(at(0)), [2]);
        end(&mut b, 2, Outcome::Failed);
        assert_eq!(b.ready(at(0)), [0, 3], "a wave follows however the one before it ended");
        end(&mut b, 0, Outcome::Completed);
        end(&mut b, 3, Outcome::Completed);
        assert_eq!(b.status(), Status::Partial);
    }

    #[test]
    fn what_depends_on_a_failure_is_skipped_all_the_way() {
        let mut b = batch(9, false, &[(1, &[]), (1, &[0]), (1, &[1]), (1, &[])]);
        end(&mut b, 0, Outcome::Failed);
        let skipped: Vec<bool> = b.members.iter().map(|m| m.outcome == Some(Outcome::Skipped)).collect();
        assert_eq!(skipped, [false, true, true, false]);
        assert!(b.members[2].reason.as_ref().is_some_and(|r| r.message.contains("'n1'")));
        end(&mut b, 3, Outcome::Completed);
        assert_eq!(b.status(), Status::Partial);
    }

    #[test]
    fn a_failure_stops_the_batch_if_so_asked() {
        let mut b = batch(2, true, &[(1, &[]), (1, &[]), (1, &[])]);
        b.members[1].see(Seen::AtWork);
        end(&mut b, 0, Outcome::Failed);
        assert_eq!((b.members[1].outcome, b.members[2].outcome, b.status()), (None, Some(Outcome::Skipped), Status::Running));
        end(&mut b, 1, Outcome::Completed);
        assert_eq!(b.status(), Status::Failed);
    }

    #[test]
    fn how_it_ended() {
        use Outcome::{Cancelled, Completed, Failed};
        for (outcomes, wanted, status) in [
            ([Completed, Completed], Wanted::Go, Status::Completed),
            ([Completed, Completed], Wanted::Cancel, Status::Completed),
            ([Completed, Cancelled], Wanted::Cancel, Status::Cancelled),
            ([Completed, Cancelled], Wanted::Go, Status::Partial),
            ([Completed, Failed], Wanted::Go, Status::Partial),
            ([Failed, Failed], Wanted::Go, Status::Failed),
            ([Cancelled, Cancelled], Wanted::Go, Status::Cancelled),
        ] {
            let mut b = batch(2, false, &[(1, &[]), (1, &[])]);
            b.wanted = wanted;
            outcomes.into_iter().enumerate().for_each(|(i, o)| b.members[i].end(o, None));
            assert_eq!(b.status(), status, "{outcomes:?} {wanted:?}");
        }
        let mut b = batch(2, false, &[(1, &[])]);
        b.started_at = None;
        assert_eq!(b.status(), Status::Created);
        b.members[0].end(Completed, None);
        b.members[0].see(Seen::Ended(Failed, None));
        assert_eq!(b.members[0].outcome, Some(Completed), "the first end counts");
    }
}
