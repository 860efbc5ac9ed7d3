//! Lists of migrations, and one migration with its configuration.

use super::status::Problem;
use super::steps::{self, Step};
use super::{label, status, totals};
use crate::workloads::{self, TestClone, WorkloadMigration};
use crate::{Control, Error, Filter, time};
use engine::{RunFilter, RunLine, RunState, RunView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use utoipa::ToSchema;

/// One line of `GET /migrations/`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Summary {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub session_id: String,
    /// The same as `session_id`.
    pub id: String,
    #[schema(example = "WordPress to AWS Migration")]
    pub name: String,
    #[schema(example = "running")]
    pub status: &'static str,
    /// Everything was taken back, by itself or because somebody asked.
    #[schema(example = false)]
    pub rolled_back: bool,
    /// What it moves: `application`.
    pub kind: String,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub created_at: String,
    pub start_time: Option<String>,
    pub end_time: Option<String>,
    #[schema(example = "wordpress")]
    pub source_type: String,
    #[schema(example = "aws-s3")]
    pub destination_type: String,
    #[schema(example = 65.5)]
    pub progress: f64,
    /// What document 0 shows beside; only of a workload's migration.
    #[serde(flatten)]
    pub workload: Option<WorkloadMigration>,
}

/// Answer of `GET /migrations/{id}`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Detail {
    #[serde(flatten)]
    pub summary: Summary,
    pub description: Option<String>,
    /// Where from, for people: `sftp://user@host:22/var/www + mysql://…`.
    /// A workload's is among document 0's fields, as an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub source: Option<String>,
    pub destination: String,
    pub error: Option<Problem>,
    pub steps: Vec<Step>,
    /// Since when there is no way back: its backups are gone, and it cannot be rolled back any more.
    #[schema(example = "2024-08-27T09:00:00.000000")]
    pub finalized_at: Option<String>,
    /// Who gave up the way back, if known.
    pub finalized_by: Option<String>,
    /// Copies of what was replicated so far, to be tried out; only of a workload's migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_clones: Option<Vec<TestClone>>,
    /// The document that created it; every secret reads `********`.
    #[schema(value_type = Object)]
    pub configuration: Value,
}

/// The filter that finds exactly what shows this word as its status; `pending` is document 3's word for what was not started yet.
fn showing(word: &str) -> RunFilter {
    let (states, rolled_back_by_itself) = match RunState::parse(word) {
        None if word == "pending" => (vec![RunState::Created, RunState::Scheduled], None),
        None => (Vec::new(), None),
        Some(RunState::Failed) => (vec![RunState::Failed, RunState::RolledBack], Some(true)),
        Some(RunState::RolledBack) => (vec![RunState::RolledBack], Some(false)),
        Some(state) => (vec![state], None),
    };
    RunFilter { states, rolled_back_by_itself, ..RunFilter::default() }
}

impl Control {
    /// Newest first. Parameters: `status_filter`, `limit` (1 to 1000, default 100), `offset`, `cursor`.
    pub async fn list(&self, tenant: &str, mut query: Filter) -> Result<Vec<Summary>, Error> {
        let words: Vec<&str> = std::iter::once("pending").chain(RunState::ALL.iter().map(|s| s.word())).collect();
        let choices: Vec<(&str, usize)> = words.iter().enumerate().map(|(i, w)| (*w, i)).collect();
        let chosen = query.choice("status_filter", &choices).map(|i| showing(words[i])).unwrap_or_default();
        let page = query.page();
        let after = page.after.as_deref().and_then(place_of);
        if page.after.is_some() && after.is_none() {
            query.refuse("cursor", "is not one that this list gave");
        }
        query.done()?;
        let filter = RunFilter { limit: page.limit, offset: page.offset, after, ..chosen };
        let lines = self.engine().lines(tenant, &filter).await.map_err(|e| Error::of_engine(e, "", "list"))?;
        lines.into_iter().map(summary_of_line).collect()
    }

    pub async fn get(&self, tenant: &str, id: &str) -> Result<Detail, Error> {
        let view = self.view(tenant, id, "look at").await?;
        let document = self.document(tenant, id).await?;
        let shown = status::of(&view);
        Ok(Detail {
            description: view.labels.get("description").and_then(Value::as_str).map(str::to_owned),
            source: (!workloads::is_workload(&view)).then(|| label(&view, "source").to_owned()),
            destination: label(&view, "destination").to_owned(),
            error: shown.error,
            steps: steps::of(&view),
            finalized_at: time::maybe(view.finalized.as_ref().map(|f| f.at)),
            finalized_by: view.finalized.as_ref().and_then(|f| f.by.clone()),
            test_clones: self.test_clones(tenant, &view).await?,
            configuration: domain::spec::redact(&document),
            summary: summary(&view),
        })
    }
}

impl Summary {
    /// Where it stands in the list: what a cursor is made of.
    pub fn place(&self) -> String {
        format!("{} {}", self.created_at, self.id)
    }
}

fn place_of(text: &str) -> Option<(jiff::Timestamp, String)> {
    let (created, id) = text.split_once(' ')?;
    Some((time::parse(created)?, id.to_owned()))
}

/// The labels that a line of the list shows.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    source_type: Cow<'a, str>,
    #[serde(borrow, default)]
    destination_type: Cow<'a, str>,
}

fn summary_of_line(line: RunLine) -> Result<Summary, Error> {
    let unreadable = |e| Error::internal(format!("the labels of run {} cannot be read: {e}", line.id));
    let shown: Shown<'_> = serde_json::from_str(&line.labels).map_err(unreadable)?;
    let workload = if plans::shown_kind(&line.kind) == workloads::KIND {
        let labels: Value = serde_json::from_str(&line.labels).map_err(unreadable)?;
        workloads::shown(&line.kind, line.state, &labels)
    } else {
        None
    };
    Ok(Summary {
        session_id: line.id.clone(),
        name: shown.name.into_owned(),
        status: status::word_of(line.state, line.rolls_back_by_itself, line.is_interrupted),
        rolled_back: line.state == RunState::RolledBack,
        created_at: time::text(line.created_at),
        start_time: time::maybe(line.started_at),
        end_time: time::maybe(line.ended_at),
        source_type: shown.source_type.into_owned(),
        destination_type: shown.destination_type.into_owned(),
        progress: totals::progress_of_line(&line),
        id: line.id,
        kind: plans::shown_kind(&line.kind).to_owned(),
        workload,
    })
}

fn summary(view: &RunView) -> Summary {
    Summary {
        session_id: view.id.clone(),
        id: view.id.clone(),
        name: label(view, "name").to_owned(),
        status: status::word(view),
        rolled_back: view.state == RunState::RolledBack,
        kind: plans::shown_kind(&view.kind).to_owned(),
        created_at: time::text(view.created_at),
        start_time: time::maybe(view.started_at),
        end_time: time::maybe(view.ended_at),
        source_type: label(view, "source_type").to_owned(),
        destination_type: label(view, "destination_type").to_owned(),
        progress: totals::progress(view),
        workload: workloads::shown(&view.kind, view.state, &view.labels),
    }
}
