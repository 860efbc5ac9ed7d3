//! What this version cannot move: named, with the reason and what to do. At last, whatever the catalogs list and nothing has read.

use super::draft::{Address, Draft};
use super::{Catalog, ours};
use ports::Result;
use ports::databases::Unmovable;
use std::collections::BTreeSet;

const BY_HAND: &str = "not moved by this version: make it at the destination by hand";
const FOREIGN: &str = "its rows live on another server: make the foreign server and the table at the destination by hand";
const LIBRARY: &str = "its functions are in a library of the server: install it at the destination first";

pub async fn gather(catalog: &Catalog<'_>, draft: &Draft) -> Result<Vec<Unmovable>> {
    let mut unmovable = Vec::new();
    for (kind, reason, query) in facts() {
        for row in catalog.rows(&query).await? {
            unmovable.push(Unmovable { kind: kind.to_owned(), name: row.get(0), reason: reason.to_owned() });
        }
    }
    unmovable.extend(unread(catalog, draft).await?);
    Ok(unmovable)
}

/// What is no object of its own, or stays with the server.
fn facts() -> Vec<(&'static str, &'static str, String)> {
    let plain = |query: &str| query.to_owned();
    vec![
        (
            "large objects",
            "large objects (type lo, pg_largeobject) are not moved by this version: export and import them by hand",
            plain("SELECT count(*)::text || ' objects' FROM pg_catalog.pg_largeobject_metadata HAVING count(*) > 0"),
        ),
        (
            "owner",
            "what is moved belongs to the user of the destination connection",
            plain(
                "SELECT DISTINCT pg_catalog.pg_get_userbyid(o)::text FROM (SELECT relowner AS o FROM pg_catalog.pg_class WHERE oid >= 16384 \
                 AND relkind IN ('r', 'p', 'v', 'm', 'S') UNION ALL SELECT proowner FROM pg_catalog.pg_proc WHERE oid >= 16384 \
                 UNION ALL SELECT typowner FROM pg_catalog.pg_type WHERE oid >= 16384 UNION ALL SELECT nspowner FROM pg_catalog.pg_namespace \
                 WHERE oid >= 16384 AND nspname !~ '^pg_') AS q WHERE pg_catalog.pg_get_userbyid(o) <> current_user ORDER BY 1",
            ),
        ),
        (
            "default rights",
            "rights given to objects of the future are not moved: say ALTER DEFAULT PRIVILEGES at the destination",
            plain("SELECT DISTINCT pg_catalog.pg_get_userbyid(defaclrole)::text FROM pg_catalog.pg_default_acl ORDER BY 1"),
        ),
        (
            "database setting",
            "settings of the database are not moved: say ALTER DATABASE … SET at the destination",
            plain(
                "SELECT pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
                 WHERE d.datname = pg_catalog.current_database() ORDER BY 1",
            ),
        ),
        (
            "database rights",
            "rights on the database itself are not moved: say them at the destination",
            plain(
                "SELECT verb || ' ' || privilege_type || CASE verb WHEN 'GRANT' THEN ' TO ' ELSE ' FROM ' END || CASE grantee WHEN 0 THEN 'PUBLIC' \
                 ELSE pg_catalog.pg_get_userbyid(grantee)::text END FROM pg_catalog.pg_database d, LATERAL ( \
                 (SELECT 'GRANT' AS verb, e.grantee, e.privilege_type FROM pg_catalog.aclexplode(d.datacl) AS e EXCEPT \
                 SELECT 'GRANT', e.grantee, e.privilege_type FROM pg_catalog.aclexplode(pg_catalog.acldefault('d', d.datdba)) AS e) UNION ALL \
                 (SELECT 'REVOKE', e.grantee, e.privilege_type FROM pg_catalog.aclexplode(pg_catalog.acldefault('d', d.datdba)) AS e EXCEPT \
                 SELECT 'REVOKE', e.grantee, e.privilege_type FROM pg_catalog.aclexplode(d.datacl) AS e)) AS q \
                 WHERE d.datname = pg_catalog.current_database() AND d.datacl IS NOT NULL ORDER BY 1",
            ),
        ),
        (
            "database comment",
            "the comment on the database is not moved: say COMMENT ON DATABASE at the destination",
            plain(
                "SELECT description FROM pg_catalog.pg_shdescription s JOIN pg_catalog.pg_database d ON d.oid = s.objoid \
                 WHERE s.classoid = 'pg_catalog.pg_database'::regclass AND d.datname = pg_catalog.current_database()",
            ),
        ),
        (
            "security label",
            "labels belong to a module of the server: say SECURITY LABEL at the destination",
            plain("SELECT DISTINCT objtype || ' ' || objname FROM pg_catalog.pg_seclabels WHERE objtype NOT IN ('database', 'role', 'tablespace') ORDER BY 1"),
        ),
        (
            "tablespace",
            "it is made in the default tablespace of the destination",
            format!(
                "SELECT c.oid::regclass::text || ' in ' || s.spcname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I') AND {} ORDER BY 1",
                ours("pg_class", "c")
            ),
        ),
        (
            "rows of an extension",
            "the extension is made anew; what was added to its own tables stays behind",
            plain("SELECT extname::text FROM pg_catalog.pg_extension WHERE extconfig IS NOT NULL ORDER BY 1"),
        ),
    ]
}

/// The catalogs whose rows are objects of this database.
const CATALOGS: &str = "SELECT 1259::oid AS class, oid FROM pg_catalog.pg_class WHERE relkind <> 't' AND relpersistence <> 't' \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class t ON t.oid = x.indrelid WHERE x.indexrelid = pg_class.oid AND t.relkind = 't') \
    UNION ALL SELECT 1247::oid, oid FROM pg_catalog.pg_type UNION ALL SELECT 1255::oid, oid FROM pg_catalog.pg_proc \
    UNION ALL SELECT 2606::oid, oid FROM pg_catalog.pg_constraint UNION ALL SELECT 2620::oid, oid FROM pg_catalog.pg_trigger WHERE NOT tgisinternal \
    UNION ALL SELECT 2618::oid, oid FROM pg_catalog.pg_rewrite UNION ALL SELECT 3256::oid, oid FROM pg_catalog.pg_policy \
    UNION ALL SELECT 3381::oid, oid FROM pg_catalog.pg_statistic_ext UNION ALL SELECT 3456::oid, oid FROM pg_catalog.pg_collation \
    UNION ALL SELECT 2615::oid, oid FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' UNION ALL SELECT 3079::oid, oid FROM pg_catalog.pg_extension \
    UNION ALL SELECT 3466::oid, oid FROM pg_catalog.pg_event_trigger UNION ALL SELECT 2617::oid, oid FROM pg_catalog.pg_operator \
    UNION ALL SELECT 2616::oid, oid FROM pg_catalog.pg_opclass UNION ALL SELECT 2753::oid, oid FROM pg_catalog.pg_opfamily \
    UNION ALL SELECT 2607::oid, oid FROM pg_catalog.pg_conversion UNION ALL SELECT 3602::oid, oid FROM pg_catalog.pg_ts_config \
    UNION ALL SELECT 3600::oid, oid FROM pg_catalog.pg_ts_dict UNION ALL SELECT 3601::oid, oid FROM pg_catalog.pg_ts_parser \
    UNION ALL SELECT 3764::oid, oid FROM pg_catalog.pg_ts_template UNION ALL SELECT 2605::oid, oid FROM pg_catalog.pg_cast \
    UNION ALL SELECT 2612::oid, oid FROM pg_catalog.pg_language UNION ALL SELECT 3576::oid, oid FROM pg_catalog.pg_transform \
    UNION ALL SELECT 2601::oid, oid FROM pg_catalog.pg_am UNION ALL SELECT 6104::oid, oid FROM pg_catalog.pg_publication \
    UNION ALL SELECT 1417::oid, oid FROM pg_catalog.pg_foreign_server UNION ALL SELECT 2328::oid, oid FROM pg_catalog.pg_foreign_data_wrapper \
    UNION ALL SELECT 1418::oid, umid FROM pg_catalog.pg_user_mappings";

/// Every row of the catalogs that no gathered object makes. Read = moved + named, whatever the kind.
async fn unread(catalog: &Catalog<'_>, draft: &Draft) -> Result<Vec<Unmovable>> {
    let query = format!(
        "SELECT l.class, l.oid, i.type, i.identity FROM ({CATALOGS}) AS l, LATERAL pg_catalog.pg_identify_object(l.class, l.oid, 0) AS i WHERE l.oid >= 16384 \
         AND COALESCE(i.schema, '') !~ '^pg_(toast|temp|catalog)' AND COALESCE(i.schema, '') <> 'information_schema' AND NOT EXISTS \
         (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = l.class AND e.objid = l.oid AND e.deptype = 'e') ORDER BY 3, 4"
    );
    let rows = catalog.rows(&query).await?;
    let address = |row: &tokio_postgres::Row| -> Address { (row.get(0), row.get(1)) };
    // What is a part of something unread goes with its name.
    let missing: BTreeSet<Address> = rows.iter().map(&address).filter(|a| draft.maker(*a).is_none()).collect();
    let mut unmovable = Vec::new();
    for row in rows.iter().filter(|r| missing.contains(&address(r))) {
        let whole = draft.owner_of(address(row));
        if whole != address(row) && missing.contains(&whole) {
            continue;
        }
        let (kind, name): (String, String) = (row.get(2), row.get(3));
        if kind == "schema" && name == "public" {
            // Every database has one.
            continue;
        }
        let reason = match kind.as_str() {
            "foreign table" | "user mapping" => FOREIGN,
            "type" => LIBRARY,
            "publication" => "replication is set up for a server, not for a database: publish again at the destination",
            _ => BY_HAND,
        };
        unmovable.push(Unmovable { kind, name, reason: reason.to_owned() });
    }
    Ok(unmovable)
}
