//! What happens while rows pass: their hashes, and autovacuum's place in the line.

use super::{Fixture, Throwaway};
use crate::moving::latest;
use crate::suite::table;
use futures::{StreamExt, TryStreamExt};
use ports::databases::{Fingerprint, KeyRange, ObjectKind, ObjectName, Phase, Reading, RowBlock, RowSource, SchemaObject, Table, View};
use testkit::rig;

const NUMBERS: &str = "CREATE TABLE numbers (id bigint PRIMARY KEY, s smallint, i integer NOT NULL, o oid, b boolean, n numeric, p numeric(20,4), z numeric(6,0) NOT NULL, f real, d double precision);
INSERT INTO numbers SELECT g * -7000000000, g - 500, g * 1000003, (4000000000 + g)::oid, g % 2 = 0, g / 7.0, power(10, g % 16 - 4) * (g % 3 - 1) * 1.2345, g % 3 - 1, g / 3.0, -g * 1e300 FROM generate_series(1, 999) g;
INSERT INTO numbers VALUES (1, -32768, 0, 0, NULL, 'NaN', 'NaN', 0, 'NaN', '-0'), (2, 7, 1, 2, true, '-Infinity', 1000000000000, 'NaN', '-0', 'NaN'),
(3, 7, -1, 2, true, 0.000, 0, 10000, 'Infinity', '-Infinity'), (4, NULL, 1, NULL, NULL, NULL, NULL, -1, NULL, NULL), (5, 1, 1, 1, true, 1e-40, 0.0001, 999999, 1, 1)";
const WORDS: &str = "CREATE TABLE words (id uuid PRIMARY KEY, t text, v varchar(90) COLLATE \"C\", c character(9), y bytea, j json, k jsonb);
INSERT INTO words SELECT md5(g::text)::uuid, repeat('äb', g % 40), repeat(chr(g % 200 + 40), g % 30), 'c' || g, decode(repeat('0a', g % 50), 'hex'), jsonb_build_object('n', g)::json, jsonb_build_object('x', repeat('y', g % 20), 'v', g / 10.0) FROM generate_series(1, 500) g;
INSERT INTO words VALUES (gen_random_uuid(), '', '', '', '', '[]', '1.00'), (gen_random_uuid(), NULL, 'a', NULL, NULL, NULL, NULL), (gen_random_uuid(), '\\N', E'a\\tb\\n', 'x', '\\x00', ' {\"a\" :1}', 'null')";
const TIMES: &str = "CREATE TABLE times (d date, a timestamp NOT NULL, z timestamptz, t time, o timetz, i interval, n inet, c cidr);
INSERT INTO times SELECT '1950-01-01'::date + g, '1950-01-01'::timestamp + g * interval '37 hours', '1950-01-01'::timestamptz + g * interval '1.000001 s', '00:00'::time + g * interval '1.7 s', '12:00+02', g * interval '1 month 3 days', '10.0.0.0'::inet + g, '10.0.0.0/8' FROM generate_series(1, 300) g;
INSERT INTO times VALUES ('infinity', '-infinity', 'infinity', '24:00', '24:00-12', '-1 s', '::1', '::/0'), (NULL, '2024-02-29', NULL, NULL, NULL, NULL, NULL, NULL), (NULL, '2024-02-29', NULL, NULL, NULL, NULL, NULL, NULL)";
/// What only the server can hash: computed columns, and types whose binary form is another thing than their text.
const SERVED: &str = "CREATE TABLE served (id integer PRIMARY KEY, twice integer GENERATED ALWAYS AS (id * 2) STORED, p point, a integer[]);
INSERT INTO served (id, p, a) SELECT g, point(g, -g), ARRAY[g, NULL] FROM generate_series(1, 100) g; INSERT INTO served (id) VALUES (0)";

async fn fingerprint_on_the_way(view: &dyn RowSource, table: &Table, range: &KeyRange) -> Fingerprint {
    let parts: Vec<Reading> = view.rows_with_fingerprint(table, range).unwrap().try_collect().await.unwrap();
    match parts.last() {
        Some(Reading::Fingerprint(fingerprint)) => fingerprint.clone(),
        other => panic!("{other:?}"),
    }
}

/// On both versions, in two encodings: hashes of passing rows are those that the server computes of stored ones.
#[tokio::test]
async fn a_passing_row_has_the_hash_of_the_stored_one() {
    for (server, encoding) in [(rig::postgres15(), "UTF8"), (rig::postgres18(), "UTF8"), (rig::postgres15(), "LATIN1")] {
        let one = Throwaway::absent(server);
        one.on_server(&format!("CREATE DATABASE {} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'", one.name)).await;
        one.run(&[NUMBERS, WORDS, TIMES, SERVED]).await;
        let view = one.open().await.read(View::Snapshot { connections: 1 }).await.unwrap();
        let stored = latest(&one.open().await).await;
        let schema = view.schema().await.unwrap();
        for name in ["numbers", "words", "times", "served"] {
            let t = table(&schema, name);
            for range in stored.split(t, 100).await.unwrap() {
                let (passing, stored) = (fingerprint_on_the_way(&*view, t, &range).await, stored.fingerprint(t, &range).await.unwrap());
                assert_eq!(passing, stored, "{name} in {encoding}, {range:?}");
            }
            let last = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%' AND state LIKE 'idle%'";
            assert_eq!(one.value(last).await.contains("hash"), name == "served", "who hashes {name}");
        }
        view.close().await.unwrap();
    }
}

/// The lock is there while a large table is filled, and in nobody's way afterwards.
#[tokio::test]
async fn autovacuum_waits_until_a_large_table_is_filled() {
    let one = Throwaway::new(rig::postgres18()).await;
    one.run(&["CREATE TABLE big (id integer NOT NULL, body text)", "CREATE TABLE small (id integer NOT NULL, body text)"]).await;
    let database = one.open().await;
    let schema = latest(&database).await.schema().await.unwrap();
    let target = database.write().await.unwrap();
    let big = Table { bytes: 1 << 30, ..table(&schema, "big").clone() };
    let guards = "SELECT string_agg(relation::regclass::text, ' ') FROM pg_locks WHERE mode = 'ShareUpdateExclusiveLock' AND granted \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let nothing = || futures::stream::empty::<ports::Result<RowBlock>>().boxed();
    for t in [table(&schema, "small"), &big] {
        assert_eq!(target.replace(t, &KeyRange::default(), nothing()).await.unwrap(), 0);
    }
    assert_eq!(one.value(guards).await, "big");
    // The second writing empties the table, for which it must have it to itself.
    assert_eq!(target.replace(&big, &KeyRange::default(), nothing()).await.unwrap(), 0);
    assert_eq!(one.value(guards).await, "");

    let target = database.write().await.unwrap();
    target.replace(&big, &KeyRange::default(), nothing()).await.unwrap();
    assert_eq!(one.value(guards).await, "big");
    let name = |name: &str| ObjectName { schema: "public".to_owned(), name: name.to_owned() };
    let statements = vec!["CREATE INDEX by_body ON public.big (body)".to_owned()];
    let index = SchemaObject { kind: ObjectKind::Index, phase: Phase::Keys, name: name("by_body"), table: Some(name("big")), statements };
    target.create(&index).await.unwrap();
    assert_eq!(one.value(guards).await, "");
    target.close().await.unwrap();
}
