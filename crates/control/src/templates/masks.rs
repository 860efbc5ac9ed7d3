//! The fixed secrets of a document that is kept for later use: shown as `********`, sealed as they are, kept when the mask comes back.
//!
//! A secret field that holds one placeholder and nothing else holds no secret, and is shown.

use super::placeholders::{join, whole};
use domain::decode::Problems;
use domain::secret::MASK;
use domain::spec::SECRET_FIELDS;
use serde_json::{Map, Value};

/// The document as it may be shown.
pub(crate) fn mask(document: &Value) -> Value {
    map_secrets(document, "", false, &mut |value, _| if is_fixed(value) { Some(Value::String(MASK.to_owned())) } else { Some(value.clone()) })
}

/// The document with every `********` in a secret field replaced by what is `kept` at the same place. A mask without anything kept is noted.
pub(crate) fn unmask(document: &Value, kept: Option<&Value>, path: &str, problems: &mut Problems) -> Value {
    map_secrets(document, "", false, &mut |value, at| {
        if value.as_str() != Some(MASK) {
            return Some(value.clone());
        }
        let found = kept.and_then(|k| super::placeholders::at(k, at)).filter(|v| is_fixed(v));
        if found.is_none() {
            problems.note(join(path, at), "is the mask of a secret, not a value, and none is stored here; give the value itself, or a placeholder");
        }
        found.cloned()
    })
}

/// The document with a placeholder in the place of every fixed secret, named after its path.
pub(crate) fn without_secrets(document: &Value) -> Value {
    map_secrets(document, "", false, &mut |value, at| {
        let name: String = at.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(64).collect();
        Some(if is_fixed(value) { Value::String(format!("{{{{{name}}}}}")) } else { value.clone() })
    })
}

/// Whether values of the field at this path are never shown by the product.
pub(crate) fn is_secret_place(path: &str) -> bool {
    let mut parts = path.split('.').map(|part| part.split('[').next().unwrap_or_default());
    parts.any(|part| part == "headers" || SECRET_FIELDS.contains(&part))
}

fn is_fixed(value: &Value) -> bool {
    !value.is_null() && value.as_str().is_none_or(|text| whole(text).is_none())
}

fn map_secrets(value: &Value, path: &str, inside: bool, change: &mut dyn FnMut(&Value, &str) -> Option<Value>) -> Value {
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (name, inner) in map {
                let at = join(path, name);
                let secret = inside || SECRET_FIELDS.contains(&name.as_str());
                let changed = if secret { change(inner, &at) } else { Some(map_secrets(inner, &at, name == "headers", change)) };
                out.extend(changed.map(|v| (name.clone(), v)));
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.iter().enumerate().map(|(i, v)| map_secrets(v, &format!("{path}[{i}]"), inside, change)).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({"source": {"password": "canary", "database": {"password": "{{db_password}}", "host": "h"}}, "destination": {"service_account_key": {"key": "canary"}},
            "notifications": {"webhook": {"headers": {"Authorization": "canary", "X": "{{x}}"}}}, "jump": [{"token": "a{{b}}"}]})
    }

    #[test]
    fn fixed_secrets_are_masked_and_placeholders_shown() {
        let shown = mask(&document());
        assert!(!shown.to_string().contains("canary"));
        assert_eq!(shown["source"]["database"]["password"], "{{db_password}}");
        assert_eq!((&shown["jump"][0]["token"], &shown["notifications"]["webhook"]["headers"]["X"]), (&json!(MASK), &json!("{{x}}")));
    }

    #[test]
    fn a_mask_that_comes_back_keeps_what_is_stored() {
        let mut problems = Problems::default();
        assert_eq!(unmask(&mask(&document()), Some(&document()), "t", &mut problems), document());
        assert!(problems.is_empty());
        unmask(&mask(&document()), None, "t", &mut problems);
        let named: Vec<&str> = problems.0.iter().map(|p| p.field.as_str()).collect();
        let all = ["t.destination.service_account_key", "t.jump[0].token", "t.notifications.webhook.headers.Authorization", "t.source.password"];
        assert!(all.iter().all(|f| named.contains(f)) && named.len() == all.len(), "{named:?}");
    }

    #[test]
    fn an_export_has_placeholders_instead() {
        let plain = without_secrets(&document());
        assert!(!plain.to_string().contains("canary"));
        assert_eq!(plain["source"]["password"], "{{source_password}}");
        assert!(is_secret_place("a.headers.X") && is_secret_place("a.jump[0].password") && !is_secret_place("a.host"));
    }
}
