//! What this version cannot move: named, with the reason and what to do.

use super::{Catalog, ours};
use ports::Result;
use ports::databases::Unmovable;

pub async fn gather(catalog: &Catalog<'_>) -> Result<Vec<Unmovable>> {
    let by_hand = "not moved by this version: make it at the destination by hand";
    let foreign = "its rows live on another server: make the foreign server and the table at the destination by hand";
    let named = |from: &str, name: &str, namespace: &str, class: &str, alias: &str, more: &str| {
        format!(
            "SELECT n.nspname::text || '.' || {alias}.{name}::text FROM pg_catalog.{from} {alias} JOIN pg_catalog.pg_namespace n ON n.oid = {alias}.{namespace} \
             WHERE {}{more} ORDER BY 1",
            ours(class, alias)
        )
    };
    let plain = |query: &str| query.to_owned();
    let not_of_extension = |class: u32, oid: &str| {
        format!("NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = {class} AND e.objid = {oid} AND e.deptype IN ('e', 'i'))")
    };
    let checks: Vec<(&str, &str, String)> = vec![
        ("foreign table", foreign, named("pg_class", "relname", "relnamespace", "pg_class", "c", " AND c.relkind = 'f'")),
        ("foreign server", by_hand, format!("SELECT srvname::text FROM pg_catalog.pg_foreign_server s WHERE {} ORDER BY 1", not_of_extension(1417, "s.oid"))),
        (
            "base type",
            "its functions are in a library of the server: install it at the destination first",
            named("pg_type", "typname", "typnamespace", "pg_type", "t", " AND t.typtype = 'b' AND t.typcategory <> 'A'"),
        ),
        ("operator", by_hand, named("pg_operator", "oprname", "oprnamespace", "pg_operator", "o", "")),
        ("operator class", by_hand, named("pg_opclass", "opcname", "opcnamespace", "pg_opclass", "o", "")),
        ("conversion", by_hand, named("pg_conversion", "conname", "connamespace", "pg_conversion", "k", "")),
        ("text search configuration", by_hand, named("pg_ts_config", "cfgname", "cfgnamespace", "pg_ts_config", "k", "")),
        ("text search dictionary", by_hand, named("pg_ts_dict", "dictname", "dictnamespace", "pg_ts_dict", "k", "")),
        (
            "cast",
            by_hand,
            format!(
                "SELECT castsource::regtype::text || ' to ' || casttarget::regtype::text FROM pg_catalog.pg_cast k WHERE k.oid >= 16384 AND {} ORDER BY 1",
                not_of_extension(2605, "k.oid")
            ),
        ),
        (
            "language",
            by_hand,
            format!("SELECT lanname::text FROM pg_catalog.pg_language l WHERE l.oid >= 16384 AND {} ORDER BY 1", not_of_extension(2612, "l.oid")),
        ),
        (
            "publication",
            "replication is set up for a server, not for a database: publish again at the destination",
            plain("SELECT pubname::text FROM pg_catalog.pg_publication ORDER BY 1"),
        ),
        (
            "large objects",
            "large objects (type lo, pg_largeobject) are not moved by this version: export and import them by hand",
            plain("SELECT count(*)::text || ' objects' FROM pg_catalog.pg_largeobject_metadata HAVING count(*) > 0"),
        ),
        (
            "owner",
            "what is moved belongs to the user of the destination connection",
            plain(
                "SELECT DISTINCT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm') \
                 AND pg_catalog.pg_get_userbyid(c.relowner) <> current_user ORDER BY 1",
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
            "rows of an extension",
            "the extension is made anew; what was added to its own tables stays behind",
            plain("SELECT extname::text FROM pg_catalog.pg_extension WHERE extconfig IS NOT NULL ORDER BY 1"),
        ),
    ];
    let mut unmovable = Vec::new();
    for (kind, reason, query) in checks {
        for row in catalog.rows(&query).await? {
            unmovable.push(Unmovable { kind: kind.to_owned(), name: row.get(0), reason: reason.to_owned() });
        }
    }
    Ok(unmovable)
}
