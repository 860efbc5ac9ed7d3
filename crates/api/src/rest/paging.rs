//! Lists in pages: an array as documented, with a `Link: …; rel="next"` to the page behind it.

use super::{Call, Endpoint, Reply};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use control::Error;
use control::paging::{USUAL, cursor};
use serde::Serialize;
use serde_json::json;

/// The parameters of a list in pages.
pub(super) fn paged(endpoint: Endpoint) -> Endpoint {
    endpoint
        .query("limit", json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}), "Maximum results")
        .query("offset", json!({"type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 0}), "Results to pass over")
        .query(
            "cursor",
            json!({"type": "string", "format": "cursor"}),
            "The place to go on from: the address in the Link header (`rel=\"next\"`) of the page before has it",
        )
}

/// What a request for a page needs to tell of the next one. Taken before the query is.
pub(super) struct Pages {
    path: String,
    /// The query without what says where the page begins.
    kept: Vec<(String, String)>,
    limit: usize,
}

impl Call {
    pub(super) fn pages(&self) -> Pages {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        let kept: Vec<(String, String)> = pairs.filter(|(name, _)| name != "cursor" && name != "offset").collect();
        let limit = kept.iter().find(|(name, _)| name == "limit").and_then(|(_, n)| n.parse().ok()).unwrap_or(USUAL as usize);
        Pages { path: path.to_owned(), kept, limit }
    }
}

impl Pages {
    /// The list, and where it goes on if the page is full. `place`: what an item's cursor is made of.
    pub fn reply<T: Serialize>(self, items: &[T], place: impl Fn(&T) -> String) -> Result<Reply, Error> {
        let text = serde_json::to_string(items).map_err(|e| Error::internal(format!("a list cannot be encoded: {e}")))?;
        let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], text).into_response();
        if let Some(last) = items.last().filter(|_| items.len() >= self.limit) {
            let link = format!("<{}>; rel=\"next\"", self.next(&place(last)));
            response.headers_mut().insert(header::LINK, link.try_into().map_err(|_| Error::internal("a link has bad characters"))?);
        }
        Ok(Reply::Ready(Box::new(response)))
    }

    fn next(&self, place: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.kept).append_pair("cursor", &cursor(place));
        format!("{}?{}", self.path, query.finish())
    }
}
