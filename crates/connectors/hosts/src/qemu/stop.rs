//! Stopping: the power button, then the plug.

use super::place::Place;
use super::process::{self, Process};
use super::{Qemu, qmp};
use ports::Result;
use ports::vms::Ending;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// A guest that is still coming up misses the button: it is pressed again after this time.
const AGAIN: Duration = Duration::from_secs(8);

impl Qemu {
    /// Presses the button until the guest switches itself off or patience is over, then pulls the plug.
    pub(super) async fn power_down(&self, place: &Place, patience: Duration) -> Result<Ending> {
        let Some(process) = Process::of(place)? else { return Ok(process::ending(place)) };
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Err(error) = self.press(place).await {
                // Too busy to listen, or on its way out: the plug is left.
                tracing::info!(%error, vm = place.id, "the power button could not be pressed");
            }
            let wait = (Instant::now() + AGAIN).min(deadline);
            if let Ok(ended) = tokio::time::timeout_at(wait, process.ended()).await {
                ended?;
                self.limits.lift(&place.id);
                return Ok(ended_by_guest(place));
            }
        }
        let ending = self.pull_plug(place).await?;
        let reason = format!("the guest did not switch itself off within {} s, and its plug was pulled", patience.as_secs());
        Ok(if ending.clean { Ending { reason, ..ending } } else { ending })
    }

    /// A guest that stands still hears nothing: it goes on first.
    async fn press(&self, place: &Place) -> Result<()> {
        let turn = self.turn(&place.id);
        let _mine = turn.talk.lock().await;
        let mut talk = qmp::Talk::open(place).await?;
        talk.execute("cont", json!({})).await?;
        talk.execute("system_powerdown", json!({})).await.map(drop)
    }

    /// Also cuts off a start that is at work.
    pub(super) async fn pull_plug(&self, place: &Place) -> Result<Ending> {
        let turn = self.turn(&place.id);
        turn.start.cancel();
        let Some(process) = Process::of(place)? else {
            // A start that has just been cut off takes its own process away.
            let _its_end = turn.talk.lock().await;
            process::end_quietly(place).await;
            return Ok(process::ending(place));
        };
        process.end().await?;
        place.forget("qemu.pid");
        self.limits.lift(&place.id);
        Ok(Ending { clean: true, reason: "its plug was pulled".to_owned() })
    }
}

/// Its process is gone while the button was pressed: by the guest, by somebody who pulled the plug meanwhile, or by an accident.
fn ended_by_guest(place: &Place) -> Ending {
    let ending = process::ending(place);
    if ending.clean { Ending { clean: true, reason: "the guest switched itself off".to_owned() } } else { ending }
}
