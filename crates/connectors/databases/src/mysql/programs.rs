//! Making views, routines, triggers, events and sequences at a destination, each in the session that it was written for.
//!
//! Made in its own database again (a restored backup) a program keeps its text and its definer to the letter. Made elsewhere, the
//! source's database name is taken out of it, and a definer that is not there is replaced by the migrating user.

use super::create::{self, Trouble, drop_statements, told};
use super::ddl::adapt::{self, Dialect, Notes};
use super::ddl::definer::{definer, without_definer};
use super::ddl::lexer::{Mode, tokens_in};
use super::ddl::names;
use super::ddl::origin::Origin;
use super::quote::{ident, text, unquote};
use super::server::Server;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use ports::databases::{Applied, ObjectKind, SchemaObject};

/// The statements of an object, seen from the database that it is made in.
pub(super) struct Definition<'a> {
    /// Without the one that says where they come from.
    pub statements: &'a [String],
    /// The database whose name is to be taken out of them.
    foreign: Option<String>,
    /// They come from this very database.
    pub at_home: bool,
}

impl<'a> Definition<'a> {
    pub fn of(object: &'a SchemaObject, server: &Server, identity: &str) -> Self {
        let (origin, statements) = Origin::of(&object.statements);
        let here = Origin { database: server.database().to_owned(), server: identity.to_owned() };
        let at_home = origin.is_some() && object.statements.first() == Some(&here.statement());
        Self { statements, foreign: origin.map(|o| o.database).filter(|name| *name != here.database), at_home }
    }

    /// One statement as it reads here, with what may still mean the source's database.
    pub fn text(&self, sql: &str, mode: Mode) -> (String, Notes) {
        match &self.foreign {
            Some(database) => {
                let found = names::unqualified(sql, mode, database);
                (found.sql, found.doubts)
            }
            None => (sql.to_owned(), Notes::new()),
        }
    }

    /// The value of a setting of the session that the program was written for.
    fn setting(&self, name: &str) -> Option<String> {
        let prefix = format!("SET SESSION {name} = ");
        self.statements.iter().find_map(|sql| sql.strip_prefix(&prefix)).map(unquote)
    }

    pub fn mode(&self) -> Mode {
        Mode::of(&self.setting("sql_mode").unwrap_or_default())
    }
}

/// The statements as they are sent, with what was changed.
pub(super) fn adapted(object: &SchemaObject, source: &Definition<'_>, dialect: &Dialect) -> (Vec<String>, Notes) {
    let mode = source.mode();
    let mut all = Notes::new();
    let mut statements = Vec::new();
    for sql in source.statements {
        if let Some(setting) = sql.strip_prefix("SET SESSION ") {
            match setting_for(setting, source, dialect) {
                Ok(setting) => statements.push(format!("SET SESSION {setting}")),
                Err(note) => all.push(note),
            }
            continue;
        }
        let (sql, doubts) = source.text(sql, mode);
        let (sql, notes) = adapt::statement(&sql, mode, dialect);
        all.extend(doubts.into_iter().chain(notes));
        statements.push(if object.kind == ObjectKind::Event { disabled(&sql, mode).unwrap_or(sql) } else { sql });
    }
    (statements, all)
}

/// Makes a program anew. Events are made disabled: see [`enable`].
pub(super) async fn make(conn: &mut Conn, object: &SchemaObject, source: &Definition<'_>, dialect: &Dialect) -> Result<Applied, Trouble> {
    let mode = source.mode();
    if object.kind == ObjectKind::Trigger && !create::may_drop_trigger(conn, object).await? {
        return Err(Trouble::Different);
    }
    let (statements, mut all) = adapted(object, source, dialect);
    for sql in drop_statements(object) {
        conn.query_drop(sql).await?;
    }
    for mut sql in statements {
        let named = definer(&sql, mode);
        if let Some((user, host)) = &named
            && !source.at_home
            && !account_exists(conn, user, host).await?
        {
            all.push(format!("definer {user}@{host} does not exist there → the migrating user"));
            sql = without_definer(&sql, mode);
        }
        match conn.query_drop(sql.as_str()).await {
            Err(Error::Server(e)) if e.code == 1227 && named.is_some() => {
                all.push("definer → the migrating user, who may not set another one".to_owned());
                conn.query_drop(without_definer(&sql, mode)).await?;
            }
            other => other?,
        }
    }
    Ok(told(all))
}

/// `name = 'value'` with what the destination knows; or why it cannot be set.
fn setting_for(setting: &str, source: &Definition<'_>, dialect: &Dialect) -> Result<String, String> {
    let Some((name, value)) = setting.split_once(" = ") else { return Ok(setting.to_owned()) };
    let value = unquote(value);
    let value = match name {
        "sql_mode" => adapt::sql_mode(&value, dialect),
        "collation_connection" => adapt::collation(&value, dialect).unwrap_or(value),
        "character_set_client" => {
            // The text is sent as UTF-8: it must read alike in the client's character set.
            let alike = value.starts_with("utf8") || source.statements.iter().all(|sql| sql.is_ascii());
            if !alike || !dialect.defaults.contains_key(&value) {
                return Err(format!("character set of its text {value} → utf8mb4"));
            }
            value
        }
        _ => value,
    };
    Ok(format!("{name} = {}", text(&value)))
}

/// Whether an account exists. Who may not look is told no, unless it is the account in use.
pub(super) async fn account_exists(conn: &mut Conn, user: &str, host: &str) -> Result<bool, Error> {
    let quoted = |value: &str| super::quote::hex(value.as_bytes());
    let sql = format!("SELECT COUNT(*) FROM mysql.user WHERE User=CONVERT({} USING utf8mb4) AND Host=CONVERT({} USING utf8mb4)", quoted(user), quoted(host));
    match conn.query_first::<u64, _>(sql).await {
        Ok(count) => Ok(count.unwrap_or(0) > 0),
        Err(Error::Server(_)) => {
            let own: Option<String> = conn.query_first("SELECT CURRENT_USER()").await?;
            Ok(own.is_some_and(|own| own == format!("{user}@{host}")))
        }
        Err(e) => Err(e),
    }
}

/// The text of an event that is enabled, made disabled; `None` when it is not enabled.
fn disabled(sql: &str, mode: Mode) -> Option<String> {
    let all = tokens_in(sql, mode);
    let at = enabled_at(sql, mode)?;
    Some(all.iter().enumerate().map(|(n, t)| if n == at { "DISABLE" } else { t.text }).collect())
}

/// The word ENABLE before an event's body.
fn enabled_at(sql: &str, mode: Mode) -> Option<usize> {
    let all = tokens_in(sql, mode);
    let head = all.iter().position(|t| t.is("DO")).unwrap_or(all.len());
    all[..head].iter().position(|t| t.is("ENABLE"))
}

/// Lets an event act that was made disabled, if the source's acts. Its definer and its session stay as they are.
pub(super) async fn enable(conn: &mut Conn, object: &SchemaObject, source: &Definition<'_>, dialect: &Dialect) -> Result<(), Error> {
    let mode = source.mode();
    let acts = source.statements.last().is_some_and(|sql| enabled_at(sql, mode).is_some());
    let name = &object.name.name;
    let sql = format!("SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE() AND EVENT_NAME={}", text(name));
    if !acts || conn.query_first::<u64, _>(sql).await?.unwrap_or(0) == 0 {
        return Ok(());
    }
    let row: Option<Row> = conn.query_first(format!("SHOW CREATE EVENT {}", ident(name))).await?;
    let made: Option<String> = row.and_then(|r| r.get_opt(3)).and_then(Result::ok);
    let account = made.and_then(|sql| definer(&sql, mode)).map(|(user, host)| format!(" DEFINER={}@{}", ident(&user), ident(&host)));
    for sql in adapted(object, source, dialect).0.iter().filter(|sql| sql.starts_with("SET SESSION ")) {
        conn.query_drop(sql.as_str()).await?;
    }
    match conn.query_drop(format!("ALTER{} EVENT {} ENABLE", account.unwrap_or_default(), ident(name))).await {
        // The account is ours already where another one may not be named.
        Err(Error::Server(e)) if e.code == 1227 => conn.query_drop(format!("ALTER EVENT {} ENABLE", ident(name))).await,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_made_disabled() {
        let sql = "CREATE EVENT `ENABLE` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE ENABLE COMMENT 'ENABLE' DO SELECT 'ENABLE', ENABLE";
        let off = "CREATE EVENT `ENABLE` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE DISABLE COMMENT 'ENABLE' DO SELECT 'ENABLE', ENABLE";
        assert_eq!(disabled(sql, Mode::default()).as_deref(), Some(off));
        assert_eq!(disabled(off, Mode::default()), None);
    }
}
