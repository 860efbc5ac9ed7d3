//! The suites must be able to fail: plans with known defects are caught, a sound one passes.

use engine::{PlanRegistry, Presence, StepError};
use futures::future::BoxFuture;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::plan_suite::{self, Case};
use testkit::scripted::{Diary, Scripted, registry};

/// What is wrong with a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// The undo believes that nothing happened when there is no output.
    UndoNeedsOutput,
    /// Running again adds once more.
    AppendsAgain,
    /// The undo fails when there is nothing to undo any more.
    UndoOnlyOnce,
    /// The original is not kept before it is overwritten.
    ForgetsOriginal,
    /// Says that an interrupted step is done when it is not.
    ProbeLies,
}

fn io(error: std::io::Error) -> StepError {
    StepError::permanent("io", error.to_string())
}

/// Overwrites `config`, appends a line to `log`, makes `new`.
fn plan(root: &Path, defect: Defect) -> PlanRegistry {
    let diary = Diary::default();
    let at = |name: &str| -> PathBuf { root.join(name) };
    let (config, log, new) = (at("config"), at("log"), at("new"));
    let (config_again, log_again, new_again) = (config.clone(), log.clone(), new.clone());
    let overwrite = Scripted::new("overwrite", &diary)
        .runs(move |cx| {
            let config = config.clone();
            async move {
                if cx.recall("original").await?.is_none() && defect != Defect::ForgetsOriginal {
                    cx.remember("original", Some(json!(std::fs::read_to_string(&config).map_err(io)?))).await?;
                }
                std::fs::write(&config, "changed").map_err(io)?;
                Ok(json!({"wrote": true}))
            }
        })
        .undoes(move |cx, output| {
            let config = config_again.clone();
            async move {
                if output.is_none() && defect == Defect::UndoNeedsOutput {
                    return Ok(());
                }
                match cx.recall("original").await? {
                    Some(original) => std::fs::write(&config, original.as_str().unwrap_or_default()).map_err(io),
                    None => Ok(()),
                }
            }
        });
    let append = Scripted::new("append", &diary)
        .runs(move |_| {
            let log = log.clone();
            async move {
                let text = std::fs::read_to_string(&log).map_err(io)?;
                if !text.contains("line\n") || defect == Defect::AppendsAgain {
                    std::fs::write(&log, format!("{text}line\n")).map_err(io)?;
                }
                Ok(json!(null))
            }
        })
        .undoes(move |_, _| {
            let log = log_again.clone();
            async move { std::fs::write(&log, std::fs::read_to_string(&log).map_err(io)?.replace("line\n", "")).map_err(io) }
        })
        .probes(move |_| async move { Ok(if defect == Defect::ProbeLies { Presence::Present(json!(null)) } else { Presence::Absent }) });
    let make = Scripted::new("make", &diary)
        .runs(move |_| {
            let new = new.clone();
            async move { std::fs::write(&new, "new").map(|()| json!(null)).map_err(io) }
        })
        .undoes(move |_, _| {
            let new = new_again.clone();
            async move {
                match std::fs::remove_file(&new) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound && defect != Defect::UndoOnlyOnce => Ok(()),
                    other => other.map_err(io),
                }
            }
        });
    registry("sample", vec![overwrite, append, make])
}

fn fingerprint(root: &Path) -> String {
    let mut lines: Vec<_> = std::fs::read_dir(root)
        .expect("the world is there")
        .map(|e| {
            let path = e.expect("an entry").path();
            format!("{}: {:?}", path.file_name().unwrap().display(), std::fs::read_to_string(&path).expect("a file"))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

fn world(defect: Defect) -> impl Fn() -> BoxFuture<'static, Case> {
    move || {
        Box::pin(async move {
            let dir = tempfile::tempdir().expect("a world");
            std::fs::write(dir.path().join("config"), "original").expect("a file");
            std::fs::write(dir.path().join("log"), "first\n").expect("a file");
            let root = dir.path().to_owned();
            Case {
                kind: "sample".to_owned(),
                registry: plan(dir.path(), defect),
                input: json!({}),
                options: json!({}),
                rollback_options: json!(null),
                fingerprint: Arc::new(move || {
                    let root = root.clone();
                    Box::pin(async move { fingerprint(&root) })
                }),
                keep: Box::new(dir),
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_plan_passes() {
    plan_suite::run(world(Defect::None)).await;
}

async fn caught(defect: Defect) -> String {
    match plan_suite::check(&world(defect)).await {
        Ok(()) => panic!("{defect:?} was not caught"),
        Err(defects) => defects.join("\n"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_needs_an_output_is_caught() {
    let told = caught(Defect::UndoNeedsOutput).await;
    assert!(told.contains("step 'overwrite' fails for good at its end") && told.contains("config: \"changed\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_adds_twice_is_caught() {
    let told = caught(Defect::AppendsAgain).await;
    assert!(told.contains("every step and every undo runs twice") && told.contains("line\\nline\\n"), "{told}");
    assert!(told.contains("the process is killed in step 'append' at its end"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_works_only_once_is_caught() {
    let told = caught(Defect::UndoOnlyOnce).await;
    assert!(told.contains("runs twice: the rollback of the completed run ends stuck"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_that_was_not_kept_is_caught() {
    let told = caught(Defect::ForgetsOriginal).await;
    assert!(told.contains("the undo left something behind"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_lies_is_caught() {
    let told = caught(Defect::ProbeLies).await;
    assert!(told.contains("the process is killed in step 'append' at its start: the result is not that of an undisturbed run"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_machines_in_memory_keep_what_hosts_promise() {
    let host = Arc::new(testkit::memory_vms::MemoryVms::default());
    testkit::vms_suite::run(testkit::vms_suite::Bench { host, guest: serde_json::json!({"kernel": "/guest"}) }).await;
}
