//! `ETag` and `If-Match`: nobody overwrites what somebody else has changed meanwhile.

use super::Reply;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use control::Error;
use domain::decode::Problems;
use serde::Serialize;

/// The version that the caller has read, from `If-Match`. `None`: no header, or `*`. A tag that is none of ours matches nothing.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let mut given = headers.get_all(header::IF_MATCH).iter();
    let Some(first) = given.next() else { return Ok(None) };
    let text = first.to_str().unwrap_or_default().trim();
    if given.next().is_some() || text.contains(',') {
        let mut problems = Problems::default();
        problems.note("If-Match", "must be one tag, as an ETag header gave it, or *");
        return Err(Error::parameters(problems));
    }
    let version = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
    Ok(if text == "*" { None } else { Some(version.unwrap_or(u64::MAX)) })
}

/// An answer with the version of what it shows.
pub(crate) fn tagged<T: Serialize>(value: &T, version: Option<u64>) -> Result<Reply, Error> {
    answer(StatusCode::OK, None, version, value)
}

/// 201 with the new thing's address and version.
pub(crate) fn created<T: Serialize>(location: String, value: &T, version: u64) -> Result<Reply, Error> {
    answer(StatusCode::CREATED, Some(location), Some(version), value)
}

fn answer<T: Serialize>(status: StatusCode, location: Option<String>, version: Option<u64>, value: &T) -> Result<Reply, Error> {
    let defect = |why: String| Error::internal(format!("an answer cannot be encoded: {why}"));
    let text = serde_json::to_string(value).map_err(|e| defect(e.to_string()))?;
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], text).into_response();
    let tag = version.map(|v| (header::ETAG, format!("\"{v}\"")));
    for (name, value) in tag.into_iter().chain(location.map(|l| (header::LOCATION, l))) {
        response.headers_mut().insert(name, value.try_into().map_err(|_| defect("a header has bad characters".to_owned()))?);
    }
    Ok(Reply::Ready(Box::new(response)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_strictly() {
        let read = |text: &'static str| expected(&HeaderMap::from_iter([(header::IF_MATCH, axum::http::HeaderValue::from_static(text))]));
        assert_eq!(expected(&HeaderMap::new()), Ok(None));
        assert_eq!(read("*"), Ok(None));
        assert_eq!(read("\"7\""), Ok(Some(7)));
        for foreign in ["7", "W/\"7\"", "\"seven\"", ""] {
            assert_eq!(read(foreign), Ok(Some(u64::MAX)), "{foreign}");
        }
        assert!(read("\"1\", \"2\"").is_err());
    }
}
