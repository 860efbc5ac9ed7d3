//! Following a migration: long polls for its events, its status after each, the screen, and signals.

mod screen;
mod status;

pub use screen::Screen;
pub use status::{Status, log_line};

use crate::door::{Door, Reconnect};
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Signals;
use serde_json::json;

/// Seconds that one long poll may last.
const POLL: u32 = 10;

/// How following ended.
pub enum Ended {
    /// The migration is at rest.
    AtRest(Status),
    /// A signal came, and the migration is paused.
    Paused(Status),
    /// A signal came, and the migration was not waited for.
    Left(Status),
}

/// What to do when a signal comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSignal {
    /// Pause the migration and wait until it has stopped: nobody would go on with it.
    Pause,
    /// Only stop looking.
    Leave,
}

pub struct Follow<'a> {
    pub door: &'a dyn Door,
    pub output: &'a Output,
    pub signals: Signals,
    pub id: &'a str,
    pub on_signal: OnSignal,
    /// States at which following ends, beside those from which nothing goes on by itself.
    pub until: &'a [&'a str],
    /// Events after this number are shown; `None`: only new ones, for what happened before is in the log.
    pub after: Option<u64>,
}

impl Follow<'_> {
    /// Shows progress until the migration is at rest or a signal comes.
    pub async fn run(mut self) -> Result<Ended, Failure> {
        let mut screen = Screen::new(self.output);
        let ended = self.show(&mut screen).await;
        screen.close();
        ended
    }

    async fn show(&mut self, screen: &mut Screen<'_>) -> Result<Ended, Failure> {
        let mut door = Reconnect::new(self.door);
        let mut after = match self.after {
            Some(after) => after,
            None => self.newest_event(&mut door).await?,
        };
        let (mut paused, mut last) = (false, Status::of(json!({"session_id": self.id})));
        loop {
            let path = format!("/migrations/{}/status", self.id);
            let mut signals = self.signals.clone();
            let status = tokio::select! {
                status = door.get(&path, |words| screen.line(words)) => Status::of(status?),
                // Only a server may take long to answer, or be away.
                () = signals.next(), if self.door.address().is_some() => return Ok(Ended::Left(last)),
            };
            last = status.clone();
            screen.show(&status);
            if status.is_at_rest(self.door.drives()) || self.until.contains(&status.word()) {
                return Ok(if paused && status.word() == "paused" { Ended::Paused(status) } else { Ended::AtRest(status) });
            }
            let path = format!("/migrations/{}/events?after={after}&wait={POLL}", self.id);
            let page = tokio::select! {
                page = door.get(&path, |words| screen.line(words)) => page?,
                () = self.signals.next() => {
                    if paused || self.on_signal == OnSignal::Leave || status.goes_back() {
                        return Ok(Ended::Left(status));
                    }
                    paused = true;
                    screen.line("Pausing … (once more to leave at once)");
                    self.pause().await?;
                    continue;
                }
            };
            for event in page["events"].as_array().unwrap_or(&Vec::new()) {
                after = event["seq"].as_u64().unwrap_or(after);
                screen.event(event);
            }
        }
    }

    /// It may have ended in this very moment; then there is nothing to pause, and the next status says so.
    async fn pause(&self) -> Result<(), Failure> {
        match self.door.post(&format!("/migrations/{}/pause", self.id), &json!({})).await {
            Err(refused) if &*refused.code != "INVALID_STATE" => Err(refused),
            _ => Ok(()),
        }
    }

    async fn newest_event(&self, door: &mut Reconnect<'_>) -> Result<u64, Failure> {
        let page = door.get(&format!("/migrations/{}/events?limit=1", self.id), |words| self.output.note(words)).await?;
        Ok(page["last_event"].as_u64().unwrap_or(0))
    }
}
