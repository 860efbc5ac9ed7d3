//! Presets: built-in and a tenant's own.

use super::etag::{created, expected, tagged};
use super::{Body, Call, Endpoint, Reply};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::{Value, json};

const TAG: &str = "Presets";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = collection();
    all.extend(exchange());
    all.extend(single());
    all
}

fn collection() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/presets", "list_presets", |call| Box::pin(list(call)))
            .tag(TAG)
            .says("List presets", "The built-in ones, then the tenant's own. `supported` says whether this version can run it.")
            .query("custom", json!({"type": "boolean"}), "Only the tenant's own (`true`), or only the built-in ones (`false`)")
            .answers_list("Preset", "The presets"),
        Endpoint::post("/presets", "create_preset", |call| Box::pin(create(call)))
            .tag(TAG)
            .says("Create a preset", "A configuration with placeholders, of the tenant's own. Fixed secrets in it are sealed and never shown again.")
            .takes(Body::Required, "PresetBody", sample())
            .answers(StatusCode::CREATED, "PresetDetail", "Created; the Location header has its address, the ETag header its version")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once")
            .fails(Code::Taken, "The id is in use"),
    ]
}

fn exchange() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/presets/export", "export_presets", |call| Box::pin(export_all(call)))
            .tag(TAG)
            .says("Export presets", "All presets of the tenant's own, to be imported elsewhere. A placeholder stands in the place of every fixed secret.")
            .answers(StatusCode::OK, "Exchange", "The presets"),
        Endpoint::post("/presets/import", "import_presets", |call| Box::pin(import(call)))
            .tag(TAG)
            .says("Import presets", "All presets of an export, or none. `on_conflict` says what becomes of a preset whose id is in use.")
            .takes(Body::Required, "PresetsImport", json!({"presets": [sample()], "on_conflict": "replace"}))
            .answers(StatusCode::OK, "Imported", "What was created, replaced and skipped")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once")
            .fails(Code::Taken, "An id is in use, and `on_conflict` is `fail`")
            .fails(Code::Changed, "A preset was changed while it was being replaced"),
        Endpoint::get("/presets/{preset_id}/export", "export_preset", |call| Box::pin(export(call)))
            .tag(TAG)
            .says("Export a preset", "One preset, also a built-in one: the usual start for one of one's own.")
            .answers(StatusCode::OK, "Exchange", "The preset")
            .fails(Code::NotFound, "No such preset"),
    ]
}

fn single() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/presets/{preset_id}", "get_preset", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a preset", "With its template and what overrides must give. Of a custom one, the ETag header has its version.")
            .answers(StatusCode::OK, "PresetDetail", "The preset")
            .fails(Code::NotFound, "No such preset"),
        Endpoint::put("/presets/{preset_id}", "update_preset", |call| Box::pin(update(call)))
            .tag(TAG)
            .says("Replace a preset", "Of the tenant's own. A secret that reads `********` stays as it is. With If-Match only if nobody has changed it since.")
            .takes(Body::Required, "PresetBody", sample())
            .answers(StatusCode::OK, "PresetDetail", "As it is now")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once")
            .fails(Code::NotFound, "No such preset")
            .fails(Code::PresetReadOnly, "It is built in")
            .versioned("It was changed since it was read"),
        Endpoint::delete("/presets/{preset_id}", "delete_preset", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a preset", "Of the tenant's own. Migrations that were made from it stay. With If-Match only if nobody has changed it since.")
            .answers(StatusCode::OK, "PresetDeleted", "Deleted")
            .fails(Code::NotFound, "No such preset")
            .fails(Code::PresetReadOnly, "It is built in")
            .versioned("It was changed since it was read"),
        Endpoint::post("/presets/{preset_id}/create-migration", "create_migration_from_preset", |call| Box::pin(create_migration(call)))
            .tag(TAG)
            .says(
                "Create a migration from a preset",
                "`overrides` maps dotted paths to values, for the template's placeholders and for any other field; null takes a field away. Optional parts \
                 that nobody touches are left out. Answers as `POST /migrations`.",
            )
            .takes(
                Body::Optional,
                "PresetOverrides",
                json!({"overrides": {"source.host": "my-wordpress-server.com", "destination.bucket": "my-new-website-bucket"}}),
            )
            .answers(StatusCode::CREATED, "Created", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "The body itself has bad or unknown fields")
            .fails(Code::InvalidConfiguration, "Values are missing, paths unknown, fields bad, or this version cannot run the preset: all named at once")
            .fails(Code::NotFound, "No such preset"),
    ]
}

fn sample() -> Value {
    json!({"id": "our-shop", "name": "Our shop", "optional": ["destination.region"], "config_template": {
        "source": {"type": "static", "host": "{{host}}", "username": "{{user}}"}, "destination": {"type": "aws-s3", "bucket": "{{bucket}}", "region": "{{region}}"}}})
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let query = call.take_query();
    Reply::ok(call.control.presets(&call.tenant, query).await?)
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_preset(&call.tenant, call.body()).await?;
    created(format!("/presets/{}", made.id), &made, made.version.unwrap_or_default())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let preset = call.control.preset(&call.tenant, call.id()).await?;
    tagged(&preset, preset.version)
}

async fn update(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let preset = call.control.update_preset(&call.tenant, call.id(), call.body(), expected(&call.headers)?).await?;
    tagged(&preset, preset.version)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.delete_preset(&call.tenant, call.id(), expected(&call.headers)?).await?)
}

async fn export_all(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.export_presets(&call.tenant).await?)
}

async fn export(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.export_preset(&call.tenant, call.id()).await?)
}

async fn import(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.import_presets(&call.tenant, call.body()).await?)
}

async fn create_migration(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_from_preset(&call.tenant, call.id(), call.optional_body()).await?;
    Reply::created(format!("/migrations/{}", made.session_id), made)
}
