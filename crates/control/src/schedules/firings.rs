//! Firings: what a cron schedule's time leads to. Each makes one migration, under an id chosen when the firing was written down.

use super::stored::{Overlap, Stored};
use super::{FIRING, KIND, life};
use crate::caller::Caller;
use crate::error::{Code, Kind};
use crate::{Control, Error, time};
use engine::{EngineError, RunState};
use jiff::{SignedDuration, Timestamp};
use ports::records::{AuditEntry, Fields, Record, RecordFilter, RecordsError, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use utoipa::ToSchema;

/// How long a firing that is being carried out is left alone by others.
const HOLD: Duration = Duration::from_mins(1);
const PAGE: u32 = 32;
/// When a firing that has to wait is looked at again.
const WAIT: SignedDuration = SignedDuration::from_secs(5);
/// How long what became of a firing is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

const PENDING: &str = "pending";
const STARTED: &str = "started";
/// Its migration was started, and has ended since.
const ENDED: &str = "ended";
const CREATED: &str = "created";
const SKIPPED: &str = "skipped";
const FAILED: &str = "failed";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Firing {
    at: Timestamp,
    run: String,
    error: Option<String>,
}

/// What became of a schedule's time.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FiringView {
    /// UTC.
    #[schema(example = "2024-08-27T02:00:00.000000")]
    pub scheduled_for: String,
    /// `pending`, `started`, `ended`, `created` (somebody has to start it), `skipped` (the one before was still at work), `failed`.
    #[schema(example = "started")]
    pub status: String,
    /// The migration that was made.
    pub session_id: Option<String>,
    pub error: Option<String>,
    /// What `cursor` continues behind.
    pub id: String,
}

/// Sorts by schedule and time.
pub(super) fn id(schedule: &str, at: Timestamp) -> String {
    format!("{schedule}.{:020}", at.as_microsecond())
}

pub(super) fn new(schedule: &str, at: Timestamp) -> Result<Fields, Error> {
    let run = uuid::Uuid::now_v7().simple().to_string();
    Ok(Fields::body(body(&Firing { at, run, error: None })?).parent(schedule).state(PENDING).due(Some(at)))
}

fn body(firing: &Firing) -> Result<Value, Error> {
    serde_json::to_value(firing).map_err(|e| Error::internal(format!("a firing cannot be stored: {e}")))
}

fn read(record: &Record) -> Result<Firing, Error> {
    serde_json::from_value(record.body.clone()).map_err(|e| Error::internal(format!("firing {} cannot be read: {e}", record.id)))
}

pub(super) fn view(record: &Record) -> Result<FiringView, Error> {
    let firing = read(record)?;
    let status = record.state.clone().unwrap_or_default();
    let made = [STARTED, ENDED, CREATED].contains(&status.as_str());
    Ok(FiringView { scheduled_for: time::text(firing.at), session_id: made.then_some(firing.run), error: firing.error, status, id: record.id.clone() })
}

/// What is to be done with a firing that may be carried out.
enum Verdict {
    Go,
    Wait,
    Skip,
}

impl Control {
    /// Carries out the firings that are due; gives how many were looked at. `now` stands in for the store's clock in tests.
    pub async fn turn_firings(&self, now: Option<Timestamp>) -> Result<usize, Error> {
        let due = self.records().take_due(FIRING, PAGE, HOLD, now).await?;
        for record in &due {
            if let Err(error) = self.turn_firing(record).await {
                self.pass_over(FIRING, &record.tenant, &record.id, error).await;
            }
        }
        Ok(due.len())
    }

    async fn turn_firing(&self, record: &Record) -> Result<(), Error> {
        if record.state.as_deref() != Some(PENDING) {
            return self.write_unless_overtaken(Write::delete(record)).await;
        }
        let firing = read(record)?;
        let parent = record.parent.as_deref().unwrap_or_default();
        let Some(schedule) = self.records().get(&record.tenant, KIND, parent).await? else {
            return self.settle_firing(record, firing, SKIPPED, Some("The schedule was deleted".to_owned())).await;
        };
        let schedule = Stored::of(&schedule)?;
        match self.verdict(record, &schedule).await? {
            Verdict::Wait => self.put_off(record).await,
            Verdict::Skip => self.settle_firing(record, firing, SKIPPED, Some("The one before had not ended".to_owned())).await,
            Verdict::Go => match self.carry_out_for_author(record, parent, &firing, &schedule).await {
                Ok(state) => self.settle_firing(record, firing, state, None).await,
                Err(error) if matches!(error.kind, Kind::TooMany) => self.put_off_saying(record, firing, error.message).await,
                // Another node may do what this one cannot: it may have the key, or the time zone.
                Err(error) if matches!(error.kind, Kind::Unavailable | Kind::Internal) || error.code == Code::InvalidRequest => Err(error),
                Err(error) => self.settle_firing(record, firing, FAILED, Some(error.message)).await,
            },
        }
    }

    /// What the firings before this one leave to do.
    async fn verdict(&self, record: &Record, schedule: &Stored) -> Result<Verdict, Error> {
        if schedule.overlap == Overlap::Allow {
            return Ok(Verdict::Go);
        }
        let states = [PENDING, STARTED].map(str::to_owned).to_vec();
        let filter = RecordFilter { parent: record.parent.clone(), states, newest_first: true, after: Some(record.id.clone()), ..RecordFilter::default() };
        for before in self.records().list(&record.tenant, FIRING, &filter).await? {
            if before.state.as_deref() == Some(PENDING) {
                return Ok(Verdict::Wait);
            }
            if !self.has_ended(&before).await? {
                return Ok(if schedule.overlap == Overlap::Queue { Verdict::Wait } else { Verdict::Skip });
            }
            self.write_unless_overtaken(Write::update(&before, Fields::default().state(ENDED))).await?;
        }
        Ok(Verdict::Go)
    }

    async fn has_ended(&self, firing: &Record) -> Result<bool, Error> {
        let run = read(firing)?.run;
        match self.engine().get(&firing.tenant, &run).await {
            Ok(view) => Ok(view.state.is_end()),
            Err(EngineError::NotFound(_)) => Ok(true),
            Err(error) => Err(Error::of_engine(error, &run, "look at")),
        }
    }

    /// Makes the migration and starts it, as far as the schedule's author may do so now.
    async fn carry_out_for_author(&self, record: &Record, model: &str, firing: &Firing, schedule: &Stored) -> Result<&'static str, Error> {
        let author = self.author_of_start(schedule.author.as_ref(), &record.tenant).await?;
        author.acting(self.carry_out(record, model, firing, schedule)).await
    }

    /// Makes the migration and starts it. Repeatable.
    async fn carry_out(&self, record: &Record, model: &str, firing: &Firing, schedule: &Stored) -> Result<&'static str, Error> {
        let tenant = &record.tenant;
        let mut document = self.engine().input(tenant, model).await.map_err(|e| Error::of_engine(e, model, "read"))?;
        let name = self.decode_any(&document)?.name().to_owned();
        document["name"] = json!(format!("{name} {}", schedule.zone()?.to_datetime(firing.at).strftime("%Y-%m-%d %H:%M")));
        let spec = self.decode_any(&document)?;
        let made = async {
            match self.create_as(tenant, &firing.run, document, &spec).await {
                // Before a crash, or by a server that was thought dead.
                Err(EngineError::Invalid(_)) if self.engine().get(tenant, &firing.run).await.is_ok() => Ok(()),
                other => other.map(drop).map_err(|e| Error::of_engine(e, &firing.run, "create")),
            }
        };
        self.as_system(entry(record, "create_migration", &firing.run), made).await?;
        if !schedule.auto_start {
            return Ok(CREATED);
        }
        self.room_to_start(tenant, &firing.run, spec.safety().backup_before).await?;
        let start = async {
            match self.engine().start(tenant, &firing.run, self.traced(life::options(&spec, schedule))).await {
                Ok(_) | Err(EngineError::Conflict { state: RunState::Running | RunState::Completed | RunState::Failed, .. }) => Ok(()),
                Err(error) => Err(Error::of_engine(error, &firing.run, "start")),
            }
        };
        self.as_system(entry(record, "start_migration", &firing.run), start).await?;
        Ok(STARTED)
    }

    async fn settle_firing(&self, record: &Record, firing: Firing, state: &str, error: Option<String>) -> Result<(), Error> {
        let due = now(record).checked_add(KEPT).ok();
        let fields = Fields::body(body(&Firing { error, ..firing })?).state(state).due(due);
        self.write_unless_overtaken(Write::update(record, fields)).await
    }

    async fn put_off(&self, record: &Record) -> Result<(), Error> {
        self.write_unless_overtaken(Write::update(record, Fields::default().due(Some(now(record) + WAIT)))).await
    }

    /// It waits for room, and says so.
    async fn put_off_saying(&self, record: &Record, firing: Firing, why: String) -> Result<(), Error> {
        let fields = Fields::body(body(&Firing { error: Some(why), ..firing })?).due(Some(now(record) + WAIT));
        self.write_unless_overtaken(Write::update(record, fields)).await
    }

    /// A write that somebody else may have made needless.
    async fn write_unless_overtaken(&self, write: Write) -> Result<(), Error> {
        match self.records().apply(vec![write]).await {
            Ok(_) | Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// When it was taken, by the store's clock.
fn now(record: &Record) -> Timestamp {
    record.due_at.map_or_else(Timestamp::now, |due| due - HOLD)
}

fn entry(record: &Record, action: &str, run: &str) -> AuditEntry {
    let system = Caller::system(&record.tenant);
    AuditEntry {
        tenant: system.tenant,
        actor: system.name,
        proof: system.proof.word().to_owned(),
        action: action.to_owned(),
        target: format!("migrations/{run}"),
        source: "local".to_owned(),
        details: json!({"schedule_of": record.parent}),
        ..AuditEntry::default()
    }
}
