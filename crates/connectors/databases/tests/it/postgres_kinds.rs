//! Objects that earlier versions lost: each arrives as it is, or is named before anything moves.

use super::dumps::Work;
use super::{Fixture, Throwaway, open};
use crate::moving::{changed, latest};
use crate::suite::{assert_equal, copy};
use domain::Secret;
use domain::spec::DatabaseAt;
use ports::Role;
use ports::check::CheckOutcome;
use testkit::rig;

const OLDER: &str = "CREATE TYPE shape AS (id int, label text); CREATE TABLE typed OF shape (PRIMARY KEY (id)); INSERT INTO typed VALUES (1, 'a');
CREATE TABLE marked (id int PRIMARY KEY, body text) WITH (fillfactor = 80, toast.autovacuum_enabled = false); ALTER TABLE marked CLUSTER ON marked_pkey;
ALTER TABLE marked REPLICA IDENTITY USING INDEX marked_pkey; INSERT INTO marked VALUES (1, 'x');
CREATE DOMAIN small AS int; CREATE TABLE holds (s small); INSERT INTO holds VALUES (100); ALTER DOMAIN small ADD CONSTRAINT below CHECK (VALUE < 10) NOT VALID;
CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TABLE ev (at int, k text) PARTITION BY RANGE (at);
CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM (0) TO (5); CREATE TABLE ev_2 PARTITION OF ev DEFAULT; INSERT INTO ev VALUES (1, 'a'), (9, 'b');
CREATE TRIGGER tt BEFORE INSERT ON ev FOR EACH ROW EXECUTE FUNCTION tr(); ALTER TABLE ev_1 DISABLE TRIGGER tt; CREATE INDEX \"select\" ON ev (k); CREATE INDEX alone ON ONLY ev (at);
CREATE VIEW v AS SELECT * FROM marked; CREATE TABLE named (r regclass); INSERT INTO named VALUES ('v'); CREATE VIEW grouped AS SELECT m.* FROM marked m GROUP BY m.id;
CREATE FUNCTION later() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM grouped; END; CREATE VIEW over AS SELECT later();
REVOKE USAGE ON TYPE small FROM PUBLIC; REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO pg_monitor; COMMENT ON SCHEMA public IS 'mine';
ALTER TABLE marked ENABLE ROW LEVEL SECURITY; ALTER TABLE marked FORCE ROW LEVEL SECURITY; CREATE POLICY p ON marked USING (id > 0);
GRANT SELECT ON ev TO pg_monitor; CREATE VIEW over_parts AS SELECT * FROM ev; GRANT SELECT ON over_parts TO pg_monitor";
const NEWER: &str =
    "CREATE TABLE nn (a int NOT NULL, b int CONSTRAINT bb NOT NULL NO INHERIT, c int, d int UNIQUE); INSERT INTO nn VALUES (1, 2, NULL, NULL), (1, 2, NULL, 4);
ALTER TABLE nn ADD CONSTRAINT cc NOT NULL c NOT VALID; ALTER TABLE nn ADD CONSTRAINT dd NOT NULL d NOT VALID; CREATE TABLE kid () INHERITS (nn);
CREATE DOMAIN d AS int CONSTRAINT dn NOT NULL CONSTRAINT ck CHECK (VALUE > 0); CREATE TABLE ch (a int CHECK (a > 5) NOT ENFORCED); INSERT INTO ch VALUES (1)";

#[tokio::test]
async fn every_kind_arrives_as_it_is() {
    for (server, more) in [(rig::postgres15(), ""), (rig::postgres18(), NEWER)] {
        let (source, destination) = (Throwaway::new(server.clone()).await, Throwaway::absent(server));
        source.run(&[OLDER]).await;
        source.run(&[more]).await;
        let (a, b) = (source.open().await, destination.open().await);
        let copied = copy(&*a, &*b, 2).await;
        assert_eq!(changed(&copied), Vec::<String>::new());
        assert_equal(&*a, &*b, &[]).await;
        let again = latest(&b).await.schema().await.unwrap();
        for object in &copied.schema.objects {
            assert!(
                again.objects.contains(object),
                "{object:?}\nis not among\n{:?}",
                again.objects.iter().filter(|o| o.name == object.name).collect::<Vec<_>>()
            );
        }
        assert_eq!(again.objects.len(), copied.schema.objects.len());
        assert_eq!(again.unmovable, copied.schema.unmovable);
    }
}

#[tokio::test]
async fn bytes_of_no_known_encoding_travel_as_they_are() {
    let (source, destination) = (Throwaway::absent(rig::postgres15()), Throwaway::absent(rig::postgres15()));
    source.on_server(&format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'", source.name)).await;
    source
        .run(&["CREATE TABLE t (id int PRIMARY KEY, a text, b json); INSERT INTO t VALUES (1, 'plain', '{}'), (2, convert_from('\\xe9ff', 'SQL_ASCII'), NULL)"])
        .await;
    let (a, b) = (source.open().await, destination.open().await);
    copy(&*a, &*b, 10).await;
    assert_equal(&*a, &*b, &[]).await;
    assert_eq!(destination.value("SELECT encode(convert_to(a, 'SQL_ASCII'), 'hex') FROM t WHERE id = 2").await, "e9ff");
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_rest_until_they_are_enabled() {
    let (source, destination) = (Throwaway::new(rig::postgres18()).await, Throwaway::absent(rig::postgres18()));
    source
        .run(&[
            "CREATE TABLE t (id int PRIMARY KEY); CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''acted''; END'",
            "CREATE TRIGGER a BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tr(); CREATE TRIGGER b BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tr()",
            "ALTER TABLE t ENABLE ALWAYS TRIGGER a; ALTER TABLE t DISABLE TRIGGER b; INSERT INTO t VALUES (1)",
            "CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER ma_it_ddl ON ddl_command_end EXECUTE FUNCTION et()",
        ])
        .await;
    let work = Work::new(&source, &destination, true).await;
    let plan = work.mover.survey().await.unwrap();
    work.run(&plan, 3).await.unwrap();
    let states = "SELECT string_agg(tgname || tgenabled::text, ',' ORDER BY tgname) || (SELECT evtenabled::text FROM pg_event_trigger) FROM pg_trigger WHERE NOT tgisinternal";
    assert_eq!(destination.value(states).await, "aD,bDD");
    destination.run(&["UPDATE t SET id = 2"]).await;
    work.mover.enable(&plan, &work.ledger).await.unwrap();
    assert_eq!(destination.value(states).await, "aA,bDO");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_destination_refuses_is_known_beforehand_and_the_trial_leaves_nothing() {
    let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::new(rig::postgres15()).await);
    source.run(&["CREATE TABLE t (id int PRIMARY KEY, name text); CREATE INDEX by_name ON t (name); CREATE VIEW v AS SELECT * FROM t"]).await;
    destination.run(&["CREATE TABLE other (name text); CREATE INDEX by_name ON other (name)"]).await;
    let work = Work::new(&source, &destination, true).await;
    let plan = work.mover.survey().await.unwrap();
    let refused: Vec<String> = plan.refused.iter().map(|u| format!("{} {}", u.kind, u.name)).collect();
    assert_eq!(refused, ["index public.by_name"]);
    assert_eq!(
        destination.value("SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE oid >= 16384 AND relkind <> 't' AND relname !~ '^pg_'").await,
        "by_name,other"
    );
    destination.run(&["ALTER INDEX by_name RENAME TO t_pkey"]).await;
    let error = work.mover.survey().await.expect_err("the key cannot be made");
    assert!(error.reason.contains("t_pkey"), "{error}");
}

#[tokio::test]
async fn rows_that_a_policy_hides_are_found_by_a_check() {
    let one = Throwaway::new(rig::postgres18()).await;
    let role = format!("{}_role", one.name);
    one.on_server(&format!("CREATE ROLE {role} LOGIN PASSWORD 'plain'")).await;
    one.run(&[&format!(
        "CREATE TABLE hidden (id int); INSERT INTO hidden VALUES (1), (2); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON hidden USING (id = 1); \
         GRANT SELECT ON hidden TO {role}"
    )])
    .await;
    let at = DatabaseAt { username: role.clone(), password: Some(Secret::new("plain")), ..one.at() };
    let database = open(&at).await;
    let mut found = Vec::new();
    for check in database.checks(Role::Source) {
        if let CheckOutcome::Failed { finding, .. } = check.run.await {
            found.push((check.name, finding.issue));
        }
    }
    one.run(&[&format!("DROP OWNED BY {role}")]).await;
    one.on_server(&format!("DROP ROLE {role}")).await;
    let [("row_level_security", issue)] = found.as_slice() else { panic!("{found:?}") };
    assert!(issue.contains("public.hidden"), "{issue}");
}
