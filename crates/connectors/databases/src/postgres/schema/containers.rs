//! What tables stand on: schemas, extensions, collations, types, sequences.

use super::draft::Draft;
use super::{Catalog, class, ours};
use crate::postgres::sql::{ident, literal, qualified};
use ports::Result;
use ports::databases::{ObjectKind, ObjectName, Phase, SchemaObject};

pub async fn gather(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    schemas(catalog, draft).await?;
    extensions(catalog, draft).await?;
    collations(catalog, draft).await?;
    enums(catalog, draft).await?;
    composites(catalog, draft).await?;
    domains(catalog, draft).await?;
    ranges(catalog, draft).await?;
    sequences(catalog, draft).await
}

fn early(kind: ObjectKind, schema: &str, name: &str, statement: String) -> SchemaObject {
    let name = ObjectName { schema: schema.to_owned(), name: name.to_owned() };
    SchemaObject { kind, phase: Phase::BeforeRows, name, table: None, statements: vec![statement] }
}

async fn schemas(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!("SELECT n.oid, n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.nspname <> 'public' AND {}", ours("pg_namespace", "n"));
    for row in catalog.rows(&query).await? {
        let name: String = row.get(1);
        let object = early(ObjectKind::Schema, "", &name, format!("CREATE SCHEMA {}", ident(&name)));
        draft.add(Some((class::NAMESPACE, row.get(0))), object);
    }
    Ok(())
}

async fn extensions(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = "SELECT x.oid, x.extname::text, n.nspname::text FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace \
        WHERE x.extname <> 'plpgsql'";
    for row in catalog.rows(query).await? {
        let (name, schema): (String, String) = (row.get(1), row.get(2));
        let inside = if schema == "pg_catalog" { String::new() } else { format!(" WITH SCHEMA {}", ident(&schema)) };
        let object = early(ObjectKind::Extension, "", &name, format!("CREATE EXTENSION IF NOT EXISTS {}{inside}", ident(&name)));
        let address = (class::EXTENSION, row.get(0));
        let place = draft.add(Some(address), object);
        // What the extension brings along comes with it, so that its users stand after it.
        let members =
            format!("SELECT classid, objid FROM pg_catalog.pg_depend WHERE refclassid = {} AND refobjid = {} AND deptype = 'e'", class::EXTENSION, address.1);
        for member in catalog.rows(&members).await? {
            draft.comes_with((member.get(0), member.get(1)), place);
        }
    }
    Ok(())
}

async fn collations(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT c.oid, n.nspname::text, c.collname::text, c.collprovider::text, c.collisdeterministic, \
         COALESCE(pg_catalog.to_jsonb(c)->>'colllocale', pg_catalog.to_jsonb(c)->>'colliculocale', c.collcollate), c.collcollate, c.collctype, \
         pg_catalog.to_jsonb(c)->>'collicurules' FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace WHERE {}",
        ours("pg_collation", "c")
    );
    for row in catalog.rows(&query).await? {
        let (schema, name, provider): (String, String, String) = (row.get(1), row.get(2), row.get(3));
        let (deterministic, locale): (bool, Option<String>) = (row.get(4), row.get(5));
        let (collate, ctype, rules): (Option<String>, Option<String>, Option<String>) = (row.get(6), row.get(7), row.get(8));
        let mut options = vec![format!(
            "provider = {}",
            if provider == "i" {
                "icu"
            } else if provider == "b" {
                "builtin"
            } else {
                "libc"
            }
        )];
        match (provider.as_str(), collate, ctype) {
            ("c", Some(collate), Some(ctype)) => options.push(format!("lc_collate = {}, lc_ctype = {}", literal(&collate), literal(&ctype))),
            _ => options.push(format!("locale = {}", literal(&locale.unwrap_or_default()))),
        }
        if !deterministic {
            options.push("deterministic = false".to_owned());
        }
        options.extend(rules.map(|r| format!("rules = {}", literal(&r))));
        let statement = format!("CREATE COLLATION {}.{} ({})", ident(&schema), ident(&name), options.join(", "));
        draft.add(Some((class::COLLATION, row.get(0))), early(ObjectKind::Type, &schema, &name, statement));
    }
    Ok(())
}

async fn enums(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT t.oid, n.nspname::text, t.typname::text, ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) \
         FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'e' AND {}",
        ours("pg_type", "t")
    );
    for row in catalog.rows(&query).await? {
        let (schema, name, labels): (String, String, Vec<String>) = (row.get(1), row.get(2), row.get(3));
        let labels: Vec<String> = labels.iter().map(|l| literal(l)).collect();
        let statement = format!("CREATE TYPE {}.{} AS ENUM ({})", ident(&schema), ident(&name), labels.join(", "));
        draft.add(Some((class::TYPE, row.get(0))), early(ObjectKind::Type, &schema, &name, statement));
    }
    Ok(())
}

async fn composites(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT t.oid, n.nspname::text, t.typname::text, t.typrelid, (SELECT string_agg(pg_catalog.quote_ident(a.attname) || ' ' || \
         pg_catalog.format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attcollation <> 0 AND a.attcollation <> (SELECT typcollation FROM pg_catalog.pg_type \
         WHERE oid = a.atttypid) THEN ' COLLATE ' || a.attcollation::regcollation::text ELSE '' END, ', ' ORDER BY a.attnum) \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) \
         FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace JOIN pg_catalog.pg_class c ON c.oid = t.typrelid AND c.relkind = 'c' \
         WHERE t.typtype = 'c' AND {}",
        ours("pg_type", "t")
    );
    for row in catalog.rows(&query).await? {
        let (schema, name): (String, String) = (row.get(1), row.get(2));
        let columns: Option<String> = row.get(4);
        let statement = format!("CREATE TYPE {}.{} AS ({})", ident(&schema), ident(&name), columns.unwrap_or_default());
        let place = draft.add(Some((class::TYPE, row.get(0))), early(ObjectKind::Type, &schema, &name, statement));
        draft.comes_with((class::RELATION, row.get(3)), place);
    }
    Ok(())
}

async fn domains(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT t.oid, n.nspname::text, t.typname::text, pg_catalog.format_type(t.typbasetype, t.typtypmod) \
         || CASE WHEN t.typcollation <> 0 AND t.typcollation <> b.typcollation THEN ' COLLATE ' || t.typcollation::regcollation::text ELSE '' END \
         || COALESCE(' DEFAULT ' || t.typdefault, '') || CASE WHEN t.typnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k \
         WHERE k.contypid = t.oid AND k.contype = 'n') THEN ' NOT NULL' ELSE '' END \
         || COALESCE((SELECT string_agg(' CONSTRAINT ' || pg_catalog.quote_ident(k.conname) || ' ' || pg_catalog.pg_get_constraintdef(k.oid), '' ORDER BY k.conname) \
         FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype IN ('c', 'n') AND k.convalidated), '') \
         FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype \
         WHERE t.typtype = 'd' AND {}",
        ours("pg_type", "t")
    );
    for row in catalog.rows(&query).await? {
        let (schema, name, definition): (String, String, String) = (row.get(1), row.get(2), row.get(3));
        let statement = format!("CREATE DOMAIN {}.{} AS {definition}", ident(&schema), ident(&name));
        draft.add(Some((class::TYPE, row.get(0))), early(ObjectKind::Type, &schema, &name, statement));
    }
    unvalidated(catalog, draft).await
}

/// What a domain demands of new values only: said at the end, because the rows may hold older ones.
async fn unvalidated(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT t.oid, n.nspname::text, t.typname::text, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid), k.oid FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_type t ON t.oid = k.contypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE NOT k.convalidated AND {}",
        ours("pg_type", "t")
    );
    for row in catalog.rows(&query).await? {
        let domain = ObjectName { schema: row.get(1), name: row.get(2) };
        let (constraint, definition): (String, String) = (row.get(3), row.get(4));
        let (on, name) = (qualified(&domain), ident(&constraint));
        let statements = vec![format!("ALTER DOMAIN {on} DROP CONSTRAINT IF EXISTS {name}"), format!("ALTER DOMAIN {on} ADD CONSTRAINT {name} {definition}")];
        let property = SchemaObject {
            kind: ObjectKind::Property,
            phase: Phase::AtTheEnd,
            name: ObjectName { schema: domain.schema.clone(), name: format!("constraint {constraint} of domain {}", domain.name) },
            table: Some(domain),
            statements,
        };
        let maker = draft.maker((class::TYPE, row.get(0)));
        let place = draft.add(Some((class::CONSTRAINT, row.get(5))), property);
        draft.needs(place, maker);
    }
    Ok(())
}

async fn ranges(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT t.oid, n.nspname::text, t.typname::text, 'subtype = ' || pg_catalog.format_type(r.rngsubtype, NULL) \
         || CASE WHEN r.rngcollation <> 0 AND r.rngcollation <> b.typcollation THEN ', collation = ' || r.rngcollation::regcollation::text ELSE '' END \
         || CASE WHEN r.rngcanonical <> 0 THEN ', canonical = ' || r.rngcanonical::regproc::text ELSE '' END \
         || CASE WHEN r.rngsubdiff <> 0 THEN ', subtype_diff = ' || r.rngsubdiff::regproc::text ELSE '' END \
         || ', multirange_type_name = ' || r.rngmultitypid::regtype::text, r.rngmultitypid \
         FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid \
         JOIN pg_catalog.pg_type b ON b.oid = r.rngsubtype WHERE t.typtype = 'r' AND {}",
        ours("pg_type", "t")
    );
    for row in catalog.rows(&query).await? {
        let (schema, name, definition): (String, String, String) = (row.get(1), row.get(2), row.get(3));
        let statement = format!("CREATE TYPE {}.{} AS RANGE ({definition})", ident(&schema), ident(&name));
        let place = draft.add(Some((class::TYPE, row.get(0))), early(ObjectKind::Type, &schema, &name, statement));
        draft.comes_with((class::TYPE, row.get(4)), place);
    }
    Ok(())
}

/// Sequences of their own and of `serial` columns; those of identity columns come with their table.
async fn sequences(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT c.oid, n.nspname::text, c.relname::text, pg_catalog.format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s', \
         pg_catalog.format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END), \
         c.relpersistence = 'u' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid \
         WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = 1259 AND i.objid = c.oid \
         AND i.deptype = 'i') AND {}",
        ours("pg_class", "c")
    );
    for row in catalog.rows(&query).await? {
        let (schema, name, definition): (String, String, String) = (row.get(1), row.get(2), row.get(3));
        let unlogged = if row.get(4) { "UNLOGGED " } else { "" };
        let statement = format!("CREATE {unlogged}SEQUENCE {}.{} {definition}", ident(&schema), ident(&name));
        draft.add(Some((class::RELATION, row.get(0))), early(ObjectKind::Sequence, &schema, &name, statement));
    }
    Ok(())
}
