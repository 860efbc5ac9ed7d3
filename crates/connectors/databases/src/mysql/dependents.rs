//! What others built on objects of a destination. The server drops a table all the same: foreign keys then point at nothing, views and triggers fail.
//!
//! Foreign keys are in the catalogue; what views and triggers read is found in their texts, and a doubt counts as a dependence. Objects of other
//! databases are found as far as this user may see them.

use super::ddl::lexer::Mode;
use super::ddl::names::mentioned;
use super::quote::{ident, text};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use ports::databases::{ObjectKind, SchemaObject, Unmovable};
use std::collections::BTreeMap;

/// Databases of the server itself.
const OWN: &str = "('mysql', 'sys', 'information_schema', 'performance_schema')";

/// Reads what depends on these objects and is not one of them, in a session of their database.
pub(super) async fn read(conn: &mut Conn, database: &str, objects: &[SchemaObject]) -> Result<Vec<Unmovable>, Error> {
    let apart: Option<u8> = conn.query_first("SELECT @@lower_case_table_names = 0").await?;
    let mut search = Search { database, fold: apart != Some(1), going: BTreeMap::new(), found: Vec::new() };
    for object in objects.iter().filter(|o| matches!(o.kind, ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence)) {
        search.going.insert(search.folded(&object.name.name), object.name.name.clone());
    }
    if search.going.is_empty() {
        return Ok(Vec::new());
    }
    search.foreign_keys(conn).await?;
    search.views(conn).await?;
    search.triggers(conn).await?;
    Ok(search.found)
}

struct Search<'a> {
    database: &'a str,
    /// The server does not tell cases of names apart.
    fold: bool,
    /// The tables and views that are to be dropped, by their folded names.
    going: BTreeMap<String, String>,
    found: Vec<Unmovable>,
}

impl Search<'_> {
    fn folded(&self, name: &str) -> String {
        if self.fold { name.to_lowercase() } else { name.to_owned() }
    }

    fn is_here(&self, database: &str) -> bool {
        self.folded(database) == self.folded(self.database)
    }

    fn goes(&self, database: &str, table: &str) -> bool {
        self.is_here(database) && self.going.contains_key(&self.folded(table))
    }

    /// How an object is named to people: with its database, where that is another one.
    fn named(&self, database: &str, name: &str) -> String {
        if self.is_here(database) { name.to_owned() } else { format!("{database}.{name}") }
    }

    fn add(&mut self, kind: &str, name: String, on: &str) {
        self.found.push(Unmovable { kind: kind.to_owned(), name, reason: format!("it depends on {on}") });
    }

    /// Adds an object for each of ours that its text may name.
    fn add_mentions(&mut self, kind: &str, name: &str, sql: &str, mode: Mode, here: bool) {
        let words: Vec<String> = mentioned(sql, mode, self.database, here).iter().map(|word| self.folded(word)).collect();
        let on: Vec<String> = self.going.iter().filter(|(folded, _)| words.contains(folded)).map(|(_, name)| name.clone()).collect();
        for on in on {
            self.add(kind, name.to_owned(), &on);
        }
    }

    async fn foreign_keys(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let sql = "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS \
            WHERE UNIQUE_CONSTRAINT_SCHEMA=DATABASE() ORDER BY 1, 2, 3";
        for (database, table, name, on) in conn.query::<(String, String, String, String), _>(sql).await? {
            if self.goes(self.database, &on) && !self.goes(&database, &table) {
                self.add("foreign key", self.named(&database, &format!("{table}.{name}")), &on);
            }
        }
        Ok(())
    }

    /// The catalogue writes the database before every table that a view reads. It shows no text of a view that this user may not read.
    async fn views(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let qualifier = text(&format!("{}.", ident(self.database)));
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE() \
             OR TABLE_SCHEMA NOT IN {OWN} AND INSTR(VIEW_DEFINITION, {qualifier}) > 0 ORDER BY 1, 2"
        );
        for (database, name, definition) in conn.query::<(String, String, Option<Vec<u8>>), _>(sql).await? {
            if self.goes(&database, &name) {
                continue;
            }
            let definition = definition.unwrap_or_default();
            if definition.is_empty() {
                let reason = "this user may not read its definition (SHOW VIEW is missing), so it may depend on any of them".to_owned();
                self.found.push(Unmovable { kind: "view".to_owned(), name: self.named(&database, &name), reason });
                continue;
            }
            let name = self.named(&database, &name);
            self.add_mentions("view", &name, &String::from_utf8_lossy(&definition), Mode::default(), false);
        }
        Ok(())
    }

    async fn triggers(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let sql = format!(
            "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_STATEMENT, SQL_MODE FROM information_schema.TRIGGERS \
             WHERE TRIGGER_SCHEMA NOT IN {OWN} ORDER BY 1, 2"
        );
        for (database, name, table, body, mode) in conn.query::<(String, String, String, Vec<u8>, String), _>(sql).await? {
            if self.goes(&database, &table) {
                continue;
            }
            let name = format!("{} of {table}", self.named(&database, &name));
            let here = self.is_here(&database);
            self.add_mentions("trigger", &name, &String::from_utf8_lossy(&body), Mode::of(&mode), here);
        }
        Ok(())
    }
}
