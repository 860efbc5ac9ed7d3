//! The tables of a database from `information_schema`: columns, the key in use, estimates.

use super::ddl::lexer::{Kind, tokens};
use super::ddl::table::{Item, TableDefinition};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use ports::databases::{Column, ObjectName, Table};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct TableEntry {
    pub table: Table,
    /// Name of the unique index that [`Table::key`] stands for, when it is not the primary key.
    pub key_index: Option<String>,
    pub collation: String,
    pub versioned: bool,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub tables: Vec<TableEntry>,
    pub views: Vec<String>,
    pub sequences: Vec<String>,
}

type TableRow = (String, String, Option<u64>, Option<u64>, Option<u64>, Option<String>);
type ColumnRow = (String, String, String, String, Option<String>, Option<String>);
type IndexRow = (String, String, Option<String>, Option<String>);

/// Reads all of them in four queries, however many tables there are.
pub(super) async fn read(conn: &mut Conn) -> Result<Found, Error> {
    let mut columns = read_columns(conn).await?;
    let mut keys = read_keys(conn).await?;
    let sql = "SELECT TABLE_NAME, TABLE_TYPE, TABLE_ROWS, DATA_LENGTH, INDEX_LENGTH, TABLE_COLLATION FROM information_schema.TABLES \
               WHERE TABLE_SCHEMA=DATABASE() ORDER BY TABLE_NAME";
    let mut found = Found::default();
    for (name, kind, rows, data, _index, collation) in conn.query::<TableRow, _>(sql).await? {
        match kind.as_str() {
            "VIEW" => found.views.push(name),
            "SEQUENCE" => found.sequences.push(name),
            _ => {
                let columns = columns.remove(&name).unwrap_or_default();
                let (index, key) = keys.remove(&name).unwrap_or_default();
                let object = ObjectName { schema: String::new(), name };
                let table = Table { name: object, columns, key, rows: rows.unwrap_or(0), bytes: data.unwrap_or(0) };
                let key_index = Some(index).filter(|i| !i.is_empty() && i != "PRIMARY");
                found.tables.push(TableEntry { table, key_index, collation: collation.unwrap_or_default(), versioned: kind == "SYSTEM VERSIONED" });
            }
        }
    }
    Ok(found)
}

async fn read_columns(conn: &mut Conn) -> Result<BTreeMap<String, Vec<Column>>, Error> {
    let sql = "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, EXTRA, COLLATION_NAME FROM information_schema.COLUMNS \
               WHERE TABLE_SCHEMA=DATABASE() ORDER BY TABLE_NAME, ORDINAL_POSITION";
    let mut all: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    for (table, name, type_name, nullable, extra, collation) in conn.query::<ColumnRow, _>(sql).await? {
        let extra = extra.unwrap_or_default().to_ascii_uppercase();
        let generated = ["VIRTUAL GENERATED", "STORED GENERATED", "PERSISTENT GENERATED"].iter().any(|word| extra.contains(word));
        all.entry(table).or_default().push(Column { name, type_name, nullable: nullable == "YES", generated, collation });
    }
    Ok(all)
}

/// Per table the primary key, else the unique key without NULLs that has the fewest columns.
async fn read_keys(conn: &mut Conn) -> Result<BTreeMap<String, (String, Vec<String>)>, Error> {
    let sql = "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, NULLABLE FROM information_schema.STATISTICS \
               WHERE TABLE_SCHEMA=DATABASE() AND NON_UNIQUE=0 ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX";
    let mut indexes: BTreeMap<(String, String), Option<Vec<String>>> = BTreeMap::new();
    for (table, index, column, nullable) in conn.query::<IndexRow, _>(sql).await? {
        let columns = indexes.entry((table, index)).or_insert_with(|| Some(Vec::new()));
        // No column: an expression. It cannot name a row from outside.
        match column.filter(|_| nullable.as_deref() != Some("YES")) {
            Some(column) => columns.iter_mut().for_each(|c| c.push(column.clone())),
            None => *columns = None,
        }
    }
    let mut best: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for ((table, index), columns) in indexes {
        let Some(columns) = columns else { continue };
        let rank = |name: &str, count: usize| (name != "PRIMARY", count);
        let better = best.get(&table).is_none_or(|(name, held)| rank(&index, columns.len()) < rank(name, held.len()));
        if better {
            best.insert(table, (index, columns));
        }
    }
    Ok(best)
}

/// Writes out collations that the server left out because they are its own defaults: another server has other defaults.
pub(super) fn name_collations(definition: &mut TableDefinition, table: &Table, collation: &str) {
    let has = |sql: &str, word: &str| tokens(sql).iter().any(|t| t.is(word));
    if !collation.is_empty() && has(&definition.options, "CHARSET") && !has(&definition.options, "COLLATE") {
        definition.options = after_charset(&definition.options, "CHARSET", &format!(" COLLATE={collation}"));
    }
    for item in &mut definition.items {
        if let Item::Column { name, text } = item
            && has(text, "CHARACTER")
            && !has(text, "COLLATE")
            && let Some(own) = table.columns.iter().find(|c| c.name == *name).and_then(|c| c.collation.as_deref())
        {
            *text = after_charset(text, "SET", &format!(" COLLATE {own}"));
        }
    }
}

/// Inserts `addition` behind the character set's name, which is the first word after `keyword`.
fn after_charset(sql: &str, keyword: &str, addition: &str) -> String {
    let all = tokens(sql);
    let Some(at) = all.iter().position(|t| t.is(keyword)) else { return sql.to_owned() };
    let name = (at + 1..all.len()).find(|i| all[*i].kind == Kind::Word).unwrap_or(at);
    let mut out: String = all[..=name].iter().map(|t| t.text).collect();
    out.push_str(addition);
    out.extend(all[name + 1..].iter().map(|t| t.text));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_collations_are_written_out() {
        assert_eq!(
            after_charset("ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='x'", "CHARSET", " COLLATE=a"),
            "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=a COMMENT='x'"
        );
        assert_eq!(
            after_charset("`set` varchar(3) CHARACTER SET latin1 NOT NULL", "SET", " COLLATE b"),
            "`set` varchar(3) CHARACTER SET latin1 COLLATE b NOT NULL"
        );
    }
}
