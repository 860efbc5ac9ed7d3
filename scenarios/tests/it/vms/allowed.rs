//! Who may move the disk of a machine: whoever may migrate, and may do with machines as it likes.

use crate::api::auth::Guarded;
use axum::http::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn a_disk_needs_the_scope_of_machines_too() {
    let guarded = Guarded::new().await;
    let bucket = json!({"type": "aws-s3", "bucket": "disks"});
    let out = json!({"name": "n", "source": {"type": "vm", "vm": "x"}, "destination": bucket});
    let back = json!({"name": "n", "source": bucket, "destination": {"type": "vm", "name": "new"}});
    let batch = json!({"migrations": [out]});
    guarded.user("mover", "default", &["migrations:read", "migrations:write", "vms:read"]).await;
    let token = guarded.log_in("mover").await;
    for (path, body) in [("/migrations/", &out), ("/migrations/", &back), ("/validate/", &out), ("/migrations/dry-run", &back)] {
        let answer = guarded.as_token(&token, Method::POST, path, Some(body)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS"), "{path}: {}", answer.text);
        assert_eq!(answer.json["error"]["details"]["required_scope"], "vms:write");
    }
    let many = guarded.as_token(&token, Method::POST, "/migrations/batch", Some(&batch)).await;
    assert_eq!((many.status, many.fields()), (StatusCode::BAD_REQUEST, vec!["migrations[0].source.type"]), "{}", many.text);
    // Who may: the bench keeps no disks, and says that instead.
    guarded.user("keeper", "default", &["migrations:write", "vms:write"]).await;
    let token = guarded.log_in("keeper").await;
    let answer = guarded.as_token(&token, Method::POST, "/migrations/", Some(&out)).await;
    assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, vec!["source.type"]), "{}", answer.text);
    assert!(answer.text.contains("keeps no virtual machines"), "{}", answer.text);
}
