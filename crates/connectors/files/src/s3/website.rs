//! Serving a static site from the bucket.

use super::Store;
use super::error::{call, code, tell};
use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::operation::get_bucket_website::GetBucketWebsiteOutput;
use aws_sdk_s3::types::{Condition, ErrorDocument, IndexDocument, Protocol, Redirect, RedirectAllRequestsTo, RoutingRule, WebsiteConfiguration};
use ports::files::WebsiteTarget;
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct S3Website(pub(super) Arc<Store>);

#[async_trait::async_trait]
impl WebsiteTarget for S3Website {
    /// A store that does not know the question may answer another one (with a listing), so an answer without documents counts as none.
    async fn website(&self) -> Result<Option<Value>> {
        let store = &self.0;
        match store.client.get_bucket_website().bucket(&store.bucket).send().await {
            Ok(found) if found.index_document().is_none() && found.error_document().is_none() && found.redirect_all_requests_to().is_none() => Ok(None),
            Ok(found) => Ok(Some(written(&found))),
            Err(e) if code(&e).0 == "NoSuchWebsiteConfiguration" => Ok(None),
            Err(e) => Err(tell("read the website configuration of", &store.location, e)),
        }
    }

    async fn set_website(&self, index: &str, error: Option<&str>) -> Result<()> {
        self.put(&json!({"index_document": index, "error_document": error})).await
    }

    async fn restore_website(&self, before: Option<&Value>) -> Result<()> {
        let Some(before) = before else {
            // A store without websites might take the request for one to remove the whole bucket.
            if self.website().await?.is_none() {
                return Ok(());
            }
            let request = self.0.client.delete_bucket_website().bucket(&self.0.bucket).send();
            return call("remove the website configuration of", &self.0.location, 0, request).await.map(|_| ());
        };
        self.put(before).await
    }
}

impl S3Website {
    async fn put(&self, wanted: &Value) -> Result<()> {
        let store = &self.0;
        let refused = |kind, reason: &str| ConnectorError::new(kind, "set the website configuration of", store.location.clone(), reason);
        let site = read(wanted).map_err(|e| refused(ErrorKind::Invalid, "the document names are not valid").because(e))?;
        let request = store.client.put_bucket_website().bucket(&store.bucket).website_configuration(site).send();
        let unsupported = || {
            refused(ErrorKind::Unsupported, "this store serves no sites by itself")
                .advice("Put a web server in front of the bucket, or leave index_document and error_document out")
        };
        match request.await {
            Ok(_) if self.website().await?.is_some() => Ok(()),
            Ok(_) => Err(unsupported()),
            // It took the request for one to make the bucket.
            Err(e) if code(&e).0.starts_with("BucketAlready") => Err(unsupported()),
            Err(e) => Err(tell("set the website configuration of", &store.location, e)),
        }
    }
}

/// The whole configuration, so that it can be put back as it was.
fn written(found: &GetBucketWebsiteOutput) -> Value {
    let rule = |rule: &RoutingRule| {
        let condition = rule.condition().map(|c| json!({"code": c.http_error_code_returned_equals(), "prefix": c.key_prefix_equals()}));
        let to = rule.redirect().map(|r| {
            json!({"host": r.host_name(), "code": r.http_redirect_code(), "protocol": r.protocol().map(Protocol::as_str),
                "prefix": r.replace_key_prefix_with(), "key": r.replace_key_with()})
        });
        json!({"condition": condition, "redirect": to})
    };
    json!({
        "index_document": found.index_document().map(IndexDocument::suffix),
        "error_document": found.error_document().map(ErrorDocument::key),
        "redirect_all_requests_to": found.redirect_all_requests_to().map(|r| json!({"host": r.host_name(), "protocol": r.protocol().map(Protocol::as_str)})),
        "routing_rules": found.routing_rules().iter().map(rule).collect::<Vec<_>>(),
    })
}

/// What [`written`] wrote.
fn read(wanted: &Value) -> Result<WebsiteConfiguration, BuildError> {
    let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    let index = text(wanted, "index_document").map(|suffix| IndexDocument::builder().suffix(suffix).build()).transpose()?;
    let error = text(wanted, "error_document").map(|key| ErrorDocument::builder().key(key).build()).transpose()?;
    let protocol = |value: &Value| text(value, "protocol").map(|p| Protocol::from(p.as_str()));
    let all = wanted["redirect_all_requests_to"].as_object().map(|_| {
        let to = &wanted["redirect_all_requests_to"];
        RedirectAllRequestsTo::builder().set_host_name(text(to, "host")).set_protocol(protocol(to)).build()
    });
    let rules = wanted["routing_rules"].as_array().into_iter().flatten().map(|rule| {
        let (condition, to) = (&rule["condition"], &rule["redirect"]);
        let when = condition.is_object().then(|| {
            Condition::builder().set_http_error_code_returned_equals(text(condition, "code")).set_key_prefix_equals(text(condition, "prefix")).build()
        });
        let redirect = Redirect::builder().set_host_name(text(to, "host")).set_http_redirect_code(text(to, "code")).set_protocol(protocol(to));
        let redirect = redirect.set_replace_key_prefix_with(text(to, "prefix")).set_replace_key_with(text(to, "key")).build();
        RoutingRule::builder().set_condition(when).redirect(redirect).build()
    });
    let rules: Vec<RoutingRule> = rules.collect();
    let site = WebsiteConfiguration::builder().set_index_document(index).set_error_document(error).set_redirect_all_requests_to(all.transpose()?);
    Ok(site.set_routing_rules((!rules.is_empty()).then_some(rules)).build())
}
