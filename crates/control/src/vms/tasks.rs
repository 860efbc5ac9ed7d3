//! Tasks: operations that a node carries out, as they are stored.

use super::stored::TASK;
use crate::Error;
use crate::author::Author;
use domain::vms::Operation;
use jiff::Timestamp;
use ports::records::{self, Record, Write};
use ports::{ConnectorError, ErrorKind};
use serde::{Deserialize, Serialize};

pub(super) const WAITING: &str = "waiting";
pub(super) const COMPLETED: &str = "completed";
pub(super) const FAILED: &str = "failed";

/// What an operation was asked with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Argument {
    /// Seconds that a guest has to switch itself off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// Why it failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub kind: ErrorKind,
    pub retryable: bool,
    pub message: String,
}

impl From<&ConnectorError> for Failure {
    fn from(error: &ConnectorError) -> Self {
        let text = error.to_string();
        let mut letters = text.chars();
        let message = letters.next().map(|first| format!("{}{}", first.to_uppercase(), letters.as_str())).unwrap_or_default();
        Self { kind: error.kind, retryable: error.temporary, message }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    pub operation: Operation,
    pub argument: Argument,
    pub error: Option<Failure>,
    pub ended_at: Option<Timestamp>,
    /// Who asked for it. `None`: it was asked for before this was stored, by somebody who might.
    #[serde(default)]
    pub author: Option<Author>,
}

/// A task, read.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub record: Record,
    pub body: Body,
}

impl Task {
    pub fn of(record: Record) -> Result<Self, Error> {
        let body = serde_json::from_value(record.body.clone()).map_err(|e| Error::internal(format!("task {} cannot be read: {e}", record.id)))?;
        Ok(Self { record, body })
    }

    pub fn has_ended(&self) -> bool {
        self.record.state.as_deref() != Some(WAITING)
    }

    /// The machine that it is about.
    pub fn machine(&self) -> &str {
        self.record.parent.as_deref().unwrap_or_default()
    }

    /// The write that ends it.
    pub fn ended(&self, error: Option<Failure>) -> Result<Write, Error> {
        let state = if error.is_some() { FAILED } else { COMPLETED };
        let body = Body { error, ended_at: Some(Timestamp::now()), ..self.body.clone() };
        Ok(Write::update(&self.record, records::Fields::body(value(&body)?).state(state)))
    }
}

/// The write that makes a new one.
pub(super) fn insert(tenant: &str, machine: &str, id: &str, operation: Operation, argument: Argument) -> Result<Write, Error> {
    let body = Body { operation, argument, error: None, ended_at: None, author: Some(Author::current()) };
    Ok(Write::insert(tenant, TASK, id, records::Fields::body(value(&body)?).state(WAITING).parent(machine)))
}

fn value(body: &Body) -> Result<serde_json::Value, Error> {
    serde_json::to_value(body).map_err(|e| Error::internal(format!("a task cannot be stored: {e}")))
}
