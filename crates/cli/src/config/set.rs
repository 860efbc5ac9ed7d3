//! `--set source.database.port=3307`: changes one field of a configuration, making the objects on the way to it.

use super::typed;
use crate::failure::Failure;
use domain::dotted::{self, NoPath};
use serde_json::Value;

/// Applies one `PATH=VALUE`.
pub fn apply(document: &mut Value, change: &str) -> Result<(), Failure> {
    let (path, value) = read(change)?;
    set(document, path, value)
}

/// Reads one `PATH=VALUE`. A value that begins with `[` or `{` is JSON; `null` removes the field.
pub fn read(change: &str) -> Result<(&str, Value), Failure> {
    let Some((path, text)) = change.split_once('=') else {
        return Err(Failure::usage(format!("--set {change}: write it as PATH=VALUE, for example --set transfer.options.parallel_transfers=32")));
    };
    let field = path.rsplit('.').next().unwrap_or(path);
    let value = if text.starts_with(['[', '{']) {
        serde_json::from_str::<domain::UniqueKeys>(text)
            .map(|read| read.0)
            .map_err(|e| Failure::usage(format!("--set {path}: the value is no valid JSON: {e}")))?
    } else if text == "null" {
        Value::Null
    } else {
        typed(field, text)
    };
    Ok((path, value))
}

/// Puts `value` at a dotted path.
pub fn set(document: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    dotted::set(document, path, value).map_err(|wrong| match wrong {
        NoPath::EmptyPart => Failure::usage(format!("--set {path}: the path has an empty part")),
        NoPath::NotAnObject { part, .. } => Failure::usage(format!("--set {path}: there is a value above '{part}', not an object")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_changed_added_and_removed() {
        let mut document = json!({"source": {"type": "static", "port": 22}, "safety": {"backup_before": true}});
        for change in
            ["source.port=2222", "source.paths.web_root=/a=b", "safety.backup_before=false", "transfer.options.exclude=[\"*.log\"]", "source.type=null"]
        {
            apply(&mut document, change).unwrap();
        }
        assert_eq!(
            document,
            json!({"source": {"port": 2222, "paths": {"web_root": "/a=b"}}, "safety": {"backup_before": false}, "transfer": {"options": {"exclude": ["*.log"]}}})
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (change, words) in [("source", "PATH=VALUE"), ("name.x=1", "not an object"), ("a..b=1", "empty part"), ("a=[1", "no valid JSON")] {
            let failure = apply(&mut json!({"name": "x"}), change).unwrap_err();
            assert!(failure.message.contains(words), "{change}: {}", failure.message);
        }
    }
}
