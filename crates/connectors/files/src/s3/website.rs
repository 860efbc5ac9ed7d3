//! Serving a static site from the bucket.

use super::Store;
use super::error::{call, code, tell};
use aws_sdk_s3::types::{ErrorDocument, IndexDocument, WebsiteConfiguration};
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
            Ok(found) => Ok(Some(json!({
                "index_document": found.index_document().map(|d| d.suffix()),
                "error_document": found.error_document().map(|d| d.key()),
                "redirect_all_requests_to": found.redirect_all_requests_to().map(|r| r.host_name()),
            }))),
            Err(e) if code(&e).0 == "NoSuchWebsiteConfiguration" => Ok(None),
            Err(e) => Err(tell("read the website configuration of", &store.location, e)),
        }
    }

    async fn set_website(&self, index_and_error: Option<(String, Option<String>)>) -> Result<()> {
        let store = &self.0;
        let Some((index, error)) = index_and_error else {
            // A store without websites might take the request for one to remove the whole bucket.
            if self.website().await?.is_none() {
                return Ok(());
            }
            let request = store.client.delete_bucket_website().bucket(&store.bucket).send();
            return call("remove the website configuration of", &store.location, 0, request).await.map(|_| ());
        };
        let bad = |e| {
            ConnectorError::new(ErrorKind::Invalid, "set the website configuration of", store.location.clone(), "the document names are not valid").because(e)
        };
        let error = error.map(|key| ErrorDocument::builder().key(key).build()).transpose().map_err(bad)?;
        let index = IndexDocument::builder().suffix(index).build().map_err(bad)?;
        let site = WebsiteConfiguration::builder().index_document(index).set_error_document(error).build();
        let request = store.client.put_bucket_website().bucket(&store.bucket).website_configuration(site).send();
        let unsupported = || {
            ConnectorError::new(ErrorKind::Unsupported, "set the website configuration of", store.location.clone(), "this store serves no sites by itself")
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
