//! Reading what a database holds besides rows: tables, indexes, foreign keys, views, routines, triggers, events, sequences.
//!
//! The order of `Schema::objects` is an order in which they can be made. Names of the database itself are taken out of view
//! definitions, so that they work in a database of another name.

use super::ddl::lexer::{Kind, tokens, words};
use super::ddl::table::{Item, TableDefinition};
use super::quote::{ident, text, unquote};
use super::server::Server;
use super::tables::{self, Found};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use ports::Result;
use ports::databases::{ObjectKind, ObjectName, Phase, Schema, SchemaObject, Table, Unmovable};
use std::collections::BTreeSet;

/// Reads everything. The session's result character set is UTF-8 in the meantime.
pub(super) async fn read(conn: &mut Conn, server: &Server) -> Result<Schema> {
    let info = server.info().await?;
    let failed = |e| server.failed("read the schema of", e);
    conn.query_drop("SET character_set_results=utf8mb4").await.map_err(failed)?;
    let mut reader = Reader { conn, database: server.database(), schema: Schema { server: info.text.clone(), ..Schema::default() } };
    reader.everything().await.map_err(failed)?;
    let Reader { conn, schema, .. } = reader;
    conn.query_drop("SET character_set_results=NULL").await.map_err(failed)?;
    Ok(schema)
}

struct Reader<'a> {
    conn: &'a mut Conn,
    database: &'a str,
    schema: Schema,
}

impl Reader<'_> {
    async fn everything(&mut self) -> Result<(), Error> {
        let defaults: Option<(String, String)> = self
            .conn
            .query_first("SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME=DATABASE()")
            .await?;
        (self.schema.charset, self.schema.collation) = defaults.unwrap_or_default();
        let alter = format!("ALTER DATABASE CHARACTER SET = {} COLLATE = {}", self.schema.charset, self.schema.collation);
        self.add(ObjectKind::Property, Phase::BeforeRows, "default character set", None, vec![alter]);
        let found = tables::read(self.conn).await?;
        self.sequences(&found).await?;
        self.tables(&found).await?;
        self.routines().await?;
        self.views(&found).await?;
        self.triggers().await?;
        self.events().await?;
        self.schema.objects.sort_by_key(|o| o.phase);
        Ok(())
    }

    fn add(&mut self, kind: ObjectKind, phase: Phase, name: &str, table: Option<&str>, statements: Vec<String>) {
        self.schema.objects.push(SchemaObject { kind, phase, name: object(name), table: table.map(object), statements });
    }

    async fn shown(&mut self, statement: &str) -> Result<Option<Row>, Error> {
        self.conn.query_first(statement).await
    }

    async fn sequences(&mut self, found: &Found) -> Result<(), Error> {
        for name in &found.sequences {
            let Some(create) = self.shown(&format!("SHOW CREATE SEQUENCE {}", ident(name))).await?.and_then(|r| column(&r, "Create Table")) else { continue };
            let next: Option<i64> = self.conn.query_first(format!("SELECT next_not_cached_value FROM {}", ident(name))).await?;
            let mut statements = vec![create];
            statements.extend(next.map(|n| format!("ALTER SEQUENCE {} RESTART WITH {n}", ident(name))));
            self.add(ObjectKind::Sequence, Phase::BeforeRows, name, None, statements);
        }
        Ok(())
    }

    async fn tables(&mut self, found: &Found) -> Result<(), Error> {
        let mut keys = Vec::new();
        for entry in &found.tables {
            let name = &entry.table.name.name;
            let Some(create) = self.shown(&format!("SHOW CREATE TABLE {}", ident(name))).await?.and_then(|r| column(&r, "Create Table")) else { continue };
            self.table(&entry.table, entry.key_index.as_deref(), &entry.collation, &create, &mut keys);
            if entry.versioned {
                let reason = "the table keeps old versions of its rows (SYSTEM VERSIONING); only the current rows can be read";
                self.schema.unmovable.push(Unmovable { kind: "row history".to_owned(), name: name.clone(), reason: reason.to_owned() });
            }
            self.schema.tables.push(entry.table.clone());
        }
        self.schema.objects.extend(keys);
        Ok(())
    }

    fn table(&mut self, table: &Table, key_index: Option<&str>, collation: &str, create: &str, keys: &mut Vec<SchemaObject>) {
        let name = &table.name.name;
        let Some(mut definition) = TableDefinition::parse(create) else {
            let reason = format!("its definition was not understood: {create}");
            self.schema.unmovable.push(Unmovable { kind: "table".to_owned(), name: name.clone(), reason });
            return;
        };
        tables::name_collations(&mut definition, table, collation);
        let late = definition.take_late(key_index);
        self.add(ObjectKind::Table, Phase::BeforeRows, name, None, vec![definition.render()]);
        for item in late {
            let (kind, phase, item_name) = match &item {
                Item::ForeignKey { name, .. } => (ObjectKind::ForeignKey, Phase::AtTheEnd, name.clone()),
                Item::Index { name, .. } => (ObjectKind::Index, Phase::AfterRows, name.clone()),
                _ => continue,
            };
            let statements = vec![format!("ALTER TABLE {} ADD {}", ident(name), item.text())];
            let made = SchemaObject { kind, phase, name: object(&item_name), table: Some(object(name)), statements };
            if kind == ObjectKind::Index { self.schema.objects.push(made) } else { keys.push(made) }
        }
    }

    async fn routines(&mut self) -> Result<(), Error> {
        let sql = "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE() ORDER BY ROUTINE_TYPE, ROUTINE_NAME";
        for (kind, name) in self.conn.query::<(String, String), _>(sql).await? {
            if !matches!(kind.as_str(), "FUNCTION" | "PROCEDURE") {
                let reason = format!("only functions and procedures are moved, this is a {}", kind.to_lowercase());
                self.schema.unmovable.push(Unmovable { kind: kind.to_lowercase(), name, reason });
                continue;
            }
            let row = match self.shown(&format!("SHOW CREATE {kind} {}", ident(&name))).await {
                Ok(row) => row,
                // MariaDB packages, or a kind this server shows in its own way.
                Err(Error::Server(e)) => {
                    self.schema.unmovable.push(Unmovable { kind: kind.to_lowercase(), name, reason: e.message });
                    continue;
                }
                Err(e) => return Err(e),
            };
            let label = if kind.eq_ignore_ascii_case("FUNCTION") { "Create Function" } else { "Create Procedure" };
            match row.as_ref().and_then(|r| column(r, label)) {
                Some(create) => {
                    let statements = with_session(row.as_ref(), None, self.unqualified(&create));
                    self.add(ObjectKind::Routine, Phase::AtTheEnd, &name, None, statements);
                }
                None => self.hidden(&kind, name),
            }
        }
        Ok(())
    }

    /// The server names the object but does not show its text.
    fn hidden(&mut self, kind: &str, name: String) {
        let reason = "this user may not read its definition (being its definer or SHOW_ROUTINE / SELECT on mysql.proc is needed)";
        self.schema.unmovable.push(Unmovable { kind: kind.to_lowercase(), name, reason: reason.to_owned() });
    }

    async fn views(&mut self, found: &Found) -> Result<(), Error> {
        let mut views = Vec::new();
        for name in &found.views {
            match self.shown(&format!("SHOW CREATE VIEW {}", ident(name))).await {
                Ok(row) => views.extend(row.as_ref().and_then(|r| column(r, "Create View")).map(|sql| (name.clone(), self.unqualified(&sql)))),
                Err(Error::Server(e)) => self.schema.unmovable.push(Unmovable { kind: "view".to_owned(), name: name.clone(), reason: e.message }),
                Err(e) => return Err(e),
            }
        }
        for (name, sql) in dependency_order(views) {
            self.add(ObjectKind::View, Phase::AtTheEnd, &name, None, vec![sql]);
        }
        Ok(())
    }

    /// Takes the database's own name out of a definition, so that it means the database that it will be in.
    fn unqualified(&self, sql: &str) -> String {
        if self.schema.tables.iter().any(|t| t.name.name == self.database) { sql.to_owned() } else { without_qualifier(sql, self.database) }
    }

    async fn triggers(&mut self) -> Result<(), Error> {
        let sql = "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE() \
                   ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER";
        for (name, table) in self.conn.query::<(String, String), _>(sql).await? {
            let row = self.shown(&format!("SHOW CREATE TRIGGER {}", ident(&name))).await?;
            match row.as_ref().and_then(|r| column(r, "SQL Original Statement")) {
                Some(create) => {
                    let statements = with_session(row.as_ref(), None, self.unqualified(&create));
                    self.add(ObjectKind::Trigger, Phase::AtTheEnd, &name, Some(&table), statements);
                }
                None => self.hidden("trigger", name),
            }
        }
        Ok(())
    }

    async fn events(&mut self) -> Result<(), Error> {
        let sql = "SELECT EVENT_NAME, TIME_ZONE FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE() ORDER BY EVENT_NAME";
        for (name, zone) in self.conn.query::<(String, String), _>(sql).await? {
            let row = self.shown(&format!("SHOW CREATE EVENT {}", ident(&name))).await?;
            match row.as_ref().and_then(|r| column(r, "Create Event")) {
                Some(create) => {
                    let statements = with_session(row.as_ref(), Some(&zone), self.unqualified(&create));
                    self.add(ObjectKind::Event, Phase::AtTheEnd, &name, None, statements);
                }
                None => self.hidden("event", name),
            }
        }
        Ok(())
    }
}

fn object(name: &str) -> ObjectName {
    ObjectName { schema: String::new(), name: name.to_owned() }
}

/// A text column of a `SHOW …` row, by its label; `None` when it is NULL or not there.
fn column(row: &Row, label: &str) -> Option<String> {
    let at = row.columns_ref().iter().position(|c| c.name_str().eq_ignore_ascii_case(label))?;
    row.get_opt::<Option<String>, _>(at)?.ok().flatten()
}

/// The statements of a stored program: the session it was written for, then its text.
fn with_session(row: Option<&Row>, zone: Option<&str>, create: String) -> Vec<String> {
    let value = |label| row.and_then(|r| column(r, label));
    let mut statements = Vec::new();
    statements.extend(value("sql_mode").map(|mode| format!("SET SESSION sql_mode = {}", text(&mode))));
    statements.extend(value("collation_connection").map(|c| format!("SET SESSION collation_connection = {}", text(&c))));
    statements.extend(zone.map(|z| format!("SET SESSION time_zone = {}", text(z))));
    statements.push(create);
    statements
}

/// Takes `` `database`. `` and `database.` out, unless the name is used for something else as well (an alias).
fn without_qualifier(sql: &str, database: &str) -> String {
    let all = tokens(sql);
    let own = |at: usize| all[at].kind == Kind::Name && unquote(all[at].text) == database;
    let dot = |at: usize| all.get(at).is_some_and(|t| t.text.starts_with('.'));
    let alone = (0..all.len()).any(|at| (own(at) && !dot(at + 1)) || (all[at].kind == Kind::Word && all[at].text == database && !dot(at + 1)));
    if alone {
        return sql.to_owned();
    }
    let qualifier = format!("{database}.");
    let plain = |at: usize| {
        let text = all[at].text;
        match all[at].kind {
            _ if own(at) => "",
            Kind::Word if at > 0 && own(at - 1) => &text[1..],
            Kind::Word => text.strip_prefix(qualifier.as_str()).unwrap_or(text),
            _ => text,
        }
    };
    (0..all.len()).map(plain).collect()
}

/// Views after the views they read.
fn dependency_order(mut views: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::with_capacity(views.len());
    while !views.is_empty() {
        let waiting: BTreeSet<String> = views.iter().map(|(name, _)| name.clone()).collect();
        let needs = |name: &str, sql: &str| words(sql).iter().any(|t| t.kind == Kind::Name && unquote(t.text) != name && waiting.contains(&unquote(t.text)));
        let (ready, rest): (Vec<_>, Vec<_>) = views.into_iter().partition(|(name, sql)| !needs(name, sql));
        if ready.is_empty() {
            // A column named like a view: the server will say which one fails, if any.
            out.extend(rest);
            return out;
        }
        out.extend(ready);
        views = rest;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases_own_name_is_taken_out() {
        for (from, to) in [
            ("select `shop`.`t`.`a` from (`shop`.`t` join `other`.`t` `x`)", "select `t`.`a` from (`t` join `other`.`t` `x`)"),
            ("SET n = (SELECT COUNT(*) FROM shop.t2) -- shopping", "SET n = (SELECT COUNT(*) FROM t2) -- shopping"),
            ("SELECT shop.id FROM items AS shop", "SELECT shop.id FROM items AS shop"),
            ("SELECT 'shop.t', `shop`.t", "SELECT 'shop.t', t"),
        ] {
            assert_eq!(without_qualifier(from, "shop"), to);
        }
    }

    #[test]
    fn views_come_after_the_views_they_read() {
        let view = |name: &str, sql: &str| (name.to_owned(), sql.to_owned());
        let order =
            dependency_order(vec![view("a", "VIEW `a` AS select 1 from `b`"), view("b", "VIEW `b` AS select 1 from `c`"), view("c", "VIEW `c` AS select 2")]);
        assert_eq!(order.iter().map(|v| v.0.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
    }
}
