//! What a migration needs this user to be allowed at the destination, proven before anything is dropped: for the objects that it brings, and for those
//! that it replaces, which a rollback makes again.

use super::ddl::definer::definer;
use super::ddl::lexer::words;
use super::programs::{Definition, account_exists};
use super::schema::rights::{self, Rights};
use super::server::{Server, Use};
use super::trial::{self, Kind, Refusal};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use ports::databases::{ObjectKind, Schema, SchemaObject, Unmovable};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The server's answer to a function that does not say what it reads, where a binary log must tell: such a function stays behind.
const VAGUE: u16 = 1418;

/// See [`ports::databases::RowTarget::rehearse`].
pub(super) async fn rehearse(server: &Server, schema: &Schema, replaced: &[SchemaObject]) -> Result<Vec<Unmovable>> {
    let identity = &server.info().await?.identity;
    let mut conn = server.session_without_database(Use::Write).await?;
    let failed = |e| server.failed("find out what this user may do in", e);
    let needs = Needs::read(&mut conn, server, identity, schema, replaced).await.map_err(failed)?;
    let rights = rights::read(&mut conn, server.database()).await.map_err(failed)?;
    let kinds: Vec<Kind> = needs.kinds.keys().cloned().collect();
    let found = trial::run(&mut conn, server.database(), &kinds).await.map_err(|e| server.failed("make, fill and drop a table in", e))?;
    conn.disconnect().await.ok();
    let stays_behind = |r: &Refusal| r.code == VAGUE && !replaced.iter().any(|o| needs.names(&r.kind).contains(&o.name.name));
    let (behind, missing): (Vec<Refusal>, Vec<Refusal>) = found.refused.into_iter().partition(stays_behind);
    refuse(server, &needs, &missing, &undroppable(replaced, &rights))?;
    let named = |r: &Refusal| {
        let each = |name: &String| Unmovable { kind: "routine".to_owned(), name: name.clone(), reason: r.reason.clone() };
        needs.names(&r.kind).iter().map(each).collect::<Vec<_>>()
    };
    Ok(behind.iter().flat_map(named).collect())
}

/// What has to be allowed, with the names of the objects that need it.
#[derive(Default)]
struct Needs {
    kinds: BTreeMap<Kind, BTreeSet<String>>,
}

impl Needs {
    async fn read(conn: &mut Conn, server: &Server, identity: &str, schema: &Schema, replaced: &[SchemaObject]) -> Result<Self, Error> {
        let own: Option<String> = conn.query_first("SELECT CURRENT_USER()").await?;
        let mut needs = Self::default();
        let ours = schema.objects.iter().map(|o| (o, false));
        for (object, theirs) in ours.chain(replaced.iter().map(|o| (o, true))) {
            let Some(kind) = kind(object) else { continue };
            needs.add(kind, object);
            let Some((user, host)) = account(object, server, identity).filter(|(user, host)| own != Some(format!("{user}@{host}"))) else { continue };
            // A definer that is not there is replaced by this user; what is made again keeps its own.
            if theirs || account_exists(conn, &user, &host).await? {
                needs.add(Kind::Definer(user, host), object);
            }
        }
        Ok(needs)
    }

    fn add(&mut self, kind: Kind, object: &SchemaObject) {
        self.kinds.entry(kind).or_default().insert(object.name.name.clone());
    }

    fn names(&self, kind: &Kind) -> BTreeSet<String> {
        self.kinds.get(kind).cloned().unwrap_or_default()
    }
}

fn kind(object: &SchemaObject) -> Option<Kind> {
    match object.kind {
        ObjectKind::ForeignKey => Some(Kind::ForeignKeys),
        ObjectKind::View => Some(Kind::Views),
        ObjectKind::Trigger => Some(Kind::Triggers),
        ObjectKind::Event => Some(Kind::Events),
        ObjectKind::Routine => Some(routine(object.statements.last().map_or("", String::as_str))),
        _ => None,
    }
}

fn routine(create: &str) -> Kind {
    let all = words(create);
    let head: Vec<_> = all.iter().take_while(|t| !t.is("BEGIN") && !t.is("RETURN")).collect();
    if head.iter().any(|t| t.is("PROCEDURE")) {
        return Kind::Procedures;
    }
    let pair = |first: &str, second: &str| head.windows(2).any(|w| w[0].is(first) && w[1].is(second));
    let deterministic = head.iter().any(|t| t.is("DETERMINISTIC")) && !pair("NOT", "DETERMINISTIC");
    if deterministic || pair("NO", "SQL") || pair("READS", "SQL") { Kind::Functions } else { Kind::VagueFunctions }
}

/// The account in whose name an object runs.
fn account(object: &SchemaObject, server: &Server, identity: &str) -> Option<(String, String)> {
    if object.kind == ObjectKind::ForeignKey {
        return None;
    }
    let source = Definition::of(object, server, identity);
    definer(source.statements.last()?, source.mode())
}

/// Routines that this user may not drop: making them is another right.
fn undroppable(replaced: &[SchemaObject], rights: &Rights) -> Vec<String> {
    replaced.iter().filter(|o| o.kind == ObjectKind::Routine && !rights.may_alter(&o.name.name)).map(|o| o.name.name.clone()).collect()
}

fn refuse(server: &Server, needs: &Needs, missing: &[Refusal], undroppable: &[String]) -> Result<()> {
    let one = |r: &Refusal| {
        let names = needs.names(&r.kind).into_iter().collect::<Vec<_>>().join(", ");
        let of = if matches!(r.kind, Kind::Definer(..)) { " of" } else { "" };
        format!("{}{of} {names} ({})", r.kind.name(), r.reason)
    };
    let mut reasons: Vec<String> = missing.iter().map(one).collect();
    let mut advice: BTreeSet<String> = missing.iter().map(|r| r.kind.advice(r.code)).collect();
    if !undroppable.is_empty() {
        reasons.push(format!("dropping routines {} (ALTER ROUTINE is missing)", undroppable.join(", ")));
        advice.insert("grant ALTER ROUTINE on the database to this user".to_owned());
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let reason = format!("this user may not make or replace what the migration needs: {}", reasons.join("; "));
    let advice = advice.into_iter().collect::<Vec<_>>().join("; ");
    Err(ConnectorError::new(ErrorKind::Permission, "make all objects in", server.location(), reason)
        .permanent()
        .advice(format!("At the destination: {advice}. Or drop these objects at the source before the migration")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_say_what_they_do_are_known() {
        let kind = |characteristics: &str| routine(&format!("CREATE DEFINER=`PROCEDURE`@`%` FUNCTION `f`() RETURNS int\n{characteristics}\nRETURN 1"));
        for said in ["DETERMINISTIC", "    NO SQL\n    DETERMINISTIC", "READS SQL DATA"] {
            assert_eq!(kind(said), Kind::Functions, "{said}");
        }
        for vague in ["", "NOT DETERMINISTIC", "MODIFIES SQL DATA", "COMMENT 'NO SQL'"] {
            assert_eq!(kind(vague), Kind::VagueFunctions, "{vague}");
        }
        assert_eq!(routine("CREATE PROCEDURE `p`() SELECT 1"), Kind::Procedures);
    }
}
