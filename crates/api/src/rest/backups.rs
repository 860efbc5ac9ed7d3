//! Backups: list, look, delete.

use super::{Call, Endpoint, Reply};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let tag = "Backups";
    vec![
        Endpoint::get("/backups", "list_backups", |call| Box::pin(list(call)))
            .tag(tag)
            .says("List backups", "Newest first. Backups are removed by themselves when their retention is over.")
            .answers_list("BackupView", "The backups"),
        Endpoint::get("/backups/{backup_id}", "get_backup", |call| Box::pin(get(call)))
            .tag(tag)
            .says("Get a backup", "What is in it, and whether it was read back.")
            .answers(StatusCode::OK, "BackupView", "The backup")
            .fails(Code::BackupNotFound, "No such backup"),
        Endpoint::delete("/backups/{backup_id}", "delete_backup", |call| Box::pin(delete(call)))
            .tag(tag)
            .says("Delete a backup", "Its migration can then no longer be taken back.")
            .answers(StatusCode::OK, "BackupDeleted", "Deleted")
            .fails(Code::BackupNotFound, "No such backup")
            .fails(Code::BackupUnusable, "Its migration is at work and may need it"),
    ]
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.backups(&call.tenant).await?)
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.backup(&call.tenant, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.delete_backup(&call.tenant, call.id()).await?)
}
