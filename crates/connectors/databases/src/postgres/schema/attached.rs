//! What hangs on objects besides their own descriptions: foreign keys and publications of others, owners and exact rights, and whatever keeps
//! them from being dropped. From the catalogs' own dependencies.

use super::draft::{Address, Draft};
use super::properties::{comment, property};
use super::{Catalog, rights};
use crate::postgres::sql::{literal, qualified};
use ports::Result;
use ports::databases::{Attached, ObjectKind, ObjectName, Phase, SchemaObject, Unmovable};
use std::collections::{BTreeSet, HashSet};

pub async fn read(catalog: &Catalog<'_>, draft: &Draft, names: &[ObjectName]) -> Result<Attached> {
    let mut attached = Attached { containers: containers(catalog).await?, ..Attached::default() };
    if names.is_empty() {
        return Ok(attached);
    }
    let names: HashSet<&ObjectName> = names.iter().collect();
    let named = |o: &SchemaObject| names.contains(&o.name) || o.table.as_ref().is_some_and(|t| names.contains(t));
    let inside: HashSet<usize> = draft.objects().iter().enumerate().filter(|(_, o)| named(o)).map(|(i, _)| i).collect();
    dependents(catalog, draft, &inside, &mut attached).await?;
    attached.severed.extend(publications(catalog, &names).await?);
    let addresses = draft.addresses(&inside);
    attached.ownership = owners(catalog, draft, &addresses).await?;
    attached.ownership.extend(exact_rights(catalog, draft, &addresses).await?);
    Ok(attached)
}

/// Sorts what depends on the objects from outside: a foreign key goes with them and can come back; anything else holds them.
async fn dependents(catalog: &Catalog<'_>, draft: &Draft, inside: &HashSet<usize>, attached: &mut Attached) -> Result<()> {
    let mut keys = BTreeSet::new();
    let mut holding: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut unknown: BTreeSet<(Address, usize)> = BTreeSet::new();
    for (from, to, how) in Draft::dependencies(catalog).await? {
        let Some(to) = draft.maker(to).filter(|p| inside.contains(p)) else { continue };
        match draft.maker(from) {
            Some(from) if inside.contains(&from) => {}
            Some(from) if draft.objects()[from].kind == ObjectKind::ForeignKey => {
                keys.insert(from);
            }
            Some(from) if how != "e" && how != "x" => {
                holding.insert((from, to));
            }
            // Parts that no object of ours makes (a TOAST table, a publication's entry) go with what they are a part of.
            None if how == "n" => {
                unknown.insert((draft.owner_of(from), to));
            }
            _ => {}
        }
    }
    attached.severed.extend(keys.into_iter().map(|k| draft.objects()[k].clone()));
    let on = |to: usize| format!("it depends on {}", draft.objects()[to].name);
    for (from, to) in holding {
        let object = &draft.objects()[from];
        let kind = format!("{:?}", object.kind).to_lowercase();
        attached.holding.push(Unmovable { kind, name: object.name.to_string(), reason: on(to) });
    }
    for ((class, id), to) in unknown {
        let query = format!("SELECT type, identity FROM pg_catalog.pg_identify_object({class}, {id}, 0)");
        for row in catalog.rows(&query).await? {
            attached.holding.push(Unmovable { kind: row.get(0), name: row.get(1), reason: on(to) });
        }
    }
    Ok(())
}

/// The tables' memberships in publications: dropping a table ends them.
async fn publications(catalog: &Catalog<'_>, names: &HashSet<&ObjectName>) -> Result<Vec<SchemaObject>> {
    // Columns and rows to choose from came with version 15.
    let newer = catalog.rows("SELECT pg_catalog.current_setting('server_version_num')::int4 >= 150000").await?;
    let choice = if newer.first().is_some_and(|r| r.get(0)) {
        "COALESCE((SELECT ' (' || string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')' FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs::int2[])), '') || COALESCE(' WHERE (' || pg_catalog.pg_get_expr(r.prqual, r.prrelid) || ')', '')"
    } else {
        "''"
    };
    let query = format!(
        "SELECT n.nspname::text, c.relname::text, p.pubname::text, pg_catalog.quote_ident(p.pubname), {choice} FROM pg_catalog.pg_publication_rel r \
         JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid JOIN pg_catalog.pg_class c ON c.oid = r.prrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2, 3"
    );
    let mut severed = Vec::new();
    for row in catalog.rows(&query).await? {
        let table = ObjectName { schema: row.get(0), name: row.get(1) };
        if !names.contains(&table) {
            continue;
        }
        let (publication, quoted, choice): (String, String, String) = (row.get(2), row.get(3), row.get(4));
        let on = qualified(&table);
        let body = format!(
            "BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid \
             WHERE p.pubname = {} AND r.prrelid = {}::regclass) THEN ALTER PUBLICATION {quoted} ADD TABLE ONLY {on}{choice}; END IF; END",
            literal(&publication),
            literal(&on)
        );
        let name = format!("{} in publication {publication}", table.name);
        severed.push(property(Phase::AtTheEnd, &table.schema.clone(), name, Some(table), vec![format!("DO {}", literal(&body))]));
    }
    Ok(severed)
}

/// Owners other than the user of this session.
async fn owners(catalog: &Catalog<'_>, draft: &Draft, addresses: &HashSet<Address>) -> Result<Vec<SchemaObject>> {
    let query = "SELECT o.class, o.oid, i.type, i.identity, COALESCE(i.schema, ''), pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner)) FROM ( \
        SELECT 1259::oid AS class, oid, relowner AS owner FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm') OR relkind = 'S' AND NOT EXISTS \
        (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 1259 AND d.objid = pg_class.oid AND d.refclassid = 1259 AND d.deptype IN ('a', 'i')) \
        UNION ALL SELECT 1247::oid, oid, typowner FROM pg_catalog.pg_type WHERE typtype IN ('d', 'e', 'r') OR typtype = 'c' AND EXISTS \
        (SELECT FROM pg_catalog.pg_class c WHERE c.oid = typrelid AND c.relkind = 'c') \
        UNION ALL SELECT 1255::oid, oid, proowner FROM pg_catalog.pg_proc UNION ALL SELECT 3381::oid, oid, stxowner FROM pg_catalog.pg_statistic_ext \
        UNION ALL SELECT 3456::oid, oid, collowner FROM pg_catalog.pg_collation UNION ALL SELECT 3466::oid, oid, evtowner FROM pg_catalog.pg_event_trigger \
        ) AS o, LATERAL pg_catalog.pg_identify_object(o.class, o.oid, 0) AS i \
        WHERE o.oid >= 16384 AND pg_catalog.pg_get_userbyid(o.owner) <> current_user ORDER BY 3, 4";
    let mut said = Vec::new();
    for row in catalog.rows(query).await? {
        let address: Address = (row.get(0), row.get(1));
        if !addresses.contains(&address) {
            continue;
        }
        let (kind, identity, schema, owner): (String, String, String, String) = (row.get(2), row.get(3), row.get(4), row.get(5));
        let word = if kind == "statistics object" { "STATISTICS".to_owned() } else { kind.to_uppercase() };
        let statement = format!("ALTER {word} {identity} OWNER TO {owner}");
        let about = draft.maker(address).and_then(|m| draft.subject(m));
        said.push(property(Phase::AtTheEnd, &schema, format!("owner of {kind} {identity}"), about, vec![statement]));
    }
    Ok(said)
}

/// Every right with its grantor, after all that a new object has by itself is taken away.
async fn exact_rights(catalog: &Catalog<'_>, draft: &Draft, addresses: &HashSet<Address>) -> Result<Vec<SchemaObject>> {
    let said = listed_rights(catalog, "h.acl IS NOT NULL OR EXISTS (SELECT FROM pg_catalog.pg_default_acl)").await?;
    let mine = said.into_iter().filter(|(address, _, _, _)| addresses.contains(address) && address.0 != super::class::NAMESPACE);
    Ok(mine
        .map(|(address, schema, what, statements)| {
            let about = draft.maker(address).and_then(|m| draft.subject(m));
            property(Phase::AtTheEnd, &schema, format!("exact rights on {what}"), about, statements)
        })
        .collect())
}

/// Comment and rights of every schema, including those that are not set.
async fn containers(catalog: &Catalog<'_>) -> Result<Vec<SchemaObject>> {
    let query = format!(
        "SELECT n.nspname::text, pg_catalog.quote_ident(n.nspname), pg_catalog.obj_description(n.oid, 'pg_namespace') FROM pg_catalog.pg_namespace n \
         WHERE {} ORDER BY 1",
        super::ours("pg_namespace", "n")
    );
    let mut said = Vec::new();
    for row in catalog.rows(&query).await? {
        let (name, identity, text): (String, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
        said.push(comment("schema", identity, &name, None, text.as_deref()));
    }
    let listed = listed_rights(catalog, "h.class = 2615").await?;
    said.extend(listed.into_iter().map(|(_, schema, what, statements)| property(Phase::AtTheEnd, &schema, format!("rights on {what}"), None, statements)));
    Ok(said)
}

type ListedRights = (Address, String, String, Vec<String>);

/// For each holder of rights: the statements that give exactly these.
async fn listed_rights(catalog: &Catalog<'_>, which: &str) -> Result<Vec<ListedRights>> {
    let query = format!(
        "SELECT h.class, h.oid, h.schema, h.what, h.attribute, e.privilege_type, e.is_grantable, \
         CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END, \
         CASE WHEN e.grantor <> h.owner THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantor)) END \
         FROM ({}) AS h LEFT JOIN LATERAL pg_catalog.aclexplode(COALESCE(h.acl, h.usual)) AS e ON true WHERE {which} \
         ORDER BY h.what, h.class, h.oid, h.attribute, e.grantor <> h.owner, 8, 6",
        rights::holders()
    );
    let mut all: Vec<ListedRights> = Vec::new();
    for row in catalog.rows(&query).await? {
        let address: Address = (row.get(0), row.get(1));
        let (schema, what, column): (String, String, String) = (row.get(2), row.get(3), row.get(4));
        if all.last().is_none_or(|last| last.0 != address) {
            all.push((address, schema, what.clone(), vec![taking_all(address.0, &what)]));
        }
        let (Some((.., statements)), Some(privilege)) = (all.last_mut(), row.get::<_, Option<String>>(5)) else { continue };
        let columns = if column.is_empty() { String::new() } else { format!(" ({column})") };
        let (grantable, grantee, grantor): (bool, String, Option<String>) = (row.get(6), row.get(7), row.get(8));
        let option = if grantable { " WITH GRANT OPTION" } else { "" };
        let grant = format!("GRANT {privilege}{columns} ON {what} TO {grantee}{option}");
        statements.push(match grantor {
            Some(role) => format!("SET LOCAL ROLE {role}; {grant}; RESET ROLE"),
            None => grant,
        });
    }
    Ok(all)
}

/// Takes everybody's rights on an object.
fn taking_all(class: u32, what: &str) -> String {
    let (from, column, cast) = match class {
        1255 => ("pg_proc", "proacl", "regprocedure"),
        1247 => ("pg_type", "typacl", "regtype"),
        2615 => ("pg_namespace", "nspacl", "regnamespace"),
        _ => ("pg_class", "relacl", "regclass"),
    };
    let identity = what.split_once(' ').map_or(what, |(_, name)| name);
    let body = format!(
        "DECLARE r oid; BEGIN REVOKE ALL ON {what} FROM PUBLIC; \
         FOR r IN SELECT e.grantee FROM pg_catalog.{from} o, pg_catalog.aclexplode(o.{column}) AS e WHERE o.oid = {}::{cast} AND e.grantee <> 0 \
         UNION SELECT pg_catalog.pg_roles.oid FROM pg_catalog.pg_roles WHERE rolname = current_user LOOP \
         EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %I CASCADE', {}, pg_catalog.pg_get_userbyid(r)); END LOOP; END",
        literal(identity),
        literal(what)
    );
    format!("DO {}", literal(&body))
}
