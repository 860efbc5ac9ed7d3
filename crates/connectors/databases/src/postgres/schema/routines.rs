//! Functions, procedures and aggregates.

use super::draft::Draft;
use super::{Catalog, class, ours};
use crate::postgres::sql::literal;
use ports::Result;
use ports::databases::{ObjectKind, ObjectName, Phase, SchemaObject};

pub async fn gather(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    functions(catalog, draft).await?;
    aggregates(catalog, draft).await
}

fn routine(schema: String, name: String, statement: String) -> SchemaObject {
    let name = ObjectName { schema, name };
    SchemaObject { kind: ObjectKind::Routine, phase: Phase::BeforeRows, name, table: None, statements: vec![statement] }
}

async fn functions(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    // The support function of a range type and the like are functions too; aggregates have no definition text.
    let query = format!(
        "SELECT p.oid, n.nspname::text, pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', \
         pg_catalog.pg_get_functiondef(p.oid) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE p.prokind <> 'a' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = 1255 AND i.objid = p.oid AND i.deptype = 'i') AND {}",
        ours("pg_proc", "p")
    );
    for row in catalog.rows(&query).await? {
        draft.add(Some((class::PROC, row.get(0))), routine(row.get(1), row.get(2), row.get(3)));
    }
    Ok(())
}

async fn aggregates(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let optional = |name: &str, column: &str| format!("CASE WHEN a.{column} <> 0 THEN ', {name} = ' || a.{column}::regproc::text ELSE '' END");
    let parts = [("finalfunc", "aggfinalfn"), ("combinefunc", "aggcombinefn"), ("serialfunc", "aggserialfn"), ("deserialfunc", "aggdeserialfn")];
    let moving = [("msfunc", "aggmtransfn"), ("minvfunc", "aggminvtransfn"), ("mfinalfunc", "aggmfinalfn")];
    let functions: Vec<String> = parts.iter().chain(&moving).map(|(n, c)| optional(n, c)).collect();
    let query = format!(
        "SELECT p.oid, n.nspname::text, pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', \
         pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(p.proname) || '(' || CASE WHEN p.pronargs = 0 AND a.aggkind = 'n' THEN '*' \
         ELSE pg_catalog.pg_get_function_arguments(p.oid) END || ') (sfunc = ' || a.aggtransfn::regproc::text || ', stype = ' \
         || pg_catalog.format_type(a.aggtranstype, NULL) || {} \
         || CASE WHEN a.aggmtranstype <> 0 THEN ', mstype = ' || pg_catalog.format_type(a.aggmtranstype, NULL) ELSE '' END \
         || CASE WHEN a.aggtransspace > 0 THEN ', sspace = ' || a.aggtransspace ELSE '' END || CASE WHEN a.aggfinalextra THEN ', finalfunc_extra' ELSE '' END \
         || CASE WHEN a.aggkind = 'h' THEN ', hypothetical' ELSE '' END || CASE WHEN a.aggsortop <> 0 THEN ', sortop = ' || a.aggsortop::regoper::text ELSE '' END \
         || CASE p.proparallel WHEN 's' THEN ', parallel = safe' WHEN 'r' THEN ', parallel = restricted' ELSE '' END, a.agginitval, a.aggminitval \
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid WHERE {}",
        functions.join(" || "),
        ours("pg_proc", "p")
    );
    for row in catalog.rows(&query).await? {
        let (mut definition, initial, moving): (String, Option<String>, Option<String>) = (row.get(3), row.get(4), row.get(5));
        definition.extend(initial.map(|v| format!(", initcond = {}", literal(&v))));
        definition.extend(moving.map(|v| format!(", minitcond = {}", literal(&v))));
        let statement = format!("CREATE AGGREGATE {definition})");
        draft.add(Some((class::PROC, row.get(0))), routine(row.get(1), row.get(2), statement));
    }
    Ok(())
}
