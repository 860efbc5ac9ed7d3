//! Views, routines, triggers and events: code, with the session it was written for.

use super::super::ddl::lexer::{Kind, words};
use super::super::quote::{ident, text};
use super::super::tables::Found;
use super::{Reader, Seen, Shown, named, object, shown};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use ports::databases::{ObjectKind, Phase, SchemaObject};
use std::collections::BTreeSet;

/// What the catalogue lists.
pub(super) struct Listed {
    /// `PROCEDURE`, `FUNCTION` or a kind that only one product has; name.
    pub routines: Vec<(String, String)>,
    /// Name, table.
    pub triggers: Vec<(String, String)>,
    /// Name, time zone.
    pub events: Vec<(String, String)>,
}

pub(super) async fn list(conn: &mut Conn) -> Result<Listed, Error> {
    let routines = "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE() ORDER BY ROUTINE_TYPE, ROUTINE_NAME";
    let triggers = "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE() \
                    ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER";
    let events = "SELECT EVENT_NAME, TIME_ZONE FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE() ORDER BY EVENT_NAME";
    let mut routines: Vec<(String, String)> = conn.query(routines).await?;
    match conn.query::<String, _>("SELECT LIBRARY_NAME FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA=DATABASE()").await {
        Ok(libraries) => routines.extend(libraries.into_iter().map(|name| ("LIBRARY".to_owned(), name))),
        // Only MySQL from 9.2 on has libraries.
        Err(Error::Server(e)) if matches!(e.code, 1109 | 1146) => {}
        Err(e) => return Err(e),
    }
    Ok(Listed { routines, triggers: conn.query(triggers).await?, events: conn.query(events).await? })
}

impl Reader<'_> {
    pub(super) async fn routines(&mut self, listed: &Listed) -> Result<(), Error> {
        for (kind, name) in &listed.routines {
            let label = match kind.as_str() {
                "FUNCTION" => "Create Function",
                "PROCEDURE" => "Create Procedure",
                _ => "",
            };
            let seen = if label.is_empty() {
                Seen::Named(format!("only functions and procedures are moved, this is a {}", kind.to_lowercase()))
            } else {
                self.program(&format!("SHOW CREATE {kind} {}", ident(name)), label, None, ObjectKind::Routine, name).await?
            };
            self.settle(&kind.to_lowercase(), name, seen);
        }
        self.rights_on_routines().await
    }

    /// Rights on routines go with them when they are dropped. Who may not read the server's own tables does not see them.
    async fn rights_on_routines(&mut self) -> Result<(), Error> {
        let sql = "SELECT Routine_name, Routine_type, User, Host, Proc_priv FROM mysql.procs_priv WHERE Db=DATABASE() ORDER BY 1, 2, 3, 4";
        let found: Vec<(String, String, String, String, String)> = match self.conn.query(sql).await {
            Ok(found) => found,
            Err(Error::Server(_)) => return Ok(()),
            Err(e) => return Err(e),
        };
        for (name, kind, user, host, rights) in found {
            let rights: Vec<_> = rights.split(',').map(|r| if r.eq_ignore_ascii_case("Grant") { "GRANT OPTION" } else { r }).collect();
            let grant = format!("GRANT {} ON {kind} {} TO {}@{}", rights.join(", "), ident(&name), ident(&user), ident(&host));
            self.schema.objects.push(object(ObjectKind::Property, Phase::AtTheEnd, &name, vec![grant]));
        }
        Ok(())
    }

    pub(super) async fn triggers(&mut self, listed: &Listed) -> Result<(), Error> {
        for (name, table) in &listed.triggers {
            let statement = format!("SHOW CREATE TRIGGER {}", ident(name));
            let mut seen = self.program(&statement, "SQL Original Statement", None, ObjectKind::Trigger, name).await?;
            if let Seen::Read(objects) = &mut seen {
                for object in objects {
                    object.table = Some(named(table));
                }
            }
            self.settle("trigger", name, seen);
        }
        Ok(())
    }

    pub(super) async fn events(&mut self, listed: &Listed) -> Result<(), Error> {
        for (name, zone) in &listed.events {
            let seen = self.program(&format!("SHOW CREATE EVENT {}", ident(name)), "Create Event", Some(zone), ObjectKind::Event, name).await?;
            self.settle("event", name, seen);
        }
        Ok(())
    }

    pub(super) async fn views(&mut self, found: &Found) -> Result<(), Error> {
        let mut views = Vec::new();
        for name in &found.views {
            match self.program(&format!("SHOW CREATE VIEW {}", ident(name)), "Create View", None, ObjectKind::View, name).await? {
                Seen::Read(objects) => views.extend(objects),
                Seen::Named(reason) => self.settle("view", name, Seen::Named(reason)),
            }
        }
        for view in dependency_order(views) {
            let name = view.name.name.clone();
            self.settle("view", &name, Seen::Read(vec![view]));
        }
        Ok(())
    }

    /// One program, shown by `statement` under `label`. What the server refuses to show is named.
    async fn program(&mut self, statement: &str, label: &str, zone: Option<&str>, kind: ObjectKind, name: &str) -> Result<Seen, Error> {
        let row = match self.show(statement).await {
            Ok(row) => row,
            Err(Error::Server(e)) => return Ok(Seen::Named(format!("the server does not show its definition: {} (error {})", e.message, e.code))),
            Err(e) => return Err(e),
        };
        Ok(match shown(row.as_ref(), label) {
            Shown::Text(create) => {
                let statements = std::iter::once(self.origin.clone()).chain(with_session(row.as_ref(), zone, create)).collect();
                Seen::Read(vec![object(kind, Phase::AtTheEnd, name, statements)])
            }
            other => Seen::Named(other.reason()),
        })
    }
}

/// The statements of a stored program: the session it was written for, then its text.
fn with_session(row: Option<&Row>, zone: Option<&str>, create: String) -> Vec<String> {
    let mut statements = Vec::new();
    for setting in ["sql_mode", "character_set_client", "collation_connection"] {
        if let Shown::Text(value) = shown(row, setting) {
            statements.push(format!("SET SESSION {setting} = {}", text(&value)));
        }
    }
    statements.extend(zone.map(|z| format!("SET SESSION time_zone = {}", text(z))));
    statements.push(create);
    statements
}

/// Views after the views they read.
fn dependency_order(mut views: Vec<SchemaObject>) -> Vec<SchemaObject> {
    let mut out = Vec::with_capacity(views.len());
    while !views.is_empty() {
        let waiting: BTreeSet<String> = views.iter().map(|v| v.name.name.clone()).collect();
        let needs = |view: &SchemaObject| {
            let sql = view.statements.last().map_or("", String::as_str);
            let names = words(sql).into_iter().filter(|t| t.kind == Kind::Name).filter_map(|t| t.name());
            names.into_iter().any(|n| n != view.name.name && waiting.contains(&n))
        };
        let (ready, rest): (Vec<_>, Vec<_>) = views.into_iter().partition(|view| !needs(view));
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
    fn views_come_after_the_views_they_read() {
        let view = |name: &str, sql: &str| object(ObjectKind::View, Phase::AtTheEnd, name, vec!["USE `x` /* on y */".to_owned(), sql.to_owned()]);
        let order =
            dependency_order(vec![view("a", "VIEW `a` AS select 1 from `b`"), view("b", "VIEW `b` AS select 1 from `c`"), view("c", "VIEW `c` AS select 2")]);
        assert_eq!(order.iter().map(|v| v.name.name.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
    }
}
