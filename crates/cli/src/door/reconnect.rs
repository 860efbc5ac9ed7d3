//! Reading on when the control plane goes away for a while: a server that is restarted, a network that is cut.

use super::Door;
use crate::failure::{Exit, Failure};
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long an answer is waited for, and how often it is asked for meanwhile.
const TIMEOUT: Duration = Duration::from_mins(5);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Asks again until there is an answer. Only the first failure of a time without answers is told.
pub struct Reconnect<'a> {
    door: &'a dyn Door,
    answered: bool,
}

impl<'a> Reconnect<'a> {
    pub fn new(door: &'a dyn Door) -> Self {
        Self { door, answered: false }
    }

    /// `tell` gets the words about a connection that is lost, and that is there again.
    ///
    /// # Errors
    /// What the control plane refuses, at once; that it cannot be reached, when it has never answered here or does not for five minutes.
    pub async fn get(&mut self, path: &str, tell: impl Fn(&str)) -> Result<Value, Failure> {
        let mut lost: Option<Instant> = None;
        loop {
            let failure = match self.door.get(path).await {
                Ok(answer) => {
                    if lost.is_some() {
                        tell("The control plane answers again.");
                    }
                    self.answered = true;
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            let temporary = failure.exit == Exit::Temporary && self.answered && self.door.address().is_some();
            if !temporary || lost.is_some_and(|since| since.elapsed() > TIMEOUT) {
                return Err(failure);
            }
            if lost.is_none() {
                tell(&format!("{}. Trying again …", failure.message));
                lost = Some(Instant::now());
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}
