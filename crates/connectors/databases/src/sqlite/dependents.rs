//! What others built on objects of a file. SQLite drops a table all the same: foreign keys then point at nothing, views and triggers fail.
//!
//! Foreign keys are in the catalogue; what views, triggers and full-text tables read is found in their texts, and a doubt counts as a dependence.

use ports::databases::{ObjectKind, SchemaObject, Unmovable};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

/// Reads what depends on these objects and is not one of them.
pub fn read(connection: &Connection, objects: &[SchemaObject]) -> rusqlite::Result<Vec<Unmovable>> {
    let named = |o: &&SchemaObject| matches!(o.kind, ObjectKind::Table | ObjectKind::View);
    let going: BTreeMap<String, &str> = objects.iter().filter(named).map(|o| (o.name.name.to_lowercase(), o.name.name.as_str())).collect();
    let mut found = Vec::new();
    let mut add = |kind: &str, name: String, on: &str| found.push(Unmovable { kind: kind.to_owned(), name, reason: format!("it depends on {on}") });
    let query =
        "SELECT t.name, f.\"table\" FROM pragma_table_list AS t, pragma_foreign_key_list(t.name) AS f WHERE t.schema = 'main' AND f.seq = 0 ORDER BY 1, f.id";
    for row in connection.prepare(query)?.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))? {
        let (table, on) = row?;
        if let (Some(on), false) = (going.get(&on.to_lowercase()), going.contains_key(&table.to_lowercase())) {
            add("foreign key", format!("of {table}"), on);
        }
    }
    let query = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND (type IN ('view', 'trigger') OR sql LIKE 'CREATE VIRTUAL%') ORDER BY rowid";
    let text = |row: &rusqlite::Row<'_>| Ok([row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
    for row in connection.prepare(query)?.query_map([], text)? {
        let [kind, name, table, sql] = row?;
        if going.contains_key(&table.to_lowercase()) {
            continue;
        }
        let (kind, name) = match kind.as_str() {
            "view" => ("view", name),
            "trigger" => ("trigger", format!("{name} of {table}")),
            _ => ("virtual table", name),
        };
        for on in mentioned(&sql).iter().filter_map(|word| going.get(word)) {
            add(kind, name.clone(), on);
        }
    }
    Ok(found)
}

/// Names in lower case that may mean a table: all but aliases, columns behind a dot and literals where no table can be.
fn mentioned(sql: &str) -> BTreeSet<String> {
    let tokens = tokens(sql);
    let at = |n: Option<usize>| n.and_then(|n| tokens.get(n)).map_or("", |t| t.text.as_str());
    let mut found = BTreeSet::new();
    for (n, token) in tokens.iter().enumerate() {
        let before = at(n.checked_sub(1));
        let of_database = before == "." && ["main", "temp"].contains(&at(n.checked_sub(2)));
        let possible = match token.kind {
            Kind::Sign => false,
            // SQLite takes a literal for a name where only a name can stand.
            Kind::Literal => ["from", "join", "into", "update", ",", "=", "."].contains(&before),
            Kind::Name => before != "as",
        };
        if possible && (before != "." || of_database) {
            found.insert(token.text.clone());
        }
    }
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A word or a quoted name.
    Name,
    /// Between single quotes.
    Literal,
    Sign,
}

struct Token {
    kind: Kind,
    /// In lower case, without quotes.
    text: String,
}

/// The words, names, literals and signs of a text; no spaces, no comments.
fn tokens(sql: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
        let length = match first {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            '\'' | '"' | '`' => quoted(rest, first),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            c if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (text, tail) = rest.split_at(length);
        let inner = || text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
        let doubled = |quote: char| inner().replace(&format!("{quote}{quote}"), &quote.to_string()).to_lowercase();
        match first {
            '-' | '/' if length > 1 => {}
            '\'' => out.push(Token { kind: Kind::Literal, text: doubled(first) }),
            '"' | '`' => out.push(Token { kind: Kind::Name, text: doubled(first) }),
            '[' => out.push(Token { kind: Kind::Name, text: inner().to_lowercase() }),
            c => out.push(Token { kind: if word(c) { Kind::Name } else { Kind::Sign }, text: text.to_lowercase() }),
        }
        rest = tail.trim_start();
    }
    out
}

/// Length of a quoted token, both quotes included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(end) = rest[at..].find(quote) {
        at += end + 1;
        if !rest[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_may_mean_a_table_are_found() {
        for sql in [
            "SELECT 1 FROM t",
            "SELECT 1 FROM u, main.\"T\"",
            "SELECT [t].a FROM x",
            "DELETE FROM `t`",
            "SELECT 1 FROM 't'",
            "SELECT a--\n FROM/**/t/*",
            "x(content='t')",
        ] {
            assert!(mentioned(sql).contains("t"), "{sql}");
        }
        for sql in ["SELECT x.t FROM x", "SELECT 't'", "SELECT a AS t FROM x", "SELECT 1 -- t", "SELECT 1 /* t */", "SELECT 'it''s', 't'' t' FROM t2", "new.t"]
        {
            assert!(!mentioned(sql).contains("t"), "{sql}");
        }
    }
}
