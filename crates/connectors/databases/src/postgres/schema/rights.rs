//! Who may do what with the objects: as differences from what every new object gives, so that they can be said about a new one.

use super::draft::Draft;
use super::properties::property;
use super::{Catalog, ours};
use ports::Result;
use ports::databases::{Phase, Unmovable};
use std::collections::BTreeMap;

/// A relation over all that has rights: catalog, id, schema, what GRANT calls it, column, owner, its rights, and those of a new one.
pub fn holders() -> String {
    let selects = [
        format!(
            "SELECT 1259::oid AS class, c.oid, n.nspname::text AS schema, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass::text AS what, \
             ''::text AS attribute, c.relowner AS owner, c.relacl AS acl, \
             pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner) AS usual \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relpersistence <> 't' AND {}",
            ours("pg_class", "c")
        ),
        format!(
            "SELECT 1259::oid, c.oid, n.nspname::text, 'TABLE ' || c.oid::regclass::text, pg_catalog.quote_ident(a.attname), c.relowner, a.attacl, NULL::aclitem[] \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped AND a.attacl IS NOT NULL WHERE c.relkind IN ('r', 'p', 'v', 'm') AND {}",
            ours("pg_class", "c")
        ),
        format!(
            "SELECT 1255::oid, p.oid, n.nspname::text, 'ROUTINE ' || p.oid::regprocedure::text, '', p.proowner, p.proacl, \
             pg_catalog.acldefault('f', p.proowner) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {}",
            ours("pg_proc", "p")
        ),
        format!(
            "SELECT 1247::oid, t.oid, n.nspname::text, 'TYPE ' || t.oid::regtype::text, '', t.typowner, t.typacl, pg_catalog.acldefault('T', t.typowner) \
             FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('b', 'c', 'd', 'e', 'r') \
             AND t.typcategory <> 'A' AND {}",
            ours("pg_type", "t")
        ),
        // Every database begins with rights for all on its public schema, fewer since version 15.
        format!(
            "SELECT 2615::oid, n.oid, n.nspname::text, 'SCHEMA ' || pg_catalog.quote_ident(n.nspname), '', n.nspowner, \
             CASE WHEN n.nspname = 'public' THEN COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner)) ELSE n.nspacl END, \
             pg_catalog.acldefault('n', n.nspowner) || CASE WHEN n.nspname <> 'public' THEN '{{}}'::aclitem[] \
             WHEN pg_catalog.current_setting('server_version_num')::int4 >= 150000 THEN ARRAY[pg_catalog.makeaclitem(0, n.nspowner, 'USAGE', false)] \
             ELSE ARRAY[pg_catalog.makeaclitem(0, n.nspowner, 'USAGE', false), pg_catalog.makeaclitem(0, n.nspowner, 'CREATE', false)] END \
             FROM pg_catalog.pg_namespace n WHERE {}",
            ours("pg_namespace", "n")
        ),
    ];
    selects.join(" UNION ALL ")
}

/// What is said about the rights on one object.
struct Said {
    address: (u32, u32),
    statements: Vec<String>,
}

/// Rights that differ from those of a new object, one property per object, so that a role that is missing there is told for each. Gives those
/// that cannot be carried: an owner's renouncement, because the owner at the destination is another one.
pub async fn gather(catalog: &Catalog<'_>, draft: &mut Draft) -> Result<Vec<Unmovable>> {
    let right = "e.grantee, e.privilege_type, e.is_grantable";
    let query = format!(
        "WITH holder AS (SELECT * FROM ({}) AS h WHERE acl IS NOT NULL) \
         SELECT h.class, h.oid, h.schema, h.what, h.attribute, d.verb, d.privilege_type, d.is_grantable, d.grantee = h.owner, \
         CASE d.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(d.grantee)) END FROM holder h, LATERAL ( \
         (SELECT 'REVOKE' AS verb, {right} FROM pg_catalog.aclexplode(h.usual) AS e EXCEPT SELECT 'REVOKE', {right} FROM pg_catalog.aclexplode(h.acl) AS e) \
         UNION ALL (SELECT 'GRANT', {right} FROM pg_catalog.aclexplode(h.acl) AS e EXCEPT SELECT 'GRANT', {right} FROM pg_catalog.aclexplode(h.usual) AS e) \
         ) AS d ORDER BY d.verb DESC, h.attribute, 10, d.privilege_type",
        holders()
    );
    let mut lost = Vec::new();
    let mut said: BTreeMap<(String, String), Said> = BTreeMap::new();
    for row in catalog.rows(&query).await? {
        let address: (u32, u32) = (row.get(0), row.get(1));
        let (schema, what, column, verb): (String, String, String, String) = (row.get(2), row.get(3), row.get(4), row.get(5));
        let (privilege, grantable, owners, grantee): (String, bool, bool, String) = (row.get(6), row.get(7), row.get(8), row.get(9));
        if owners && verb == "GRANT" {
            continue;
        }
        if owners {
            let reason = "the owner at the destination keeps the rights of an owner".to_owned();
            lost.push(Unmovable { kind: "rights of an owner".to_owned(), name: format!("{verb} {privilege} ON {what}"), reason });
            continue;
        }
        let columns = if column.is_empty() { String::new() } else { format!(" ({column})") };
        let statement = match (verb.as_str(), grantable) {
            ("REVOKE", _) => format!("REVOKE {privilege}{columns} ON {what} FROM {grantee}"),
            (_, true) => format!("GRANT {privilege}{columns} ON {what} TO {grantee} WITH GRANT OPTION"),
            _ => format!("GRANT {privilege}{columns} ON {what} TO {grantee}"),
        };
        said.entry((schema, what)).or_insert_with(|| Said { address, statements: Vec::new() }).statements.push(statement);
    }
    for ((schema, what), Said { address, statements }) in said {
        let maker = draft.maker(address);
        let about = maker.and_then(|m| draft.subject(m));
        let place = draft.add(None, property(Phase::AtTheEnd, &schema, format!("rights on {what}"), about, statements));
        draft.needs(place, maker);
    }
    Ok(lost)
}
