//! Webhooks, and the deliveries to them.

use super::etag::{created, expected, tagged};
use super::paging::paged;
use super::{Body, Call, Endpoint, Reply};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::{Value, json};

const TAG: &str = "Webhooks";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = collection();
    all.extend(single());
    all.extend(deliveries());
    all
}

fn collection() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/webhooks", "create_webhook", |call| Box::pin(create(call)))
            .tag(TAG)
            .says(
                "Create a webhook",
                "From now on the address is told of the events: a POST of `{type, timestamp, data}`, signed as Standard Webhooks say. The secret is in this answer only. \
                 Private and loopback addresses are refused unless the service was started with `--allow-private-webhooks`.",
            )
            .takes(Body::Required, "WebhookConfiguration", sample())
            .answers(StatusCode::CREATED, "WebhookCreated", "Created; the Location header has its address, the ETag header its version")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once"),
        paged(Endpoint::get("/webhooks", "list_webhooks", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List webhooks", "Newest first. Values of headers read `********`.")
            .answers_list("WebhookView", "The webhooks"),
    ]
}

fn single() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/webhooks/{webhook_id}", "get_webhook", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a webhook", "Values of headers read `********`. The ETag header has its version.")
            .answers(StatusCode::OK, "WebhookView", "The webhook")
            .fails(Code::NotFound, "No such webhook"),
        Endpoint::put("/webhooks/{webhook_id}", "update_webhook", |call| Box::pin(update(call)))
            .tag(TAG)
            .says(
                "Replace a webhook",
                "Its secret and its deliveries stay. A header that reads `********` keeps its value as long as the host stays the same. With If-Match only if nobody has \
                 changed it since.",
            )
            .takes(Body::Required, "WebhookConfiguration", sample())
            .answers(StatusCode::OK, "WebhookView", "As it is now")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once")
            .fails(Code::NotFound, "No such webhook")
            .versioned( "It was changed since it was read"),
        Endpoint::delete("/webhooks/{webhook_id}", "delete_webhook", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a webhook", "With its deliveries, also those that wait. With If-Match only if nobody has changed it since.")
            .answers(StatusCode::OK, "WebhookDeleted", "Deleted")
            .fails(Code::NotFound, "No such webhook")
            .versioned( "It was changed since it was read"),
        Endpoint::post("/webhooks/{webhook_id}/rotate-secret", "rotate_webhook_secret", |call| Box::pin(rotate(call)))
            .tag(TAG)
            .says("Rotate the secret", "Makes a new secret. For the time of grace every delivery carries the signatures of both, so that nothing is lost.")
            .takes(Body::Optional, "SecretRotation", json!({"grace_seconds": 86400}))
            .answers(StatusCode::OK, "SecretRotated", "The new secret; it is in this answer only")
            .fails(Code::InvalidRequest, "Bad or unknown fields, all named at once")
            .fails(Code::NotFound, "No such webhook")
            .fails(Code::Changed, "It was changed at the same moment; nothing was rotated"),
        Endpoint::post("/webhooks/{webhook_id}/test", "test_webhook", |call| Box::pin(test(call)))
            .tag(TAG)
            .says("Try a webhook out", "Really sends a `webhook.test` now, once, and answers with what came of it.")
            .answers(StatusCode::OK, "WebhookTest", "What came of it, whether it arrived or not")
            .fails(Code::NotFound, "No such webhook"),
    ]
}

fn deliveries() -> Vec<Endpoint> {
    vec![
        paged(statuses(Endpoint::get("/webhooks/{webhook_id}/deliveries", "list_deliveries", |call| Box::pin(list_deliveries(call)))))
            .tag(TAG)
            .says(
                "List deliveries",
                "Newest first. The dead ones have failed as often as the retry policy allows; they stay for 90 days and can be redelivered.",
            )
            .answers_list("DeliveryView", "The deliveries")
            .fails(Code::NotFound, "No such webhook"),
        Endpoint::get("/webhooks/{webhook_id}/deliveries/{delivery_id}", "get_delivery", |call| Box::pin(get_delivery(call)))
            .tag(TAG)
            .says("Get a delivery", "With the body that is sent and what came of the tries.")
            .answers(StatusCode::OK, "DeliveryDetail", "The delivery")
            .fails(Code::NotFound, "No such webhook or delivery"),
        Endpoint::post("/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", "redeliver", |call| Box::pin(redeliver(call)))
            .tag(TAG)
            .says("Send a delivery again", "Puts it behind what waits already, with all its tries before it. Its `webhook-id` stays the same.")
            .answers(StatusCode::ACCEPTED, "DeliveryView", "It waits for its turn")
            .fails(Code::NotFound, "No such webhook or delivery")
            .fails(Code::InvalidState, "It is on its way already, or the webhook is switched off"),
        paged(statuses(Endpoint::get("/migrations/{session_id}/notifications", "list_notifications", |call| Box::pin(list_notifications(call)))))
            .tag(TAG)
            .says("List a migration's notifications", "What the receivers in its own configuration (mail, chat, webhook) were told, newest first.")
            .answers_list("DeliveryView", "The deliveries")
            .fails(Code::MigrationNotFound, "No such migration"),
    ]
}

fn statuses(endpoint: Endpoint) -> Endpoint {
    endpoint.query("status", json!({"type": "string", "enum": ["pending", "delivered", "dead"]}), "Only deliveries that stand there")
}

/// Document 3's own.
fn sample() -> Value {
    json!({
        "name": "Migration Notifications",
        "url": "https://api.example.com/migration-webhook",
        "events": ["migration.started", "migration.completed", "migration.failed", "migration.progress"],
        "headers": {"Authorization": "Bearer webhook-token", "Content-Type": "application/json"},
        "retry_policy": {"max_retries": 3, "retry_delay": 5},
    })
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_webhook(&call.tenant, call.body()).await?;
    created(format!("/webhooks/{}", made.webhook.id), &made, made.webhook.version)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.webhooks(&call.tenant, query).await?, |i| i.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let webhook = call.control.webhook(&call.tenant, call.id()).await?;
    tagged(&webhook, Some(webhook.version))
}

async fn update(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let webhook = call.control.change_webhook(&call.tenant, call.id(), call.body(), expected(&call.headers)?).await?;
    tagged(&webhook, Some(webhook.version))
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.delete_webhook(&call.tenant, call.id(), expected(&call.headers)?).await?)
}

async fn rotate(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.rotate_webhook_secret(&call.tenant, call.id(), call.optional_body()).await?)
}

async fn test(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.test_webhook(&call.tenant, call.id()).await?)
}

async fn list_deliveries(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.webhook_deliveries(&call.tenant, call.id(), query).await?, |i| i.id.clone())
}

async fn get_delivery(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.webhook_delivery(&call.tenant, call.id(), call.part(1)).await?)
}

async fn redeliver(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::with(StatusCode::ACCEPTED, call.control.redeliver(&call.tenant, call.id(), call.part(1)).await?)
}

async fn list_notifications(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.notifications(&call.tenant, call.id(), query).await?, |i| i.id.clone())
}
