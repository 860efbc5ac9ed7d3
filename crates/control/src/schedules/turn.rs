//! What is done about a schedule when it is due: receivers are told, firings are written down, the next time is found.

use super::stored::{ACTIVE, CatchUp, DONE, DUE, Rule, Stored};
use super::{FIRING, KIND, firings};
use crate::{Control, Error};
use engine::{EngineError, RunState};
use jiff::{SignedDuration, Timestamp};
use ports::records::{Record, RecordsError, Write};
use std::time::Duration;

/// How long a schedule that is being looked at is left alone by others.
const HOLD: Duration = Duration::from_secs(30);
/// Schedules of one look.
const PAGE: u32 = 64;
/// Times of one schedule that one look makes up for; the next look does the rest.
const MISSED: usize = 200;
/// How late a time may be and still is on time.
const ON_TIME: SignedDuration = SignedDuration::from_secs(60);

impl Control {
    /// Looks once at every schedule that is due; gives how many there were. `now` stands in for the store's clock in tests.
    pub async fn turn_schedules(&self, now: Option<Timestamp>) -> Result<usize, Error> {
        let due = self.records().take_due(KIND, PAGE, HOLD, now).await?;
        for record in &due {
            if let Err(error) = self.turn_schedule(record).await {
                self.pass_over(KIND, &record.tenant, &record.id, error).await;
            }
        }
        Ok(due.len())
    }

    async fn turn_schedule(&self, record: &Record) -> Result<(), Error> {
        // When it was taken, by the store's clock.
        let now = record.due_at.map_or_else(Timestamp::now, |due| due - HOLD);
        let mut schedule = Stored::of(record)?;
        let mut writes = Vec::new();
        let state = match schedule.next {
            None => DONE,
            Some(_) if self.was_overtaken(record, &schedule).await? => {
                schedule.next = None;
                DONE
            }
            Some(next) if next > now => {
                self.tell_before(record, &mut schedule, next, now).await?;
                ACTIVE
            }
            Some(next) => come(record, &mut schedule, next, now, &mut writes)?,
        };
        writes.insert(0, Write::update(record, schedule.fields(state)?));
        match self.records().apply(writes).await {
            // Somebody has changed the schedule meanwhile, or another server was faster.
            Ok(_) | Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn tell_before(&self, record: &Record, schedule: &mut Stored, next: Timestamp, now: Timestamp) -> Result<(), Error> {
        if schedule.tell_at().is_some_and(|at| at <= now) {
            self.notify_before_start(&record.tenant, &record.id, next).await?;
            schedule.told = Some(next);
        }
        Ok(())
    }

    /// Whether the engine would not start it any more: somebody has started, cancelled or deleted it before.
    async fn was_overtaken(&self, record: &Record, schedule: &Stored) -> Result<bool, Error> {
        if !matches!(schedule.rule, Rule::Datetime(_)) {
            return Ok(false);
        }
        match self.engine().get(&record.tenant, &record.id).await {
            Ok(view) if schedule.auto_start => Ok(view.state != RunState::Scheduled),
            Ok(view) => Ok(view.state != RunState::Created),
            Err(EngineError::NotFound(_)) => Ok(true),
            Err(error) => Err(Error::of_engine(error, &record.id, "look at")),
        }
    }
}

/// Its time has come: the firings, the next time, and the state that follows.
fn come(record: &Record, schedule: &mut Stored, next: Timestamp, now: Timestamp, writes: &mut Vec<Write>) -> Result<&'static str, Error> {
    if matches!(schedule.rule, Rule::Datetime(_)) {
        (schedule.last, schedule.next) = (Some(next), None);
        return Ok(if schedule.auto_start { DONE } else { DUE });
    }
    let times = missed(schedule, next, now)?;
    let last = times.last().copied().unwrap_or(next);
    for at in times.into_iter().filter(|at| schedule.catch_up != CatchUp::None || now.duration_since(*at) <= ON_TIME) {
        writes.push(Write::insert(&record.tenant, FIRING, &firings::id(&record.id, at), firings::new(&record.id, at)?));
    }
    schedule.last = Some(last);
    schedule.next = schedule.after(last)?;
    Ok(if schedule.next.is_some() { ACTIVE } else { DONE })
}

/// The times up to `now` that something is to be done about.
fn missed(schedule: &Stored, next: Timestamp, now: Timestamp) -> Result<Vec<Timestamp>, Error> {
    if schedule.catch_up != CatchUp::All {
        return Ok(vec![latest(schedule, next, now)?]);
    }
    let mut times = vec![next];
    while times.len() < MISSED
        && let Some(at) = schedule.after(times[times.len() - 1])?.filter(|at| *at <= now)
    {
        times.push(at);
    }
    Ok(times)
}

/// The last time up to `now`, at least `next`. Looked for backwards in growing strides: there may be a year of minutes in between.
fn latest(schedule: &Stored, next: Timestamp, now: Timestamp) -> Result<Timestamp, Error> {
    let mut stride = ON_TIME;
    loop {
        let from = now.checked_sub(stride).unwrap_or(next).max(next);
        let mut found = if from == next { Some(next) } else { None };
        while let Some(at) = schedule.after(found.unwrap_or(from))?.filter(|at| *at <= now) {
            found = Some(at);
        }
        if let Some(found) = found {
            return Ok(found);
        }
        stride = stride.saturating_mul(4);
    }
}
