//! Trying one range again after a temporary error, with jittered back-off, until the stop signal.

use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Observer, Result};
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Runs `attempt` up to `1 + retries` times. Only errors that a new try on the same view can mend are tried again: a broken
/// connection takes its snapshot with it, so that one goes to the engine, which runs the whole step again.
pub(super) async fn with_retries<T, F, Fut>(retries: u32, what: &str, observer: &dyn Observer, stop: &CancellationToken, attempt: F) -> Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut tried = 0;
    loop {
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(ConnectorError::stopped("copy", what)),
            outcome = attempt() => outcome,
        };
        match outcome {
            Err(e) if mendable(&e) && tried < retries => {
                tried += 1;
                observer.meter().retried();
                let message = format!("Retrying {what} (attempt {}/{})", tried + 1, retries + 1);
                observer.log(Level::Warning, "database_copy", message, serde_json::json!({"error": e.to_string(), "retry_count": tried}));
                pause(tried, what, stop).await?;
            }
            other => return other,
        }
    }
}

fn mendable(error: &ConnectorError) -> bool {
    error.temporary && !matches!(error.kind, ErrorKind::Stopped | ErrorKind::Interrupted)
}

async fn pause(tried: u32, what: &str, stop: &CancellationToken) -> Result<()> {
    let base = 100u64 << tried.min(6);
    // Jitter from the clock's low bits: enough to part ranges that failed on the same lock.
    let jitter = u64::from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos())) % base;
    tokio::select! {
        () = stop.cancelled() => Err(ConnectorError::stopped("copy", what)),
        () = tokio::time::sleep(Duration::from_millis(base + jitter)) => Ok(()),
    }
}
