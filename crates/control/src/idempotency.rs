//! Requests that carry an `Idempotency-Key`: done once, however often they arrive.
//!
//! ```text
//! begin_once ─► nobody has used the key ─► work, while the key's lease is renewed ─► the answer is kept for a day
//!            └► the answer is known: again │ still at work: 409 │ another request had that key: 422
//! ```
//! A key belongs to its caller and tenant. Everything that could tell of the request (its fingerprint, the answer) is sealed. The key of a
//! server that died at work is free again when its lease is over. Answers that a retry may change (5xx, 429) are not kept.

use crate::error::{Code, Kind};
use crate::{Caller, Control, Error};
use jiff::{SignedDuration, Timestamp};
use ports::records::{Fields, Record, RecordsError, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::time::Duration;

const KIND: &str = "idempotency";
const AT_WORK: &str = "at_work";
const DONE: &str = "done";

/// The longest key.
pub const LONGEST_KEY: usize = 255;
/// How long an answer is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How long a key stays taken by a server that says nothing more.
const LEASE: SignedDuration = SignedDuration::from_secs(120);
const RENEW: Duration = Duration::from_secs(30);
/// Tries to take a key whose record comes and goes.
const TRIES: usize = 4;

/// An answer as it was given, to be given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl KeptAnswer {
    /// Whether another try could not end differently.
    fn is_final(&self) -> bool {
        self.status < 500 && self.status != 429
    }
}

/// A key that is ours now, until [`Control::finish_once`].
pub struct Ticket {
    record: Record,
    print: String,
}

/// What a key leads to.
pub enum Begun {
    New(Box<Ticket>),
    Known(KeptAnswer),
}

impl Control {
    /// Takes `key` for a request of `caller`. `request` is all that makes it this one (method, path, query, body).
    /// Fails with [`Code::IdempotencyInFlight`] or [`Code::IdempotencyKeyReused`].
    pub async fn begin_once(&self, caller: &Caller, key: &str, request: &str) -> Result<Begun, Error> {
        check(key)?;
        let id = hex(&format!("{}\n{key}", caller.user.as_deref().unwrap_or(&caller.name)));
        let print = hex(request);
        for _ in 0..TRIES {
            let lease = Timestamp::now() + LEASE;
            let fields = Fields::body(Value::Null).state(AT_WORK).due(Some(lease)).secret(Some(json!({"print": print})));
            match self.records().apply(vec![Write::insert(&caller.tenant, KIND, &id, fields)]).await {
                Ok(made) => return ticket(made, print),
                Err(RecordsError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(record) = self.records().get(&caller.tenant, KIND, &id).await? else { continue };
            if record.due_at.is_none_or(|at| at > Timestamp::now()) {
                return self.known(&record, key, &print).await;
            }
            match self.records().apply(vec![Write::delete(&record)]).await {
                Ok(_) | Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(in_flight(key))
    }

    /// Does the work of a request whose key is ours, and keeps its answer.
    pub async fn finish_once(&self, ticket: Ticket, work: impl Future<Output = KeptAnswer>) -> KeptAnswer {
        let Ticket { mut record, print } = ticket;
        tokio::pin!(work);
        let answer = loop {
            tokio::select! {
                answer = &mut work => break answer,
                () = tokio::time::sleep(RENEW) => {}
            }
            let lease = Fields::default().due(Some(Timestamp::now() + LEASE));
            match self.records().apply(vec![Write::update(&record, lease)]).await {
                Ok(made) => record = made.into_iter().next().unwrap_or(record),
                Err(error) => tracing::warn!(%error, "the lease of an idempotency key was not renewed"),
            }
        };
        let write = if answer.is_final() {
            let due = Some(Timestamp::now() + KEPT);
            Write::update(&record, Fields::default().state(DONE).due(due).secret(Some(json!({"print": print, "answer": answer}))))
        } else {
            Write::delete(&record)
        };
        if let Err(error) = self.records().apply(vec![write]).await {
            tracing::warn!(%error, "an answer could not be kept for its idempotency key");
        }
        answer
    }

    /// Forgets the answers that are a day old. Gives how many.
    pub async fn tidy_idempotency(&self) -> Result<usize, Error> {
        let mut removed = 0;
        loop {
            let due = self.records().take_due(KIND, 200, Duration::from_mins(5), None).await?;
            if due.is_empty() {
                return Ok(removed);
            }
            for record in &due {
                match self.records().apply(vec![Write::delete(record)]).await {
                    Ok(_) => removed += 1,
                    // A request has just taken the key for itself.
                    Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    async fn known(&self, record: &Record, key: &str, print: &str) -> Result<Begun, Error> {
        let Some(secret) = self.records().secret(&record.tenant, KIND, &record.id).await? else { return Err(in_flight(key)) };
        if secret["print"].as_str() != Some(print) {
            let message = "This Idempotency-Key was used for another request; a new request needs a new key";
            return Err(Error::new(Kind::Unprocessable, Code::IdempotencyKeyReused, message).details(json!({"idempotency_key": key})));
        }
        match serde_json::from_value(secret["answer"].clone()) {
            Ok(answer) => Ok(Begun::Known(answer)),
            Err(_) => Err(in_flight(key)),
        }
    }
}

fn ticket(made: Vec<Record>, print: String) -> Result<Begun, Error> {
    let record = made.into_iter().next().ok_or_else(|| Error::internal("a key was taken, and no record came back"))?;
    Ok(Begun::New(Box::new(Ticket { record, print })))
}

fn in_flight(key: &str) -> Error {
    Error::new(Kind::Conflict, Code::IdempotencyInFlight, "The request with this Idempotency-Key is still at work; ask again in a moment for its answer")
        .details(json!({"idempotency_key": key, "retry_after": 1}))
}

fn check(key: &str) -> Result<(), Error> {
    if (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let mut problems = domain::decode::Problems::default();
    problems.note("Idempotency-Key", format!("must have 1 to {LONGEST_KEY} visible ASCII characters and no blanks; a random UUID is best"));
    Err(Error::parameters(problems))
}

fn hex(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_and_visible() {
        for good in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "\"quoted\"", &"x".repeat(255)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "a\tb", "é", "a\u{7f}", &"x".repeat(256)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
