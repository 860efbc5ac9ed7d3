//! Choosing tables: what is the site's own, what follows, what is named.

use super::*;
use ports::databases::{Phase, Table};

fn name(text: &str) -> ObjectName {
    of_text(text)
}

fn object(kind: ObjectKind, text: &str, table: Option<&str>, statement: &str) -> SchemaObject {
    SchemaObject { kind, phase: Phase::AtTheEnd, name: name(text), table: table.map(name), statements: vec![statement.to_owned()] }
}

fn schema(tables: &[&str], more: Vec<SchemaObject>) -> Schema {
    let table = |t: &&str| Table { name: name(t), columns: Vec::new(), key: Vec::new(), rows: 1, bytes: 1 };
    let mut objects: Vec<SchemaObject> = tables.iter().map(|t| object(ObjectKind::Table, t, None, &format!("CREATE TABLE `{t}` (id int)"))).collect();
    objects.extend(more);
    Schema { tables: tables.iter().map(table).collect(), objects, ..Schema::default() }
}

fn site(prefix: &str, network: bool) -> TableFilter {
    TableFilter { site: Some(SiteTables { prefix: prefix.to_owned(), network, also: Vec::new() }), ..TableFilter::default() }
}

fn asked(include: &[&str], exclude: &[&str]) -> TableFilter {
    let list = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
    TableFilter { asked: TableSelection { include: list(include), exclude: list(exclude) }, site: None }
}

fn moved(selected: &Selected) -> Vec<String> {
    selected.schema.objects.iter().map(|o| o.name.to_string()).collect()
}

fn listed(list: &[Unmovable]) -> Vec<String> {
    list.iter().map(|u| format!("{} {}", u.kind, u.name)).collect()
}

#[test]
fn a_site_moves_its_own_tables_and_not_those_of_another_whose_prefix_begins_alike() {
    let tables = ["wp_options", "wp_posts", "wp_users", "wp_plugin", "wp_2_options", "wp_2_posts", "wp_2_users", "shop_orders"];
    let single = select(schema(&tables, vec![]), &site("wp_", false)).unwrap();
    assert_eq!(moved(&single), ["wp_options", "wp_posts", "wp_users", "wp_plugin"]);
    assert_eq!(listed(&single.left_out), ["table wp_2_options", "table wp_2_posts", "table wp_2_users", "table shop_orders"]);
    assert!(single.left_out[0].reason.contains("another WordPress, with the table prefix 'wp_2_'"), "{:?}", single.left_out[0]);
    let network = select(schema(&tables, vec![]), &site("wp_", true)).unwrap();
    assert_eq!(moved(&network).len(), 7, "a network's sites are its own");
    let other = select(schema(&tables, vec![]), &site("wp_2_", false)).unwrap();
    assert_eq!(moved(&other), ["wp_2_options", "wp_2_posts", "wp_2_users"]);
    let mut more = site("wp_", false);
    more.asked = asked(&["shop_*"], &["wp_plugin"]).asked;
    assert_eq!(moved(&select(schema(&tables, vec![]), &more).unwrap()), ["wp_options", "wp_posts", "wp_users", "shop_orders"]);
}

#[test]
fn views_keys_and_triggers_on_what_stays_behind_are_named() {
    let more = vec![
        object(ObjectKind::View, "own", None, "CREATE VIEW `own` AS SELECT * FROM `a`"),
        object(ObjectKind::View, "mixed", None, "CREATE VIEW `mixed` AS SELECT * FROM `a` JOIN `b`"),
        object(ObjectKind::View, "second", None, "CREATE VIEW `second` AS SELECT * FROM `mixed`"),
        object(ObjectKind::ForeignKey, "fk_b", Some("a"), "ALTER TABLE `a` ADD FOREIGN KEY (`x`) REFERENCES `b` (`id`)"),
        object(ObjectKind::ForeignKey, "fk_c", Some("a"), "ALTER TABLE `a` ADD FOREIGN KEY (`b`) REFERENCES `c` (`id`)"),
        object(ObjectKind::Trigger, "t_a", Some("a"), "CREATE TRIGGER t_a AFTER INSERT ON a BEGIN INSERT INTO b VALUES (1); END"),
        object(ObjectKind::Trigger, "t_b", Some("b"), "CREATE TRIGGER t_b AFTER INSERT ON b BEGIN SELECT 1; END"),
        object(ObjectKind::Index, "i_b", Some("b"), "CREATE INDEX i_b ON b(id)"),
    ];
    let selected = select(schema(&["a", "b", "c"], more), &asked(&[], &["b"])).unwrap();
    assert_eq!(moved(&selected), ["a", "c", "own", "fk_c"]);
    assert_eq!(listed(&selected.left_out), ["table b", "view mixed", "view second"]);
    assert_eq!(listed(&selected.schema.unmovable), ["view mixed", "view second", "foreign key fk_b", "trigger t_a"]);
    assert!(selected.schema.tables.iter().all(|t| t.name.name != "b"));
}

#[test]
fn programs_and_sequences_move_with_what_needs_them() {
    let more = vec![
        object(ObjectKind::Schema, "public", None, "CREATE SCHEMA public"),
        object(ObjectKind::Schema, "shop", None, "CREATE SCHEMA shop"),
        object(ObjectKind::Sequence, "public.a_id_seq", None, "CREATE SEQUENCE public.a_id_seq"),
        object(ObjectKind::Sequence, "shop.b_id_seq", None, "CREATE SEQUENCE shop.b_id_seq"),
        object(ObjectKind::Property, "public.a.id", Some("public.a"), "ALTER TABLE public.a ALTER id SET DEFAULT nextval('public.a_id_seq'::regclass)"),
        object(ObjectKind::Routine, "public.f(integer)", None, "CREATE FUNCTION public.f(integer) AS 'SELECT 1'"),
        object(ObjectKind::Routine, "public.g()", None, "CREATE FUNCTION public.g() AS 'DELETE FROM shop.b'"),
        object(ObjectKind::Routine, "public.h()", None, "CREATE FUNCTION public.h() AS 'SELECT public.f(1) FROM public.a'"),
    ];
    let selected = select(schema(&["public.a", "shop.b"], more), &asked(&["public.*"], &[])).unwrap();
    assert_eq!(moved(&selected), ["public.a", "public", "public.a_id_seq", "public.a.id", "public.f(integer)", "public.h()"]);
    assert_eq!(listed(&selected.left_out), ["table shop.b", "sequence shop.b_id_seq", "routine public.g()"]);
}

#[test]
fn a_pattern_that_means_nothing_is_refused_and_without_patterns_everything_moves() {
    let refused = select(schema(&["a"], vec![]), &asked(&["oders"], &[])).unwrap_err();
    assert!(refused.kind == ErrorKind::Invalid && refused.reason.contains("'oders'"), "{refused}");
    let all = select(schema(&["a", "b"], vec![object(ObjectKind::Routine, "r", None, "x")]), &TableFilter::default()).unwrap();
    assert_eq!((moved(&all).len(), all.left_out.len()), (3, 0));
}
