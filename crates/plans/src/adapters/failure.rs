//! A connector's error as a step's error: same verdict, same words.

use engine::StepError;
use ports::{ConnectorError, ErrorKind};
use serde_json::{Value, json};

pub type StepResult<T = Value> = Result<T, StepError>;

/// The stable word of an error kind: `no_space`.
fn word(kind: ErrorKind) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(word)) => word,
        _ => "internal".to_owned(),
    }
}

/// Keeps kind, verdict and words; the causes go into the details as text.
pub fn step_error(error: ConnectorError) -> StepError {
    if error.kind == ErrorKind::Stopped {
        return StepError::stopped();
    }
    let mut message = error.to_string();
    if let Some(first) = message.get(..1) {
        let upper = first.to_uppercase();
        message.replace_range(..1, &upper);
    }
    let kind = word(error.kind);
    let details = json!({"operation": error.operation, "subject": error.subject, "reason": error.reason, "advice": error.advice, "retryable": error.temporary});
    let out = if error.temporary { StepError::temporary(kind, message) } else { StepError::permanent(kind, message) };
    out.details(details)
}

/// A failure that this plan found by itself, with what to do about it.
pub fn failed(kind: ErrorKind, message: impl Into<String>, advice: &str) -> StepError {
    let message = message.into();
    let text = if advice.is_empty() { message } else { format!("{message}. {advice}") };
    StepError::permanent(word(kind), text).details(json!({"advice": advice, "retryable": false}))
}
