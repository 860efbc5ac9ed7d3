//! Requests that carry an `Idempotency-Key`: done once, however often they arrive, and whatever dies meanwhile.
//!
//! ```text
//! begin_once ─► nobody has used the key ─► work, while the key's lease is renewed ─► the answer is kept for a day
//!            └► the answer is known: again │ still at work: 409 │ another request had that key: 422
//!            └► whoever did it is gone ─► nothing was changed: anew │ something was: Begun::Interrupted
//! ```
//! A key belongs to its caller and tenant. Everything that could tell of the request (its fingerprint, the answer) is sealed. The first transaction of
//! the work says in the key's record what it wrote ([`once`]), so that a request whose server died is never done twice: either nothing of it is
//! there, or the record names it. Answers that a retry may change (5xx, 429) are not kept.

use crate::error::{Code, Kind};
use crate::{Caller, Control, Error};
use jiff::{SignedDuration, Timestamp};
use ports::records::once::{self, AT_WORK, CHANGED, KIND, Mark};
use ports::records::{Fields, Record, RecordsError, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::time::Duration;

const DONE: &str = "done";
/// Whoever did it is gone, something was changed, and nobody knows the answer.
const INTERRUPTED: &str = "interrupted";

/// The longest key.
pub const LONGEST_KEY: usize = 255;
/// How long an answer is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How long a key stays taken by a server that says nothing more.
const LEASE: SignedDuration = SignedDuration::from_secs(15);
const RENEW: Duration = Duration::from_secs(5);
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
    /// Whoever did the request is gone, after it had written what has this id. It must not be done again.
    Interrupted(Box<Ticket>, String),
}

impl Control {
    /// Takes `key` for a request of `caller`. `request` is all that makes it this one (method, path, query, body).
    /// Fails with [`Code::IdempotencyInFlight`] or [`Code::IdempotencyKeyReused`].
    pub async fn begin_once(&self, caller: &Caller, key: &str, request: &str) -> Result<Begun, Error> {
        check(key)?;
        let id = hex(&format!("{}\n{key}", caller.user.as_deref().unwrap_or(&caller.name)));
        let print = hex(request);
        for _ in 0..TRIES {
            let attempt = uuid::Uuid::now_v7().simple().to_string();
            let fields = Fields::body(Value::Null).key(attempt).state(AT_WORK).due(Some(Timestamp::now() + LEASE)).secret(Some(json!({"print": print})));
            match self.records().apply(vec![Write::insert(&caller.tenant, KIND, &id, fields)]).await {
                Ok(made) => return ticket(made, print),
                Err(RecordsError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(record) = self.records().get(&caller.tenant, KIND, &id).await? else { continue };
            let holds = record.due_at.is_none_or(|at| at > Timestamp::now());
            match record.state.as_deref() {
                Some(INTERRUPTED) => return self.interrupted(record, key, print).await,
                Some(CHANGED) if !holds => return self.interrupted(record, key, print).await,
                _ if holds => return self.known(&record, key, &print).await,
                _ => self.written_unless_changed(Write::delete(&record)).await.map(|_| ())?,
            }
        }
        Err(in_flight(key))
    }

    /// Does the work of a request whose key is ours, and keeps its answer.
    pub async fn finish_once(&self, ticket: Ticket, work: impl Future<Output = KeptAnswer>) -> KeptAnswer {
        let Ticket { mut record, print } = ticket;
        let mark = Mark { tenant: record.tenant.clone(), id: record.id.clone(), attempt: record.key.clone().unwrap_or_default() };
        let work = once::marked(mark, work);
        tokio::pin!(work);
        let (answer, marked) = loop {
            tokio::select! {
                answer = &mut work => break answer,
                () = tokio::time::sleep(RENEW) => {}
            }
            let lease = Fields::default().due(Some(Timestamp::now() + LEASE));
            if let Err(error) = self.rewrite(&mut record, lease).await {
                tracing::warn!(%error, "the lease of an idempotency key was not renewed");
            }
        };
        if marked && record.state.as_deref() == Some(AT_WORK) {
            record.version += 1;
        }
        if let Err(error) = self.keep(record, &print, &answer, marked).await {
            tracing::warn!(%error, "an answer could not be kept for its idempotency key");
        }
        answer
    }

    /// Keeps the answer that was found for an interrupted request.
    pub async fn keep_found(&self, ticket: Ticket, answer: &KeptAnswer) -> Result<(), Error> {
        self.keep(ticket.record, &ticket.print, answer, true).await
    }

    async fn keep(&self, mut record: Record, print: &str, answer: &KeptAnswer, marked: bool) -> Result<(), Error> {
        let due = Some(Timestamp::now() + KEPT);
        if answer.is_final() {
            let fields = Fields::default().state(DONE).due(due).secret(Some(json!({"print": print, "answer": answer})));
            return self.rewrite(&mut record, fields).await;
        }
        // A commit whose end was not heard of may have been one.
        let now = self.records().get(&record.tenant, KIND, &record.id).await?.filter(|r| r.key == record.key);
        match now {
            Some(mut now) if marked || now.state.as_deref() == Some(CHANGED) => self.rewrite(&mut now, Fields::default().state(INTERRUPTED).due(due)).await,
            Some(now) => self.written_unless_changed(Write::delete(&now)).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Changes the record of a key while it is this attempt's, whatever version it has by now.
    async fn rewrite(&self, record: &mut Record, fields: Fields) -> Result<(), Error> {
        for _ in 0..TRIES {
            if let Some(made) = self.written_unless_changed(Write::update(record, fields.clone())).await? {
                *record = made;
                return Ok(());
            }
            match self.records().get(&record.tenant, KIND, &record.id).await?.filter(|r| r.key == record.key) {
                Some(now) => *record = now,
                None => break,
            }
        }
        Err(Error::internal("the key of a request is another attempt's by now"))
    }

    async fn written_unless_changed(&self, write: Write) -> Result<Option<Record>, Error> {
        match self.records().apply(vec![write]).await {
            Ok(made) => Ok(made.into_iter().next()),
            Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
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
                let until = record.created_at + KEPT;
                if record.state.as_deref() == Some(CHANGED) && until > Timestamp::now() {
                    self.written_unless_changed(Write::update(record, Fields::default().state(INTERRUPTED).due(Some(until)))).await?;
                } else {
                    // Not when a request has just taken the key for itself.
                    self.written_unless_changed(Write::delete(record)).await?;
                    removed += 1;
                }
            }
        }
    }

    async fn known(&self, record: &Record, key: &str, print: &str) -> Result<Begun, Error> {
        let Some(secret) = self.secret_of(record, key, print).await? else { return Err(in_flight(key)) };
        match serde_json::from_value(secret["answer"].clone()) {
            Ok(answer) => Ok(Begun::Known(answer)),
            Err(_) => Err(in_flight(key)),
        }
    }

    async fn interrupted(&self, record: Record, key: &str, print: String) -> Result<Begun, Error> {
        self.secret_of(&record, key, &print).await?;
        let made = record.parent.clone().unwrap_or_default();
        Ok(Begun::Interrupted(Box::new(Ticket { record, print }), made))
    }

    /// What is sealed with a key, if it is this request's.
    async fn secret_of(&self, record: &Record, key: &str, print: &str) -> Result<Option<Value>, Error> {
        let Some(secret) = self.records().secret(&record.tenant, KIND, &record.id).await? else { return Ok(None) };
        if secret["print"].as_str() != Some(print) {
            let message = "This Idempotency-Key was used for another request; a new request needs a new key";
            return Err(Error::new(Kind::Unprocessable, Code::IdempotencyKeyReused, message).details(json!({"idempotency_key": key})));
        }
        Ok(Some(secret))
    }
}

/// The answer where nobody knows how to find the interrupted one again.
pub fn not_again(key: &str, made: &str) -> Error {
    let message = format!(
        "The server that did this request ended before its answer was kept, but after it had written '{made}'. It is not done again: look at what is there, and send what is missing with a new key"
    );
    Error::new(Kind::Conflict, Code::IdempotencyInterrupted, message).details(json!({"idempotency_key": key, "written": made}))
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
