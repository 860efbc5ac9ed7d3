//! Fields by their dotted path, as callers name them: `source.database.host`.

use serde_json::{Map, Value};

/// Why a path leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPath<'a> {
    /// Two dots in a row, or one at an end.
    EmptyPart,
    /// What stands above `part` has no fields: `found` is the JSON word for its type.
    NotAnObject { part: &'a str, found: &'static str },
}

/// Puts `value` at `path`, making the objects on the way to it; null takes the field away.
pub fn set<'a>(document: &mut Value, path: &'a str, value: Value) -> Result<(), NoPath<'a>> {
    let mut at = document;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err(NoPath::EmptyPart);
        }
        let found = crate::decode::type_name(at);
        let Value::Object(map) = at else { return Err(NoPath::NotAnObject { part, found }) };
        if parts.peek().is_none() {
            if value.is_null() {
                map.remove(part);
            } else {
                map.insert(part.to_owned(), value);
            }
            return Ok(());
        }
        at = map.entry(part).or_insert_with(|| Value::Object(Map::new()));
    }
    Ok(())
}
