//! `${VAR}` and `${VAR:-default}` in the values of a configuration; `$${` stands for a literal `${`.
//!
//! Values are replaced after parsing, so that whatever a variable holds stays one value. No message ever shows one.

use super::typed;
use crate::failure::Failure;
use serde_json::Value;

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces every variable in the document. All missing ones are named at once.
pub fn expand(document: &mut Value, lookup: Lookup<'_>) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    walk(document, "", "", lookup, &mut wrong);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::usage("The configuration uses variables that cannot be filled in")
        .lines(wrong)
        .advice("Set them in the environment of this command, or give a default: ${NAME:-value}. A literal ${ is written $${."))
}

fn walk(value: &mut Value, path: &str, field: &str, lookup: Lookup<'_>, wrong: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains("${") => match fill(text, lookup) {
            Ok(filled) => *value = typed(field, &filled),
            Err(why) => wrong.push(format!("{path}: {why}")),
        },
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{path}[{i}]"), field, lookup, wrong);
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(item, &below, name.rsplit('.').next().unwrap_or(name), lookup, wrong);
            }
        }
        _ => {}
    }
}

fn fill(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at]);
            out.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some((inside, after)) = rest[at + 2..].split_once('}') else {
            return Err("a ${ has no closing }".to_owned());
        };
        out.push_str(&value_of(inside, lookup)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of(inside: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let (name, default) = inside.split_once(":-").map_or((inside, None), |(n, d)| (n, Some(d)));
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err("a ${…} holds no name of a variable".to_owned());
    }
    // As in a shell, an empty variable takes the default too.
    match (lookup(name).filter(|v| !v.is_empty() || default.is_none()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("the variable {name} is not set")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db.example".to_owned()),
            "PORT" => Some("3307".to_owned()),
            "PASS" => Some("12345".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("a\nb: ${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_filled_in_place() {
        for (before, after) in [
            (json!({"host": "${HOST}"}), json!({"host": "db.example"})),
            (json!({"url": "http://${HOST}:${PORT}/x"}), json!({"url": "http://db.example:3307/x"})),
            (json!({"port": "${PORT}"}), json!({"port": 3307})),
            (json!({"password": "${PASS}"}), json!({"password": "12345"})),
            (json!({"verify_after": "${NO:-false}"}), json!({"verify_after": false})),
            (json!({"region": "${REGION:-us-east-1}"}), json!({"region": "us-east-1"})),
            (json!({"region": "${EMPTY:-us-east-1}"}), json!({"region": "us-east-1"})),
            (json!({"prefix": "${EMPTY}"}), json!({"prefix": ""})),
            (json!({"password": "${TRICK}"}), json!({"password": "a\nb: ${HOST}"})),
            (json!({"password": "a$${HOST}b"}), json!({"password": "a${HOST}b"})),
            (json!({"password": "$5 and {x}"}), json!({"password": "$5 and {x}"})),
            (json!({"exclude": ["${HOST}/*", 3, null]}), json!({"exclude": ["db.example/*", 3, null]})),
        ] {
            let mut document = before.clone();
            expand(&mut document, &lookup).unwrap();
            assert_eq!(document, after, "{before}");
        }
    }

    #[test]
    fn everything_missing_is_named_at_once_and_no_value_is_shown() {
        let mut document = json!({"source": {"password": "${PASS}${NOPE}", "host": "${ALSO NOPE}"}, "destination": {"jump": [{"host": "${X"}]}});
        let letter = crate::output::letter(&expand(&mut document, &lookup).unwrap_err());
        insta::assert_snapshot!(letter, @r"
        error: The configuration uses variables that cannot be filled in
          destination.jump[0].host: a ${ has no closing }
          source.host: a ${…} holds no name of a variable
          source.password: the variable NOPE is not set
        hint: Set them in the environment of this command, or give a default: ${NAME:-value}. A literal ${ is written $${.
        ");
        assert!(!letter.contains("12345"));
    }
}
