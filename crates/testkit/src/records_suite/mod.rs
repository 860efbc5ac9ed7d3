//! The contract of the control plane's records, audit log and outbox, as a suite: every store calls [`run`] and nothing else.

mod audit;
mod limits;
mod records;
mod upkeep;

use ports::records::Records;
use std::sync::Arc;

/// All cases, one after the other. `store` is seen through both of its doors.
pub async fn run<S: Records + engine::Journal + 'static>(store: Arc<S>) {
    let bench = |name: &str| Bench { store: store.clone(), tenant: unique(name), kind: unique("kind") };
    records::insert_read_change_delete(bench("life")).await;
    records::keys_are_unique_in_their_place(bench("keys")).await;
    records::a_late_writer_is_refused(bench("late")).await;
    records::all_or_nothing(bench("atomic")).await;
    records::lists_filter_and_page(bench("lists")).await;
    records::secrets_are_sealed(bench("secrets")).await;
    records::what_is_due_is_handed_out_once(bench("due")).await;
    records::what_is_due_now_is_handed_out_now(bench("now")).await;
    audit::a_change_and_its_entry_are_one_transaction(bench("audit")).await;
    audit::entries_filter_and_page(bench("entries")).await;
    audit::events_wait_in_the_outbox_until_told(bench("outbox")).await;
    limits::of_many_starts_as_many_succeed_as_may(bench("starts")).await;
    limits::whatever_makes_a_run_active_asks(bench("room")).await;
    limits::a_timed_start_waits_for_room(bench("timed")).await;
    upkeep::days_add_up_what_ran(bench("days")).await;
    upkeep::it_is_ready_and_counts_everything(bench("census")).await;
    upkeep::progress_is_thinned_to_one_a_minute(bench("thin")).await;
}

/// A store, with a tenant and a kind that no other case uses.
struct Bench<S> {
    store: Arc<S>,
    tenant: String,
    kind: String,
}

fn unique(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::now_v7().simple())
}
