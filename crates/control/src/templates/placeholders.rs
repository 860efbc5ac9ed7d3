//! `{{name}}` in the texts of a document: found, checked, filled. Nothing else is understood: no expression, no filter, no code.
//!
//! A text that is one placeholder and nothing else becomes the value itself, with its type; inside other text the value is written out.
//! What is filled in is never looked at again.

use domain::decode::Problems;
use serde_json::{Map, Value};

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Takes a text apart. The error says what is wrong with its braces.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("{{") {
        if begin > 0 {
            out.push(Piece::Text(&rest[..begin]));
        }
        let behind = &rest[begin + 2..];
        let Some(end) = behind.find("}}") else { return Err("has a {{ without its }}".to_owned()) };
        let name = behind[..end].trim();
        if !is_name(name) {
            return Err("has something between {{ and }} that is no plain name (letters, digits, _): expressions and filters are not understood".to_owned());
        }
        out.push(Piece::Name(name));
        rest = &behind[end + 2..];
    }
    if !rest.is_empty() {
        out.push(Piece::Text(rest));
    }
    Ok(out)
}

/// A letter or `_`, then letters, digits and `_`, at most 64.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// The name, if the text is one placeholder and nothing else.
pub(crate) fn whole(text: &str) -> Option<&str> {
    match pieces(text).as_deref() {
        Ok([Piece::Name(name)]) => Some(name),
        _ => None,
    }
}

/// A placeholder and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub name: String,
    /// Dotted path in the document.
    pub path: String,
    /// It is the whole text.
    pub whole: bool,
}

/// Every placeholder of the document, in its order; bad braces and placeholders in field names are noted.
pub(crate) fn find(document: &Value, path: &str, problems: &mut Problems) -> Vec<Found> {
    let mut out = Vec::new();
    look(document, path, &mut out, problems);
    out
}

fn look(value: &Value, path: &str, out: &mut Vec<Found>, problems: &mut Problems) {
    match value {
        Value::String(text) => match pieces(text) {
            Ok(found) => {
                let alone = found.len() == 1;
                out.extend(found.iter().filter_map(|p| match p {
                    Piece::Name(name) => Some(Found { name: (*name).to_owned(), path: path.to_owned(), whole: alone }),
                    Piece::Text(_) => None,
                }));
            }
            Err(why) => problems.note(path, why),
        },
        Value::Object(map) => {
            for (name, inner) in map {
                let at = join(path, name);
                if name.contains("{{") {
                    problems.note(&at, "the name of a field cannot be a placeholder");
                }
                look(inner, &at, out, problems);
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(i, inner)| look(inner, &format!("{path}[{i}]"), out, problems)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Fills the document. `fill` gets a placeholder's name and the path where it stands; without a value the field is left out, and inside other text
/// that is a problem. A document that [`find`] accepted has no other.
pub(crate) fn render(document: &Value, path: &str, fill: &dyn Fn(&str, &str) -> Option<Value>, problems: &mut Problems) -> Option<Value> {
    match document {
        Value::String(text) => match pieces(text).as_deref() {
            Ok([Piece::Name(name)]) => fill(name, path),
            Ok(found) => written(found, path, fill, problems).map(Value::String),
            Err(why) => {
                problems.note(path, why.as_str());
                None
            }
        },
        Value::Object(map) => {
            let filled: Map<String, Value> =
                map.iter().filter_map(|(name, inner)| Some((name.clone(), render(inner, &join(path, name), fill, problems)?))).collect();
            Some(Value::Object(filled))
        }
        Value::Array(items) => {
            Some(Value::Array(items.iter().enumerate().filter_map(|(i, inner)| render(inner, &format!("{path}[{i}]"), fill, problems)).collect()))
        }
        other => Some(other.clone()),
    }
}

fn written(pieces: &[Piece<'_>], path: &str, fill: &dyn Fn(&str, &str) -> Option<Value>, problems: &mut Problems) -> Option<String> {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Name(name) => match fill(name, path) {
                Some(Value::String(text)) => out.push_str(&text),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => out.push_str(&value.to_string()),
                Some(_) => problems.note(path, format!("{{{{{name}}}}} is no text, number or boolean and cannot stand inside other text")),
                None => {
                    problems.note(path, format!("needs a value for {{{{{name}}}}}"));
                    return None;
                }
            },
        }
    }
    Some(out)
}

/// The value at a dotted path as [`find`] writes it.
pub(crate) fn at<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(document, |value, part| {
        let (name, items) = part.split_once('[').map_or((part, ""), |(n, rest)| (n, rest));
        let mut value = value.get(name)?;
        for index in items.split('[').filter(|i| !i.is_empty()) {
            value = value.get(index.trim_end_matches(']').parse::<usize>().ok()?)?;
        }
        Some(value)
    })
}

pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_plain_names_are_placeholders() {
        assert_eq!(pieces("a{{b}}c{{ d_1 }}"), Ok(vec![Piece::Text("a"), Piece::Name("b"), Piece::Text("c"), Piece::Name("d_1")]));
        assert_eq!(pieces("no { braces } }}"), Ok(vec![Piece::Text("no { braces } }}")]));
        for bad in ["{{", "{{a", "{{}}", "{{ }}", "{{a|upper}}", "{{a.b}}", "{{1a}}", "{{{a}}}", "{{a()}}", "{{a b}}", "{{ä}}", "{{ {{a}} }}"] {
            assert!(pieces(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_whole_placeholder_keeps_its_type_and_nothing_is_filled_twice() {
        let document = json!({"port": "{{port}}", "url": "http://{{host}}:{{port}}/{{flag}}", "list": ["{{host}}", "{{gone}}"], "gone": "{{gone}}", "n": 1});
        let fill = |name: &str, _: &str| match name {
            "port" => Some(json!(3307)),
            "host" => Some(json!("{{port}}")),
            "flag" => Some(json!(true)),
            _ => None,
        };
        let mut problems = Problems::default();
        let filled = render(&document, "", &fill, &mut problems);
        assert_eq!(filled, Some(json!({"port": 3307, "url": "http://{{port}}:3307/true", "list": ["{{port}}"], "n": 1})));
        assert!(problems.is_empty());
        render(&json!({"a": {"b": "x{{gone}}"}}), "template", &fill, &mut problems);
        assert_eq!(problems.0[0].field, "template.a.b");
    }

    #[test]
    fn paths_lead_back_to_their_values() {
        let document = json!({"a": {"b": [{"c": "{{x}}"}, "{{y}}"]}});
        let mut problems = Problems::default();
        let paths: Vec<String> = find(&document, "", &mut problems).into_iter().map(|f| f.path).collect();
        assert_eq!(paths, ["a.b[0].c", "a.b[1]"]);
        assert!(paths.iter().all(|p| at(&document, p).is_some_and(Value::is_string)));
        assert_eq!(at(&document, "a.z"), None);
    }
}
