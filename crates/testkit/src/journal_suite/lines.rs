//! Runs as lines of lists: whatever happens to a run, its line tells what its view tells.

use super::{Bench, null, pins};
use engine::journal::{Change, NewChunk, StepPin};
use engine::state::Request;
use engine::{ChunkDone, RunFilter, RunLine, RunState, Sample, StepError};
use serde_json::json;

impl Bench {
    /// The line of a run, compared with its view.
    async fn line(&self, run: &str) -> RunLine {
        let lines = self.journal.lines(&self.tenant, &RunFilter::default()).await.expect("lines");
        let line = lines.into_iter().find(|l| l.id == run).expect("the run is among the lines");
        let view = self.journal.view(&self.tenant, run).await.expect("a view");
        assert_eq!(line, RunLine::from(&view));
        line
    }
}

pub async fn tell_what_the_views_tell(b: Bench) {
    let created = b.created("created").await;
    let line = b.line(&created).await;
    assert_eq!((line.steps, line.steps_completed, line.at_work), (2, 0, None));
    let token = b.claimed("moving", "w").await.token;
    let done = |index| Change::Done { index, output: json!({"large": "x".repeat(100)}) };
    b.journal.write(&token, vec![Change::Begun { index: 0 }], vec![]).await.unwrap();
    b.journal.plan(&token, "files", vec![NewChunk { seq: 1, spec: vec![1], items: 4, bytes: 100 }]).await.unwrap();
    b.journal.done(&token, "files", vec![ChunkDone { seq: 1, result: vec![1], items: 3, bytes: 90 }]).await.unwrap();
    b.journal.write(&token, vec![Change::Sample(sample())], vec![]).await.unwrap();
    let at_work = b.line(&token.run).await.at_work.expect("a step is at work");
    assert_eq!((at_work.step.as_str(), at_work.ledgers[0].1.bytes_done, at_work.sample), ("one", 90, Some(sample())));
    b.journal.write(&token, vec![done(0), Change::Begun { index: 1 }], vec![]).await.unwrap();
    let line = b.line(&token.run).await;
    assert_eq!((line.steps_completed, line.at_work.map(|w| w.step)), (1, Some("two".to_owned())));
    b.journal.write(&token, vec![Change::Failed { index: 1, error: StepError::permanent("disk", "it is full") }], vec![]).await.unwrap();
    assert_eq!(b.line(&token.run).await.at_work, None);
    let again: Vec<StepPin> = pins(&["one", "two", "three"]);
    b.journal.write(&token, vec![Change::Pin(again)], vec![]).await.unwrap();
    assert_eq!(b.line(&token.run).await.steps, 3);
    b.journal.write(&token, vec![done(0), done(1), done(2), Change::State { to: RunState::Completed, error: None }], vec![]).await.unwrap();
    assert_eq!(b.line(&token.run).await.steps_completed, 3);
    b.options(&token.run, Request::Rollback { options: null() }).await.unwrap();
    let token = b.claim("w").await.unwrap().token;
    b.journal.write(&token, vec![Change::Undone { index: 2 }, Change::State { to: RunState::RolledBack, error: None }], vec![]).await.unwrap();
    assert_eq!(b.line(&token.run).await.steps_completed, 2);
    pages(&b, [created, token.run]).await;
}

/// The same order, filters and pages as everywhere.
async fn pages(b: &Bench, [older, newer]: [String; 2]) {
    let ids = async |filter: RunFilter| b.journal.lines(&b.tenant, &filter).await.unwrap().into_iter().map(|l| l.id).collect::<Vec<_>>();
    assert_eq!(ids(RunFilter::default()).await, [newer.clone(), older.clone()]);
    assert_eq!(ids(RunFilter { states: vec![RunState::Created], ..RunFilter::default() }).await, std::slice::from_ref(&older));
    assert_eq!(ids(RunFilter { limit: 1, offset: 1, ..RunFilter::default() }).await, std::slice::from_ref(&older));
    let first = b.journal.view(&b.tenant, &newer).await.unwrap();
    assert_eq!(ids(RunFilter { after: Some((first.created_at, newer)), ..RunFilter::default() }).await, [older]);
    assert!(b.journal.lines("other", &RunFilter::default()).await.unwrap().is_empty());
}

fn sample() -> Sample {
    Sample {
        at: jiff::Timestamp::UNIX_EPOCH,
        step: "one".to_owned(),
        bytes: 90,
        items: 3,
        retries: 0,
        rate_current: 1.5,
        rate_average: 1.0,
        rate_peak: 2.0,
        operation: json!({"type": "file_transfer", "progress": 40.0}),
    }
}
