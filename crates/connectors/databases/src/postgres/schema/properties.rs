//! What is said about objects that are there: owners and positions of sequences, comments.

use super::draft::Draft;
use super::{Catalog, class, ours};
use crate::postgres::sql::{literal, qualified};
use ports::Result;
use ports::databases::{ObjectKind, ObjectName, Phase, Schema, SchemaObject, Unmovable};
use std::collections::HashMap;

/// Gives the comments whose object is not among the gathered.
pub async fn gather(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<Vec<Unmovable>> {
    owners_of_sequences(catalog, draft).await?;
    for position in positions(catalog).await? {
        draft.add(None, position);
    }
    comments(catalog, draft).await
}

/// A property of `table`; of the database or a schema itself without one.
pub fn property(phase: Phase, schema: &str, name: String, table: Option<ObjectName>, statements: Vec<String>) -> SchemaObject {
    SchemaObject { kind: ObjectKind::Property, phase, name: ObjectName { schema: schema.to_owned(), name }, table, statements }
}

async fn owners_of_sequences(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<()> {
    let query = "SELECT d.objid, d.refobjid, n.nspname::text, c.relname::text, d.refobjid::regclass::text || '.' || pg_catalog.quote_ident(a.attname), \
        tn.nspname::text, t.relname::text FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S' \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
        JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
        WHERE d.classid = 1259 AND d.refclassid = 1259 AND d.deptype = 'a'";
    for row in catalog.rows(query).await? {
        let (sequence, table) = (draft.maker((class::RELATION, row.get(0))), draft.maker((class::RELATION, row.get(1))));
        let (Some(sequence), Some(table)) = (sequence, table) else { continue };
        let name = ObjectName { schema: row.get(2), name: row.get(3) };
        let owner = ObjectName { schema: row.get(5), name: row.get(6) };
        let statement = format!("ALTER SEQUENCE {} OWNED BY {}", qualified(&name), row.get::<_, String>(4));
        draft.belongs_to(sequence, owner.clone());
        let said = property(Phase::BeforeRows, &name.schema, format!("owner of sequence {}", name.name), Some(owner), vec![statement]);
        let place = draft.add(None, said);
        draft.needs(place, Some(sequence));
        draft.needs(place, Some(table));
    }
    Ok(())
}

const POSITION: &str = "position of sequence ";

/// Whether the object says where a sequence stands: such a word grows old while the source lives, and is said again at the end.
pub fn is_position(object: &SchemaObject) -> bool {
    object.kind == ObjectKind::Property && object.name.name.starts_with(POSITION)
}

/// `schema` with the sequences where they stand now, whatever the snapshot of the session: positions are in none.
pub async fn refreshed(catalog: &Catalog<'_>, schema: &Schema) -> Result<Schema> {
    let now: HashMap<ObjectName, SchemaObject> = positions(catalog).await?.into_iter().map(|p| (p.name.clone(), p)).collect();
    let mut schema = schema.clone();
    for object in schema.objects.iter_mut().filter(|o| is_position(o)) {
        if let Some(position) = now.get(&object.name) {
            object.clone_from(position);
        }
    }
    Ok(schema)
}

/// Where the sequences stand now. A sequence of a column belongs to the column's table.
async fn positions(catalog: &Catalog<'_>) -> Result<Vec<SchemaObject>> {
    let query = format!(
        "SELECT n.nspname::text, c.relname::text, tn.nspname::text, t.relname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_depend d ON d.classid = 1259 AND d.objid = c.oid AND d.refclassid = 1259 AND d.deptype IN ('a', 'i') \
         LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
         WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {} ORDER BY 1, 2",
        ours("pg_class", "c")
    );
    let found = catalog.rows(&query).await?;
    let mut said = Vec::with_capacity(found.len());
    for some in found.chunks(200) {
        let name = |i: usize| ObjectName { schema: some[i].get(0), name: some[i].get(1) };
        let asked: Vec<String> = (0..some.len()).map(|i| format!("SELECT {i}, last_value, is_called FROM {}", qualified(&name(i)))).collect();
        for row in catalog.rows(&asked.join(" UNION ALL ")).await? {
            let place = row.get::<_, i32>(0) as usize;
            let (name, last, called): (ObjectName, i64, bool) = (name(place), row.get(1), row.get(2));
            let owner = some[place].get::<_, Option<String>>(2).zip(some[place].get(3)).map(|(schema, name)| ObjectName { schema, name });
            let statement = format!("SELECT pg_catalog.setval({}::regclass, {last}, {called})", literal(&qualified(&name)));
            let about = Some(owner.unwrap_or_else(|| name.clone()));
            said.push(property(Phase::AtTheEnd, &name.schema, format!("{POSITION}{}", name.name), about, vec![statement]));
        }
    }
    Ok(said)
}

async fn comments(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<Vec<Unmovable>> {
    // The server itself says what a thing is called; its words are those of COMMENT ON, but for a few.
    let query = "SELECT i.type, i.identity, COALESCE(i.schema, ''), d.description, d.classoid, d.objoid FROM pg_catalog.pg_description d, \
        LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i WHERE (d.objoid >= 16384 OR d.objoid = 2200 AND d.classoid = 2615 \
        AND d.description <> 'standard public schema') AND COALESCE(i.schema, '') !~ '^pg_(toast|temp)' \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e') \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_available_extensions v ON v.name = x.extname \
        WHERE d.classoid = 3079 AND x.oid = d.objoid AND v.comment = d.description)";
    let mut lost = Vec::new();
    for row in catalog.rows(query).await? {
        let (kind, identity, schema, text): (String, String, String, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let maker = draft.maker((row.get(4), row.get(5)));
        let public = kind == "schema" && identity == "public";
        if maker.is_none() && !public {
            let reason = "its object is not moved by this version".to_owned();
            lost.push(Unmovable { kind: "comment".to_owned(), name: format!("{kind} {identity}"), reason });
            continue;
        }
        let about = maker.and_then(|m| draft.subject(m));
        let place = draft.add(None, comment(&kind, identity, &schema, about, Some(&text)));
        draft.needs(place, maker);
    }
    Ok(lost)
}

/// `kind` and `identity` as the server names the object.
pub fn comment(kind: &str, identity: String, schema: &str, about: Option<ObjectName>, text: Option<&str>) -> SchemaObject {
    let name = format!("comment on {kind} {identity}");
    let (word, identity) = match kind {
        k if k.ends_with(" column") => ("COLUMN".to_owned(), identity),
        "table constraint" => ("CONSTRAINT".to_owned(), identity),
        "domain constraint" => ("CONSTRAINT".to_owned(), identity.replacen(" on ", " ON DOMAIN ", 1)),
        "composite type" => ("TYPE".to_owned(), identity),
        "statistics object" => ("STATISTICS".to_owned(), identity),
        other => (other.to_uppercase(), identity),
    };
    let statement = format!("COMMENT ON {word} {identity} IS {}", text.map_or("NULL".to_owned(), literal));
    property(Phase::AtTheEnd, schema, name, about, vec![statement])
}
