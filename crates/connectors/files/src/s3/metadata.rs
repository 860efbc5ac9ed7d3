//! Headers, user metadata and tags of objects: from an answer of the store to an [`Entry`], and from an entry to a request.
//!
//! An entry that comes from a file system carries its time and mode as user metadata. One that comes from an object carries all user
//! metadata of that object; time and mode are added only where it has none.

use super::Store;
use super::error::{code, tell};
use super::list::bare_etag;
use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{Tag, Tagging};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ports::files::{Entry, EntryKind, FilePath, ObjectMetadata};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Objects that are asked for their tags although no answer has told a number of tags yet.
const TAG_PROBES: usize = 8;

/// What the store has shown about metadata so far.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// Objects without a number of tags that were asked for their tags.
    probes: AtomicUsize,
    /// It has tags but does not tell how many in the answer to HEAD and GET.
    uncounted_tags: AtomicBool,
    refuses_tags: AtomicBool,
    refuses_storage_class: AtomicBool,
}

impl Learned {
    fn is(flag: &AtomicBool) -> bool {
        flag.load(Ordering::Relaxed)
    }
}

/// What HEAD and GET tell alike.
pub(super) struct Facts {
    etag: Option<String>,
    modified_ns: Option<i64>,
    content_type: Option<String>,
    metadata: ObjectMetadata,
    tag_count: Option<i32>,
}

macro_rules! facts {
    ($answer:expr) => {{
        let answer = $answer;
        let text = |value: Option<&str>| value.map(str::to_owned);
        let standard = |class: &&str| *class != "STANDARD";
        let user = answer.metadata().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
        Facts {
            etag: answer.e_tag().map(bare_etag),
            modified_ns: answer.last_modified().and_then(|t| i64::try_from(t.as_nanos()).ok()),
            content_type: text(answer.content_type()),
            metadata: ObjectMetadata {
                content_encoding: text(answer.content_encoding()).filter(|e| e != "aws-chunked"),
                cache_control: text(answer.cache_control()),
                content_disposition: text(answer.content_disposition()),
                content_language: text(answer.content_language()),
                expires: text(answer.expires_string()),
                website_redirect: text(answer.website_redirect_location()),
                storage_class: text(answer.storage_class().map(|c| c.as_str()).filter(standard)),
                user: user.collect(),
                tags: BTreeMap::new(),
                hidden_tags: false,
            },
            tag_count: answer.tag_count(),
        }
    }};
}

impl From<&HeadObjectOutput> for Facts {
    fn from(answer: &HeadObjectOutput) -> Self {
        facts!(answer)
    }
}

impl From<&GetObjectOutput> for Facts {
    fn from(answer: &GetObjectOutput) -> Self {
        facts!(answer)
    }
}

impl Facts {
    /// Asks for the tags of the object, where it has some.
    pub(super) async fn with_tags(mut self, store: &Store, key: &str, subject: &str) -> Result<Self> {
        let probing = self.tag_count.is_none() && store.learned.probes.load(Ordering::Relaxed) < TAG_PROBES;
        if self.tag_count.unwrap_or_default() == 0 && !probing && !Learned::is(&store.learned.uncounted_tags) {
            return Ok(self);
        }
        store.learned.probes.fetch_add(1, Ordering::Relaxed);
        match read_tags(store, key, subject).await {
            Ok(tags) => {
                if !tags.is_empty() && self.tag_count.is_none() {
                    store.learned.uncounted_tags.store(true, Ordering::Relaxed);
                }
                self.metadata.tags = tags;
                Ok(self)
            }
            Err(e) if self.tag_count.is_some() && e.kind == ErrorKind::Permission => {
                self.metadata.hidden_tags = true;
                Ok(self)
            }
            // A store without tags, one that tells only its owner of them, or one that takes the question for another.
            Err(e) if self.tag_count.is_none() && !e.temporary => Ok(self),
            Err(e) if e.kind == ErrorKind::NotFound => Ok(self),
            Err(e) => Err(e),
        }
    }

    pub(super) fn entry(self, path: FilePath, kind: EntryKind) -> Entry {
        let user = |name: &str| self.metadata.user.get(name).map(String::as_str);
        Entry {
            modified_ns: user("mtime").and_then(parse_seconds).or(self.modified_ns),
            mode: user("mode").and_then(|m| u32::from_str_radix(m, 8).ok()).map(|m| m & 0o7777),
            version: self.etag,
            content_type: self.content_type,
            object: (!self.metadata.is_empty()).then(|| Box::new(self.metadata.clone())),
            ..Entry::new(path, kind)
        }
    }
}

/// The tags of an object.
pub(super) async fn read_tags(store: &Store, key: &str, subject: &str) -> Result<BTreeMap<String, String>> {
    match store.client.get_object_tagging().bucket(&store.bucket).key(key).send().await {
        Ok(found) => Ok(found.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()),
        Err(e) if code(&e).0 == "NoSuchTagSet" => Ok(BTreeMap::new()),
        Err(e) => Err(tell("read the tags of", subject, e)),
    }
}

/// What of an entry a request carries that a store may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Optional {
    tags: bool,
    storage_class: bool,
}

/// The headers that a request to write this entry gets.
pub(super) struct Headers {
    all: Vec<(String, String)>,
    pub(super) optional: Optional,
}

impl Headers {
    pub(super) fn of(store: &Store, entry: &Entry) -> Self {
        let mut headers = vec![("content-type".to_owned(), super::write::content_type(entry))];
        let bare = ObjectMetadata::default();
        let object = entry.object.as_deref().unwrap_or(&bare);
        let named = [
            ("content-encoding", &object.content_encoding),
            ("cache-control", &object.cache_control),
            ("content-disposition", &object.content_disposition),
            ("content-language", &object.content_language),
            ("expires", &object.expires),
            ("x-amz-website-redirect-location", &object.website_redirect),
        ];
        headers.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))));
        let class = object.storage_class.clone().filter(|_| !Learned::is(&store.learned.refuses_storage_class));
        let tags = (!object.tags.is_empty() && !Learned::is(&store.learned.refuses_tags)).then(|| query(&object.tags));
        let optional = Optional { tags: tags.is_some(), storage_class: class.is_some() };
        headers.extend(class.map(|class| ("x-amz-storage-class".to_owned(), class)));
        headers.extend(tags.map(|tags| ("x-amz-tagging".to_owned(), tags)));
        headers.extend(user_metadata(entry, object).into_iter().map(|(name, value)| (format!("x-amz-meta-{name}"), value)));
        headers.retain(|(_, value)| fits(value));
        Self { all: headers, optional }
    }

    /// Puts them into a request that is not signed yet.
    pub(super) fn add_to(&self, request: &mut HttpRequest) {
        for (name, value) in &self.all {
            // What does not fit was left out above, and is named by `unkept`.
            let _ = request.headers_mut().try_insert(name.clone(), value.clone());
        }
    }
}

/// All user metadata of an object; otherwise time and mode, as rclone names them.
fn user_metadata(entry: &Entry, object: &ObjectMetadata) -> BTreeMap<String, String> {
    let mtime = entry.modified_ns.map(|ns| ("mtime".to_owned(), format_seconds(ns)));
    let mode = entry.mode.map(|m| ("mode".to_owned(), format!("{:04o}", m & 0o7777)));
    let mut all: BTreeMap<String, String> = mtime.into_iter().chain(mode).collect();
    all.extend(object.user.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

/// Whether a header can have this value.
fn fits(value: &str) -> bool {
    !value.chars().any(|c| c.is_control() && c != '\t')
}

fn query(tags: &BTreeMap<String, String>) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = tags.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    pairs.join("&")
}

/// Whether `error`, the answer to a write that carried `sent`, may come from tags or storage class, and the write is worth another try
/// without them. What was refused is remembered.
pub(super) fn gives_way(store: &Store, sent: Optional, error: &ConnectorError) -> bool {
    if !matches!(error.kind, ErrorKind::Permission | ErrorKind::Unsupported | ErrorKind::Invalid) {
        return false;
    }
    let refused = if sent.storage_class { &store.learned.refuses_storage_class } else { &store.learned.refuses_tags };
    let optional = sent.storage_class || sent.tags;
    if optional {
        refused.store(true, Ordering::Relaxed);
    }
    optional
}

/// The write failed without tags and storage class too: it was not they.
pub(super) fn forget_refusals(store: &Store) {
    store.learned.refuses_tags.store(false, Ordering::Relaxed);
    store.learned.refuses_storage_class.store(false, Ordering::Relaxed);
}

/// Sets the tags of an object that came in parts: not every store takes them when an upload begins.
pub(super) async fn set_tags(store: &Store, entry: &Entry, key: &str, subject: &str) -> Result<()> {
    let Some(object) = entry.object.as_deref().filter(|o| !o.tags.is_empty()) else { return Ok(()) };
    let tags: Result<Vec<Tag>, _> = object.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    let invalid = |e| ConnectorError::new(ErrorKind::Invalid, "set the tags of", subject, "the tags are not valid").because(e);
    let tagging = tags.and_then(|tags| Tagging::builder().set_tag_set(Some(tags)).build()).map_err(invalid)?;
    match store.client.put_object_tagging().bucket(&store.bucket).key(key).tagging(tagging).send().await {
        Ok(_) => Ok(()),
        Err(e) => match tell("set the tags of", subject, e) {
            e if matches!(e.kind, ErrorKind::Permission | ErrorKind::Unsupported | ErrorKind::Invalid) => {
                store.learned.refuses_tags.store(true, Ordering::Relaxed);
                Ok(())
            }
            e => Err(e),
        },
    }
}

/// What of the entry the store does not hold, in words for the report.
pub(super) fn unkept(store: &Store, entry: &Entry) -> Vec<String> {
    let Some(object) = entry.object.as_deref() else { return Vec::new() };
    let learned = &store.learned;
    let lost = ObjectMetadata {
        storage_class: object.storage_class.clone().filter(|_| Learned::is(&learned.refuses_storage_class)),
        tags: if Learned::is(&learned.refuses_tags) { object.tags.clone() } else { BTreeMap::new() },
        hidden_tags: object.hidden_tags,
        user: object.user.iter().filter(|(_, value)| !fits(value)).map(|(name, value)| (name.clone(), value.clone())).collect(),
        ..ObjectMetadata::default()
    };
    lost.describe()
}

/// `1700000000.123456789` → nanoseconds.
fn parse_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(if whole.starts_with('-') { -nanos } else { nanos })
}

/// Nanoseconds → `1700000000.123456789`.
fn format_seconds(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    format!("{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_metadata() {
        for ns in [0, 1, 1_700_000_000_123_456_789, -1, -1_500_000_000] {
            assert_eq!(parse_seconds(&format_seconds(ns)), Some(ns), "{}", format_seconds(ns));
        }
        assert_eq!(parse_seconds("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(parse_seconds("soon"), None);
    }

    #[test]
    fn user_metadata_of_an_object_is_not_written_over() {
        let user = BTreeMap::from([("mtime".to_owned(), "7".to_owned()), ("author".to_owned(), "x".to_owned())]);
        let object = ObjectMetadata { user: user.clone(), ..ObjectMetadata::default() };
        let entry = Entry { modified_ns: Some(7_000_000_000), ..Entry::new("a".into(), EntryKind::File { size: 1 }) };
        assert_eq!(user_metadata(&entry, &object), user);
        assert_eq!(query(&BTreeMap::from([("a b".to_owned(), "c&d".to_owned())])), "a%20b=c%26d");
        assert!(!fits("two\nlines") && fits("naïve"));
    }
}
