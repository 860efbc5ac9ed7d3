//! One call of a step: in a task of its own, so that a panic becomes an error and a step that ignores the stop signal can be dropped.

use super::stop::StopSignal;
use crate::StepError;
use rand::Rng;
use std::future::Future;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

/// How long a step may go on after the lease is lost.
const LOST_GRACE: Duration = Duration::from_secs(1);

/// Dropped with its owner: no step outlives the drive of its run.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `call` to its end. After the stop signal it has `grace` to end; then it is dropped and counts as stopped.
pub(super) async fn attempt<T: Send + 'static>(
    what: &str,
    signal: &StopSignal,
    grace: Duration,
    call: impl Future<Output = Result<T, StepError>> + Send + 'static,
) -> Result<T, StepError> {
    let mut task = Owned(tokio::spawn(call.in_current_span()));
    let patience = async {
        signal.stopping().cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(grace) => {}
            () = async { signal.lost().cancelled().await; tokio::time::sleep(LOST_GRACE).await } => {}
        }
    };
    tokio::select! {
        ended = &mut task.0 => ended.unwrap_or_else(|error| Err(broken(what, error))),
        () = patience => {
            tracing::warn!(what, "did not end after the stop signal and was dropped");
            task.0.abort();
            let _ended = (&mut task.0).await;
            Err(StepError::stopped())
        }
    }
}

fn broken(what: &str, error: JoinError) -> StepError {
    let reason = match error.try_into_panic() {
        Ok(panic) => match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => "no message".to_owned(),
        },
        Err(error) => error.to_string(),
    };
    StepError::permanent("internal", format!("{what} broke off: {reason}. This is a defect of the program; please report it with the run's log"))
}

/// The pause before attempt `failed + 1`: doubles from `first` up to `most`, then a random half of it is taken off.
pub(super) fn backoff(first: Duration, most: Duration, failed: u32) -> Duration {
    let whole = first.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1).min(16))).min(most);
    whole.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::stop::Stop;

    #[tokio::test]
    async fn a_panic_becomes_an_error_that_says_so() {
        let error = attempt::<()>("step 'copy'", &StopSignal::default(), Duration::ZERO, async { panic!("index 3 of 2") }).await.unwrap_err();
        assert_eq!(error.kind, "internal");
        assert!(error.message.contains("step 'copy' broke off: index 3 of 2"), "{}", error.message);
        assert!(!error.temporary);
    }

    #[tokio::test]
    async fn a_step_that_ignores_the_signal_is_dropped() {
        let signal = StopSignal::default();
        let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
        signal.raise(Stop::Shutdown);
        let call = async move {
            let _alive = alive;
            std::future::pending::<Result<(), StepError>>().await
        };
        let error = attempt("step", &signal, Duration::from_millis(5), call).await.unwrap_err();
        assert!(error.stopped);
        assert!(dropped.await.is_err(), "the future must be gone");
    }

    #[test]
    fn backoff_doubles_and_is_bounded() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        for _ in 0..100 {
            assert!((Duration::from_millis(50)..=Duration::from_millis(100)).contains(&backoff(first, most, 1)));
            assert!((Duration::from_millis(200)..=Duration::from_millis(400)).contains(&backoff(first, most, 3)));
            assert!(backoff(first, most, 60) <= most);
        }
    }
}
