//! One owner per destination: while a run writes, nobody else does, whatever they call the place and whichever server drives them.
//!
//! ```text
//! step ──► acquire: database: the server's own lock (ends with the process)      ──► the step ──► … ──► finish, pause, end of undo: release
//!                   files:    a mark in the root, renewed, taken over when expired       └─ the place is lost: the step ends, and is tried again
//! ```
//! What never was ours is not undone: who was refused has written nothing. A root or a bucket that does not exist yet is acquired by the
//! next step, after it was made.

use super::job::Job;
use super::mark_lease::MarkLease;
use crate::adapters::{StepResult, failed, step_error};
use crate::place_history;
use engine::{Presence, Step, StepContext, StepError};
use ports::ErrorKind;
use ports::databases::Database;
use ports::place::PlaceLock;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often a held place is looked after.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(20);
/// How long the end of the run's own earlier session is waited for.
const OWN_SESSION_WAIT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Characters of the tenant's proof: with a run's id it fits into the name of a PostgreSQL session.
const PROOF_LENGTH: usize = 10;

/// Note: the run was let in, also where nothing can be held; from then on it may have written.
const ADMITTED: &str = "place.admitted";

/// Which part of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Files,
    Database,
}

impl Part {
    /// Note: the run has owned it, so there may be something to undo.
    fn note(self) -> &'static str {
        match self {
            Self::Files => "place.files",
            Self::Database => "place.database",
        }
    }
}

/// Who holds a place: the run, and a proof of its tenant that tells nothing to others.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    tenant: String,
    pub text: String,
}

impl Holder {
    fn of(cx: &StepContext) -> Self {
        Self { tenant: cx.tenant().to_owned(), text: format!("{} {}", cx.run_id(), proof(cx.tenant(), cx.run_id())) }
    }

    /// Why the place cannot be had; names the other run to its own tenant alone.
    pub(super) fn refused(&self, other: &str, location: &str) -> StepError {
        let known = other.split_once(' ').filter(|(run, theirs)| *theirs == proof(&self.tenant, run));
        let message = match known {
            Some((run, _)) => format!("Another migration ({run}) is writing to {location}"),
            None => format!("Another migration has the place {location}"),
        };
        failed(ErrorKind::AlreadyExists, message, "Wait until it has ended, then start again")
    }
}

fn proof(tenant: &str, run: &str) -> String {
    blake3::hash(format!("{tenant}\0{run}").as_bytes()).to_hex()[..PROOF_LENGTH].to_owned()
}

enum Held {
    Files(MarkLease),
    Database(Box<dyn PlaceLock>),
}

impl Held {
    fn part(&self) -> Part {
        match self {
            Self::Files(_) => Part::Files,
            Self::Database(_) => Part::Database,
        }
    }

    /// Whether it is still ours; renews it.
    async fn renew(&self) -> bool {
        match self {
            Self::Files(lease) => lease.renew().await,
            Self::Database(lock) => lock.is_held().await,
        }
    }

    async fn release(&self) {
        match self {
            Self::Files(lease) => lease.release().await,
            Self::Database(lock) => lock.release().await,
        }
    }
}

/// What a run holds of its destination.
#[derive(Default)]
struct Ownership {
    held: Arc<Mutex<Vec<Held>>>,
    watch: Mutex<Option<(CancellationToken, AbortOnDropHandle<()>)>>,
}

impl Ownership {
    /// Holds all parts that exist; of a run that is undone, those that it has owned. The token is cancelled when one is lost.
    async fn acquire(&self, job: &Job, cx: &StepContext, undoing: bool) -> StepResult<CancellationToken> {
        let doors = job.destination(cx).await?;
        let holder = Holder::of(cx);
        let mut held = self.held.lock().await;
        let known = held.len();
        for part in [Part::Files, Part::Database] {
            if held.iter().any(|h| h.part() == part) || (undoing && cx.recall(part.note()).await?.is_none()) {
                continue;
            }
            let taken = match part {
                Part::Files => match &doors.files {
                    Some(files) => MarkLease::take(files, &holder, cx.stopping()).await.map(|lease| lease.map(Held::Files)),
                    None => Ok(None),
                },
                Part::Database => match &doors.database {
                    Some(database) => lock(database.as_ref(), &holder, cx.stopping()).await.map(|lock| lock.map(Held::Database)),
                    None => Ok(None),
                },
            };
            match taken {
                Ok(taken) => held.extend(taken),
                Err(error) => {
                    for new in held.drain(known..) {
                        new.release().await;
                    }
                    return Err(error);
                }
            }
        }
        for new in &held[known..] {
            cx.remember(new.part().note(), Some(json!(true))).await?;
        }
        if !undoing {
            cx.remember(ADMITTED, Some(json!(true))).await?;
        }
        let new = held.len() > known;
        drop(held);
        if new && !undoing {
            let at = job.site().await?.destination_database_at.as_ref();
            let places = place_history::places(&job.spec, doors.files.as_deref(), doors.database.as_deref(), at).await;
            place_history::wrote(&job.settings.backups_dir, cx.run_id(), places).await.map_err(step_error)?;
        }
        Ok(self.watched().await)
    }

    /// Looks after what is held until it is released.
    async fn watched(&self) -> CancellationToken {
        let mut watch = self.watch.lock().await;
        if let Some((lost, _)) = watch.as_ref().filter(|(lost, task)| !lost.is_cancelled() && !task.is_finished()) {
            return lost.clone();
        }
        let lost = CancellationToken::new();
        let (told, held) = (lost.clone(), self.held.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL_INTERVAL).await;
                let mut held = held.lock().await;
                let mut gone = Vec::new();
                for (at, part) in held.iter().enumerate() {
                    if !part.renew().await {
                        gone.push(at);
                    }
                }
                if !gone.is_empty() {
                    // The next attempt asks for it anew.
                    gone.iter().rev().for_each(|at| drop(held.remove(*at)));
                    return told.cancel();
                }
            }
        });
        *watch = Some((lost.clone(), AbortOnDropHandle::new(task)));
        lost
    }

    async fn release(&self, only: Option<Part>) {
        let mut held = self.held.lock().await;
        let (go, stay): (Vec<Held>, Vec<Held>) = held.drain(..).partition(|h| only.is_none_or(|part| h.part() == part));
        *held = stay;
        drop(held);
        for part in go {
            part.release().await;
        }
    }
}

/// The lock of a database's owner. It exists in the server, so also while the database does not.
async fn lock(database: &dyn Database, holder: &Holder, stop: &CancellationToken) -> StepResult<Option<Box<dyn PlaceLock>>> {
    let Some(place) = database.place() else { return Ok(None) };
    // Servers that fold names fold them to small letters; a file's lock stands beside the file.
    let name = match database.engine() {
        domain::spec::DatabaseEngine::MySql => format!("owner/{}", database.name().to_lowercase()),
        domain::spec::DatabaseEngine::Sqlite => "owner".to_owned(),
        _ => format!("owner/{}", database.name()),
    };
    let patience = Instant::now() + OWN_SESSION_WAIT;
    loop {
        match place.lock(&name, &holder.text).await {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) => {}
            // Its directory does not exist, or the server has no such locks.
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Unsupported) => return Ok(None),
            Err(e) => return Err(step_error(e)),
        }
        let other = place.holder(&name).await.map_err(step_error)?;
        // Between two statements a session shows nothing of its holder.
        let ending = other.as_ref().is_none_or(|other| other.is_empty() || *other == holder.text);
        if !ending || Instant::now() >= patience {
            return Err(holder.refused(&other.unwrap_or_default(), &database.location()));
        }
        tokio::select! {
            () = stop.cancelled() => return Err(StepError::stopped()),
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

/// A step that writes only while its run owns the destination.
struct OwnedStep {
    inner: Arc<dyn Step>,
    job: Arc<Job>,
    ownership: Arc<Ownership>,
}

/// The steps that write, from the first on; `finish` gives the place back.
pub(super) fn owned(job: &Arc<Job>, steps: Vec<Arc<dyn Step>>) -> Vec<Arc<dyn Step>> {
    let ownership = Arc::new(Ownership::default());
    let own = |inner: Arc<dyn Step>| Arc::new(OwnedStep { inner, job: job.clone(), ownership: ownership.clone() }) as Arc<dyn Step>;
    steps.into_iter().map(|step| if matches!(step.name(), "validate" | "backup") { step } else { own(step) }).collect()
}

#[async_trait::async_trait]
impl Step for OwnedStep {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn title(&self) -> &'static str {
        self.inner.title()
    }

    fn version(&self) -> u32 {
        self.inner.version()
    }

    async fn run(&self, cx: &StepContext) -> Result<Value, StepError> {
        let lost = self.ownership.acquire(&self.job, cx, false).await?;
        let done = tokio::select! {
            done = self.inner.run(cx) => done,
            () = lost.cancelled() => Err(place_lost()),
        };
        if self.name() == "finish" && done.is_ok() {
            self.ownership.release(None).await;
        }
        done
    }

    async fn undo(&self, cx: &StepContext, output: Option<&Value>) -> Result<(), StepError> {
        let mut owned = false;
        for note in [ADMITTED, Part::Files.note(), Part::Database.note()] {
            owned |= cx.recall(note).await?.is_some();
        }
        // Before this version nobody asked for a place; a step that is done has written.
        if !owned && output.is_none() {
            return Ok(());
        }
        if place_history::newer_run(&self.job.settings.backups_dir, cx.run_id()).await.map_err(step_error)?.is_some() {
            let message = "A newer migration has written to the same destination since";
            return Err(failed(ErrorKind::AlreadyExists, message, "Roll that one back first, then try again"));
        }
        let lost = self.ownership.acquire(&self.job, cx, true).await?;
        if self.name() == "prepare" {
            // The root goes when it is empty, so our mark must be gone by then. All of its files are taken back.
            self.ownership.release(Some(Part::Files)).await;
        }
        let undone = tokio::select! {
            undone = self.inner.undo(cx, output) => undone,
            () = lost.cancelled() => Err(place_lost()),
        };
        if self.name() == "prepare" && undone.is_ok() {
            place_history::taken_back(&self.job.settings.backups_dir, cx.run_id()).await.map_err(step_error)?;
            self.ownership.release(None).await;
        }
        undone
    }

    async fn probe(&self, cx: &StepContext) -> Result<Presence, StepError> {
        self.inner.probe(cx).await
    }

    async fn stand_down(&self, cx: &StepContext) -> Result<(), StepError> {
        self.inner.stand_down(cx).await?;
        if self.name() == "prepare" {
            self.ownership.release(None).await;
        }
        Ok(())
    }
}

fn place_lost() -> StepError {
    StepError::temporary("interrupted", "The destination's lock was lost, so somebody else could write there; it is asked for again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_tenant_is_told_the_other_run() {
        let holder = Holder { tenant: "acme".to_owned(), text: String::new() };
        let told = |other: &str| holder.refused(other, "sqlite:/x").message;
        assert!(told(&format!("run-1 {}", proof("acme", "run-1"))).contains("(run-1)"));
        for foreign in [format!("run-1 {}", proof("other", "run-1")), String::new(), "run-1".to_owned()] {
            let message = told(&foreign);
            assert!(message.contains("Another migration has the place sqlite:/x") && !message.contains("run-1"), "{message}");
        }
    }
}
