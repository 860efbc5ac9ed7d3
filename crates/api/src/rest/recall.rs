//! Answers found again: what a request would have answered whose server died after it had written something. Each only reads.
//!
//! An answer that shows a secret once cannot be found again, nor can one of several transactions: those are refused with what was written.

use super::etag::created;
use super::{Call, Reply};
use control::Error;
use control::migrations::Acknowledged;
use futures::future::BoxFuture;

/// Finds the answer of a request that has written the thing with this id.
pub(super) type Recall = fn(Call, String) -> BoxFuture<'static, Result<Reply, Error>>;

/// By the operation's id.
pub(super) fn of(operation: &str) -> Option<Recall> {
    Some(match operation {
        "create_migration" => |call, id| Box::pin(migration(call, id, "Migration session created successfully")),
        "create_migration_from_preset" => |call, id| Box::pin(migration(call, id, "Migration session created from a preset")),
        "create_migration_from_template" => |call, id| Box::pin(migration(call, id, "Migration session created from a template")),
        "start_migration" => |call, id| Box::pin(started(call, id)),
        "resume_migration" => |_, id| Box::pin(async move { steered(id, "started", "Migration execution resumed in background") }),
        "cancel_migration" => |_, id| Box::pin(async move { steered(id, "cancelled", "Migration cancellation initiated") }),
        "rollback_migration" => |_, id| Box::pin(async move { steered(id, "rollback_started", "Migration rollback started in background") }),
        "resolve_migration" => |_, id| Box::pin(async move { steered(id, "rollback_started", "Migration rollback is tried again in background") }),
        "finalize_migration" => |call, id| Box::pin(async move { Reply::ok(call.control.get(&call.tenant, &id).await?) }),
        "create_batch" => |call, id| Box::pin(batch(call, id)),
        "create_preset" => |call, id| Box::pin(preset(call, id)),
        "create_template" => |call, id| Box::pin(template(call, id)),
        "create_tenant" => |call, id| Box::pin(tenant(call, id)),
        _ => return None,
    })
}

async fn migration(call: Call, id: String, message: &str) -> Result<Reply, Error> {
    let made = call.control.made_before(&call.tenant, &id, message).await?;
    Reply::created(format!("/migrations/{id}"), made)
}

async fn started(call: Call, id: String) -> Result<Reply, Error> {
    Reply::ok(call.control.started_before(&call.tenant, &id).await?)
}

/// The wish was written in the transaction that wrote its mark.
fn steered(id: String, status: &'static str, message: &str) -> Result<Reply, Error> {
    Reply::ok(Acknowledged { session_id: id.clone(), id, status, message: message.to_owned() })
}

async fn batch(call: Call, id: String) -> Result<Reply, Error> {
    Reply::created(format!("/batches/{id}"), call.control.batch(&call.tenant, &id).await?)
}

async fn preset(call: Call, id: String) -> Result<Reply, Error> {
    let made = call.control.preset(&call.tenant, &id).await?;
    created(format!("/presets/{id}"), &made, made.version.unwrap_or_default())
}

async fn template(call: Call, id: String) -> Result<Reply, Error> {
    let made = call.control.template(&call.tenant, &id).await?;
    created(format!("/templates/{id}"), &made, made.summary.version)
}

async fn tenant(call: Call, id: String) -> Result<Reply, Error> {
    Reply::created(format!("/tenants/{id}"), call.control.tenant(&call.caller, &id).await?)
}
