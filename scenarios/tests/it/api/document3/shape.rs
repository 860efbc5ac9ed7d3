//! Whether an answer has the shape of the printed one: every printed key, with a value of the same type and, for texts, the same form.

use serde_json::Value;

/// How a text is written.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    /// `2024-08-26T14:30:22.123456`
    Moment,
    /// `2024-08-01T00:00:00Z`
    Zulu,
    /// `2024-08-01`
    Date,
    /// `2.3 MB/s`
    Rate,
    /// `12.1 GB`
    Size,
    /// `28m 45s`
    Duration,
    /// `sha256:…`
    Checksum,
    /// `req-…`
    Request,
    /// `err-…`
    Incident,
    Text,
}

/// A picture of the text: digits as `0`.
fn picture(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

fn is_size(text: &str) -> bool {
    let Some((number, unit)) = text.split_once(' ') else { return false };
    number.parse::<f64>().is_ok() && ["B", "KB", "MB", "GB", "TB", "PB"].contains(&unit)
}

fn is_duration(text: &str) -> bool {
    let pieces: Vec<&str> = text.split(' ').collect();
    let piece = |p: &str| p.strip_suffix(['d', 'h', 'm', 's']).is_some_and(|n| n.parse::<f64>().is_ok());
    pieces.iter().all(|p| piece(p))
}

fn form(text: &str) -> Form {
    match picture(text).as_str() {
        "0000-00-00T00:00:00.000000" => Form::Moment,
        "0000-00-00T00:00:00Z" => Form::Zulu,
        "0000-00-00" => Form::Date,
        _ if text.strip_suffix("/s").is_some_and(is_size) => Form::Rate,
        _ if is_size(text) => Form::Size,
        _ if is_duration(text) => Form::Duration,
        _ if text.split_once(':').is_some_and(|(kind, _)| ["sha256", "md5", "blake3"].contains(&kind)) => Form::Checksum,
        _ if text.starts_with("req-") => Form::Request,
        _ if text.starts_with("err-") => Form::Incident,
        _ => Form::Text,
    }
}

fn differences(printed: &Value, found: &Value, at: &str, out: &mut Vec<String>) {
    match (printed, found) {
        (Value::Object(printed), Value::Object(found)) => {
            for (key, value) in printed {
                match found.get(key) {
                    Some(found) => differences(value, found, &format!("{at}/{key}"), out),
                    None => out.push(format!("{at}/{key} is missing")),
                }
            }
        }
        (Value::Array(printed), Value::Array(found)) => {
            if let Some(one) = printed.first() {
                if found.is_empty() {
                    out.push(format!("{at} is empty"));
                }
                found.iter().enumerate().for_each(|(n, found)| differences(one, found, &format!("{at}/{n}"), out));
            }
        }
        (Value::String(printed), Value::String(found)) => {
            if form(printed) != form(found) || found.is_empty() {
                out.push(format!("{at} reads '{found}', printed is '{printed}'"));
            }
        }
        (Value::Number(printed), Value::Number(found)) => {
            if printed.is_f64() != found.is_f64() {
                out.push(format!("{at} is {found}, printed is {printed}"));
            }
        }
        (Value::Null, Value::Null) | (Value::Bool(_), Value::Bool(_)) => {}
        _ => out.push(format!("{at} is {found}, printed is {printed}")),
    }
}

/// `found` has everything that is printed, in the same types and forms. More is fine.
#[track_caller]
pub fn assert_alike(printed: &Value, found: &Value) {
    let mut out = Vec::new();
    differences(printed, found, "", &mut out);
    assert!(out.is_empty(), "{out:#?}\n{found:#}");
}

/// The same, and what the pointers name is the very same value.
#[track_caller]
pub fn assert_told(printed: &Value, found: &Value, same: &[&str]) {
    assert_alike(printed, found);
    for pointer in same {
        assert_eq!(found.pointer(pointer), printed.pointer(pointer), "{pointer}");
    }
}

#[test]
fn shapes_are_told_apart() {
    use serde_json::json;
    let printed = json!({"rate": "2.3 MB/s", "at": "2024-08-26T14:30:22.123456", "list": [{"n": 1, "share": 91.0}], "end": null, "took": "28m 45s"});
    let good = json!({"rate": "0 B/s", "at": "2026-01-02T03:04:05.000000", "list": [{"n": 0, "share": 0.0, "more": 1}], "end": null, "took": "1h 2m 3s"});
    assert_alike(&printed, &good);
    for (pointer, wrong) in [
        ("/rate", json!("2.3 MB")),
        ("/at", json!("2026-01-02T03:04:05Z")),
        ("/list", json!([])),
        ("/list/0/n", json!(0.5)),
        ("/list/0/share", json!(91)),
        ("/end", json!("")),
        ("/took", json!("soon")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect("a place") = wrong;
        let mut out = Vec::new();
        differences(&printed, &bad, "", &mut out);
        assert_eq!(out.len(), 1, "{pointer}: {out:?}");
    }
}
