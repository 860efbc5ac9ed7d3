//! Who may move the disk of a machine: whoever may migrate, and may do with machines as it likes.

use crate::api::auth::Guarded;
use axum::http::{Method, StatusCode};
use engine::journal::Runs;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

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

#[tokio::test]
async fn a_disk_is_steered_by_whom_machines_are_allowed_to() {
    let guarded = Guarded::new().await;
    let run = |id: &str, kind: &str| engine::NewRun {
        id: id.to_owned(),
        tenant: "default".to_owned(),
        kind: kind.to_owned(),
        input: json!({}),
        labels: json!({}),
        holds: None,
    };
    for (id, kind) in [("disk", "disk@bench"), ("site", "application")] {
        guarded.bench.journal.create(&run(id, kind), &[]).await.expect("created");
    }
    guarded.user("mover", "default", &["migrations:read", "migrations:write", "vms:read"]).await;
    guarded.user("keeper", "default", &["migrations:write", "vms:write"]).await;
    let (mover, keeper) = (guarded.log_in("mover").await, guarded.log_in("keeper").await);
    let asked = async |token: &str, id: &str, what: &str| {
        let (method, path) = if what == "delete" { (Method::DELETE, format!("/migrations/{id}")) } else { (Method::POST, format!("/migrations/{id}/{what}")) };
        let body = (what == "release").then(|| json!({"force": true}));
        guarded.as_token(token, method, &path, body.as_ref()).await
    };
    for what in ["pause", "resume", "cancel", "resolve", "rollback", "release", "finalize", "delete"] {
        let answer = asked(&mover, "disk", what).await;
        assert_eq!(
            (answer.status, &answer.json["error"]["details"]["required_scope"]),
            (StatusCode::FORBIDDEN, &json!("vms:write")),
            "{what}: {}",
            answer.text
        );
        for (token, id) in [(&keeper, "disk"), (&mover, "site")] {
            let answer = asked(token, id, what).await;
            assert_ne!(answer.status, StatusCode::FORBIDDEN, "{what} {id}: {}", answer.text);
        }
    }
}

/// Image directories are the whole server's; what a migration puts there is its tenant's.
#[tokio::test]
async fn an_image_that_a_migration_makes_is_its_tenants_own() {
    let guarded = Guarded::new().await;
    let root = guarded.bench.root();
    guarded.tenant("other").await;
    guarded.user("stranger", "other", &["admin"]).await;
    let stranger = guarded.log_in("stranger").await;
    let image = root.join("moved.raw").display().to_string();
    let move_it = moving_into(&image);
    // The bench makes no images, so that no migration comes of it; the path is taken before.
    guarded.as_admin(Method::POST, "/migrations/", Some(&move_it)).await;
    let theirs = guarded.as_token(&stranger, Method::POST, "/migrations/", Some(&move_it)).await;
    assert_eq!((theirs.status, theirs.fields()), (StatusCode::BAD_REQUEST, vec!["migration_target.image.path"]), "{}", theirs.text);

    let machine = |path: &str| json!({"name": "m", "image": path});
    let missing = root.join("missing.raw").display().to_string();
    let told = |answer: &crate::api::bench::Answer, path: &str| {
        let error: Value = answer.json["error"]["details"]["validation_errors"].clone();
        (answer.status, error.to_string().replace(path, "PATH"))
    };
    let early = guarded.as_token(&stranger, Method::POST, "/vms", Some(&machine(&image))).await;
    std::fs::write(&image, b"keys").expect("the image");
    let guessed = guarded.as_token(&stranger, Method::POST, "/vms", Some(&machine(&image))).await;
    let nothing = guarded.as_token(&stranger, Method::POST, "/vms", Some(&machine(&missing))).await;
    assert_eq!(nothing.fields(), ["image"], "{}", nothing.text);
    assert_eq!((told(&early, &image), told(&guessed, &image)), (told(&nothing, &missing), told(&nothing, &missing)));
    let own = guarded.as_admin(Method::POST, "/vms", Some(&machine(&image))).await;
    assert_eq!(own.status, StatusCode::CREATED, "{}", own.text);
}

/// Its image was there before somebody else's migration made one in its place.
#[tokio::test]
async fn a_machine_over_what_became_anothers_does_not_start() {
    let guarded = Guarded::new().await;
    let image = guarded.bench.root().join("x.raw").display().to_string();
    guarded.tenant("other").await;
    guarded.user("stranger", "other", &["admin"]).await;
    let stranger = guarded.log_in("stranger").await;
    std::fs::write(&image, b"anybody's").expect("an image");
    let made = guarded.as_token(&stranger, Method::POST, "/vms", Some(&json!({"name": "theirs", "image": image}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    std::fs::remove_file(&image).expect("removed");
    guarded.as_admin(Method::POST, "/migrations/", Some(&moving_into(&image))).await;
    std::fs::write(&image, b"keys").expect("the image");

    let (control, stop) = (guarded.bench.control.clone(), CancellationToken::new());
    let keeper = tokio::spawn({
        let stop = stop.clone();
        async move { control.keep_vms(stop).await }
    });
    let start = format!("/vms/{}/start", made.json["id"].as_str().expect("an id"));
    let refused = guarded.as_token(&stranger, Method::POST, &start, None).await;
    assert_eq!(refused.code(), "VM_OPERATION_FAILED", "{}", refused.text);
    assert!(refused.text.contains("is not a file below a directory"), "{}", refused.text);
    stop.cancel();
    keeper.await.expect("it ends well");

    let labels = json!({"workload": {"migration_target": {"image": {"path": image}}}});
    let run = engine::NewRun { id: "moved".to_owned(), tenant: "default".to_owned(), kind: "workload@bench".to_owned(), input: json!({}), labels, holds: None };
    guarded.bench.journal.create(&run, &[]).await.expect("created");
    let kept = guarded.as_admin(Method::POST, "/migrations/moved/rollback", None).await;
    assert_eq!((kept.status, kept.text.contains("1 of other tenants"), kept.text.contains("theirs")), (StatusCode::CONFLICT, true, false), "{}", kept.text);
}

/// A migration of a server into a disk image there.
fn moving_into(image: &str) -> Value {
    let root = json!([{"mount_point_name": "/", "total_size": 7}]);
    json!({
        "name": "n", "selected_mount_points": root,
        "source": {"ip": "10.0.0.1", "credentials": {"username": "u", "password": "p"}, "storage": {"mount_points": root}},
        "migration_target": {"image": {"path": image}},
    })
}
