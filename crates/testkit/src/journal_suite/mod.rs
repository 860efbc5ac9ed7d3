//! The contract of a journal, as a suite: every store calls [`run`] and nothing else.
//!
//! Each case works on runs of a kind and a tenant of its own, so that all may run at once on one database. A lease of no length is over
//! at once: expiry needs no waiting.

mod events;
mod holds;
mod leases;
mod ledgers;
mod lines;
mod runs;

use engine::journal::{Claim, ClaimRequest, StepPin};
use engine::state::Request;
use engine::{Journal, NewRun};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// All cases, one after the other; the panic of a failing case names its line.
pub async fn run(journal: Arc<dyn Journal>) {
    let bench = |name: &str| Bench::new(&journal, name);
    runs::create_and_read(bench("create")).await;
    runs::tenants_are_apart(bench("tenants")).await;
    runs::lists(bench("lists")).await;
    lines::tell_what_the_views_tell(bench("lines")).await;
    runs::requests_and_their_refusals(bench("requests")).await;
    runs::who_wanted_the_rollback(bench("by_itself")).await;
    runs::deletes(bench("deletes")).await;
    leases::one_claim_among_many_workers(bench("claims")).await;
    leases::claims_only_what_fits(bench("fits")).await;
    leases::a_pinned_run_is_claimed_by_its_node_only(bench("pinned")).await;
    leases::a_run_that_nobody_has_is_interrupted(bench("interrupted")).await;
    leases::schedules(bench("schedules")).await;
    leases::expiry_fences_the_late_writer(bench("fencing")).await;
    leases::release_lets_another_go_on(bench("release")).await;
    leases::wishes(bench("wishes")).await;
    events::order_without_gaps(bench("order")).await;
    events::filters(bench("filters")).await;
    events::writes_are_all_or_nothing(bench("atomic")).await;
    events::steps_and_states(bench("steps")).await;
    events::memos(bench("memos")).await;
    events::wakes_readers(bench("wakes")).await;
    holds::a_run_stands_still_while_it_is_held(bench("holds")).await;
    holds::what_is_read_stays(bench("read")).await;
    holds::the_way_back_is_given_up_once(bench("final")).await;
    ledgers::plan_and_done(bench("ledger")).await;
    ledgers::pages(bench("pages")).await;
    ledgers::many_movers_at_once(bench("movers")).await;
}

/// A journal and names that no other case uses.
struct Bench {
    journal: Arc<dyn Journal>,
    kind: String,
    tenant: String,
}

impl Bench {
    fn new(journal: &Arc<dyn Journal>, name: &str) -> Self {
        let unique = format!("{name}-{}", uuid::Uuid::now_v7().simple());
        Self { journal: journal.clone(), kind: unique.clone(), tenant: unique }
    }

    fn new_run(&self, id: &str) -> NewRun {
        NewRun {
            id: format!("{}/{id}", self.tenant),
            tenant: self.tenant.clone(),
            kind: self.kind.clone(),
            input: json!({"password": "hunter2", "for": id}),
            labels: json!({"name": id}),
            holds: None,
        }
    }

    /// A created run; its id.
    async fn created(&self, id: &str) -> String {
        let run = self.new_run(id);
        self.journal.create(&run, &pins(&["one", "two"])).await.expect("created");
        run.id
    }

    async fn started(&self, id: &str) -> String {
        let id = self.created(id).await;
        self.journal.request(&self.tenant, &id, &Request::Start { options: json!({"n": 1}) }).await.expect("started");
        id
    }

    fn request(&self, owner: &str, lease: Duration) -> ClaimRequest {
        ClaimRequest { owner: owner.to_owned(), kinds: vec![self.kind.clone()], except: Vec::new(), lease, node: None }
    }

    async fn claim(&self, owner: &str) -> Option<Claim> {
        self.journal.claim(&self.request(owner, Duration::from_mins(1))).await.expect("claim answers")
    }

    /// A started and claimed run.
    async fn claimed(&self, id: &str, owner: &str) -> Claim {
        self.started(id).await;
        self.claim(owner).await.expect("there is a run to claim")
    }

    async fn options(&self, id: &str, request: Request) -> Result<engine::RunState, engine::EngineError> {
        self.journal.request(&self.tenant, id, &request).await.map(|v| v.state)
    }
}

fn pins(names: &[&str]) -> Vec<StepPin> {
    names.iter().map(|n| StepPin { name: (*n).to_owned(), title: format!("Title of {n}"), version: 1 }).collect()
}

fn null() -> Value {
    Value::Null
}
