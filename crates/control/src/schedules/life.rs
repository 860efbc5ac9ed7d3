//! Making, looking at and removing schedules.

use super::stored::{self, ACTIVE, Rule, Schedule, Stored};
use super::{FIRING, FiringView, KIND, ScheduleDeleted, firings, request};
use crate::error::Code;
use crate::migrations::Spec;
use crate::templates::unchanged;
use crate::{Control, Error, Filter};
use engine::RunState;
use ports::records::{Record, RecordFilter, RecordsError, Write};
use serde_json::{Value, json};

/// Tries of a removal beside which firings come.
const TRIES: usize = 5;

impl Control {
    /// Schedules a migration, in place of a schedule that it had; says whether it had none. `expected`: the version of that one which the
    /// caller has read.
    pub async fn schedule(&self, tenant: &str, id: &str, body: &Value, expected: Option<u64>) -> Result<(Schedule, bool), Error> {
        let told = |e| Error::of_engine(e, id, "schedule");
        let view = self.steerable(tenant, id, "schedule").await?;
        let wanted = request::decode(body, view.now)?;
        let before = self.records().get(tenant, KIND, id).await?;
        match (&before, expected) {
            (Some(record), _) => unchanged(record, expected)?,
            (None, Some(_)) => return Err(RecordsError::Changed { kind: KIND.to_owned(), id: id.to_owned() }.into()),
            (None, None) => {}
        }
        match (&wanted.rule, wanted.auto_start) {
            (Rule::Datetime(at), true) => {
                let options = self.options_of(tenant, id, &wanted).await?;
                self.engine().schedule(tenant, id, *at, options).await.map_err(told)?;
            }
            (Rule::Datetime(_), false) if !matches!(view.state, RunState::Created | RunState::Scheduled) => {
                return Err(told(engine::EngineError::Conflict { id: id.to_owned(), state: view.state, message: "it has been started already".to_owned() }));
            }
            _ if view.state == RunState::Scheduled => drop(self.engine().unschedule(tenant, id).await.map_err(told)?),
            _ => {}
        }
        let fields = wanted.fields(ACTIVE)?;
        let write = before.as_ref().map_or_else(|| Write::insert(tenant, KIND, id, fields.clone()), |record| Write::update(record, fields.clone()));
        let made = self.records().apply(vec![write]).await?;
        let record = made.first().ok_or_else(|| Error::internal("a schedule was written, and no record came back"))?;
        Ok((stored::view(record)?, before.is_none()))
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`, `cursor`.
    pub async fn schedules(&self, tenant: &str, mut query: Filter) -> Result<Vec<Schedule>, Error> {
        let filter = query.page().filter();
        query.done()?;
        self.records().list(tenant, KIND, &filter).await?.iter().map(stored::view).collect()
    }

    pub async fn schedule_of(&self, tenant: &str, id: &str) -> Result<Schedule, Error> {
        stored::view(&self.schedule_record(tenant, id).await?)
    }

    /// When a cron schedule came, newest first, and what became of it. Parameters as for [`Control::schedules`].
    pub async fn firings(&self, tenant: &str, id: &str, mut query: Filter) -> Result<Vec<FiringView>, Error> {
        let filter = RecordFilter { parent: Some(id.to_owned()), ..query.page().filter() };
        query.done()?;
        self.schedule_record(tenant, id).await?;
        self.records().list(tenant, FIRING, &filter).await?.iter().map(firings::view).collect()
    }

    /// The migration stays, and those that were made from it. `expected`: the version that the caller has read.
    pub async fn unschedule(&self, tenant: &str, id: &str, expected: Option<u64>) -> Result<ScheduleDeleted, Error> {
        let record = self.schedule_record(tenant, id).await?;
        unchanged(&record, expected)?;
        match self.steerable(tenant, id, "take off the schedule").await {
            Err(error) if error.code != Code::MigrationNotFound => return Err(error),
            _ => {}
        }
        let told = |e| Error::of_engine(e, id, "take off the schedule");
        match self.engine().get(tenant, id).await {
            Ok(view) if view.state == RunState::Scheduled => drop(self.engine().unschedule(tenant, id).await.map_err(told)?),
            Ok(_) | Err(engine::EngineError::NotFound(_)) => {}
            Err(error) => return Err(told(error)),
        }
        self.forget_schedule(tenant, id).await?;
        Ok(ScheduleDeleted { session_id: id.to_owned(), status: "deleted" })
    }

    /// Removes what a migration's schedule left behind, if it had one.
    pub(crate) async fn forget_schedule(&self, tenant: &str, id: &str) -> Result<(), Error> {
        for tried in 1.. {
            let Some(record) = self.records().get(tenant, KIND, id).await? else { return Ok(()) };
            let filter = RecordFilter { parent: Some(id.to_owned()), ..RecordFilter::default() };
            let mut writes: Vec<Write> = self.records().list(tenant, FIRING, &filter).await?.iter().map(Write::delete).collect();
            writes.push(Write::delete(&record));
            match self.records().apply(writes).await {
                Ok(_) => return Ok(()),
                Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) if tried < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What a scheduled start hands to the steps.
    pub(super) async fn options_of(&self, tenant: &str, id: &str, wanted: &Stored) -> Result<Value, Error> {
        let document = self.engine().input(tenant, id).await.map_err(|e| Error::of_engine(e, id, "read"))?;
        let mut options = options(&self.decode_any(&document)?, wanted);
        options[crate::author::OPTION] = json!(wanted.author);
        Ok(self.traced(options))
    }

    async fn schedule_record(&self, tenant: &str, id: &str) -> Result<Record, Error> {
        self.records().get(tenant, KIND, id).await?.ok_or_else(|| Error::not_found(KIND, id))
    }
}

pub(super) fn options(spec: &Spec, wanted: &Stored) -> Value {
    json!({"auto_rollback": spec.safety().rollback_on_failure, "send_notifications": true, "notify_on_completion": wanted.on_completion})
}
