//! The adversary suite: a simulation that plays bad days, and an oracle that knows nothing of our ledgers.
//!
//! ```text
//! seed ─► scenario (a small migration, and what happens before which call) ─► stage (every call passes it) ─► oracle ─► shrinking
//! ```
//! `MA_SEED=…` plays one seed and tells everything; `MA_SEEDS_MEMORY` and `MA_SEEDS_REAL` say how many are
//! played, from `MA_FIRST_SEED` on.

mod dice;
mod hooked;
mod known;
mod local;
mod memory;
mod model;
mod oracle;
mod places;
mod run;
mod scenario;
mod servers;
mod shrink;
mod stage;
mod world;

use local::LocalSystems;
use memory::MemorySystems;
use run::{Played, play};
use scenario::Scenario;
use servers::ServerSystems;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use world::Make;

/// Most of a scenario's time is waiting: for retries, for the next look at the journal.
const SIDE_BY_SIDE: usize = 12;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// One kind of systems, with the seeds that are played on it.
struct Arena {
    /// Name of the test.
    name: &'static str,
    make: &'static Make,
    generate: fn(u64) -> Scenario,
    /// How many seeds: a variable of the environment, and what counts without it.
    seeds: (&'static str, u64),
    /// How many failing seeds are shrunk.
    shrunk: usize,
}

const MEMORY: Arena = Arena {
    name: "memory",
    make: &|scenario, clock, _| Arc::new(MemorySystems::new(scenario, clock)),
    generate: Scenario::generate,
    seeds: ("MA_SEEDS_MEMORY", 2000),
    shrunk: 3,
};

const LOCAL: Arena = Arena {
    name: "local",
    make: &|scenario, _, dir| Arc::new(LocalSystems::new(scenario, dir)),
    generate: |seed| Scenario::generate(seed).on_real_systems(),
    seeds: ("MA_SEEDS_REAL", 20),
    shrunk: 1,
};

/// SFTP and S3, MariaDB and PostgreSQL.
const SERVERS: Arena = Arena {
    name: "servers",
    make: &|scenario, _, _| Arc::new(ServerSystems::new(scenario)),
    generate: |seed| Scenario::generate(seed).on_servers(),
    seeds: ("MA_SEEDS_REAL", 20),
    shrunk: 0,
};

#[test]
fn memory() {
    run_all(&MEMORY);
}

#[test]
fn local() {
    run_all(&LOCAL);
}

#[test]
fn servers() {
    run_all(&SERVERS);
}

fn play_alone(arena: &Arena, scenario: &Scenario) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(play(scenario, arena.make))
}

/// Plays a scenario; gives what it broke that is no known fault.
fn broken(arena: &Arena, scenario: &Scenario) -> (Option<Played>, Vec<String>) {
    match std::panic::catch_unwind(AssertUnwindSafe(|| play_alone(arena, scenario))) {
        Ok(played) => {
            let new = played.violations.iter().filter(|v| known::explained(scenario, v).is_none()).map(ToString::to_string).collect();
            (Some(played), new)
        }
        Err(_) => (None, vec!["it panicked".to_owned()]),
    }
}

fn run_all(arena: &Arena) {
    if let Some(seed) = number("MA_SEED") {
        return one(arena, seed);
    }
    let (first, count) = (number("MA_FIRST_SEED").unwrap_or(1), number(arena.seeds.0).unwrap_or(arena.seeds.1));
    let next = AtomicU64::new(first);
    let failed: Mutex<Vec<(u64, Vec<String>)>> = Mutex::default();
    let known: Mutex<BTreeMap<&str, BTreeSet<u64>>> = Mutex::default();
    let ends: Mutex<BTreeMap<String, u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let scenario = (arena.generate)(seed);
                    let (played, new) = broken(arena, &scenario);
                    if !new.is_empty() {
                        println!("seed {seed} fails: {}", new.join(" | ").chars().take(300).collect::<String>());
                        failed.lock().expect("a list").push((seed, new));
                    }
                    let Some(played) = played else { continue };
                    *ends.lock().expect("counts").entry(played.end.to_string()).or_default() += 1;
                    for fault in played.violations.iter().filter_map(|v| known::explained(&scenario, v)) {
                        known.lock().expect("a list").entry(fault.reason).or_default().insert(seed);
                    }
                }
            });
        }
    });
    println!("{count} seeds; ends: {:?}", ends.into_inner().expect("counts"));
    for (reason, seeds) in known.into_inner().expect("a list") {
        println!("known fault in {} seeds, such as {:?}: {reason}", seeds.len(), seeds.iter().take(6).collect::<Vec<_>>());
    }
    let mut failed = failed.into_inner().expect("a list");
    failed.sort();
    assert!(failed.is_empty(), "{}", verdict(arena, &failed));
}

fn verdict(arena: &Arena, failed: &[(u64, Vec<String>)]) -> String {
    let mut words = format!("{} seeds fail\n", failed.len());
    for (seed, violations) in failed {
        words.push_str(&format!("{seed}: {}\n", violations.join(" | ").chars().take(300).collect::<String>()));
    }
    let mut classes: BTreeMap<&str, u64> = BTreeMap::new();
    for violation in failed.iter().flat_map(|(_, violations)| violations) {
        *classes.entry(violation.split(':').next().unwrap_or_default()).or_default() += 1;
    }
    words.push_str(&format!("{classes:?}\n"));
    for (seed, _) in failed.iter().take(arena.shrunk) {
        let scenario = shrink::shrink((arena.generate)(*seed), |s| !broken(arena, s).1.is_empty());
        let (name, violations) = (arena.name, broken(arena, &scenario).1.join("\n"));
        words.push_str(&format!("\nMA_SEED={seed} cargo test -p testkit --test adversary {name}\n{violations}"));
        words.push_str(&format!("\nshrunk to {scenario:#?}\n"));
    }
    words
}

/// Plays one seed and tells everything.
fn one(arena: &Arena, seed: u64) {
    let scenario = (arena.generate)(seed);
    println!("{scenario:#?}");
    let played = play_alone(arena, &scenario);
    println!("{}\nends {} after {} calls", played.trace.join("\n"), played.end, played.calls);
    let violations: Vec<String> = played.violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
