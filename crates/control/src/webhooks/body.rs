//! Reading the body of a webhook: every bad field is named at once.

use super::stored::{Body, Sealed};
use super::{Only, RetryPolicy, stored};
use crate::{Error, events};
use domain::decode::{Fields, Problems, type_name};
use domain::secret::MASK;
use ports::Courier;
use serde_json::Value;
use std::collections::BTreeMap;

const MOST_HEADERS: usize = 50;
const LONGEST_HEADER: usize = 4096;

/// Headers that the connection or the signature is made of, in lower case.
const OURS: [&str; 14] = [
    "host",
    "content-length",
    "transfer-encoding",
    "content-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

/// A webhook as its owner wants it.
pub(super) struct Wanted {
    pub body: Body,
    pub headers: BTreeMap<String, String>,
    pub state: &'static str,
}

/// Reads it; `before` is what is stored, for headers that are to be kept.
pub(super) fn read(value: &Value, courier: &dyn Courier, before: Option<(&Body, &Sealed)>) -> Result<Wanted, Error> {
    let mut p = Problems::default();
    let wanted = Fields::of("", value, &mut p).map(|f| fields(f, courier, before, &mut p));
    match wanted {
        Some(wanted) if p.is_empty() => Ok(wanted),
        _ => Err(Error::request(p)),
    }
}

fn fields(mut f: Fields<'_>, courier: &dyn Courier, before: Option<(&Body, &Sealed)>, p: &mut Problems) -> Wanted {
    let name = f.required_text("name", p);
    if name.chars().count() > 200 {
        p.note("name", "must be at most 200 characters long");
    }
    let url = f.required_text("url", p);
    if !url.is_empty()
        && let Err(why) = courier.admits(&url)
    {
        p.note("url", why);
    }
    let events = read_events(&mut f, p);
    let only = Only::read(&mut f, p);
    let kept = before.filter(|(body, _)| same_place(&body.url, &url)).map(|(_, sealed)| &sealed.headers);
    let headers = read_headers(&mut f, kept, p);
    let retry_policy = read_policy(&mut f, p);
    let state = if f.flag("active", true, p) { stored::ACTIVE } else { stored::INACTIVE };
    f.done(p);
    let header_names = headers.keys().cloned().collect();
    Wanted { body: Body { name, url, events, only, header_names, retry_policy, disabled_reason: None }, headers, state }
}

/// A stored header is kept only for the host that it was given for: an `Authorization` must not follow a changed address.
fn same_place(before: &str, now: &str) -> bool {
    match (url::Url::parse(before), url::Url::parse(now)) {
        (Ok(before), Ok(now)) => before.origin() == now.origin(),
        _ => false,
    }
}

fn read_events(f: &mut Fields<'_>, p: &mut Problems) -> Vec<String> {
    let given = f.has("events");
    let mut events = f.texts("events", p);
    for (i, event) in events.iter().enumerate() {
        if event != "*" && !events::WORDS.contains(&event.as_str()) {
            p.note(format!("events[{i}]"), format!("'{}' is not an event; there are: *, {}", event.escape_default(), events::WORDS.join(", ")));
        }
    }
    if events.is_empty() && !p.0.iter().any(|problem| problem.field == "events" || problem.field.starts_with("events[")) {
        p.note("events", if given { "must name at least one event, or *" } else { "is required" });
    }
    events.sort_by_key(|e| events::WORDS.iter().position(|w| w == e));
    events.dedup();
    events
}

fn read_headers(f: &mut Fields<'_>, kept: Option<&BTreeMap<String, String>>, p: &mut Problems) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let map = match f.value("headers") {
        None => return out,
        Some(Value::Object(map)) => map,
        Some(other) => {
            p.note("headers", format!("must be an object of texts, not {}", type_name(other)));
            return out;
        }
    };
    if map.len() > MOST_HEADERS {
        p.note("headers", format!("must be at most {MOST_HEADERS}"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (name, value) in map {
        let field = format!("headers.{}", name.escape_default());
        if !seen.insert(name.to_ascii_lowercase()) {
            p.note(field, "is given twice");
            continue;
        }
        match header(name, value, kept) {
            Ok(value) => drop(out.insert(name.clone(), value)),
            Err(why) => p.note(field, why),
        }
    }
    out
}

fn header(name: &str, value: &Value, kept: Option<&BTreeMap<String, String>>) -> Result<String, String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 100 || !name.bytes().all(is_token) {
        return Err("is not a header's name".to_owned());
    }
    if OURS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err("is set by the service itself".to_owned());
    }
    let text = value.as_str().ok_or_else(|| format!("must be a text, not {}", type_name(value)))?;
    if text == MASK {
        return kept
            .and_then(|k| k.get(name).cloned())
            .ok_or_else(|| "there is no value to keep, or it was given for another host: give the value itself".to_owned());
    }
    if text.len() > LONGEST_HEADER || !text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
        return Err(format!("must be at most {LONGEST_HEADER} printable ASCII characters"));
    }
    if name.eq_ignore_ascii_case("content-type") && !text.to_ascii_lowercase().split(';').next().is_some_and(|t| t.trim().ends_with("json")) {
        return Err("must be a kind of JSON: that is what is sent".to_owned());
    }
    Ok(text.to_owned())
}

fn read_policy(f: &mut Fields<'_>, p: &mut Problems) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    if let Some(mut given) = f.object("retry_policy", p) {
        policy.max_retries = given.integer("max_retries", 0..=20, p).map_or(policy.max_retries, |n| n as u32);
        policy.retry_delay = given.integer("retry_delay", 1..=3600, p).map_or(policy.retry_delay, |n| n as u32);
        given.done(p);
    }
    policy
}
