//! Making and dropping schema objects at the destination.
//!
//! An object of this name that is already there is ours: what stood in the way was dropped before. All statements of one
//! object run as one transaction. The database itself is the object of kind `Schema` without statements.

use super::connection::{Lease, Server};
use super::error::{Tried, tried};
use super::schema::ROW_SECURITY;
use super::source::{fingerprint_of, fingerprint_query};
use super::sql::{self, Text, ident, literal};
use ports::databases::{Applied, Fingerprint, KeyRange, ObjectKind, ObjectName, SchemaObject, Table, is_expected};
use ports::{ConnectorError, ErrorKind, Result};

const STILL_USED: &str = "Something that is not part of this migration uses it: drop that first, then try again";

/// Whether the object means the whole database.
pub fn is_database(object: &SchemaObject) -> bool {
    object.kind == ObjectKind::Schema && object.statements.is_empty()
}

/// What a database is made with when nothing is known of its source, or the server does not have the source's encoding or locale.
const PLAIN: &str = "ENCODING 'UTF8'";

/// Makes the database, empty, with these options where the server knows them; nothing when somebody else was faster.
pub async fn create_database(server: &Server, options: &str) -> Result<Option<Applied>> {
    let t = tried("create", &server.location);
    let connection = server.open_maintenance().await?;
    // A server before 15 has one provider of locales and no word for it.
    let older = options.replace(sql::LIBC, "");
    let mut wanted: Vec<&str> = [options, &older].into_iter().filter(|o| !o.is_empty()).collect();
    wanted.dedup();
    let mut refused = None;
    for options in wanted.into_iter().chain([PLAIN]) {
        let statement = format!("CREATE DATABASE {} TEMPLATE template0 {options}", ident(&server.at.database));
        match connection.client.batch_execute(&statement).await.map_err(|e| t.failed(e)) {
            Ok(()) => return Ok(Some(as_made(refused, options))),
            Err(e) if e.kind == ErrorKind::AlreadyExists => return Ok(None),
            Err(e) if options == PLAIN || e.temporary || matches!(e.kind, ErrorKind::Permission | ErrorKind::NoSpace) => return Err(e),
            Err(e) => refused = refused.or_else(|| Some((options.to_owned(), e.reason))),
        }
    }
    Ok(None)
}

/// With the first refusal, if what was made in its place says less.
fn as_made(refused: Option<(String, String)>, made: &str) -> Applied {
    match refused {
        Some((wanted, reason)) if made == PLAIN => Applied::Adapted(format!("{wanted} → {PLAIN} and the server's own locale, because {reason}")),
        _ => Applied::AsIs,
    }
}

/// Drops the database with everything in it, ending the sessions that are still on it. Absent is fine.
pub async fn drop_database(server: &Server) -> Result<()> {
    let t = tried("drop", &server.location);
    let connection = server.open_maintenance().await?;
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", ident(&server.at.database));
    connection.client.batch_execute(&statement).await.map_err(|e| t.failed(e))
}

/// Makes one object; what acts by itself is made inactive ([`enable`]). A refusal of the server is an answer, except for what rows need (a table
/// without its place is an error).
pub async fn create(lease: &Lease, location: &str, object: &SchemaObject) -> Result<Applied> {
    let subject = format!("{:?} {} of {location}", object.kind, object.name);
    let t = tried("create", &subject);
    match attempt(lease, location, object).await {
        Ok(()) => Ok(Applied::AsIs),
        Err(e) if e.temporary || object.kind == ObjectKind::Table || e.kind == ErrorKind::NoSpace => Err(e),
        Err(e) => otherwise(lease, t, object, &e).await,
    }
}

/// Makes one object as it is, unless it is there.
pub async fn attempt(lease: &Lease, location: &str, object: &SchemaObject) -> Result<()> {
    let subject = format!("{:?} {} of {location}", object.kind, object.name);
    let t = tried("create", &subject);
    if let Some(query) = exists_query(object) {
        let there: bool = lease.client().query_one(&query, &[]).await.map_err(|e| t.failed(e))?.get(0);
        if there {
            return Ok(());
        }
    }
    let statements = if acts(object) { inactive(lease, t, object).await? } else { object.statements.clone() };
    lease.client().batch_execute(&statements.join(";\n")).await.map_err(|e| t.failed(e))?;
    without_default_rights(lease, t, object).await
}

/// Takes away what the destination's default privileges have just given others on a new object: it has the source's rights and no further ones.
async fn without_default_rights(lease: &Lease, t: Tried<'_>, object: &SchemaObject) -> Result<()> {
    let to = "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END";
    let this = format!(
        "p.pronamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {}) \
         AND pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' = $1",
        literal(&object.name.schema)
    );
    let (query, name) = match object.kind {
        ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence => (
            format!(
                "SELECT DISTINCT pg_catalog.format('REVOKE ALL ON %s %s FROM %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass, {to}) \
                 FROM pg_catalog.pg_class c, LATERAL pg_catalog.aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
                 AND (c.oid = pg_catalog.to_regclass($1) OR c.oid IN (SELECT d.objid FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
                 AND d.refobjid = pg_catalog.to_regclass($1) AND d.deptype IN ('a', 'i')))"
            ),
            sql::qualified(&object.name),
        ),
        ObjectKind::Routine => (
            format!(
                "SELECT DISTINCT pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM %s', p.oid::regprocedure, {to}) FROM pg_catalog.pg_proc p, \
                 LATERAL pg_catalog.aclexplode(p.proacl) AS a WHERE {this} AND a.grantee NOT IN (0, p.proowner) \
                 UNION ALL SELECT pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO PUBLIC', p.oid::regprocedure) FROM pg_catalog.pg_proc p \
                 WHERE {this} AND p.proacl IS NOT NULL \
                 AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) AS a WHERE a.grantee = 0)"
            ),
            object.name.name.clone(),
        ),
        ObjectKind::Schema => (
            format!(
                "SELECT DISTINCT pg_catalog.format('REVOKE ALL ON SCHEMA %I FROM %s', n.nspname, {to}) FROM pg_catalog.pg_namespace n, \
                 LATERAL pg_catalog.aclexplode(n.nspacl) AS a WHERE n.nspname = $1 AND a.grantee <> n.nspowner"
            ),
            object.name.name.clone(),
        ),
        _ => return Ok(()),
    };
    let rows = lease.client().query(&query, &[&name]).await.map_err(|e| t.failed(e))?;
    let statements: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if statements.is_empty() {
        return Ok(());
    }
    lease.client().batch_execute(&statements.join(";\n")).await.map_err(|e| t.failed(e))
}

/// What can be made of an object that the server refused as a whole.
async fn otherwise(lease: &Lease, t: Tried<'_>, object: &SchemaObject, error: &ConnectorError) -> Result<Applied> {
    match object.kind {
        // The rows that it finds wrong are not ours to change; new ones are held to it.
        ObjectKind::ForeignKey if error.reason.contains("[SQLSTATE 23503]") => {
            let unproven: Vec<String> = object.statements.iter().map(|s| format!("{s} NOT VALID")).collect();
            match lease.client().batch_execute(&unproven.join(";\n")).await.map_err(|e| t.failed(e)) {
                Ok(()) => Ok(Applied::Adapted(format!("NOT VALID, because rows that are there break it: {}", error.reason))),
                Err(_) => Ok(Applied::Refused(refusal(error))),
            }
        }
        ObjectKind::Property if object.statements.len() > 1 => {
            let mut refused = Vec::new();
            for statement in &object.statements {
                match lease.client().batch_execute(statement).await.map_err(|e| t.failed(e)) {
                    Ok(()) => {}
                    Err(e) if e.temporary => return Err(e),
                    Err(e) => refused.push(refusal(&e)),
                }
            }
            let all = refused.len() == object.statements.len();
            refused.dedup();
            Ok(match (refused.is_empty(), all) {
                (true, _) => Applied::AsIs,
                (_, true) => Applied::Refused(refused.join("; ")),
                _ => Applied::Adapted(format!("without what was refused: {}", refused.join("; "))),
            })
        }
        _ => Ok(Applied::Refused(refusal(error))),
    }
}

/// Whether the object acts by itself once it is there: also row-level security that holds its table's owner, who still has to read it.
pub fn acts(object: &SchemaObject) -> bool {
    matches!(object.kind, ObjectKind::Trigger | ObjectKind::Event) || is_forced_security(object)
}

fn is_forced_security(object: &SchemaObject) -> bool {
    object.kind == ObjectKind::Property && object.statements.len() > 1 && object.name.name.starts_with(ROW_SECURITY)
}

/// The statements that make an acting object without letting it act. A view's trigger cannot be switched off; nobody writes to the view yet.
async fn inactive(lease: &Lease, t: Tried<'_>, object: &SchemaObject) -> Result<Vec<String>> {
    let name = ident(&object.name.name);
    let made = object.statements.iter().take(1).cloned();
    if object.kind == ObjectKind::Property {
        return Ok(made.collect());
    }
    let Some(table) = object.table.as_ref().map(sql::qualified) else {
        return Ok(made.chain([format!("ALTER EVENT TRIGGER {name} DISABLE")]).collect());
    };
    if !is_table(lease, t, &table).await? {
        return Ok(object.statements.clone());
    }
    Ok(made.chain([format!("ALTER TABLE {table} DISABLE TRIGGER {name}")]).collect())
}

async fn is_table(lease: &Lease, t: Tried<'_>, name: &str) -> Result<bool> {
    let query = "SELECT COALESCE((SELECT relkind IN ('r', 'p') FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1)), false)";
    Ok(lease.client().query_one(query, &[&name]).await.map_err(|e| t.failed(e))?.get(0))
}

/// Lets it act as the source lets it. One that could not be made is passed over: that was told.
pub async fn enable(lease: &Lease, location: &str, object: &SchemaObject) -> Result<()> {
    let subject = format!("{:?} {} of {location}", object.kind, object.name);
    let t = tried("enable", &subject);
    let name = ident(&object.name.name);
    let on = match object.table.as_ref().map(sql::qualified) {
        _ if object.kind == ObjectKind::Property => None,
        None => Some(format!("ALTER EVENT TRIGGER {name} ENABLE")),
        Some(table) if is_table(lease, t, &table).await? => Some(format!("ALTER TABLE {table} ENABLE TRIGGER {name}")),
        Some(_) => return Ok(()),
    };
    let statements: Vec<String> = on.into_iter().chain(object.statements.iter().skip(1).cloned()).collect();
    match lease.client().batch_execute(&statements.join(";\n")).await.map_err(|e| t.failed(e)) {
        Err(e) if e.kind == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The server's words for people.
pub fn refusal(error: &ConnectorError) -> String {
    if error.advice.is_empty() { error.reason.clone() } else { format!("{}. {}", error.reason, error.advice) }
}

/// Asks whether the object is there; `None` for what is simply said again (`CREATE OR REPLACE`, properties).
fn exists_query(object: &SchemaObject) -> Option<String> {
    let name = literal(&sql::qualified(&object.name));
    let bare = literal(&object.name.name);
    let on = object.table.as_ref().map(|t| literal(&sql::qualified(t))).unwrap_or_default();
    Some(match object.kind {
        ObjectKind::Schema => format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {bare})"),
        ObjectKind::Extension => format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = {bare})"),
        ObjectKind::Type => format!("SELECT pg_catalog.to_regtype({name}) IS NOT NULL OR pg_catalog.to_regcollation({name}) IS NOT NULL"),
        ObjectKind::Sequence | ObjectKind::Table | ObjectKind::View => format!("SELECT pg_catalog.to_regclass({name}) IS NOT NULL"),
        // Another table's index of this name is not ours.
        ObjectKind::Index => format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass({name}) AND indrelid = pg_catalog.to_regclass({on}))"
        ),
        ObjectKind::Constraint | ObjectKind::ForeignKey => {
            format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conname = {bare} AND conrelid = pg_catalog.to_regclass({on}))")
        }
        ObjectKind::Trigger => format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgname = {bare} AND tgrelid = pg_catalog.to_regclass({on}))"),
        ObjectKind::Routine if object.statements.iter().any(|s| s.starts_with("CREATE AGGREGATE")) => {
            format!("SELECT pg_catalog.to_regprocedure({}) IS NOT NULL", literal(&routine(&object.name)))
        }
        ObjectKind::Event => format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = {bare})"),
        ObjectKind::Routine | ObjectKind::Property => return None,
    })
}

/// A routine's name is already SQL: `"f"(integer, text)`.
fn routine(name: &ObjectName) -> String {
    format!("{}.{}", ident(&name.schema), name.name)
}

/// Drops one object and nothing that depends on it, but for foreign keys that point at a table: what others built on it stays,
/// and the error names it. A schema or an extension that others still use stays without an error.
pub async fn remove(lease: &Lease, location: &str, object: &SchemaObject) -> Result<()> {
    let subject = format!("{:?} {} of {location}", object.kind, object.name);
    let t = tried("drop", &subject);
    let Some(statement) = drop_statement(lease, t, object).await? else { return Ok(()) };
    refuse_children(lease, t, object).await?;
    let Err(mut error) = lease.client().batch_execute(&statement).await else { return Ok(()) };
    if object.kind == ObjectKind::Table && error.code().is_some_and(|c| c.code() == "2BP01") {
        // One transaction: when something else holds the table too, the foreign keys stay.
        let with_keys = format!("{}{statement}", foreign_keys_to(lease, t, object).await?);
        match lease.client().batch_execute(&with_keys).await {
            Ok(()) => return Ok(()),
            Err(again) => error = again,
        }
    }
    let still_used = error.code().is_some_and(|c| c.code() == "2BP01");
    let error = t.failed(error);
    match object.kind {
        // A missing table takes its triggers and constraints along.
        _ if error.kind == ErrorKind::NotFound => Ok(()),
        ObjectKind::Schema | ObjectKind::Extension if still_used => Ok(()),
        _ if still_used => Err(error.advice(STILL_USED)),
        _ => Err(error),
    }
}

/// Ours are dropped before their parent, so that what is still attached is somebody else's; a partition would go with it.
async fn refuse_children(lease: &Lease, t: Tried<'_>, object: &SchemaObject) -> Result<()> {
    if object.kind != ObjectKind::Table {
        return Ok(());
    }
    let query = "SELECT string_agg(inhrelid::regclass::text, ', ') FROM pg_catalog.pg_inherits WHERE inhparent = pg_catalog.to_regclass($1)";
    let found: Option<String> = lease.client().query_one(query, &[&sql::qualified(&object.name)]).await.map_err(|e| t.failed(e))?.get(0);
    match found {
        None => Ok(()),
        Some(names) => Err(t.error(ErrorKind::Unsupported, format!("tables that are not of this migration are attached to it: {names}")).advice(STILL_USED)),
    }
}

/// Drops a table if its ranges hold what is expected, in one transaction that keeps everybody else off it.
pub async fn remove_table_if(
    lease: &Lease,
    location: &str,
    object: &SchemaObject,
    table: &Table,
    expected: &[(KeyRange, Vec<Fingerprint>)],
    text: Text,
) -> Result<bool> {
    let subject = format!("table {} of {location}", object.name);
    let t = tried("drop", &subject);
    let Some(statement) = drop_statement(lease, t, object).await? else { return Ok(true) };
    let client = lease.client();
    let begin = format!("BEGIN; LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", sql::qualified(&object.name));
    if let Err(e) = client.batch_execute(&begin).await {
        client.batch_execute("ROLLBACK").await.map_err(|e| t.failed(e))?;
        // Somebody else dropped it just now.
        return if e.code().is_some_and(|c| c.code() == "42P01") { Ok(true) } else { Err(t.failed(e)) };
    }
    let outcome = async {
        // Asked behind the lock: nobody adds to either any more.
        refuse_children(lease, t, object).await?;
        let keys = foreign_keys_to(lease, t, object).await?;
        for (range, fingerprints) in expected {
            let found = client.query_one(&fingerprint_query(table, range, text), &[]).await.map_err(|e| t.failed(e))?;
            if !is_expected(&fingerprint_of(&found), fingerprints) {
                return Ok(false);
            }
        }
        client.batch_execute(&format!("{keys}{statement}")).await.map(|()| true).map_err(|e| {
            let still_used = e.code().is_some_and(|c| c.code() == "2BP01");
            let error = t.failed(e);
            if still_used { error.advice(STILL_USED) } else { error }
        })
    };
    let outcome = outcome.await;
    let end = if matches!(outcome, Ok(true)) { "COMMIT" } else { "ROLLBACK" };
    client.batch_execute(end).await.map_err(|e| t.failed(e))?;
    outcome
}

/// Statements that drop the foreign keys of other tables that point at this one: they cannot outlive it.
async fn foreign_keys_to(lease: &Lease, t: Tried<'_>, table: &SchemaObject) -> Result<String> {
    let query = "WITH RECURSIVE up AS (SELECT oid, conparentid FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = pg_catalog.to_regclass($1) \
        UNION SELECT p.oid, p.conparentid FROM pg_catalog.pg_constraint p JOIN up ON p.oid = up.conparentid) \
        SELECT pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I; ', k.conrelid::regclass, k.conname), pg_catalog.pg_get_constraintdef(k.oid) \
        FROM pg_catalog.pg_constraint k JOIN up USING (oid) WHERE k.conparentid = 0 AND k.conrelid <> pg_catalog.to_regclass($1)";
    let mut statements = String::new();
    for row in lease.client().query(query, &[&sql::qualified(&table.name)]).await.map_err(|e| t.failed(e))? {
        let (statement, definition): (String, String) = (row.get(0), row.get(1));
        tracing::info!(table = %table.name, %definition, "a foreign key goes with the table that it points at");
        statements.push_str(&statement);
    }
    Ok(statements)
}

async fn drop_statement(lease: &Lease, t: Tried<'_>, object: &SchemaObject) -> Result<Option<String>> {
    let name = sql::qualified(&object.name);
    let bare = ident(&object.name.name);
    let on = object.table.as_ref().map(sql::qualified).unwrap_or_default();
    Ok(Some(match object.kind {
        ObjectKind::Schema => format!("DROP SCHEMA IF EXISTS {bare}"),
        ObjectKind::Extension => format!("DROP EXTENSION IF EXISTS {bare}"),
        ObjectKind::Type => {
            let query = "SELECT CASE WHEN typtype = 'd' THEN 'DOMAIN' ELSE 'TYPE' END FROM pg_catalog.pg_type WHERE oid = pg_catalog.to_regtype($1) \
                UNION ALL SELECT 'COLLATION' WHERE pg_catalog.to_regcollation($1) IS NOT NULL";
            let found = lease.client().query_opt(query, &[&name]).await.map_err(|e| t.failed(e))?;
            let Some(row) = found else { return Ok(None) };
            format!("DROP {} IF EXISTS {name}", row.get::<_, String>(0))
        }
        ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence | ObjectKind::Index => {
            let query = "SELECT relkind::text FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1)";
            let found = lease.client().query_opt(query, &[&name]).await.map_err(|e| t.failed(e))?;
            let Some(row) = found else { return Ok(None) };
            let word = match row.get::<_, String>(0).as_str() {
                "v" => "VIEW",
                "m" => "MATERIALIZED VIEW",
                "S" => "SEQUENCE",
                "i" | "I" => "INDEX",
                "f" => "FOREIGN TABLE",
                _ => "TABLE",
            };
            format!("DROP {word} IF EXISTS {name}")
        }
        ObjectKind::Constraint | ObjectKind::ForeignKey => format!("ALTER TABLE IF EXISTS {on} DROP CONSTRAINT IF EXISTS {bare}"),
        ObjectKind::Trigger => format!("DROP TRIGGER IF EXISTS {bare} ON {on}"),
        ObjectKind::Routine => format!("DROP ROUTINE IF EXISTS {}", routine(&object.name)),
        ObjectKind::Event => format!("DROP EVENT TRIGGER IF EXISTS {bare}"),
        // It lives and dies with its object.
        ObjectKind::Property => return Ok(None),
    }))
}
