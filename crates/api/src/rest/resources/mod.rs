//! Document 1's interface below `/api/v1`: a user registers, gets tokens, and owns what it makes. A log-in is needed here whatever
//! `--auth-enabled` says (see [`super::gate`]).

mod credentials;
mod migrations;
mod mount_points;
mod people;
mod targets;
mod workloads;

use super::{Access, Endpoint};

const TAG: &str = "Resources";
/// Where everybody has to log in.
pub(super) const ROOT: &str = "/api/v1/";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut owned = credentials::endpoints();
    owned.extend(targets::endpoints());
    owned.extend(migrations::endpoints());
    owned.extend(mount_points::endpoints());
    owned.extend(workloads::endpoints());
    let scope = |endpoint: &Endpoint| format!("workloads:{}", if endpoint.method.is_safe() { "read" } else { "write" });
    let mut all = people::endpoints();
    all.extend(owned.into_iter().map(|endpoint| {
        let access = Access::Scope(scope(&endpoint));
        endpoint.access(access)
    }));
    all
}
