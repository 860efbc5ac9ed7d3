//! Clouds of the rig against the suite that every cloud passes, and what is peculiar to each. `rig/clouds.sh` furnishes them.

use couriers::{Exchanger, Policy};
use domain::Secret;
use domain::workloads::{Address, AwsAt, CloudAt, VsphereAt};
use ports::ErrorKind;
use ports::clouds::{Cloud, Machine, PowerState};
use std::sync::Arc;
use testkit::clouds_suite::{self, Bench};
use testkit::rig::{Clouds, clouds, server_machine};

fn open(at: &CloudAt) -> Arc<dyn Cloud> {
    let exchanger = Exchanger::new(Policy { allow_private: true }, at.ca()).expect("an exchange");
    connectors_clouds::open(at, Arc::new(exchanger))
}

fn aws_at(rig: &Clouds, user: &str) -> AwsAt {
    let (access_key_id, secret) = rig.key(user);
    AwsAt {
        region: "eu-central-1".to_owned(),
        endpoint: Some(rig.aws.clone()),
        access_key_id,
        secret_access_key: Secret::new(secret),
        session_token: None,
        ca: Some(rig.ca.clone()),
    }
}

fn vsphere_at(rig: &Clouds) -> VsphereAt {
    let (username, password) = rig.vcenter_login.clone();
    VsphereAt { endpoint: rig.vcenter.clone(), username, password: Secret::new(password), ca: Some(rig.ca.clone()) }
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

/// The rig's network with another last part.
fn neighbour(last: u8) -> String {
    let (net, _) = server_machine(1).host.rsplit_once('.').map(|(net, last)| (net.to_owned(), last.to_owned())).expect("an IPv4 address");
    format!("{net}.{last}")
}

#[tokio::test]
async fn aws_keeps_what_clouds_promise() {
    let rig = clouds();
    let at = aws_at(&rig, "MIGRATOR");
    let wrong = AwsAt { secret_access_key: Secret::new("wrong-canary"), ..at.clone() };
    clouds_suite::run(Bench {
        cloud: open(&CloudAt::Aws(at.clone())),
        wrong: open(&CloudAt::Aws(wrong)),
        wrong_password: "wrong-canary".to_owned(),
        running: vec![server_machine(2).host, rig.known("TARGET_PUBLIC"), rig.known("TARGET_DNS"), rig.known("TARGET_DNS").to_uppercase()],
        stopped: server_machine(3).host,
        absent: vec![neighbour(14), neighbour(99), "2001:db8::99".to_owned(), "nobody.example.com".to_owned()],
    })
    .await;
    let unknown = AwsAt { access_key_id: "AKIANOBODYNOBODYNOBO".to_owned(), ..at };
    assert_eq!(open(&CloudAt::Aws(unknown)).identify().await.expect_err("nobody's key").kind, ErrorKind::Authentication);
}

#[tokio::test]
async fn aws_shows_a_machine_by_the_address_of_its_second_card_among_hundreds() {
    let rig = clouds();
    let aws = open(&CloudAt::Aws(aws_at(&rig, "MIGRATOR")));
    let found = aws.machines_at(&address(&neighbour(16))).await.expect("an answer");
    let names: Vec<Option<&str>> = found.iter().map(|m: &Machine| m.name.as_deref()).collect();
    assert_eq!(names, [Some("two-faces")], "{found:?}");
    assert!(found[0].zone.as_ref().is_some_and(|z| z.starts_with("eu-central-1")) && found[0].state == PowerState::Running, "{found:?}");
}

#[tokio::test]
async fn aws_takes_temporary_credentials_with_their_token_only() {
    let rig = clouds();
    let without = aws_at(&rig, "MOVER");
    let with = AwsAt { session_token: Some(Secret::new(rig.known("MOVER_TOKEN"))), ..without.clone() };
    let identity = open(&CloudAt::Aws(with)).identify().await.expect("an identity");
    assert!(identity.user.contains(":assumed-role/mover/rig"), "{identity:?}");
    let error = open(&CloudAt::Aws(without)).identify().await.expect_err("its token is missing");
    assert!(error.kind == ErrorKind::Authentication && error.advice.contains("session_token"), "{error}");
}

#[tokio::test]
async fn aws_says_who_may_not_look() {
    let nobody = open(&CloudAt::Aws(aws_at(&clouds(), "NOBODY")));
    assert!(nobody.identify().await.expect("an identity").user.ends_with(":user/nobody"));
    let error = nobody.machines_at(&address(&neighbour(12))).await.expect_err("it may not");
    assert!(error.kind == ErrorKind::Permission && error.advice.contains("ec2:DescribeInstances"), "{error}");
}

#[tokio::test]
async fn vsphere_keeps_what_clouds_promise() {
    let rig = clouds();
    let at = vsphere_at(&rig);
    let wrong = VsphereAt { password: Secret::new("wrong-canary"), ..at.clone() };
    clouds_suite::run(Bench {
        cloud: open(&CloudAt::Vsphere(at.clone())),
        wrong: open(&CloudAt::Vsphere(wrong)),
        wrong_password: "wrong-canary".to_owned(),
        running: vec![server_machine(2).host, "server-12.rig.test".to_owned()],
        stopped: server_machine(3).host,
        absent: vec![neighbour(99), "2001:db8::99".to_owned(), "nobody.example.com".to_owned()],
    })
    .await;
    // As it may be copied from the browser's or a client's settings.
    for endpoint in [format!("{}/", rig.vcenter), format!("{}/sdk", rig.vcenter)] {
        open(&CloudAt::Vsphere(VsphereAt { endpoint, ..at.clone() })).identify().await.expect("an identity");
    }
}

#[tokio::test]
async fn what_answers_must_be_the_cloud_itself() {
    let rig = clouds();
    // Somebody else's service, a certificate that nobody vouches for, nobody at all.
    let other = VsphereAt { endpoint: rig.aws.clone(), ..vsphere_at(&rig) };
    let error = open(&CloudAt::Vsphere(other)).identify().await.expect_err("no vCenter");
    assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
    let other = AwsAt { endpoint: Some(rig.vcenter.clone()), ..aws_at(&rig, "MIGRATOR") };
    let error = open(&CloudAt::Aws(other)).identify().await.expect_err("no AWS");
    assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
    let unknown = AwsAt { ca: None, ..aws_at(&rig, "MIGRATOR") };
    let error = open(&CloudAt::Aws(unknown)).identify().await.expect_err("no known certificate");
    assert!(error.kind == ErrorKind::Unreachable && error.to_string().contains("ertificate"), "{error}");
    let gone = VsphereAt { endpoint: "https://127.0.0.1:9".to_owned(), ..vsphere_at(&rig) };
    let error = open(&CloudAt::Vsphere(gone)).identify().await.expect_err("nobody is there");
    assert!(error.kind == ErrorKind::Unreachable && error.temporary, "{error}");
}
