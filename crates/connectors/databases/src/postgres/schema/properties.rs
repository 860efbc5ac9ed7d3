//! What is said about objects that are there: owners and positions of sequences, comments, grants.

use super::draft::Draft;
use super::{Catalog, class, ours};
use crate::postgres::sql::{literal, qualified};
use ports::Result;
use ports::databases::{ObjectKind, ObjectName, Phase, SchemaObject};
use std::collections::BTreeMap;

pub async fn gather(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    owners_of_sequences(catalog, draft).await?;
    positions(catalog, draft).await?;
    comments(catalog, draft).await?;
    grants(catalog, draft).await
}

fn property(phase: Phase, schema: &str, name: String, statements: Vec<String>) -> SchemaObject {
    SchemaObject { kind: ObjectKind::Property, phase, name: ObjectName { schema: schema.to_owned(), name }, table: None, statements }
}

async fn owners_of_sequences(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = "SELECT d.objid, d.refobjid, n.nspname::text, c.relname::text, d.refobjid::regclass::text || '.' || pg_catalog.quote_ident(a.attname) \
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S' JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
        WHERE d.classid = 1259 AND d.refclassid = 1259 AND d.deptype = 'a'";
    for row in catalog.rows(query).await? {
        let (sequence, table) = (draft.maker((class::RELATION, row.get(0))), draft.maker((class::RELATION, row.get(1))));
        if sequence.is_none() || table.is_none() {
            continue;
        }
        let name = ObjectName { schema: row.get(2), name: row.get(3) };
        let statement = format!("ALTER SEQUENCE {} OWNED BY {}", qualified(&name), row.get::<_, String>(4));
        let place = draft.add(None, property(Phase::BeforeRows, &name.schema, format!("owner of sequence {}", name.name), vec![statement]));
        draft.needs(place, sequence);
        draft.needs(place, table);
    }
    Ok(())
}

const POSITION: &str = "position of sequence ";

/// Whether the object says where a sequence stands: such a word grows old while the source lives, and is said again at the end.
pub fn is_position(object: &SchemaObject) -> bool {
    object.kind == ObjectKind::Property && object.name.name.starts_with(POSITION)
}

/// Where the sequences stand in this view.
async fn positions(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {} ORDER BY 1, 2",
        ours("pg_class", "c")
    );
    let names: Vec<ObjectName> = catalog.rows(&query).await?.iter().map(|r| ObjectName { schema: r.get(0), name: r.get(1) }).collect();
    for some in names.chunks(200) {
        let asked: Vec<String> = some.iter().enumerate().map(|(i, n)| format!("SELECT {i}, last_value, is_called FROM {}", qualified(n))).collect();
        for row in catalog.rows(&asked.join(" UNION ALL ")).await? {
            let name = &some[row.get::<_, i32>(0) as usize];
            let (last, called): (i64, bool) = (row.get(1), row.get(2));
            let statement = format!("SELECT pg_catalog.setval({}::regclass, {last}, {called})", literal(&qualified(name)));
            draft.add(None, property(Phase::AtTheEnd, &name.schema, format!("{POSITION}{}", name.name), vec![statement]));
        }
    }
    Ok(())
}

async fn comments(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    // The server itself says what a thing is called; its words are those of COMMENT ON, but for a few.
    let query = "SELECT i.type, i.identity, COALESCE(i.schema, ''), d.description, d.classoid, d.objoid FROM pg_catalog.pg_description d, \
        LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i WHERE d.objoid >= 16384 AND d.classoid IN \
        (1247, 1255, 1259, 2606, 2615, 2618, 2620, 3079, 3256, 3381, 3456, 3466) AND COALESCE(i.schema, '') !~ '^pg_(toast|temp)' \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e') \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_available_extensions v ON v.name = x.extname \
        WHERE d.classoid = 3079 AND x.oid = d.objoid AND v.comment = d.description)";
    for row in catalog.rows(query).await? {
        let (kind, identity, schema, text): (String, String, String, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let Some(maker) = draft.maker((row.get(4), row.get(5))).or_else(|| (kind.ends_with("column") || kind.contains("index")).then_some(usize::MAX)) else {
            continue;
        };
        let (word, identity) = match kind.as_str() {
            k if k.ends_with(" column") => ("COLUMN".to_owned(), identity),
            "table constraint" => ("CONSTRAINT".to_owned(), identity),
            "domain constraint" => ("CONSTRAINT".to_owned(), identity.replacen(" on ", " ON DOMAIN ", 1)),
            "composite type" => ("TYPE".to_owned(), identity),
            "statistics object" => ("STATISTICS".to_owned(), identity),
            other => (other.to_uppercase(), identity),
        };
        let statement = format!("COMMENT ON {word} {identity} IS {}", literal(&text));
        let place = draft.add(None, property(Phase::AtTheEnd, &schema, format!("comment on {kind} {identity}"), vec![statement]));
        draft.needs(place, (maker != usize::MAX).then_some(maker));
    }
    Ok(())
}

/// Rights that differ from the default, one property per object, so that a role that is missing there is told for each.
async fn grants(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let granted = "x.privilege_type || '|' || CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END \
        || CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END";
    let queries = [
        format!(
            "SELECT n.nspname::text, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass::text, '', {granted} FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, LATERAL pg_catalog.aclexplode(c.relacl) AS x \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND x.grantee <> c.relowner AND {}",
            ours("pg_class", "c")
        ),
        format!(
            "SELECT n.nspname::text, 'TABLE ' || c.oid::regclass::text, pg_catalog.quote_ident(a.attname), {granted} FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped, \
             LATERAL pg_catalog.aclexplode(a.attacl) AS x WHERE x.grantee <> c.relowner AND {}",
            ours("pg_class", "c")
        ),
        format!(
            "SELECT n.nspname::text, 'ROUTINE ' || p.oid::regprocedure::text, '', {granted} FROM pg_catalog.pg_proc p \
             JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace, LATERAL pg_catalog.aclexplode(p.proacl) AS x WHERE x.grantee <> p.proowner AND {}",
            ours("pg_proc", "p")
        ),
        format!(
            "SELECT n.nspname::text, 'SCHEMA ' || pg_catalog.quote_ident(n.nspname), '', {granted} FROM pg_catalog.pg_namespace n, \
             LATERAL pg_catalog.aclexplode(n.nspacl) AS x WHERE n.nspname <> 'public' AND x.grantee <> n.nspowner AND {}",
            ours("pg_namespace", "n")
        ),
        format!(
            "SELECT n.nspname::text, 'TYPE ' || t.oid::regtype::text, '', {granted} FROM pg_catalog.pg_type t \
             JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace, LATERAL pg_catalog.aclexplode(t.typacl) AS x \
             WHERE x.grantee <> t.typowner AND {}",
            ours("pg_type", "t")
        ),
    ];
    let mut statements: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for query in queries {
        for row in catalog.rows(&query).await? {
            let (schema, object, column, grant): (String, String, String, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
            let Some((privilege, grantee)) = grant.split_once('|') else { continue };
            let columns = if column.is_empty() { String::new() } else { format!(" ({column})") };
            statements.entry((schema, object.clone())).or_default().push(format!("GRANT {privilege}{columns} ON {object} TO {grantee}"));
        }
    }
    // A routine that not everybody may call: the default right has been taken away.
    let closed = format!(
        "SELECT n.nspname::text, 'ROUTINE ' || p.oid::regprocedure::text FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE p.proacl IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) AS x WHERE x.grantee = 0) AND {}",
        ours("pg_proc", "p")
    );
    for row in catalog.rows(&closed).await? {
        let (schema, object): (String, String) = (row.get(0), row.get(1));
        let revoke = format!("REVOKE ALL ON {object} FROM PUBLIC");
        statements.entry((schema, object)).or_default().insert(0, revoke);
    }
    for ((schema, object), statements) in statements {
        draft.add(None, property(Phase::AtTheEnd, &schema, format!("rights on {object}"), statements));
    }
    Ok(())
}
