//! The standstill: a period, with a number, in which the source is taken to stand still while both last passes run.
//!
//! ```text
//! begin (number + 1) ─► maintenance mode, proven where it can be ─► last pass of the database, then of the files ─► end
//!      └─ pause, error, crash: ended by `stand_down`; the next attempt begins another one, and nothing learnt in this one counts there
//! ```
//! What was learnt in a standstill (which ranges equal the source, which fingerprint the source had) is noted with its number in the ledgers.

use super::job::{recall, value};
use crate::adapters::StepResult;
use engine::StepContext;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const NOTE: &str = "standstill";

/// All standstills of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Standstills {
    /// The number of the newest one; 0: there was none.
    pub number: u64,
    /// Since when it lasts; `None`: it has ended.
    since: Option<Timestamp>,
    /// All of them together, in milliseconds.
    pub total_ms: u64,
}

/// One standstill that has ended with both passes made in it: what the report tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Counted {
    pub number: u64,
    pub began: Timestamp,
    pub ended: Timestamp,
}

async fn state(cx: &StepContext) -> StepResult<Standstills> {
    Ok(recall(cx, NOTE).await?.unwrap_or_default())
}

/// Begins another standstill and gives its number. One that was never ended, because its worker died, ends here.
pub async fn begin(cx: &StepContext) -> StepResult<u64> {
    let mut all = ended(state(cx).await?).0;
    all.number += 1;
    all.since = Some(Timestamp::now());
    cx.remember(NOTE, Some(value(&all))).await?;
    Ok(all.number)
}

/// Ends the newest one. Repeatable: `None` when it has ended already.
pub async fn end(cx: &StepContext) -> StepResult<Option<Counted>> {
    let (all, counted) = ended(state(cx).await?);
    if counted.is_some() {
        cx.remember(NOTE, Some(value(&all))).await?;
    }
    Ok(counted)
}

/// How long all standstills of the run lasted together, in milliseconds.
pub async fn total_ms(cx: &StepContext) -> StepResult<u64> {
    Ok(state(cx).await?.total_ms)
}

fn ended(mut all: Standstills) -> (Standstills, Option<Counted>) {
    let Some(began) = all.since.take() else { return (all, None) };
    let ended = Timestamp::now();
    all.total_ms += u64::try_from(ended.as_millisecond() - began.as_millisecond()).unwrap_or(0);
    let counted = Counted { number: all.number, began, ended };
    (all, Some(counted))
}

/// The number of the standstill that counted, out of the output of the step that made it.
pub fn of_output(output: Option<&serde_json::Value>) -> Option<u64> {
    output?["standstill"]["number"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn every_standstill_has_a_number_of_its_own_and_ends_once() {
        let cx = StepContext::for_test("files", Value::Null, Value::Null, BTreeMap::new()).await;
        assert_eq!(begin(&cx).await.unwrap(), 1);
        assert_eq!(end(&cx).await.unwrap().unwrap().number, 1);
        assert!(end(&cx).await.unwrap().is_none());
        assert_eq!(begin(&cx).await.unwrap(), 2);
        // Its worker dies; the next one begins another.
        assert_eq!(begin(&cx).await.unwrap(), 3);
        assert_eq!(end(&cx).await.unwrap().unwrap().number, 3);
    }
}
