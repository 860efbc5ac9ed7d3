//! What comes after the rows: indexes and constraints, then views, rules, triggers and policies.

use super::draft::Draft;
use super::tables::{TOAST_OPTIONS, index_marks, storage_options};
use super::{Catalog, class, ours};
use crate::postgres::sql::{ident, qualified};
use ports::Result;
use ports::databases::{ObjectKind, ObjectName, Phase, SchemaObject};
use tokio_postgres::Row;

pub async fn gather(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    indexes(catalog, draft).await?;
    constraints(catalog, draft).await?;
    statistics(catalog, draft).await?;
    views(catalog, draft).await?;
    rules(catalog, draft).await?;
    triggers(catalog, draft).await?;
    event_triggers(catalog, draft).await?;
    policies(catalog, draft).await
}

/// A name from two columns of a row.
fn name(row: &Row, schema: usize) -> ObjectName {
    ObjectName { schema: row.get(schema), name: row.get(schema + 1) }
}

async fn indexes(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT c.oid, n.nspname::text, c.relname::text, tn.nspname::text, t.relname::text, pg_catalog.pg_get_indexdef(c.oid), x.indrelid, \
         x.indisreplident, x.indisclustered, (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid), c.relkind = 'I' AND x.indisvalid, \
         ARRAY(SELECT i.inhrelid::regclass::text FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid AND c.relkind = 'I' AND NOT x.indisvalid ORDER BY 1) \
         FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class t ON t.oid = x.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
         WHERE t.relpersistence <> 't' AND t.relkind IN ('r', 'p', 'm') AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = c.oid \
         AND k.contype IN ('p', 'u', 'x')) AND {}",
        ours("pg_class", "c")
    );
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for row in catalog.rows(&query).await? {
        let (oid, table_oid): (u32, u32) = (row.get(0), row.get(6));
        parents.extend(row.get::<_, Option<u32>>(9).map(|parent| (parent, oid)));
        if draft.maker((class::RELATION, oid)).is_some() {
            continue;
        }
        let (name, table) = (name(&row, 1), name(&row, 3));
        let definition: String = row.get(5);
        // On a partitioned table the definition says ONLY; without it the partitions' equal indexes become its parts. One that lacks parts stays so.
        let whole: bool = row.get(10);
        let mut statements = vec![if whole { definition.replacen(" ON ONLY ", " ON ", 1) } else { definition }];
        let parts: Vec<String> = row.get(11);
        statements.extend(parts.iter().map(|part| format!("ALTER INDEX {} ATTACH PARTITION {part}", qualified(&name))));
        statements.extend(index_marks(&table, &name.name, row.get(8), row.get(7)));
        let object = SchemaObject { kind: ObjectKind::Index, phase: Phase::AfterRows, name, table: Some(table), statements };
        let place = draft.add(Some((class::RELATION, oid)), object);
        let table = draft.maker((class::RELATION, table_oid));
        draft.needs(place, table);
    }
    for (parent, part) in parents {
        if let Some(parent) = draft.maker((class::RELATION, parent)) {
            let part = draft.maker((class::RELATION, part));
            draft.needs(parent, part);
        }
    }
    Ok(())
}

/// Keys and exclusions that did not come with their table, foreign keys, and checks that old rows may break.
async fn constraints(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = "SELECT k.oid, tn.nspname::text, k.conname::text, tn.nspname::text, t.relname::text, k.contype::text, pg_catalog.pg_get_constraintdef(k.oid), \
        k.conrelid, k.conparentid, x.indisclustered, x.indisreplident, i.relname::text FROM pg_catalog.pg_constraint k \
        LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x') \
        LEFT JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_class t ON t.oid = k.conrelid \
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace WHERE k.conrelid >= 16384 AND t.relkind IN ('r', 'p') AND t.relpersistence <> 't' \
        AND (k.contype IN ('p', 'u', 'x') OR k.contype = 'f' AND k.conparentid = 0 OR k.contype = 'c' AND NOT k.convalidated AND (k.conislocal OR t.relispartition) \
        OR k.contype = 'n' AND (NOT k.convalidated OR k.connoinherit) AND (k.conislocal OR t.relispartition)) \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 1259 AND e.objid = t.oid AND e.deptype = 'e')";
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for row in catalog.rows(query).await? {
        let (oid, parent): (u32, u32) = (row.get(0), row.get(8));
        if parent != 0 {
            parents.push((parent, oid));
        }
        if draft.maker((class::CONSTRAINT, oid)).is_some() {
            continue;
        }
        let (name, table) = (name(&row, 1), name(&row, 3));
        let (kind, phase) = match row.get::<_, String>(5).as_str() {
            "f" => (ObjectKind::ForeignKey, Phase::AtTheEnd),
            "c" | "n" => (ObjectKind::Constraint, Phase::AtTheEnd),
            _ => (ObjectKind::Constraint, Phase::AfterRows),
        };
        let statement = format!("ALTER TABLE {} ADD CONSTRAINT {} {}", qualified(&table), ident(&name.name), row.get::<_, String>(6));
        let mut statements = vec![statement];
        if let (Some(clustered), Some(identity), Some(index)) = (row.get(9), row.get(10), row.get::<_, Option<String>>(11)) {
            statements.extend(index_marks(&table, &index, clustered, identity));
        }
        let object = SchemaObject { kind, phase, name, table: Some(table), statements };
        let place = draft.add(Some((class::CONSTRAINT, oid)), object);
        let table = draft.maker((class::RELATION, row.get(7)));
        draft.needs(place, table);
    }
    for (parent, part) in parents {
        if let Some(parent) = draft.maker((class::CONSTRAINT, parent)) {
            let part = draft.maker((class::CONSTRAINT, part));
            draft.needs(parent, part);
        }
    }
    Ok(())
}

async fn statistics(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT s.oid, n.nspname::text, s.stxname::text, tn.nspname::text, t.relname::text, pg_catalog.pg_get_statisticsobjdef(s.oid) \
         FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace JOIN pg_catalog.pg_class t ON t.oid = s.stxrelid \
         JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace WHERE {}",
        ours("pg_statistic_ext", "s")
    );
    for row in catalog.rows(&query).await? {
        let name = name(&row, 1);
        let statements = vec![format!("DROP STATISTICS IF EXISTS {}", qualified(&name)), row.get(5)];
        let object = SchemaObject { kind: ObjectKind::Property, phase: Phase::AfterRows, name, table: Some(self::name(&row, 3)), statements };
        draft.add(Some((class::STATISTIC, row.get(0))), object);
    }
    Ok(())
}

async fn views(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind = 'm', c.relispopulated, pg_catalog.pg_get_viewdef(c.oid), \
         NULLIF(COALESCE(c.reloptions::text[], '{{}}') || {toast}, '{{}}'), \
         ARRAY(SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', c.oid::regclass, a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)) \
         FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = c.oid), \
         ARRAY(SELECT pg_catalog.quote_ident(a.attname) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND {}",
        ours("pg_class", "c"),
        toast = TOAST_OPTIONS,
    );
    for row in catalog.rows(&query).await? {
        let name = name(&row, 1);
        let (materialized, populated, definition): (bool, bool, String) = (row.get(3), row.get(4), row.get(5));
        let (options, defaults, columns): (Option<Vec<String>>, Vec<String>, Vec<String>) = (row.get(6), row.get(7), row.get(8));
        let body = definition.trim_end().trim_end_matches(';');
        let options = options.map(|o| format!(" WITH ({})", storage_options(&o))).unwrap_or_default();
        let head = if materialized { "MATERIALIZED VIEW" } else { "VIEW" };
        let tail = if !materialized {
            ""
        } else if populated {
            "\nWITH DATA"
        } else {
            "\nWITH NO DATA"
        };
        let mut statements = vec![format!("CREATE {head} {} ({}){options} AS\n{body}{tail}", qualified(&name), columns.join(", "))];
        statements.extend(defaults);
        // A view holds no rows, and rows may name it (regclass). What it needs later moves it to the end.
        let phase = if materialized { Phase::AtTheEnd } else { Phase::BeforeRows };
        let object = SchemaObject { kind: ObjectKind::View, phase, name, table: None, statements };
        draft.add(Some((class::RELATION, row.get(0))), object);
    }
    Ok(())
}

async fn rules(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT r.oid, n.nspname::text, r.rulename::text, n.nspname::text, c.relname::text, pg_catalog.pg_get_ruledef(r.oid), r.ev_enabled::text \
         FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE r.rulename <> '_RETURN' AND {}",
        ours("pg_class", "c")
    );
    for row in catalog.rows(&query).await? {
        let (name, table) = (name(&row, 1), name(&row, 3));
        let definition: String = row.get(5);
        let mut statements = vec![definition.replacen("CREATE RULE", "CREATE OR REPLACE RULE", 1)];
        statements.extend(enabling(&row.get::<_, String>(6)).map(|word| format!("ALTER TABLE {} {word} RULE {}", qualified(&table), ident(&name.name))));
        let object = SchemaObject { kind: ObjectKind::Property, phase: Phase::AtTheEnd, name, table: Some(table), statements };
        draft.add(Some((class::REWRITE, row.get(0))), object);
    }
    Ok(())
}

/// How a trigger or a rule differs from being on.
fn enabling(state: &str) -> Option<&'static str> {
    match state {
        "D" => Some("DISABLE"),
        "R" => Some("ENABLE REPLICA"),
        "A" => Some("ENABLE ALWAYS"),
        _ => None,
    }
}

async fn triggers(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = format!(
        "SELECT t.oid, n.nspname::text, t.tgname::text, n.nspname::text, c.relname::text, pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled::text, \
         ARRAY(WITH RECURSIVE part AS (SELECT p.oid, p.tgrelid, p.tgenabled FROM pg_catalog.pg_trigger p WHERE p.tgparentid = t.oid \
         UNION ALL SELECT p.oid, p.tgrelid, p.tgenabled FROM pg_catalog.pg_trigger p JOIN part ON p.tgparentid = part.oid) \
         SELECT part.tgenabled::text || part.tgrelid::regclass::text FROM part WHERE part.tgenabled <> t.tgenabled ORDER BY 1) \
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND c.relkind IN ('r', 'p', 'v', 'm') AND {}",
        ours("pg_class", "c")
    );
    for row in catalog.rows(&query).await? {
        let (name, table) = (name(&row, 1), name(&row, 3));
        let mut statements = vec![row.get::<_, String>(5)];
        statements.extend(enabling(&row.get::<_, String>(6)).map(|word| format!("ALTER TABLE {} {word} TRIGGER {}", qualified(&table), ident(&name.name))));
        // Partitions on which it is on or off unlike on their parent.
        for part in row.get::<_, Vec<String>>(7) {
            let (state, partition) = part.split_at(1);
            statements.push(format!("ALTER TABLE ONLY {partition} {} TRIGGER {}", enabling(state).unwrap_or("ENABLE"), ident(&name.name)));
        }
        let object = SchemaObject { kind: ObjectKind::Trigger, phase: Phase::AtTheEnd, name, table: Some(table), statements };
        draft.add(Some((class::TRIGGER, row.get(0))), object);
    }
    Ok(())
}

async fn event_triggers(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = "SELECT e.oid, e.evtname::text, e.evtevent::text, e.evtfoid::regproc::text, e.evtenabled::text, \
        (SELECT string_agg(pg_catalog.quote_literal(t), ', ') FROM pg_catalog.unnest(e.evttags) AS t) FROM pg_catalog.pg_event_trigger e \
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 3466 AND x.objid = e.oid AND x.deptype = 'e')";
    for row in catalog.rows(query).await? {
        let (name, event, function, state): (String, String, String, String) = (row.get(1), row.get(2), row.get(3), row.get(4));
        let when = row.get::<_, Option<String>>(5).map(|tags| format!(" WHEN TAG IN ({tags})")).unwrap_or_default();
        let mut statements = vec![format!("CREATE EVENT TRIGGER {} ON {event}{when} EXECUTE FUNCTION {function}()", ident(&name))];
        statements.extend(enabling(&state).map(|word| format!("ALTER EVENT TRIGGER {} {word}", ident(&name))));
        let name = ObjectName { schema: String::new(), name };
        let object = SchemaObject { kind: ObjectKind::Event, phase: Phase::AtTheEnd, name, table: None, statements };
        draft.add(Some((class::EVENT_TRIGGER, row.get(0))), object);
    }
    Ok(())
}

/// Begins the names of the properties that switch row-level security on.
pub const ROW_SECURITY: &str = "row level security of ";

/// Row-level security: the policies, then the switch of the table.
async fn policies(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = "SELECT p.oid, n.nspname::text, p.polname::text, n.nspname::text, c.relname::text, p.polpermissive, p.polcmd::text, \
        pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), \
        (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(r)) END, ', ') FROM pg_catalog.unnest(p.polroles) AS r) \
        FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
    for row in catalog.rows(query).await? {
        let (name, table) = (name(&row, 1), name(&row, 3));
        let (permissive, command): (bool, String) = (row.get(5), row.get(6));
        let (using, check, roles): (Option<String>, Option<String>, Option<String>) = (row.get(7), row.get(8), row.get(9));
        let command = [("r", "SELECT"), ("a", "INSERT"), ("w", "UPDATE"), ("d", "DELETE")].into_iter().find(|(k, _)| *k == command).map_or("ALL", |(_, w)| w);
        let (policy, on) = (ident(&name.name), qualified(&table));
        let mut statement = format!(
            "CREATE POLICY {policy} ON {on} AS {} FOR {command} TO {}",
            if permissive { "PERMISSIVE" } else { "RESTRICTIVE" },
            roles.unwrap_or_else(|| "PUBLIC".to_owned())
        );
        statement.extend(using.map(|e| format!(" USING ({e})")));
        statement.extend(check.map(|e| format!(" WITH CHECK ({e})")));
        let statements = vec![format!("DROP POLICY IF EXISTS {policy} ON {on}"), statement];
        let object = SchemaObject { kind: ObjectKind::Property, phase: Phase::AtTheEnd, name, table: Some(table), statements };
        draft.add(Some((class::POLICY, row.get(0))), object);
    }
    let query = format!(
        "SELECT n.nspname::text, c.relname::text, c.relforcerowsecurity FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relrowsecurity AND {}",
        ours("pg_class", "c")
    );
    for row in catalog.rows(&query).await? {
        let table = name(&row, 0);
        let mut statements = vec![format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", qualified(&table))];
        statements.extend(row.get::<_, bool>(2).then(|| format!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", qualified(&table))));
        let name = ObjectName { schema: table.schema.clone(), name: format!("{ROW_SECURITY}{}", table.name) };
        draft.add(None, SchemaObject { kind: ObjectKind::Property, phase: Phase::AtTheEnd, name, table: Some(table), statements });
    }
    Ok(())
}
