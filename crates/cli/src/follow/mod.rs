//! Following a migration: long polls for its events, its status after each, the screen, and Ctrl-C.

mod screen;
mod status;

pub use screen::Screen;
pub use status::{Status, log_line};

use crate::door::Door;
use crate::failure::Failure;
use crate::output::Output;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Seconds that one long poll may last.
const POLL: u32 = 10;

/// How following ended.
pub enum Ended {
    /// The migration is at rest.
    AtRest(Status),
    /// The user asked to stop, and the migration has stopped.
    Cancelled(Status),
    /// The user asked twice: we left, the migration was not waited for.
    Left(Status),
}

/// What to do when the user presses Ctrl-C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Cancel the migration and wait until it has stopped.
    Cancel,
    /// Only stop looking.
    Leave,
}

pub struct Follow<'a> {
    pub door: &'a dyn Door,
    pub output: &'a Output,
    pub id: &'a str,
    pub on_interrupt: OnInterrupt,
    /// States at which following ends, beside those from which nothing goes on by itself.
    pub until: &'a [&'a str],
    /// Events after this number are shown; `None`: only new ones, for what happened before is in the log.
    pub after: Option<u64>,
}

impl Follow<'_> {
    /// Shows progress until the migration is at rest or the user leaves.
    pub async fn run(self) -> Result<Ended, Failure> {
        let mut interrupts = interrupts()?;
        let mut screen = Screen::new(self.output);
        let mut after = match self.after {
            Some(after) => after,
            None => self.newest_event().await?,
        };
        let mut cancelled = false;
        loop {
            let status = Status::of(self.door.get(&format!("/migrations/{}/status", self.id)).await?);
            screen.show(&status);
            if status.is_at_rest() || self.until.contains(&status.word()) {
                screen.close();
                return Ok(if cancelled && status.word() == "cancelled" { Ended::Cancelled(status) } else { Ended::AtRest(status) });
            }
            let path = format!("/migrations/{}/events?after={after}&wait={POLL}", self.id);
            let page = tokio::select! {
                page = self.door.get(&path) => page?,
                _ = interrupts.recv() => {
                    if cancelled || self.on_interrupt == OnInterrupt::Leave {
                        screen.close();
                        return Ok(Ended::Left(status));
                    }
                    cancelled = true;
                    screen.line("Stopping cleanly … (press Ctrl-C again to leave at once)");
                    // It may have ended in this very moment; then there is nothing to cancel, and the next status says so.
                    if let Err(refused) = self.door.post(&format!("/migrations/{}/cancel", self.id), &json!({})).await
                        && &*refused.code != "INVALID_STATE"
                    {
                        screen.close();
                        return Err(refused);
                    }
                    continue;
                }
            };
            for event in page["events"].as_array().unwrap_or(&Vec::new()) {
                after = event["seq"].as_u64().unwrap_or(after);
                screen.event(event);
            }
        }
    }

    async fn newest_event(&self) -> Result<u64, Failure> {
        let page = self.door.get(&format!("/migrations/{}/events?limit=1", self.id)).await?;
        Ok(page["last_event"].as_u64().unwrap_or(0))
    }
}

pub fn interrupts() -> Result<Signal, Failure> {
    signal(SignalKind::interrupt())
        .map_err(|e| Failure::new(crate::failure::Exit::Failed, "INTERNAL_ERROR", format!("The system gives no signals to this program: {e}")))
}
