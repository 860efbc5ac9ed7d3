//! What an object store keeps beside the bytes of an object, its type and its time.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Headers, user metadata, tags and storage class of one object, as the store tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectMetadata {
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// The `Expires` header: an HTTP date (RFC 9110, section 5.6.7).
    #[serde(rename = "x", skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Where a website redirects requests for this object.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub website_redirect: Option<String>,
    /// `None`: the store's default.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// User metadata without the `x-amz-meta-` of its names, all of it.
    #[serde(rename = "u", skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
    #[serde(rename = "t", skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The object has tags that these credentials may not read.
    #[serde(rename = "h", skip_serializing_if = "std::ops::Not::not")]
    pub hidden_tags: bool,
}

/// User metadata that carries what an [`super::Entry`] has a field for: modification time and mode.
pub const CARRIED_AS_METADATA: [&str; 2] = ["mtime", "mode"];

impl ObjectMetadata {
    /// What it has, in words for the report. Time and mode are not in it.
    pub fn describe(&self) -> Vec<String> {
        let headers = [
            ("Content-Encoding", &self.content_encoding),
            ("Cache-Control", &self.cache_control),
            ("Content-Disposition", &self.content_disposition),
            ("Content-Language", &self.content_language),
            ("Expires", &self.expires),
            ("website redirect", &self.website_redirect),
            ("storage class", &self.storage_class),
        ];
        let mut words: Vec<String> = headers.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} '{value}'"))).collect();
        let user = self.user.keys().map(String::as_str).filter(|name| !CARRIED_AS_METADATA.contains(name));
        words.extend(list("user metadata", user));
        words.extend(list("tags", self.tags.keys().map(String::as_str)));
        words.extend(self.hidden_tags.then(|| "tags that these credentials may not read".to_owned()));
        words
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn list<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    (!names.is_empty()).then(|| format!("{what} ({})", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describe_names_what_a_file_system_has_no_place_for() {
        let user = ["mtime", "mode", "author"].map(|name| (name.to_owned(), "x".to_owned())).into();
        let metadata = ObjectMetadata { cache_control: Some("max-age=60".to_owned()), user, ..ObjectMetadata::default() };
        assert_eq!(metadata.describe(), ["Cache-Control 'max-age=60'", "user metadata (author)"]);
        let text = serde_json::to_string(&metadata).expect("encodes");
        assert_eq!(serde_json::from_str::<ObjectMetadata>(&text).expect("decodes"), metadata);
    }
}
