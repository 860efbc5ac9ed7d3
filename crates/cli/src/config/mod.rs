//! From the command line to the body of `POST /migrations/`: a file, flags, or a file changed by `--set`.
//!
//! Only the outer form is read here. What the fields mean, and which are wrong, is decided by the control plane.

mod environment;
mod place;
mod set;

use crate::args::What;
use crate::failure::Failure;
use domain::UniqueKeys;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Numbers and flags of a configuration. A variable or `--set` gives text; these fields take it as what they are.
const NUMBERS: [&str; 4] = ["port", "parallel_transfers", "backup_retention_days", "max_delete"];
const FLAGS: [&str; 15] = [
    "compression",
    "resume_on_failure",
    "verify_checksums",
    "delete_extraneous",
    "allow_empty_source",
    "backup_before",
    "backup_source_database",
    "rollback_on_failure",
    "verify_after",
    "maintenance_mode",
    "overwrite_without_backup",
    "enabled",
    "path_style",
    "auto_rollback",
    "send_notifications",
];

/// The configuration that the command line describes.
pub fn read(what: &What) -> Result<Value, Failure> {
    let mut document = match &what.config {
        Some(path) => {
            let mut document = parse(path)?;
            environment::expand(&mut document, &|name| std::env::var(name).ok())?;
            document
        }
        None => place::document(what, &|name| std::env::var(name).ok())?,
    };
    if let Some(name) = &what.name {
        set::set(&mut document, "name", Value::String(name.clone()))?;
    }
    if what.allow_empty_source {
        set::set(&mut document, "transfer.options.allow_empty_source", Value::Bool(true))?;
    }
    for change in &what.set {
        set::apply(&mut document, change)?;
    }
    Ok(document)
}

/// A document that is no configuration, such as an export of presets.
pub fn file(path: &Path) -> Result<Value, Failure> {
    parse(path)
}

/// One `PATH=VALUE` of a `--set`.
pub fn change(text: &str) -> Result<(&str, Value), Failure> {
    set::read(text)
}

/// Fills `${VAR}` in from the environment.
pub fn fill(document: &mut Value) -> Result<(), Failure> {
    environment::expand(document, &|name| std::env::var(name).ok())
}

/// Reads the file in the form that its name says; without a telling name (and from stdin) as YAML, of which JSON is a part.
fn parse(path: &Path) -> Result<Value, Failure> {
    let shown = path.display();
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|e| {
        let letter = Failure::usage(format!("The configuration {shown} could not be read: {e}"));
        if e.kind() == std::io::ErrorKind::NotFound {
            letter.advice("Look at the name, or give the source and the destination as flags: `migrate --from … --to …`.")
        } else {
            letter
        }
    })?;
    let document = match path.extension().and_then(|e| e.to_str()) {
        Some("json") => serde_json::from_str::<UniqueKeys>(&text).map(|read| read.0).map_err(|e| e.to_string()),
        Some("toml") => toml::from_str(&text).map_err(|e| e.message().to_owned() + &place_of(&text, e.span())),
        _ => serde_yaml_ng::from_str::<UniqueKeys>(&text).map(|read| read.0).map_err(|e| e.to_string()),
    };
    let document: Value = document.map_err(|why| Failure::usage(format!("The configuration {shown} cannot be read as {}: {why}", form(path))))?;
    if !document.is_object() {
        return Err(Failure::usage(format!("The configuration {shown} is no object: it must have the fields name, source and destination")));
    }
    Ok(document)
}

fn form(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => "JSON",
        Some("toml") => "TOML",
        _ => "YAML",
    }
}

fn place_of(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let before = span.and_then(|s| text.get(..s.start));
    before.map(|b| format!(" (line {})", b.matches('\n').count() + 1)).unwrap_or_default()
}

/// Text as the value that a field of this name holds.
fn typed(field: &str, text: &str) -> Value {
    if NUMBERS.contains(&field)
        && let Ok(n) = text.parse::<u64>()
    {
        return n.into();
    }
    if FLAGS.contains(&field)
        && let Ok(b) = text.parse::<bool>()
    {
        return b.into();
    }
    Value::String(text.to_owned())
}
