//! Tables: columns, keys, checks, inheritance and partitions, as one statement each (and one that attaches a partition).

use super::draft::Draft;
use super::{Catalog, class, estimated_rows, ours};
use crate::postgres::sql::{ident, qualified};
use ports::Result;
use ports::databases::{Column, ObjectKind, ObjectName, Phase, SchemaObject, Table};
use std::collections::HashMap;

/// One table as the catalogs tell it, before it becomes statements.
struct Found {
    oid: u32,
    name: ObjectName,
    partitioned: bool,
    partition: bool,
    columns: Vec<FoundColumn>,
    key: Vec<String>,
    /// The constraint behind the key, when it is made after the rows.
    late_key: Option<LateKey>,
    /// Constraints that are made with the table: their ids and texts.
    inline: Vec<(u32, String)>,
    rows: u64,
    bytes: u64,
    /// `UNLOGGED `, or nothing.
    word: &'static str,
    /// Everything behind the closing parenthesis.
    tail: String,
    /// `ALTER TABLE … ATTACH PARTITION …` and settings.
    after: Vec<String>,
}

struct LateKey {
    constraint: u32,
    name: String,
    definition: String,
    /// What the table says of its index.
    marks: Vec<String>,
}

/// An array: the options of the TOAST table behind the relation `c`, as the relation's own options say them.
pub const TOAST_OPTIONS: &str = "ARRAY(SELECT 'toast.' || o FROM pg_catalog.pg_class tc, pg_catalog.unnest(tc.reloptions) AS o WHERE tc.oid = c.reltoastrelid)";

impl Found {
    /// No parent, no partition: its key may be made later than the table, which loads the rows in half the time.
    fn alone(&self) -> bool {
        !self.partitioned && !self.partition && !self.tail.contains(INHERITS)
    }
}

/// How the text behind a table's columns names its parents.
const INHERITS: &str = " INHERITS (";

struct FoundColumn {
    column: Column,
    definition: String,
    local: bool,
    /// Said again for an inherited column.
    default: Option<String>,
    settings: Vec<String>,
}

/// Adds the tables to the draft and gives those that hold rows.
pub async fn gather(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<Vec<Table>> {
    let mut found = relations(catalog).await?;
    let places: HashMap<u32, usize> = found.iter().enumerate().map(|(i, t)| (t.oid, i)).collect();
    columns(catalog, &mut found, &places).await?;
    let bare_keys = keys(catalog, &mut found, &places).await?;
    checks(catalog, &mut found, &places).await?;
    let mut tables = Vec::new();
    for table in found {
        let place = draft.add(Some((class::RELATION, table.oid)), object(&table));
        for (constraint, _) in &table.inline {
            draft.comes_with((class::CONSTRAINT, *constraint), place);
        }
        if let Some(late) = &table.late_key {
            let key = draft.add(Some((class::CONSTRAINT, late.constraint)), key_object(&table.name, late));
            draft.needs(key, Some(place));
        }
        if !table.partitioned {
            let columns = table.columns.into_iter().map(|c| c.column).collect();
            tables.push(Table { name: table.name, columns, key: table.key, rows: table.rows, bytes: table.bytes });
        }
    }
    unique_indexes(catalog, draft, &bare_keys).await?;
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tables)
}

async fn relations(catalog: &Catalog<'_>) -> Result<Vec<Found>> {
    let query = format!(
        "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relispartition, c.relpersistence::text, \
         CASE WHEN c.relkind = 'r' THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END, c.reltuples::float8, c.relpages, \
         CASE WHEN c.relkind = 'p' THEN ' PARTITION BY ' || pg_catalog.pg_get_partkeydef(c.oid) ELSE '' END, \
         (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid), \
         pg_catalog.pg_get_expr(c.relpartbound, c.oid), m.amname::text, \
         NULLIF(COALESCE(c.reloptions::text[], '{{}}') || {TOAST_OPTIONS}, '{{}}'), c.relreplident::text, \
         CASE WHEN c.reloftype <> 0 THEN c.reloftype::regtype::text END \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam \
         WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {}",
        ours("pg_class", "c")
    );
    let mut found = Vec::new();
    for row in catalog.rows(&query).await? {
        let name = ObjectName { schema: row.get(1), name: row.get(2) };
        let (kind, partition, persistence): (String, bool, String) = (row.get(3), row.get(4), row.get(5));
        // A table that is dropped at this moment has no size any more.
        let size = row.get::<_, Option<i64>>(6).unwrap_or(0);
        let (parents, bound): (Option<String>, Option<String>) = (row.get(10), row.get(11));
        let (method, options): (Option<String>, Option<Vec<String>>) = (row.get(12), row.get(13));
        let mut tail = String::new();
        let mut after = Vec::new();
        match (partition, parents, bound) {
            (true, Some(parent), Some(bound)) => after.push(format!("ALTER TABLE ONLY {parent} ATTACH PARTITION {} {bound}", qualified(&name))),
            (false, Some(parents), _) => tail.push_str(&format!("{INHERITS}{parents})")),
            _ => {}
        }
        tail.push_str(&row.get::<_, String>(9));
        tail.extend(method.filter(|m| m != "heap" && kind == "r").map(|m| format!(" USING {}", ident(&m))));
        tail.extend(options.map(|o| format!(" WITH ({})", storage_options(&o))));
        match row.get::<_, String>(14).as_str() {
            "f" => after.push(format!("ALTER TABLE ONLY {} REPLICA IDENTITY FULL", qualified(&name))),
            "n" => after.push(format!("ALTER TABLE ONLY {} REPLICA IDENTITY NOTHING", qualified(&name))),
            _ => {}
        }
        after.extend(row.get::<_, Option<String>>(15).map(|of| format!("ALTER TABLE {} OF {of}", qualified(&name))));
        found.push(Found {
            oid: row.get(0),
            name,
            partitioned: kind == "p",
            partition,
            columns: Vec::new(),
            key: Vec::new(),
            late_key: None,
            inline: Vec::new(),
            rows: estimated_rows(size, row.get(7), row.get(8)),
            bytes: size as u64,
            word: if persistence == "u" { "UNLOGGED " } else { "" },
            tail,
            after,
        });
    }
    Ok(found)
}

/// `fillfactor=70` as `"fillfactor"='70'`.
pub fn storage_options(options: &[String]) -> String {
    let quoted = options.iter().map(|o| {
        let (name, value) = o.split_once('=').unwrap_or((o, "true"));
        // `toast.…` is two names.
        let name = name.split('.').map(ident).collect::<Vec<_>>().join(".");
        format!("{name}={}", crate::postgres::sql::literal(value))
    });
    quoted.collect::<Vec<_>>().join(", ")
}

async fn columns(catalog: &Catalog<'_>, found: &mut [Found], places: &HashMap<u32, usize>) -> Result<()> {
    let query = "SELECT a.attrelid, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k \
        WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey[1] = a.attnum AND (NOT k.convalidated OR k.connoinherit)), a.attgenerated::text, a.attidentity::text, \
        pg_catalog.pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END, \
        a.attislocal, CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END, pg_catalog.to_jsonb(a)->>'attcompression', \
        pg_catalog.to_jsonb(a)->>'attstattarget', \
        (SELECT pg_catalog.format('SEQUENCE NAME %s START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', s.seqrelid::regclass, s.seqstart, \
        s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END) FROM pg_catalog.pg_depend p \
        JOIN pg_catalog.pg_sequence s ON s.seqrelid = p.objid WHERE p.classid = 1259 AND p.refclassid = 1259 AND p.refobjid = a.attrelid \
        AND p.refobjsubid = a.attnum AND p.deptype = 'i'), a.attoptions::text[], \
        (SELECT k.conname::text FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey[1] = a.attnum) \
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND c.oid >= 16384 \
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
        WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";
    for row in catalog.rows(query).await? {
        let Some(place) = places.get(&row.get::<_, u32>(0)) else { continue };
        let table = &mut found[*place];
        table.columns.push(column(&row, &table.name));
    }
    Ok(())
}

fn column(row: &tokio_postgres::Row, table: &ObjectName) -> FoundColumn {
    let (name, type_name, not_null): (String, String, bool) = (row.get(1), row.get(2), row.get(3));
    let (generated, identity): (String, String) = (row.get(4), row.get(5));
    let (default, collation): (Option<String>, Option<String>) = (row.get(6), row.get(7));
    let mut definition = format!("{} {type_name}", ident(&name));
    definition.extend(collation.iter().map(|c| format!(" COLLATE {c}")));
    let mut plain_default = None;
    match (generated.as_str(), identity.as_str(), default) {
        ("", "", Some(value)) => {
            definition.push_str(&format!(" DEFAULT {value}"));
            plain_default = Some(value);
        }
        ("", "", None) => {}
        ("", kind, _) => {
            // A partition without a sequence of its own gets the parent's identity when it is attached.
            let options: Option<String> = row.get(12);
            let when = if kind == "a" { "ALWAYS" } else { "BY DEFAULT" };
            definition.extend(options.map(|o| format!(" GENERATED {when} AS IDENTITY ({o})")));
        }
        (kind, _, value) => {
            let how = if kind == "v" { "VIRTUAL" } else { "STORED" };
            definition.push_str(&format!(" GENERATED ALWAYS AS ({}) {how}", value.unwrap_or_default()));
        }
    }
    if not_null {
        // Since version 18 it has a name of its own.
        let named: Option<String> = row.get(14);
        definition.extend(named.map(|n| format!(" CONSTRAINT {}", ident(&n))));
        definition.push_str(" NOT NULL");
    }
    let alter = |what: String| format!("ALTER TABLE ONLY {} ALTER COLUMN {} {what}", qualified(table), ident(&name));
    let mut settings = Vec::new();
    let storage: Option<String> = row.get(9);
    let storage = storage.and_then(|s| [("p", "PLAIN"), ("e", "EXTERNAL"), ("x", "EXTENDED"), ("m", "MAIN")].into_iter().find(|(k, _)| *k == s));
    settings.extend(storage.map(|(_, word)| alter(format!("SET STORAGE {word}"))));
    let compression: Option<String> = row.get(10);
    match compression.as_deref() {
        Some("p") => settings.push(alter("SET COMPRESSION pglz".to_owned())),
        Some("l") => settings.push(alter("SET COMPRESSION lz4".to_owned())),
        _ => {}
    }
    let statistics: Option<String> = row.get(11);
    settings.extend(statistics.filter(|s| s != "-1").map(|s| alter(format!("SET STATISTICS {s}"))));
    let options: Option<Vec<String>> = row.get(13);
    settings.extend(options.map(|o| alter(format!("SET ({})", storage_options(&o)))));
    let column = Column { name, type_name, nullable: !not_null, generated: !generated.is_empty(), collation };
    FoundColumn { column, definition, local: row.get(8), default: plain_default, settings }
}

/// The key of each table: its primary key, else the narrowest unique index that can hold no NULL. Gives the keys that are mere indexes.
async fn keys(catalog: &Catalog<'_>, found: &mut [Found], places: &HashMap<u32, usize>) -> Result<Vec<u32>> {
    let query = "SELECT x.indrelid, x.indexrelid, k.oid, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid), x.indisprimary, \
        ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(x.indkey::int2[]) WITH ORDINALITY AS u(n, place) \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.n WHERE u.place <= x.indnkeyatts ORDER BY u.place), \
        x.indisclustered, x.indisreplident, i.relname::text \
        FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid AND (i.relam = 403 OR x.indisprimary) \
        LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid AND k.contype IN ('p', 'u') \
        WHERE x.indisvalid AND x.indimmediate AND (x.indisunique OR x.indisprimary) AND x.indpred IS NULL AND x.indexprs IS NULL AND x.indrelid >= 16384 \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey::int2[]) AND (NOT a.attnotnull \
        OR EXISTS (SELECT FROM pg_catalog.pg_constraint n WHERE n.conrelid = a.attrelid AND n.contype = 'n' AND n.conkey[1] = a.attnum AND NOT n.convalidated))) \
        ORDER BY x.indrelid, x.indisprimary DESC, x.indnkeyatts, x.indexrelid";
    let mut bare = Vec::new();
    for row in catalog.rows(query).await? {
        let Some(place) = places.get(&row.get::<_, u32>(0)) else { continue };
        let table = &mut found[*place];
        if !table.key.is_empty() {
            continue;
        }
        table.key = row.get(6);
        let constraint: Option<u32> = row.get(2);
        match constraint {
            Some(oid) => {
                let (name, definition): (String, String) = (row.get(3), row.get(4));
                let marks = index_marks(&table.name, &row.get::<_, String>(9), row.get(7), row.get(8));
                if table.alone() {
                    table.late_key = Some(LateKey { constraint: oid, name, definition, marks });
                } else {
                    table.after.splice(0..0, marks);
                    table.inline.push((oid, format!("CONSTRAINT {} {definition}", ident(&name))));
                }
            }
            None => bare.push(row.get(1)),
        }
    }
    Ok(bare)
}

/// Checks that hold for all rows. Those that are not validated come at the end, because old rows may break them.
async fn checks(catalog: &Catalog<'_>, found: &mut [Found], places: &HashMap<u32, usize>) -> Result<()> {
    let query = "SELECT k.conrelid, k.oid, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid), k.conislocal FROM pg_catalog.pg_constraint k \
        WHERE k.contype = 'c' AND k.conrelid <> 0 AND k.convalidated ORDER BY k.conrelid, k.conname";
    for row in catalog.rows(query).await? {
        let Some(place) = places.get(&row.get::<_, u32>(0)) else { continue };
        let (name, definition, local): (String, String, bool) = (row.get(2), row.get(3), row.get(4));
        let table = &mut found[*place];
        if local || table.partition {
            table.inline.push((row.get(1), format!("CONSTRAINT {} {definition}", ident(&name))));
        }
    }
    Ok(())
}

/// Unique indexes that serve as a key are there with the keys, so that ranges can be replaced.
async fn unique_indexes(catalog: &Catalog<'_>, draft: &mut Draft, oids: &[u32]) -> Result<()> {
    for oid in oids {
        let query = format!(
            "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_indexdef(c.oid), x.indrelid, tn.nspname::text, t.relname::text, \
             x.indisclustered, x.indisreplident \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid \
             JOIN pg_catalog.pg_class t ON t.oid = x.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace WHERE c.oid = {oid} AND c.relkind = 'i'"
        );
        for row in catalog.rows(&query).await? {
            let name = ObjectName { schema: row.get(0), name: row.get(1) };
            let table = ObjectName { schema: row.get(4), name: row.get(5) };
            let statements = std::iter::once(row.get(2)).chain(index_marks(&table, &name.name, row.get(6), row.get(7))).collect();
            let object = SchemaObject { kind: ObjectKind::Index, phase: Phase::Keys, name, table: Some(table), statements };
            let place = draft.add(Some((class::RELATION, *oid)), object);
            let table = draft.maker((class::RELATION, row.get(3)));
            draft.needs(place, table);
        }
    }
    Ok(())
}

/// What a table says of one of its indexes.
pub fn index_marks(table: &ObjectName, index: &str, clustered: bool, identity: bool) -> Vec<String> {
    let (table, index) = (qualified(table), ident(index));
    let identity = identity.then(|| format!("ALTER TABLE ONLY {table} REPLICA IDENTITY USING INDEX {index}"));
    identity.into_iter().chain(clustered.then(|| format!("ALTER TABLE {table} CLUSTER ON {index}"))).collect()
}

fn key_object(table: &ObjectName, late: &LateKey) -> SchemaObject {
    let statement = format!("ALTER TABLE {} ADD CONSTRAINT {} {}", qualified(table), ident(&late.name), late.definition);
    let name = ObjectName { schema: table.schema.clone(), name: late.name.clone() };
    let statements = std::iter::once(statement).chain(late.marks.iter().cloned()).collect();
    SchemaObject { kind: ObjectKind::Constraint, phase: Phase::Keys, name, table: Some(table.clone()), statements }
}

fn object(table: &Found) -> SchemaObject {
    let name = qualified(&table.name);
    // A partition is made by itself and then attached, with its own order of columns.
    let own = |c: &&FoundColumn| c.local || table.partition || !table.tail.contains(INHERITS);
    let columns = table.columns.iter().filter(own).map(|c| c.definition.clone());
    let parts: Vec<String> = columns.chain(table.inline.iter().map(|(_, text)| text.clone())).collect();
    let mut statements = vec![format!("CREATE {}TABLE {name} (\n  {}\n){}", table.word, parts.join(",\n  "), table.tail)];
    for column in table.columns.iter().filter(|c| !own(c)) {
        if let Some(value) = &column.default {
            statements.push(format!("ALTER TABLE ONLY {name} ALTER COLUMN {} SET DEFAULT {value}", ident(&column.column.name)));
        }
    }
    statements.extend(table.columns.iter().flat_map(|c| c.settings.iter().cloned()));
    statements.extend(table.after.iter().cloned());
    SchemaObject { kind: ObjectKind::Table, phase: Phase::BeforeRows, name: table.name.clone(), table: None, statements }
}
