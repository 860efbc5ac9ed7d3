//! The contract of [`ports::clouds`], as a suite: every cloud calls [`run`] and adds what is peculiar to it.

use domain::workloads::Address;
use ports::ErrorKind;
use ports::clouds::{Cloud, Machine, PowerState};
use std::sync::Arc;

/// A cloud with machines in it.
pub struct Bench {
    pub cloud: Arc<dyn Cloud>,
    /// The same with a password that is not good.
    pub wrong: Arc<dyn Cloud>,
    /// That password.
    pub wrong_password: String,
    /// Addresses of one running machine, each of which is nobody else's.
    pub running: Vec<String>,
    pub stopped: String,
    /// Addresses that no machine has (any more).
    pub absent: Vec<String>,
}

/// All cases, one after the other.
pub async fn run(bench: Bench) {
    the_credentials_are_somebodys(&bench).await;
    wrong_credentials_are_named_as_such(&bench).await;
    one_machine_by_each_of_its_addresses(&bench).await;
    a_stopped_machine_is_known(&bench).await;
    nobody_is_no_error(&bench).await;
}

async fn the_credentials_are_somebodys(bench: &Bench) {
    let first = bench.cloud.identify().await.expect("an identity");
    assert!(!first.account.is_empty() && !first.user.is_empty(), "{first:?}");
    assert_eq!(bench.cloud.identify().await.expect("an identity"), first, "asked again");
}

async fn wrong_credentials_are_named_as_such(bench: &Bench) {
    let looked = bench.wrong.machines_at(&address(&bench.stopped)).await.map(drop);
    for answer in [bench.wrong.identify().await.map(drop), looked] {
        let error = answer.expect_err("the password is wrong");
        assert!(error.kind == ErrorKind::Authentication && !error.temporary, "{error}");
        assert!(error.advice.contains("cloud_credentials") && !error.to_string().contains(&bench.wrong_password), "{error}");
    }
}

async fn one_machine_by_each_of_its_addresses(bench: &Bench) {
    let mut seen: Option<Machine> = None;
    for text in &bench.running {
        let found = only(bench, text).await;
        assert!(found.state == PowerState::Running && found.is_at(&address(text)), "{text}: {found:?}");
        assert!(found.name.is_some() && !found.disks.is_empty() && found.disks.iter().all(|d| d.bytes > 0), "{found:?}");
        assert_eq!(seen.get_or_insert_with(|| found.clone()), &found, "{text}");
    }
}

async fn a_stopped_machine_is_known(bench: &Bench) {
    assert_eq!(only(bench, &bench.stopped).await.state, PowerState::Stopped);
}

async fn nobody_is_no_error(bench: &Bench) {
    for text in &bench.absent {
        assert_eq!(bench.cloud.machines_at(&address(text)).await.expect("an answer"), Vec::new(), "{text}");
    }
}

async fn only(bench: &Bench, text: &str) -> Machine {
    let found = bench.cloud.machines_at(&address(text)).await.expect("an answer");
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    found.into_iter().next().expect("one machine")
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}
