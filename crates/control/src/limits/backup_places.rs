//! Places for backups: a start takes one before its backup is there, so that starts of the same moment do not share the last one.
//!
//! The places that are taken stand in one record of the tenant; of two that write it at once the second reads it again. A place is given back by
//! itself: when the backup is there, when its migration has ended, and after a while when the start never came.

use super::quotas::refuse_over;
use crate::error::{Code, Kind};
use crate::{Control, Error};
use engine::{EngineError, RunState};
use jiff::{SignedDuration, Timestamp};
use ports::records::{Fields, RecordsError, SYSTEM, Write};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const KIND: &str = "backup_places";
/// How long a place is kept for a start that is being checked.
const CHECKING: SignedDuration = SignedDuration::from_mins(2);
/// Tries to write the record, of as many starts at once.
const TRIES: usize = 64;

/// When each migration took its place.
type Places = BTreeMap<String, Timestamp>;

impl Control {
    /// Takes a place for the backup of `run`, or refuses. Repeatable.
    pub(super) async fn take_backup_place(&self, tenant: &str, run: &str, limit: u32) -> Result<(), Error> {
        for _ in 0..TRIES {
            let record = self.records().get(SYSTEM, KIND, tenant).await?;
            let taken = record.as_ref().map(|r| serde_json::from_value(r.body.clone()).unwrap_or_default()).unwrap_or_default();
            let mut taken = self.still_taken(tenant, taken).await?;
            // Read behind the places: a backup that has just been made is counted, here or there.
            let stored = self.backups(tenant).await?;
            let owners: BTreeSet<&str> = stored.iter().map(|b| b.session_id.as_str()).collect();
            taken.retain(|id, _| id != run && !owners.contains(id.as_str()));
            refuse_over("stored_backups", (stored.len() + taken.len()) as u64, limit, "backups; delete one, or ask for more")?;
            taken.insert(run.to_owned(), Timestamp::now());
            let fields = Fields::body(json!(taken));
            let write = record.map_or_else(|| Write::insert(SYSTEM, KIND, tenant, fields.clone()), |r| Write::update(&r, fields.clone()));
            match self.records().apply(vec![write]).await {
                Err(RecordsError::Changed { .. } | RecordsError::Taken { .. }) => {}
                other => return other.map(drop).map_err(Error::from),
            }
        }
        let message = "Too many migrations of this tenant are started at once; the same request may succeed in a moment";
        Err(Error::new(Kind::Unavailable, Code::Unavailable, message))
    }

    /// The places of migrations that may still make their backup.
    async fn still_taken(&self, tenant: &str, places: Places) -> Result<Places, Error> {
        let mut taken = Places::new();
        for (id, at) in places {
            let waits = at + CHECKING > Timestamp::now();
            let holds = match self.engine().get(tenant, &id).await {
                Ok(view) => match view.state {
                    RunState::Running | RunState::Paused => true,
                    RunState::Created | RunState::Scheduled => waits,
                    _ => false,
                },
                Err(EngineError::NotFound(_)) => false,
                Err(error) => return Err(Error::of_engine(error, &id, "look at")),
            };
            if holds {
                taken.insert(id, at);
            }
        }
        Ok(taken)
    }
}
