use super::*;
use serde_json::json;

fn document() -> Value {
    json!({
        "name": "WordPress to AWS Migration",
        "source": {"type": "wordpress", "host": "old-server.com", "port": 22, "username": "user", "password": "secure_password",
            "paths": {"web_root": "/var/www/html", "uploads": "/var/www/html/wp-content/uploads"},
            "database": {"type": "mysql", "host": "old-server.com", "port": 3306, "username": "wp_user", "password": "wp_password", "database": "wordpress_db"}},
        "destination": {"type": "aws-s3", "region": "us-east-1", "bucket": "my-new-website",
            "database": {"type": "aurora-mysql", "cluster": "my-website-cluster", "username": "admin", "password": "admin_password"}},
        "transfer": {"method": "hybrid_sync", "options": {"compression": true, "parallel_transfers": 4, "chunk_size": "10MB", "resume_on_failure": true, "verify_checksums": true}},
        "safety": {"backup_before": true, "backup_retention_days": 30, "rollback_on_failure": true, "verify_after": true, "maintenance_mode": true},
        "notifications": {"email": {"enabled": true, "recipients": ["admin@example.com"]}, "webhook": {"enabled": true, "url": "https://api.example.com/migration-webhook"}}
    })
}

#[test]
fn the_documents_body_is_accepted_word_for_word() {
    let spec = MigrationSpec::decode(&document()).expect("document 3's own sample");
    assert_eq!(spec.transfer.chunk_size, 10 << 20);
    let to = spec.destination.database.expect("a database");
    assert_eq!((to.host.as_str(), to.engine), ("my-website-cluster", DatabaseEngine::MySql));
    assert_eq!(to.database, "wordpress_db", "an unnamed destination database takes the source's name");
}

#[test]
fn a_destination_says_whether_what_is_missing_is_made() {
    let mut body = document();
    assert!(MigrationSpec::decode(&body).expect("the sample").destination.create);
    body["destination"]["create"] = json!(false);
    assert!(!MigrationSpec::decode(&body).expect("nothing is made").destination.create);
    body["destination"]["create"] = json!("no");
    assert!(MigrationSpec::decode(&body).is_err());
}

#[test]
fn the_sdk_samples_short_body_is_accepted() {
    let body = json!({"name": "WordPress Migration", "source": {"type": "wordpress", "host": "old-server.com"}, "destination": {"type": "aws-s3", "bucket": "new-bucket"}});
    MigrationSpec::decode(&body).expect("document 3's SDK sample");
}

#[test]
fn secrets_never_survive_redaction_or_debug() {
    let text = redact(&document()).to_string() + &format!("{:?}", MigrationSpec::decode(&document()));
    for secret in ["secure_password", "wp_password", "admin_password"] {
        assert!(!text.contains(secret), "{secret} leaked");
    }
}

#[test]
fn an_exclude_pattern_that_names_nothing_is_an_error() {
    let with = |exclude: Value| {
        let mut body = document();
        body["transfer"]["options"]["exclude"] = exclude;
        MigrationSpec::decode(&body)
    };
    assert_eq!(with(json!(["*.log", "/private", "a b/"])).expect("valid patterns").transfer.exclude.len(), 3);
    let problems = with(json!(["*.log", "", "/", "//", " "])).expect_err("four of them name nothing");
    let fields: Vec<&str> = problems.0.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(fields, [1, 2, 3, 4].map(|i| format!("transfer.options.exclude[{i}]")));
}

#[test]
fn whom_to_tell() {
    let with = |notifications: Value| {
        let mut body = document();
        body["notifications"] = notifications;
        MigrationSpec::decode(&body)
    };
    let told = with(json!({"on_completion": false, "email": {"enabled": false, "recipients": ["a@b.example"]},
        "webhook": {"url": "https://hook.example/", "secret": "whsec_x"}, "slack": {"webhook_url": "https://chat.example/T/B/X"}}))
    .unwrap()
    .notifications;
    assert_eq!((told.on_completion, told.on_failure, told.recipients.len()), (false, true, 0));
    assert_eq!(told.webhook.unwrap().url, "https://hook.example/");
    assert_eq!(told.slack.unwrap().expose(), "https://chat.example/T/B/X");
    let problems = with(json!({"email": {"enabled": true}, "webhook": {"enabled": true}, "slack": {"webhook_url": "chat.example"}, "sms": {}})).unwrap_err();
    let fields: Vec<_> = problems.0.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(fields, ["notifications.email.recipients", "notifications.webhook.url", "notifications.slack.webhook_url", "notifications.sms"]);
    let shown = redact(&json!({"slack": {"webhook_url": "https://chat.example/T/B/X"}, "webhook": {"secret": "whsec_x"}})).to_string();
    assert!(!shown.contains("T/B/X") && !shown.contains("whsec_x"), "{shown}");
}

#[test]
fn what_travels_in_a_header_is_plain() {
    let with = |field: &str, value: &str| {
        let mut body = json!({"name": "n", "source": {"type": "static", "paths": {"web_root": "/a"}},
            "destination": {"type": "aws-s3", "bucket": "new-site", "access_key_id": "AK", "secret_access_key": "SK"}});
        body["destination"][field] = json!(value);
        MigrationSpec::decode(&body).map_or_else(|p| p.0.into_iter().map(|p| p.field).collect(), |_| Vec::new())
    };
    for field in ["region", "access_key_id", "session_token"] {
        assert_eq!(with(field, "a\nb"), [format!("destination.{field}")]);
        assert_eq!(with(field, "ü"), [format!("destination.{field}")]);
        assert!(with(field, "plain-1/+=").is_empty(), "{field}");
    }
}
