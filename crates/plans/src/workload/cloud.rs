//! Asks the target's cloud, when enough is known to ask it: whose the credentials are, and how the target VM is. Reads only.
//!
//! ```text
//! nothing to ask ─► asked: false, and why
//! identify ─► refused: the migration must not begin
//! machines at the address ─► none: a warning ── one that is up: fine ── only ones that are off: the migration must not begin
//! ```

use domain::workloads::{Address, CloudType, Target};
use ports::clouds::{Cloud, Identity, Machine, PowerState};
use ports::{ConnectorError, Connectors, ErrorKind, Result};
use serde::Serialize;
use std::time::Duration;

/// Longest that all questions together may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// What was learnt. The report and the dry run show it.
#[derive(Debug, Clone, Serialize)]
pub struct CloudFound {
    pub cloud_type: CloudType,
    pub asked: bool,
    /// Why it was not asked.
    pub reason: Option<String>,
    pub identity: Option<Identity>,
    /// The target VM as its cloud shows it; `None` when the cloud does not know it.
    pub machine: Option<Machine>,
    pub warnings: Vec<String>,
}

impl CloudFound {
    fn of(cloud_type: CloudType) -> Self {
        Self { cloud_type, asked: false, reason: None, identity: None, machine: None, warnings: Vec::new() }
    }

    /// For the log.
    pub fn words(&self) -> String {
        let machine = self.machine.as_ref().map_or_else(String::new, |m| format!("; the target VM is {}", m.id));
        match &self.identity {
            Some(identity) => format!("The cloud knows us as {} (account {}){machine}", identity.user, identity.account),
            None => format!("The cloud was not asked: {}", self.reason.as_deref().unwrap_or_default()),
        }
    }
}

/// Asks; `None` when the target is in no cloud. An error means that the migration must not begin.
pub async fn ask(target: &Target, connectors: &dyn Connectors) -> Result<Option<CloudFound>> {
    let Some(target) = target.vm() else { return Ok(None) };
    let (mut out, address) = (CloudFound::of(target.cloud_type), &target.vm.ip);
    let at = match target.cloud_at() {
        Ok(at) => at,
        Err(why) => {
            out.reason = Some(why);
            return Ok(Some(out));
        }
    };
    let subject = at.describe();
    let cloud = connectors.cloud(&at).await?;
    let questions = tokio::time::timeout(PATIENCE, look(cloud.as_ref(), address));
    let answers = questions.await.unwrap_or_else(|_| {
        let reason = format!("there was no complete answer within {} seconds", PATIENCE.as_secs());
        Err(ConnectorError::new(ErrorKind::TimedOut, "ask", &subject, reason))
    });
    let (identity, machines) = answers.map_err(with_the_way_around)?;
    (out.asked, out.identity) = (true, Some(identity));
    match machines {
        Ok(machines) => (out.machine, out.warnings) = judge(machines, address, &subject)?,
        Err(denied) => out.warnings.push(format!("{subject}: the credentials are good, but may not look at machines: {}. {}", denied.reason, denied.advice)),
    }
    Ok(Some(out))
}

/// Nobody has to be asked: a cloud that does not answer keeps no migration from moving.
fn with_the_way_around(mut error: ConnectorError) -> ConnectorError {
    if error.temporary {
        let before = if error.advice.is_empty() { "" } else { ". " };
        error.advice = format!("{}{before}Without migration_target.cloud the cloud is not asked", error.advice);
    }
    error
}

/// Who we are, and the machines or why we may not see them.
async fn look(cloud: &dyn Cloud, address: &Address) -> Result<(Identity, Result<Vec<Machine>>)> {
    let identity = cloud.identify().await?;
    match cloud.machines_at(address).await {
        Err(e) if e.kind != ErrorKind::Permission => Err(e),
        machines => Ok((identity, machines)),
    }
}

/// The machine that it will be, and what is strange about it.
fn judge(machines: Vec<Machine>, address: &Address, subject: &str) -> Result<(Option<Machine>, Vec<String>)> {
    let mut warnings = Vec::new();
    if machines.len() > 1 {
        let ids: Vec<&str> = machines.iter().map(|m| m.id.as_str()).collect();
        warnings.push(format!("{subject} knows several machines with the address {address}: {}", ids.join(", ")));
    }
    let Some(machine) = machines.into_iter().min_by_key(|m| rank(m.state)) else {
        warnings.push(format!("{subject} knows no machine with the address {address}; check that it is the target that you mean"));
        return Ok((None, warnings));
    };
    let called = machine.name.as_ref().map_or_else(|| machine.id.clone(), |name| format!("{} ({name})", machine.id));
    match machine.state {
        PowerState::Running | PowerState::Unknown => {}
        PowerState::Starting => warnings.push(format!("{subject}: {called} is only just starting")),
        PowerState::Stopping | PowerState::Stopped | PowerState::Suspended => {
            let reason = format!("it is the machine {called}, which is {} in {subject}", word(machine.state));
            return Err(ConnectorError::new(ErrorKind::Unreachable, "use the target VM", address.as_str(), reason)
                .advice("Start it there, then start the migration again")
                .permanent());
        }
    }
    Ok((Some(machine), warnings))
}

/// Of several the one that can be the target.
fn rank(state: PowerState) -> u8 {
    match state {
        PowerState::Running => 0,
        PowerState::Starting => 1,
        PowerState::Unknown => 2,
        PowerState::Stopping | PowerState::Stopped | PowerState::Suspended => 3,
    }
}

fn word(state: PowerState) -> &'static str {
    match state {
        PowerState::Running => "running",
        PowerState::Starting => "starting",
        PowerState::Stopping => "being stopped",
        PowerState::Stopped => "stopped",
        PowerState::Suspended => "suspended",
        PowerState::Unknown => "in a state that we do not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str, state: PowerState) -> Machine {
        Machine { id: id.to_owned(), name: Some("web".to_owned()), state, addresses: Vec::new(), zone: None, disks: Vec::new() }
    }

    fn judged(states: &[PowerState]) -> Result<(Option<Machine>, Vec<String>)> {
        let machines = states.iter().enumerate().map(|(i, state)| machine(&format!("i-{i}"), *state)).collect();
        judge(machines, &Address::parse("10.0.0.1").unwrap(), "aws in r")
    }

    #[test]
    fn a_machine_that_is_up_is_the_target() {
        use PowerState::{Running, Starting, Stopped, Suspended, Unknown};
        for (states, id, warnings) in [
            (&[Running][..], Some("i-0"), 0),
            (&[Stopped, Running], Some("i-1"), 1),
            (&[Suspended, Starting], Some("i-1"), 2),
            (&[Unknown], Some("i-0"), 0),
            (&[], None, 1),
        ] {
            let (machine, said) = judged(states).unwrap();
            assert_eq!((machine.as_ref().map(|m| m.id.as_str()), said.len()), (id, warnings), "{states:?}: {said:?}");
        }
    }

    #[test]
    fn a_silent_cloud_can_be_left_out() {
        let told = |kind| with_the_way_around(ConnectorError::new(kind, "ask", "aws", "no").advice("Check it")).advice;
        assert_eq!(told(ErrorKind::Unreachable), "Check it. Without migration_target.cloud the cloud is not asked");
        assert_eq!(told(ErrorKind::Authentication), "Check it");
    }

    #[test]
    fn one_that_is_off_is_refused_with_what_to_do() {
        for state in [PowerState::Stopped, PowerState::Stopping, PowerState::Suspended] {
            let error = judged(&[state, state]).unwrap_err();
            assert!(!error.temporary && error.to_string().contains("Start it there"), "{error}");
        }
        let error = judged(&[PowerState::Stopped]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not use the target VM 10.0.0.1: it is the machine i-0 (web), which is stopped in aws in r. Start it there, then start the migration again"
        );
    }
}
