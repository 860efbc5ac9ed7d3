//! Where a target's cloud is asked: judged when it is given, shown without its token.

use domain::decode::Problems;
use domain::workloads::{CloudAccess, Target};
use ports::Courier;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a cloud is asked. The session token reads `********`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CloudView {
    #[schema(example = "https://vcenter.example.com")]
    pub endpoint: Option<String>,
    #[schema(example = "eu-central-1")]
    pub region: Option<String>,
    #[schema(example = "********")]
    pub session_token: Option<String>,
    /// PEM.
    pub ca: Option<String>,
}

/// Refuses a target whose cloud will never be spoken to.
pub(crate) fn check(target: &Target, courier: &dyn Courier, problems: &mut Problems) {
    if let Some(target) = target.vm() {
        check_access(&target.cloud, "migration_target.cloud.endpoint", courier, problems);
    }
}

/// The address is checked again when it is asked.
pub(crate) fn check_access(access: &CloudAccess, field: &str, courier: &dyn Courier, problems: &mut Problems) {
    let known = |problems: &Problems| problems.0.iter().any(|p| p.field == field);
    if let Some(endpoint) = &access.endpoint
        && !known(problems)
        && let Err(why) = courier.admits(endpoint)
    {
        problems.note(field, why);
    }
}
