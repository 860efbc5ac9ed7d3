//! Notifications of one migration: real letters to the rig's sink, the migration's own webhook, a chat.

use super::bench::{Bench, Hands, body};
use crate::receiver::Receiver;
use axum::http::StatusCode;
use couriers::{Mailer, Policy};
use domain::Secret;
use engine::journal::{Change, Level, NewEvent};
use engine::{RunState, StepError};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testkit::rig::{self, Mail};

const FROM: &str = "Migrations <migrations@rig.example>";

fn mailer(mail: &Mail, password: &str) -> Mailer {
    let url = Secret::new(format!("smtp://{}:{password}@localhost:{}", mail.user, mail.port));
    Mailer::new(&url, FROM, Some(std::fs::read(&mail.ca_file).expect("the sink's certificate"))).expect("a mailer")
}

async fn bench(mailer: Option<Mailer>) -> Bench {
    Bench::telling(Policy { allow_private: true }, mailer).await
}

/// An address that nobody else writes to.
fn somebody(name: &str) -> String {
    format!("{name}-{}-{}@rig.example", std::process::id(), Timestamp::now().as_nanosecond())
}

/// A migration with these notifications, started with these options and taken up.
async fn running(bench: &Bench, notifications: Value, options: Value) -> Hands {
    let mut document = body();
    document["name"] = json!("Shop <b>1</b>");
    document["notifications"] = notifications;
    let made = bench.post("/migrations", &document).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["id"].as_str().expect("an id");
    let started = bench.post(&format!("/migrations/{id}/start?skip_validation=true"), &options).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text);
    bench.take_up().await
}

async fn tell(bench: &Bench, now: Option<Timestamp>) {
    while bench.control.tell_once(now).await.expect("a round") > 0 {}
}

async fn sent(bench: &Bench, id: &str) -> Vec<Value> {
    let answer = bench.get(&format!("/migrations/{id}/notifications")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json.as_array().expect("a list").clone()
}

async fn fail(hands: Hands) {
    let error = StepError::permanent("no_space", "The disk of s3://new-site is full; free 3 GB, then resume");
    let event = NewEvent::new("run.failed", Level::Error, "engine", "failed");
    hands.write(vec![Change::State { to: RunState::Failed, error: Some(error) }], vec![event]).await;
}

#[tokio::test]
async fn a_completed_migration_is_told_by_mail_chat_and_webhook() {
    let (mail, receiver, chat) = (rig::mail(), Receiver::start().await, Receiver::start().await);
    let bench = bench(Some(mailer(&mail, &mail.password))).await;
    let (one, two) = (somebody("one"), somebody("two"));
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let notifications = json!({"email": {"recipients": [one, two]}, "webhook": {"url": receiver.url, "secret": secret}, "slack": {"webhook_url": chat.url}});
    let hands = running(&bench, notifications, json!({})).await;
    hands.ledger("files", 3, 2_000_000, 3).await;
    let id = hands.id.clone();
    hands.state(RunState::Completed).await;
    tell(&bench, None).await;
    for somebody in [&one, &two] {
        let letters = mail.letters_to(somebody);
        assert_eq!(letters.len(), 1);
        let letter = letters[0].replace("=\r\n", "");
        for part in [
            "X-From: migrations@rig.example",
            "Subject: Migration 'Shop <b>1</b>' is complete",
            "multipart/alternative",
            "text/plain",
            "text/html",
            "Auto-Submitted: auto-generated",
            "30 of 30",
            "5.7 MB of 5.7 MB",
            "s3://new-site",
        ] {
            assert!(letter.contains(part), "{part} is missing in {letter}");
        }
        assert!(letter.contains(&format!("migration-assistant rollback {id}")) && letter.contains("Shop &lt;b&gt;1&lt;"), "{letter}");
        assert!(!letter.contains("hidden-word"), "no secret");
    }
    let seen = receiver.seen();
    assert_eq!((seen.len(), seen[0].event(), &seen[0].json["data"]["status"]), (1, "migration.completed", &json!("completed")));
    assert!(seen[0].header("webhook-signature").starts_with("v1,"));
    let said = chat.seen();
    assert!(said.len() == 1 && said[0].json["text"].as_str().is_some_and(|t| t.contains("Shop &lt;b&gt;")) && said[0].json["blocks"].is_array(), "{said:?}");
    let all = sent(&bench, &id).await;
    assert_eq!((all.len(), all.iter().all(|d| d["status"] == "delivered")), (4, true), "{all:#?}");
    let detail = bench.get(&format!("/migrations/{id}")).await.text;
    assert!(!detail.contains(secret) && !detail.contains(&chat.url), "the receivers' secrets are never shown");
}

#[tokio::test]
async fn a_failure_says_why_and_what_to_do_next() {
    let mail = rig::mail();
    let bench = bench(Some(mailer(&mail, &mail.password))).await;
    let somebody = somebody("failed");
    let hands = running(&bench, json!({"email": {"recipients": [somebody]}, "on_completion": false}), json!({})).await;
    let id = hands.id.clone();
    fail(hands).await;
    tell(&bench, None).await;
    let letter = mail.letters_to(&somebody).pop().expect("a letter").replace("=\r\n", "");
    for part in ["failed", "The disk of s3://new-site is full; free 3 GB, then resume", &format!("migration-assistant resume {id}")] {
        assert!(letter.contains(part), "{part} is missing in {letter}");
    }
}

#[tokio::test]
async fn nobody_is_told_who_does_not_want_to_be() {
    let receiver = Receiver::start().await;
    let bench = bench(None).await;
    let own = |more: Value| {
        let mut notifications = json!({"webhook": {"url": receiver.url}});
        for (name, value) in more.as_object().expect("an object") {
            notifications[name] = value.clone();
        }
        notifications
    };
    running(&bench, own(json!({})), json!({"send_notifications": false})).await.state(RunState::Completed).await;
    running(&bench, own(json!({"on_completion": false})), json!({})).await.state(RunState::Completed).await;
    fail(running(&bench, own(json!({"on_failure": false})), json!({})).await).await;
    running(&bench, json!({"webhook": {"enabled": false, "url": receiver.url}}), json!({})).await.state(RunState::Completed).await;
    running(&bench, own(json!({})), json!({})).await.state(RunState::Cancelled).await;
    tell(&bench, None).await;
    assert_eq!(receiver.seen().len(), 0);
    running(&bench, own(json!({"on_completion": false})), json!({"send_notifications": true})).await.state(RunState::Stuck).await;
    tell(&bench, None).await;
    assert_eq!(receiver.seen().len(), 1);
}

/// What a schedule says of the completion comes before what the configuration says.
#[tokio::test]
async fn a_schedule_decides_about_the_completion() {
    for (configured, scheduled, told) in [(false, json!(true), 1), (true, json!(false), 0), (true, Value::Null, 1)] {
        let (receiver, bench) = (Receiver::start().await, bench(None).await);
        let mut document = body();
        document["notifications"] = json!({"webhook": {"url": receiver.url}, "on_completion": configured});
        let id = bench.post("/migrations", &document).await.json["id"].as_str().expect("an id").to_owned();
        let mut asked = json!({"cron": "0 * * * *"});
        if scheduled.is_boolean() {
            asked["notifications"] = json!({"on_completion": scheduled});
        }
        let made = bench.post(&format!("/migrations/{id}/schedule"), &asked).await;
        let next: Timestamp = format!("{}Z", made.json["next_run_at"].as_str().expect("a time")).parse().expect("a time");
        while bench.control.turn_schedules(Some(next)).await.expect("a store") + bench.control.turn_firings(Some(next)).await.expect("a store") > 0 {}
        bench.take_up().await.state(RunState::Completed).await;
        tell(&bench, None).await;
        assert_eq!(receiver.seen().len(), told, "configured {configured}, scheduled {scheduled}");
    }
}

#[tokio::test]
async fn before_a_start_everybody_is_told_once() {
    let mail = rig::mail();
    let bench = bench(Some(mailer(&mail, &mail.password))).await;
    let somebody = somebody("soon");
    let mut document = body();
    document["notifications"] = json!({"email": {"recipients": [somebody]}});
    let id = bench.post("/migrations", &document).await.json["id"].as_str().expect("an id").to_owned();
    let when: Timestamp = "2031-08-27T02:00:00Z".parse().expect("a time");
    for _ in 0..3 {
        bench.control.notify_before_start(control::DEFAULT_TENANT, &id, when).await.expect("told");
    }
    tell(&bench, None).await;
    let letters = mail.letters_to(&somebody);
    assert_eq!(letters.len(), 1);
    assert!(letters[0].contains("Subject: Migration 'Site' starts at 2031-08-27 02:00:00 UTC"), "{}", letters[0]);
    bench.control.notify_before_start(control::DEFAULT_TENANT, &id, when + SignedDuration::from_hours(24)).await.expect("told");
    bench.control.notify_before_start(control::DEFAULT_TENANT, "gone", when).await.expect("no error");
    tell(&bench, None).await;
    assert_eq!(mail.letters_to(&somebody).len(), 2);
}

#[tokio::test]
async fn a_refused_login_is_tried_again_and_tells_no_password() {
    let mail = rig::mail();
    let bench = bench(Some(mailer(&mail, "canary-password"))).await;
    let hands = running(&bench, json!({"email": {"recipients": [somebody("never")]}}), json!({})).await;
    let id = hands.id.clone();
    hands.state(RunState::Completed).await;
    tell(&bench, None).await;
    let all = sent(&bench, &id).await;
    let error = all[0]["last_error"].as_str().expect("a reason");
    assert_eq!(all[0]["status"], "pending", "{error}");
    assert!(error.contains("localhost") && !error.contains("canary-password"), "{error}");
}

#[tokio::test]
async fn a_relay_without_tls_and_a_strict_policy() {
    let mail = rig::mail();
    let plain = |host: &str| Mailer::new(&Secret::new(format!("smtp://{host}:{}?tls=none", mail.port + 1)), FROM, None).expect("a mailer");
    let somebody = somebody("plain");
    let notifications = json!({"email": {"recipients": [somebody]}});
    let open = bench(Some(plain("127.0.0.1"))).await;
    running(&open, notifications.clone(), json!({})).await.state(RunState::Completed).await;
    tell(&open, None).await;
    assert_eq!(mail.letters_to(&somebody).len(), 1);
    for host in ["127.0.0.1", "localhost"] {
        let strict = Bench::telling(Policy::default(), Some(plain(host))).await;
        let hands = running(&strict, notifications.clone(), json!({})).await;
        let id = hands.id.clone();
        hands.state(RunState::Completed).await;
        tell(&strict, None).await;
        let all = sent(&strict, &id).await;
        assert!(all[0]["last_error"].as_str().is_some_and(|e| e.contains("leads inside")), "{all:#?}");
    }
    assert_eq!(mail.letters_to(&somebody).len(), 1);
}
