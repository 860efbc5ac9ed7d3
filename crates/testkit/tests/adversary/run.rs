//! Plays one scenario to its end, and asks the oracle whenever the run comes to rest.

use super::oracle::{Class, Oracle, Violation, violation};
use super::scenario::{Deed, Ending, Scenario};
use super::stage::{Order, RUN, TENANT};
use super::world::{Make, World};
use engine::{RunState, RunView};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A scenario that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often a user tries again before they roll back, or give up.
const TRIES: u32 = 3;

/// What became of a scenario.
pub struct Played {
    pub violations: Vec<Violation>,
    pub calls: u64,
    pub trace: Vec<String>,
    pub end: RunState,
}

struct Play {
    world: World,
    violations: Vec<Violation>,
    resumed: u32,
    resolved: u32,
    completed: bool,
    failures: Vec<String>,
    waiting: Vec<Deed>,
    /// How the destination was when the rollback was asked for.
    before_rollback: Option<(Vec<String>, Vec<String>)>,
}

pub async fn play(scenario: &Scenario, make: &Make) -> Played {
    let mut world = World::new(scenario, make).await;
    world.start(0);
    let mut play = Play {
        world,
        violations: Vec::new(),
        resumed: 0,
        resolved: 0,
        completed: false,
        failures: Vec::new(),
        waiting: scenario.at_rest.clone(),
        before_rollback: None,
    };
    let began = Instant::now();
    let end = loop {
        if play.obey().await {
            break play.world.view().await.state;
        }
        let view = play.world.view().await;
        if let Some(node) = &view.pinned_to {
            play.world.bring_back(node);
        }
        if let Some(end) = play.next(&view).await {
            break end;
        }
        if began.elapsed() > PATIENCE {
            play.violations.push(violation(Class::Endless, format!("still {} after {} s", view.state, PATIENCE.as_secs())));
            break view.state;
        }
        let _rung = tokio::time::timeout(Duration::from_millis(2), play.world.stage.bell.notified()).await;
    };
    play.needless();
    let (calls, trace) = {
        let mut state = play.world.stage.lock();
        (state.calls, std::mem::take(&mut state.trace))
    };
    play.world.end().await;
    Played { violations: play.violations, calls, trace, end }
}

impl Play {
    /// Does what was ordered about processes; true when there is no point in going on.
    async fn obey(&mut self) -> bool {
        let orders = std::mem::take(&mut self.world.stage.lock().orders);
        for order in orders {
            match order {
                Order::Kill { process, node } => {
                    self.world.kill(process).await;
                    self.world.start(node);
                }
                Order::Shutdown { process, node } => {
                    self.world.shut_down(process).await;
                    self.world.start(node);
                }
                Order::LeaseLost { node } => {
                    self.world.expire_lease().await;
                    self.world.start(node);
                }
                Order::Endless => {
                    self.violations.push(violation(Class::Endless, "it calls and calls"));
                    return true;
                }
            }
        }
        false
    }

    async fn at_rest(&mut self, view: &RunView) {
        let found = Oracle::new(&self.world, view).await.at_rest().await;
        self.violations.extend(found);
    }

    /// What a user does next; `Some` when the story is over.
    async fn next(&mut self, view: &RunView) -> Option<RunState> {
        match view.state {
            RunState::Paused => {
                self.at_rest(view).await;
                self.meanwhile().await;
                self.world.engine.resume(TENANT, RUN).await.expect("a paused run is resumed");
            }
            RunState::Failed => return self.failed(view).await,
            RunState::Cancelled => {
                self.at_rest(view).await;
                // One that was cancelled before it began has nothing to take back.
                return self.roll_back().await.is_err().then_some(view.state);
            }
            RunState::Completed => return self.over(view).await,
            RunState::RolledBack => {
                self.power_fails();
                self.at_rest(view).await;
                let found = Oracle::new(&self.world, view).await.rolled_back().await;
                self.violations.extend(found);
                return Some(view.state);
            }
            RunState::Stuck => return self.stuck(view).await,
            RunState::Created | RunState::Scheduled | RunState::Running | RunState::RollingBack => {}
        }
        None
    }

    /// What happens while nobody works on the run, once.
    async fn meanwhile(&mut self) {
        for deed in std::mem::take(&mut self.waiting) {
            self.world.stage.act_between(deed).await;
        }
    }

    async fn failed(&mut self, view: &RunView) -> Option<RunState> {
        self.at_rest(view).await;
        self.failures.push(view.error.as_ref().map(ToString::to_string).unwrap_or_default());
        self.resumed += 1;
        self.meanwhile().await;
        if self.resumed <= TRIES {
            self.world.engine.resume(TENANT, RUN).await.expect("a failed run is tried again");
            return None;
        }
        self.roll_back().await.is_err().then_some(view.state)
    }

    async fn over(&mut self, view: &RunView) -> Option<RunState> {
        self.power_fails();
        self.at_rest(view).await;
        if !self.completed {
            self.completed = true;
            let found = Oracle::new(&self.world, view).await.completed().await;
            self.violations.extend(found);
        }
        let scenario = self.world.stage.scenario.clone();
        for deed in &scenario.after {
            self.world.stage.act_between(*deed).await;
        }
        if scenario.ending == Ending::Leave {
            return Some(view.state);
        }
        self.roll_back().await.is_err().then_some(view.state)
    }

    /// What has ended is on the disks.
    fn power_fails(&self) {
        if self.world.stage.scenario.power_fails_at_end {
            let calls = self.world.stage.lock().calls;
            self.world.stage.lose_power(calls);
        }
    }

    async fn roll_back(&mut self) -> Result<RunView, engine::EngineError> {
        let destination = &self.world.stage.destination;
        self.before_rollback = Some((destination.files.state().await, destination.rows.state().await));
        self.world.engine.rollback(TENANT, RUN, Value::Null).await
    }

    async fn stuck(&mut self, view: &RunView) -> Option<RunState> {
        self.at_rest(view).await;
        self.resolved += 1;
        if self.resolved <= TRIES {
            self.world.engine.resolve(TENANT, RUN).await.expect("a stuck rollback is tried again");
            return None;
        }
        let why = view.error.as_ref().map(ToString::to_string).unwrap_or_default();
        let deleted = self.world.stage.lock().model.backups_deleted;
        let in_the_way = deleted || self.world.stage.scenario.any(Deed::is_at_destination);
        if !in_the_way {
            self.violations.push(violation(Class::Stuck, why));
        } else if deleted {
            self.untouched().await;
        }
        Some(view.state)
    }

    /// A rollback that cannot succeed must not have begun.
    async fn untouched(&mut self) {
        let destination = &self.world.stage.destination;
        let now = (destination.files.state().await, destination.rows.state().await);
        if self.before_rollback.as_ref().is_some_and(|before| *before != now) {
            self.violations.push(violation(Class::RowLost, "a rollback without its backup destroyed something before it gave up"));
        }
    }

    /// A run that nothing stood in the way of may not fail.
    fn needless(&mut self) {
        let scenario = &self.world.stage.scenario;
        let disturbed = scenario.any(|deed| deed.is_at_destination() || matches!(deed, Deed::Fault { .. } | Deed::DeleteBackups));
        if let Some(first) = self.failures.first().filter(|_| !disturbed) {
            self.violations.push(violation(Class::NeedlessFailure, first.clone()));
        }
    }
}
