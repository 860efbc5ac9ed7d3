//! Checks of a bucket before anything moves.

use super::Store;
use super::error::tell;
use super::list::keys_below;
use crate::staging;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::ByteStream;
use futures::FutureExt;
use ports::files::FilePath;
use ports::{Check, CheckOutcome, ConnectorError, ErrorKind, Finding, Result, Role};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Amazon refuses requests whose time is more than 15 minutes off.
const SKEW_LIMIT: i64 = 15 * 60;
/// A check ends with an answer within this time.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn all(store: &Store, role: Role) -> Vec<Check<'_>> {
    let permissions = match role {
        Role::Source => readable(store).boxed(),
        Role::Destination => writable(store).boxed(),
    };
    vec![
        Check { name: "connectivity", run: limited(store, reachable(store, role)).boxed() },
        Check { name: "credentials", run: limited(store, credentials(store, role)).boxed() },
        Check { name: "permissions", run: limited(store, permissions).boxed() },
        Check { name: "names", run: names(store).boxed() },
        Check { name: "clock", run: limited(store, clock(store)).boxed() },
    ]
}

async fn limited(store: &Store, check: impl Future<Output = CheckOutcome>) -> CheckOutcome {
    match tokio::time::timeout(CHECK_LIMIT, check).await {
        Ok(outcome) => outcome,
        Err(_) => failed(
            &ConnectorError::new(ErrorKind::TimedOut, "reach", store.location.clone(), "no answer within 10 s").advice("Check the endpoint and the firewall"),
        ),
    }
}

fn field(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::HostKey | ErrorKind::Protocol => "endpoint",
        ErrorKind::Authentication => "access_key_id",
        ErrorKind::Invalid => "region",
        _ => "bucket",
    }
}

fn failed(error: &ConnectorError) -> CheckOutcome {
    let suggestion = if error.advice.is_empty() { "Check the bucket and its policy".to_owned() } else { error.advice.clone() };
    let finding = Finding { field: field(error.kind).to_owned(), issue: format!("{}: {}", error.subject, error.reason), suggestion };
    CheckOutcome::Failed { finding, kind: error.kind }
}

fn outcome(result: Result<String>) -> CheckOutcome {
    result.map_or_else(|e| failed(&e), CheckOutcome::Passed)
}

/// Any answer of the store counts, a refusal too: credentials and rights are checked by themselves.
async fn reachable(store: &Store, role: Role) -> CheckOutcome {
    let answer = keys_below(store, &store.prefix, 1).await;
    match answer {
        Ok(_) => CheckOutcome::Passed(format!("bucket {}", store.bucket)),
        Err(e) if e.kind == ErrorKind::NotFound && role == Role::Destination => CheckOutcome::Passed(format!("bucket {} will be made", store.bucket)),
        Err(e) if matches!(e.kind, ErrorKind::Authentication | ErrorKind::Permission) => CheckOutcome::Passed("the store answers".to_owned()),
        Err(e) => failed(&e),
    }
}

async fn credentials(store: &Store, role: Role) -> CheckOutcome {
    match keys_below(store, &store.prefix, 1).await {
        Err(e) if e.kind == ErrorKind::NotFound && role == Role::Destination => CheckOutcome::Passed("the access key is accepted".to_owned()),
        Err(e) => failed(&e),
        Ok(_) => CheckOutcome::Passed("the access key is accepted".to_owned()),
    }
}

async fn readable(store: &Store) -> CheckOutcome {
    let work = async {
        let first = keys_below(store, &store.prefix, 1).await?;
        let Some(key) = first.first() else { return Ok("listed; the prefix is empty".to_owned()) };
        match store.client.get_object().bucket(&store.bucket).key(key).range("bytes=0-0").send().await {
            Ok(_) => Ok("listed and read".to_owned()),
            Err(e) if super::error::code(&e).1 == 416 => Ok("listed and read".to_owned()),
            Err(e) => Err(tell("read", &format!("s3://{}/{key}", store.bucket), e)),
        }
    };
    outcome(work.await)
}

/// A real write, read and delete under a temporary name.
async fn writable(store: &Store) -> CheckOutcome {
    let key = format!("{}{}", store.prefix, staging::name("check", &FilePath::default()));
    let subject = format!("s3://{}/{key}", store.bucket);
    let work = async {
        // Asked first, because some stores make a missing bucket by the first write.
        match store.client.head_bucket().bucket(&store.bucket).send().await {
            Err(e) if super::error::code(&e).1 == 404 => return Ok("the bucket is still to be made".to_owned()),
            _ => {}
        }
        let written = store.client.put_object().bucket(&store.bucket).key(&key).body(ByteStream::from_static(b"trial")).send().await;
        if let Err(e) = written {
            return Err(tell("write a trial object", &subject, e));
        }
        let read = store.client.get_object().bucket(&store.bucket).key(&key).send().await.map_err(|e| tell("read a trial object", &subject, e));
        super::write::remove_object(store, &key, &subject).await?;
        read.map(|_| "written, read and deleted a trial object".to_owned())
    };
    outcome(work.await)
}

async fn names(store: &Store) -> CheckOutcome {
    if store.prefix.len() > 512 {
        let finding = Finding {
            field: "prefix".to_owned(),
            issue: format!("the prefix of {} bytes leaves little of the 1024 that a key may have", store.prefix.len()),
            suggestion: "Choose a shorter prefix".to_owned(),
        };
        return CheckOutcome::Warning(finding);
    }
    if store.manners.is_tree() {
        return CheckOutcome::Passed("the store keeps objects in a directory tree: keys with '//' or '\\' cannot be held".to_owned());
    }
    CheckOutcome::Passed(format!("keys may have {} bytes below the prefix", 1024 - store.prefix.len()))
}

async fn clock(store: &Store) -> CheckOutcome {
    let seen = SeenDate::default();
    let answer = store.client.head_bucket().bucket(&store.bucket).customize().interceptor(seen.clone()).send().await;
    let date = seen.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(theirs) = date.as_deref().and_then(|d| jiff::fmt::rfc2822::parse(d).ok()) else {
        return match answer {
            Err(e) if super::error::code(&e).1 == 0 => failed(&tell("reach", &store.location, e)),
            _ => CheckOutcome::Passed("the store tells no time".to_owned()),
        };
    };
    let skew = jiff::Timestamp::now().as_second() - theirs.timestamp().as_second();
    if skew.abs() <= SKEW_LIMIT / 3 {
        return CheckOutcome::Passed(format!("{} s apart", skew.abs()));
    }
    let finding = Finding {
        field: "endpoint".to_owned(),
        issue: format!("the clocks of the worker and the store are {} s apart", skew.abs()),
        suggestion: "Set the worker's clock; signed requests are refused when it is 15 minutes off".to_owned(),
    };
    if skew.abs() > SKEW_LIMIT { CheckOutcome::Failed { finding, kind: ErrorKind::Authentication } } else { CheckOutcome::Warning(finding) }
}

/// Remembers the `Date` of an answer.
#[derive(Debug, Default, Clone)]
struct SeenDate(Arc<Mutex<Option<String>>>);

impl Intercept for SeenDate {
    fn name(&self) -> &'static str {
        "SeenDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = context.response().headers().get("date").map(str::to_owned);
        Ok(())
    }
}
