//! Templates: configurations with variables.

use super::etag::{created, expected, tagged};
use super::paging::paged;
use super::{Body, Call, Endpoint, Reply};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::{Value, json};

const TAG: &str = "Templates";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = collection();
    all.extend(single());
    all
}

fn collection() -> Vec<Endpoint> {
    vec![
        paged(Endpoint::get("/templates", "list_templates", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List templates", "Newest first.")
            .answers_list("TemplateSummary", "The templates"),
        Endpoint::post("/templates", "create_template", |call| Box::pin(create(call)))
            .tag(TAG)
            .says(
                "Create a template",
                "A configuration with `{{name}}` where a variable goes: nothing else is understood between braces. A text that is one placeholder takes the \
                 variable's type. Undeclared and unused variables, defaults of the wrong type and secrets that would be shown are errors now.",
            )
            .takes(Body::Required, "TemplateBody", sample())
            .answers(StatusCode::CREATED, "Template", "Created; the Location header has its address, the ETag header its version")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once"),
    ]
}

fn single() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/templates/{template_id}", "get_template", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a template", "Fixed secrets read `********`. The ETag header has its version.")
            .answers(StatusCode::OK, "Template", "The template")
            .fails(Code::NotFound, "No such template"),
        Endpoint::put("/templates/{template_id}", "update_template", |call| Box::pin(update(call)))
            .tag(TAG)
            .says("Replace a template", "A secret that reads `********` stays as it is. With If-Match only if nobody has changed it since.")
            .takes(Body::Required, "TemplateBody", sample())
            .answers(StatusCode::OK, "Template", "As it is now")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once")
            .fails(Code::NotFound, "No such template")
            .versioned("It was changed since it was read"),
        Endpoint::delete("/templates/{template_id}", "delete_template", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a template", "Migrations that were made from it stay. With If-Match only if nobody has changed it since.")
            .answers(StatusCode::OK, "TemplateDeleted", "Deleted")
            .fails(Code::NotFound, "No such template")
            .versioned("It was changed since it was read"),
        Endpoint::post("/templates/{template_id}/create-migration", "create_migration_from_template", |call| Box::pin(create_migration(call)))
            .tag(TAG)
            .says(
                "Create a migration from a template",
                "Every variable that is unknown, missing or of the wrong type is named at once. Answers as `POST /migrations`.",
            )
            .takes(
                Body::Optional,
                "TemplateValues",
                json!({"variables": {"source_host": "old-server.com", "source_username": "user", "s3_bucket": "my-new-website"}}),
            )
            .answers(StatusCode::CREATED, "Created", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Variables are unknown, missing or of the wrong type")
            .fails(Code::InvalidConfiguration, "With these values the configuration is bad")
            .fails(Code::NotFound, "No such template"),
    ]
}

/// Document 3's own.
fn sample() -> Value {
    json!({
        "name": "WordPress to AWS Template",
        "description": "Standard WordPress to AWS S3 + Aurora migration",
        "template": {
            "source": {"type": "wordpress", "host": "{{source_host}}", "username": "{{source_username}}"},
            "destination": {"type": "aws-s3", "region": "{{aws_region}}", "bucket": "{{s3_bucket}}"},
        },
        "variables": [
            {"name": "source_host", "type": "string", "required": true},
            {"name": "source_username", "type": "string", "required": true},
            {"name": "aws_region", "type": "string", "default": "us-east-1"},
            {"name": "s3_bucket", "type": "string", "required": true},
        ],
    })
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.templates(&call.tenant, query).await?, |i| i.id.clone())
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_template(&call.tenant, call.body()).await?;
    created(format!("/templates/{}", made.summary.id), &made, made.summary.version)
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let template = call.control.template(&call.tenant, call.id()).await?;
    tagged(&template, Some(template.summary.version))
}

async fn update(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let template = call.control.update_template(&call.tenant, call.id(), call.body(), expected(&call.headers)?).await?;
    tagged(&template, Some(template.summary.version))
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.delete_template(&call.tenant, call.id(), expected(&call.headers)?).await?)
}

async fn create_migration(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_from_template(&call.tenant, call.id(), call.optional_body()).await?;
    Reply::created(format!("/migrations/{}", made.session_id), made)
}
