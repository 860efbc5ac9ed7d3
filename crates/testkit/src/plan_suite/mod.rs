//! Two suites that every plan passes without tests of its own.
//!
//! 1. **Every step fails once**, at its start and at its end (after its effect). For good: the automatic undo leaves everything as it was.
//!    For a moment, or by a crash: the run completes with the result of an undisturbed one.
//! 2. **Everything runs twice**, each step and each undo, with the effect of once.
//!
//! The caller says how to make a fresh, small world with a run in it, and how to take its fingerprint; [`run`] does the rest, on the
//! real SQLite journal. A world's fingerprint may not depend on where it stands (temporary paths) nor on when it was made.

mod fault;
mod world;

use engine::{PlanRegistry, RunState};
use fault::{Fault, Moment};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::Value;
use std::any::Any;
use std::sync::Arc;
use world::World;

/// Scenarios that run side by side.
const PARALLEL: usize = 3;

/// Takes the fingerprint of source and destination together. Readable text makes failures readable.
pub type Fingerprint = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// A fresh world with a run that has not begun.
pub struct Case {
    pub kind: String,
    pub registry: PlanRegistry,
    pub input: Value,
    /// Options of the start; `auto_rollback` is set by the suite.
    pub options: Value,
    /// Options of the rollback; null takes those of the start.
    pub rollback_options: Value,
    pub fingerprint: Fingerprint,
    /// Kept until the scenario ends: temporary directories and the like.
    pub keep: Box<dyn Any + Send>,
}

/// Runs both suites. `make` gives a new world for each scenario; all are alike.
///
/// # Panics
/// With the name of the step, what was done to it, and both fingerprints, when the plan fails.
pub async fn run<F>(make: F)
where
    F: Fn() -> BoxFuture<'static, Case> + Send + Sync,
{
    if let Err(defects) = check(&make).await {
        panic!("the plan fails {} scenarios of its suites:\n\n{}", defects.len(), defects.join("\n\n"));
    }
}

/// As [`run`], but gives the failed scenarios back; for the test that the suites can fail.
pub async fn check<F>(make: &F) -> Result<(), Vec<String>>
where
    F: Fn() -> BoxFuture<'static, Case> + Send + Sync,
{
    let reference = match undisturbed(make).await {
        Ok(reference) => reference,
        Err(defect) => return Err(vec![defect]),
    };
    let scenarios = scenarios(&reference.steps);
    let results: Vec<_> = futures::stream::iter(scenarios).map(|s| one(make, &reference, s)).buffer_unordered(PARALLEL).collect().await;
    let defects: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    if defects.is_empty() { Ok(()) } else { Err(defects) }
}

/// What an undisturbed run gives.
struct Reference {
    steps: Vec<String>,
    before: String,
    after: String,
}

fn scenarios(steps: &[String]) -> Vec<Fault> {
    let mut all = Vec::new();
    for step in steps {
        for at in [Moment::Start, Moment::End] {
            all.push(Fault::Fails { step: step.clone(), at, temporary: false });
            all.push(Fault::Fails { step: step.clone(), at, temporary: true });
            all.push(Fault::Crash { step: step.clone(), at });
        }
    }
    all.push(Fault::Twice);
    all
}

async fn undisturbed<F: Fn() -> BoxFuture<'static, Case>>(make: &F) -> Result<Reference, String> {
    let world = World::make(make().await, Fault::None).await;
    let before = world.fingerprint().await;
    let run = world.drive(false).await;
    let after = world.fingerprint().await;
    world.end().await;
    if run.state != RunState::Completed {
        return Err(format!("undisturbed, the run ends {}: {}", run.state, reason(&run)));
    }
    Ok(Reference { steps: run.steps.into_iter().map(|s| s.name).collect(), before, after })
}

/// One scenario; an error says what went wrong.
async fn one<F: Fn() -> BoxFuture<'static, Case>>(make: &F, reference: &Reference, fault: Fault) -> Result<(), String> {
    let undo = matches!(fault, Fault::Fails { temporary: false, .. });
    let name = fault.to_string();
    let world = World::make(make().await, fault).await;
    let before = world.fingerprint().await;
    same(&name, "two fresh worlds differ before anything ran: the fingerprint depends on place or time", &reference.before, &before)?;
    let run = world.drive(undo).await;
    let expected = if undo { RunState::RolledBack } else { RunState::Completed };
    if run.state != expected {
        return Err(format!("{name}: the run ends {} instead of {expected}: {}", run.state, reason(&run)));
    }
    world.was_hit(&name)?;
    let after = world.fingerprint().await;
    if undo {
        same(&name, "the undo left something behind", &before, &after)?;
    } else {
        same(&name, "the result is not that of an undisturbed run", &reference.after, &after)?;
        let undone = world.roll_back().await;
        if undone.state != RunState::RolledBack {
            return Err(format!("{name}: the rollback of the completed run ends {}: {}", undone.state, reason(&undone)));
        }
        same(&name, "the rollback of the completed run left something behind", &before, &world.fingerprint().await)?;
    }
    world.end().await;
    Ok(())
}

fn same(name: &str, problem: &str, expected: &str, found: &str) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let differing = expected.lines().zip(found.lines()).position(|(a, b)| a != b).unwrap_or(expected.lines().count().min(found.lines().count()));
    let around = |text: &str| text.lines().skip(differing).take(5).collect::<Vec<_>>().join("\n    ");
    Err(format!("{name}: {problem}\n  expected, from line {}:\n    {}\n  found:\n    {}", differing + 1, around(expected), around(found)))
}

fn reason(run: &engine::RunView) -> String {
    run.error.as_ref().map_or_else(|| "no error is stored".to_owned(), |e| format!("{}: {}", e.kind, e.message))
}
