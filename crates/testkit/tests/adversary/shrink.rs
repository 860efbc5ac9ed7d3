//! Makes a failing scenario smaller: drops one thing after the other for as long as it still fails.

use super::scenario::{Ending, Scenario};

/// How often a smaller scenario is played before it counts as sound: the last bit of timing is the machine's.
const TRIES: usize = 2;

pub fn shrink(scenario: Scenario, fails: impl Fn(&Scenario) -> bool) -> Scenario {
    let mut smallest = scenario;
    let mut at = 0;
    loop {
        let Some(smaller) = without(&smallest, at) else { return smallest };
        let removes = at < things(&smallest);
        let still = (0..TRIES).any(|_| fails(&smaller));
        if still {
            smallest = smaller;
        }
        // What was removed is followed by another thing of the same number.
        if !(still && removes) {
            at += 1;
        }
    }
}

fn things(scenario: &Scenario) -> usize {
    scenario.events.len() + scenario.at_rest.len() + scenario.after.len()
}

/// The scenario without its thing number `at`; `None` behind the last one.
fn without(scenario: &Scenario, at: usize) -> Option<Scenario> {
    let mut smaller = scenario.clone();
    let (events, at_rest, after) = (scenario.events.len(), scenario.at_rest.len(), scenario.after.len());
    match at {
        _ if at < events => drop(smaller.events.remove(at)),
        _ if at < events + at_rest => drop(smaller.at_rest.remove(at - events)),
        _ if at < things(scenario) => drop(smaller.after.remove(at - events - at_rest)),
        _ => return simpler(smaller, at - events - at_rest - after),
    }
    Some(smaller)
}

/// Turns one choice off; a choice that is off already is passed over by the caller, because nothing changes then.
fn simpler(mut scenario: Scenario, choice: usize) -> Option<Scenario> {
    match choice {
        0 => scenario.ending = Ending::Leave,
        1 => scenario.delete_extraneous = false,
        2 => scenario.parts = false,
        3 => scenario.coarse = false,
        4 => scenario.auto_rollback = false,
        5 => scenario.power_fails_at_end = false,
        6..=13 => scenario.source_files &= !(1 << (choice - 6)),
        14..=21 => scenario.destination_files &= !(1 << (choice - 14)),
        _ => return None,
    }
    Some(scenario)
}
