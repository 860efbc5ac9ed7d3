//! Whether a document with placeholders can become a good configuration at all: it is filled with plausible values and decoded.

use super::placeholders::{Found, join, render};
use domain::decode::{Problem, Problems};
use domain::spec::MigrationSpec;
use serde_json::{Value, json};

/// A value that fields of this name take; `None` where nothing is known of it.
pub(crate) fn of_field(path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.split('.').map(|p| p.split('[').next().unwrap_or_default()).collect();
    let (field, parent) = (parts.last().copied().unwrap_or_default(), parts.iter().rev().nth(1).copied().unwrap_or_default());
    Some(match field {
        "port" | "parallel_transfers" | "backup_retention_days" => json!(22),
        "host" | "cluster" => json!("sample.example"),
        "bucket" | "container" => json!("sample-bucket"),
        "web_root" | "uploads" | "config" | "known_hosts" => json!("/srv/sample"),
        // A name for servers, a file for SQLite.
        "database" => json!("/srv/sample.db"),
        "url" | "endpoint" => json!("https://sample.example"),
        "recipients" => json!("someone@sample.example"),
        "chunk_size" => json!("10MB"),
        "method" => json!("hybrid_sync"),
        "tls" => json!("prefer"),
        "symlinks" => json!("keep"),
        "compression" | "resume_on_failure" | "verify_checksums" | "delete_extraneous" | "path_style" | "enabled" => json!(true),
        _ if parent == "safety" => json!(true),
        _ => return None,
    })
}

/// What is wrong with the document whatever its placeholders stand for. `sample` gives a value for each; fields whose value cannot be foreseen
/// (part of a text, or what decides the other fields' meaning) are left to the day when they are filled.
pub(crate) fn problems(document: &Value, found: &[Found], sample: &dyn Fn(&str, &str) -> Option<Value>) -> Vec<Problem> {
    if found.iter().any(|f| f.path.rsplit('.').next() == Some("type")) {
        return Vec::new();
    }
    let mut unfit = Problems::default();
    let Some(mut filled) = render(document, "", sample, &mut unfit) else { return unfit.0 };
    if let Value::Object(map) = &mut filled {
        map.entry("name").or_insert_with(|| json!("sample"));
    }
    let Err(bad) = MigrationSpec::decode(&filled) else { return unfit.0 };
    unfit.0.into_iter().chain(bad.0.into_iter().filter(|p| !found.iter().any(|f| f.path == p.field && !f.whole))).collect()
}

/// The same problems below `path`.
pub(crate) fn below(path: &str, problems: Vec<Problem>) -> impl Iterator<Item = Problem> {
    problems.into_iter().map(move |p| Problem { field: join(path, &p.field), ..p })
}

#[cfg(test)]
mod tests {
    use super::super::placeholders::find;
    use super::*;

    fn fields(document: &Value) -> Vec<String> {
        let found = find(document, "", &mut Problems::default());
        let sample = |_: &str, path: &str| of_field(path).or_else(|| Some(json!("sample")));
        problems(document, &found, &sample).into_iter().map(|p| p.field).collect()
    }

    #[test]
    fn what_can_be_known_is_found() {
        let good = json!({"source": {"type": "wordpress", "host": "{{h}}", "port": "{{p}}"}, "destination": {"type": "aws-s3", "bucket": "{{b}}", "region": "{{r}}"},
            "transfer": {"options": {"chunk_size": "{{c}}", "parallel_transfers": "{{n}}"}}, "notifications": {"email": {"recipients": ["{{to}}"]}}});
        assert_eq!(fields(&good), Vec::<String>::new());
        let slip = json!({"source": {"type": "wordpress", "hots": "{{h}}"}, "destination": {"type": "aws-s3"}});
        assert_eq!(fields(&slip), ["source.hots", "destination.bucket"]);
        assert_eq!(fields(&json!({"source": {"type": "{{t}}"}})), Vec::<String>::new(), "the type decides the rest");
        let part = json!({"source": {"type": "static", "host": "h"}, "destination": {"type": "aws-s3", "bucket": "b_{{x}}"}});
        assert_eq!(fields(&part), Vec::<String>::new(), "a part of a text");
    }
}
