//! One receiver and one migration: what waits, in order, and when the next may go. Pure; the records are somebody else's.

use crate::Error;
use jiff::{SignedDuration, Timestamp};
use ports::records::Record;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;

/// The records' kind.
pub(crate) const LANE: &str = "lane";
/// A receiver hears of a migration's progress at most this often.
const PROGRESS_EVERY: SignedDuration = SignedDuration::from_secs(5);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lane {
    /// Whose share of the senders its deliveries use: a webhook's id, or the lane's own.
    pub receiver: String,
    /// Ids of deliveries that have not arrived, in the order in which they go.
    pub queue: VecDeque<String>,
    /// The one that is on its way, or was when its server died.
    pub sending: Option<String>,
    /// The one among them that tells of progress and may still be replaced.
    pub progress: Option<String>,
    pub last_progress: Option<Timestamp>,
}

/// What became of the first in the queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    /// Delivered or dead.
    Over {
        was_progress: bool,
    },
    Again {
        at: Timestamp,
    },
}

impl Lane {
    pub fn of(record: &Record) -> Result<Self, Error> {
        serde_json::from_value(record.body.clone()).map_err(|e| Error::internal(format!("lane {} cannot be read: {e}", record.id)))
    }

    pub fn value(&self) -> Result<Value, Error> {
        serde_json::to_value(self).map_err(|e| Error::internal(format!("a lane cannot be stored: {e}")))
    }

    /// Appends a delivery. Answers the one that it replaces, and when the lane is due if that changes.
    pub fn push(&mut self, id: &str, is_progress: bool, now: Timestamp) -> (Option<String>, Option<Timestamp>) {
        let was_empty = self.queue.is_empty();
        let mut replaced = None;
        if is_progress {
            replaced = self.progress.take().filter(|old| self.sending.as_ref() != Some(old) && self.queue.contains(old));
            if let Some(old) = &replaced {
                self.queue.retain(|queued| queued != old);
            }
            self.progress = Some(id.to_owned());
        }
        self.queue.push_back(id.to_owned());
        (replaced, was_empty.then(|| self.ready(now)))
    }

    /// What to do next and when, after the first delivery's fate. `None`: nothing waits.
    pub fn settle(&mut self, id: &str, fate: Fate, now: Timestamp) -> Option<Timestamp> {
        self.sending = None;
        match fate {
            Fate::Again { at } => return Some(at.max(now)),
            Fate::Over { was_progress } => {
                self.queue.retain(|queued| queued != id);
                if self.progress.as_deref() == Some(id) {
                    self.progress = None;
                }
                if was_progress {
                    self.last_progress = Some(now);
                }
            }
        }
        (!self.queue.is_empty()).then(|| self.ready(now))
    }

    /// When the first in the queue may go.
    fn ready(&self, now: Timestamp) -> Timestamp {
        let waits = self.progress.is_some() && self.queue.front() == self.progress.as_ref();
        let earliest = self.last_progress.filter(|_| waits).map(|last| last + PROGRESS_EVERY);
        earliest.map_or(now, |e| e.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    const OVER: Fate = Fate::Over { was_progress: false };

    #[test]
    fn one_after_the_other_in_order() {
        let mut lane = Lane::default();
        assert_eq!(lane.push("a", false, at(0)), (None, Some(at(0))));
        assert_eq!(lane.push("b", false, at(1)), (None, None), "the first one decides when");
        lane.sending = Some("a".to_owned());
        assert_eq!(lane.settle("a", Fate::Again { at: at(9) }, at(2)), Some(at(9)));
        assert_eq!(lane.queue, ["a", "b"], "the later one waits for the earlier one");
        assert_eq!(lane.settle("a", OVER, at(9)), Some(at(9)));
        assert_eq!(lane.settle("b", OVER, at(9)), None);
    }

    #[test]
    fn newer_progress_replaces_what_has_not_left_yet() {
        let mut lane = Lane::default();
        assert_eq!(lane.push("p1", true, at(0)), (None, Some(at(0))));
        lane.sending = Some("p1".to_owned());
        assert_eq!(lane.push("p2", true, at(1)), (None, None), "p1 is on its way");
        assert_eq!(lane.push("p3", true, at(1)), (Some("p2".to_owned()), None));
        assert_eq!(lane.settle("p1", Fate::Over { was_progress: true }, at(2)), Some(at(7)), "not before five seconds are over");
        assert_eq!(lane.queue, ["p3"]);
        assert_eq!(lane.push("p4", true, at(3)), (Some("p3".to_owned()), None));
        assert_eq!(lane.push("done", false, at(4)), (None, None));
        assert_eq!(lane.settle("p4", Fate::Over { was_progress: true }, at(7)), Some(at(7)));
        assert_eq!(lane.queue, ["done"]);
    }
}
