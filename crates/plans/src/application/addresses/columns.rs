//! Which columns can hold an address, and how much fits into them.

use ports::databases::Table;

/// A column whose values are rewritten.
pub(super) struct Column {
    pub name: String,
    /// Holds bytes, not text: a value is rewritten only when it is valid UTF-8.
    pub binary: bool,
    limit: Option<Limit>,
}

enum Limit {
    Characters(usize),
    Bytes(usize),
}

impl Column {
    /// The column's limit in words, when the new value exceeds it.
    pub fn too_long(&self, value: &[u8]) -> Option<String> {
        match self.limit {
            Some(Limit::Characters(limit)) => (String::from_utf8_lossy(value).chars().count() > limit).then(|| format!("{limit} characters")),
            Some(Limit::Bytes(limit)) => (value.len() > limit).then(|| format!("{limit} bytes")),
            None => None,
        }
    }
}

/// Columns that hold text or bytes and are neither computed nor part of the key.
pub(super) fn rewritable(table: &Table) -> Vec<Column> {
    table.columns.iter().filter(|c| !c.generated && !table.key.contains(&c.name)).filter_map(|c| column(&c.name, &c.type_name)).collect()
}

/// The same for columns that were chosen before, in their order.
pub(super) fn named(table: &Table, names: &[String]) -> Vec<Column> {
    let kind = |name: &String| table.columns.iter().find(|c| c.name == *name).map(|c| c.type_name.as_str()).unwrap_or_default();
    names.iter().map(|name| column(name, kind(name)).unwrap_or(Column { name: name.clone(), binary: false, limit: None })).collect()
}

fn column(name: &str, kind: &str) -> Option<Column> {
    let kind = kind.to_ascii_lowercase();
    let binary = kind.contains("blob") || kind.contains("binary");
    let textual = kind.contains("char") || kind.contains("text") || kind.starts_with("json");
    let limit = limit(&kind, binary);
    (binary || textual).then(|| Column { name: name.to_owned(), binary, limit })
}

fn limit(kind: &str, binary: bool) -> Option<Limit> {
    let declared = || kind.split_once('(')?.1.split(')').next()?.trim().parse().ok();
    match kind.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default() {
        "tinytext" | "tinyblob" => Some(Limit::Bytes(255)),
        "text" | "blob" => Some(Limit::Bytes(65_535)),
        "mediumtext" | "mediumblob" => Some(Limit::Bytes(16_777_215)),
        _ if binary => declared().map(Limit::Bytes),
        _ => declared().map(Limit::Characters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_know_what_fits_into_them() {
        for (kind, size, fits) in [
            ("varchar(10)", 10, true),
            ("VARCHAR(10)", 11, false),
            ("tinytext", 256, false),
            ("text", 65_535, true),
            ("text", 65_536, false),
            ("longtext", 1 << 20, true),
            ("varbinary(255)", 256, false),
            ("longblob", 1 << 20, true),
            ("json", 1 << 20, true),
        ] {
            assert_eq!(column("c", kind).expect("rewritable").too_long(&vec![b'x'; size]).is_none(), fits, "{kind} {size}");
        }
        assert!(column("c", "bigint(20) unsigned").is_none() && column("c", "datetime").is_none());
        assert!(column("c", "longblob").expect("rewritable").binary && !column("c", "longtext").expect("rewritable").binary);
    }
}
