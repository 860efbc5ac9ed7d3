//! `presets`, with no server: what there is, a migration from one, and one's own taken elsewhere.

use crate::program::{program, run};
use serde_json::{Value, json};

#[test]
fn what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let list = run(dir.path(), &["presets", "list"]);
    assert_eq!(list.code, 0, "{}", list.stderr);
    assert!(list.stdout.starts_with("wordpress-mysql      WordPress CMS with MySQL database migration\n"), "{}", list.stdout);
    assert!(list.stdout.contains("mongo-postgres       Collections of MongoDB into tables of PostgreSQL (not yet supported)\n"), "{}", list.stdout);
    let presets = run(dir.path(), &["presets", "list", "--json"]).json();
    assert_eq!((&presets["ok"], &presets["presets"][1]["id"]), (&json!(true), &json!("django-postgres")));
    let show = run(dir.path(), &["presets", "show", "wordpress-mysql"]);
    assert!(show.stdout.contains("  needs  destination.bucket\n         source.host\n"), "{}", show.stdout);
    let missing = run(dir.path(), &["presets", "show", "none"]);
    assert_eq!((missing.code, missing.stderr.lines().next()), (7, Some("error: There is no preset 'none'")));
    let refused = run(dir.path(), &["presets", "create-migration", "redis-postgres", "--json"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("This version cannot run the preset 'redis-postgres': This version does not move Redis yet"), "{}", refused.stderr);
}

#[test]
fn a_migration_from_a_preset_takes_its_secrets_from_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "presets",
        "create-migration",
        "wordpress-mysql",
        "--set",
        "source.host=old.example",
        "--set",
        "source.port=2222",
        "--set",
        "source.password=${OLD_PASSWORD}",
        "--set",
        "destination.bucket=new-site",
        "--name",
        "From a preset",
        "--json",
    ];
    let without = run(dir.path(), &arguments);
    assert_eq!(without.code, 2);
    assert!(without.stderr.contains("source.password: the variable OLD_PASSWORD is not set"), "{}", without.stderr);
    let made = crate::program::finish(program(dir.path()).args(arguments).env("OLD_PASSWORD", "canary-1").output().unwrap());
    assert_eq!(made.code, 0, "{}", made.stderr);
    let id = made.json()["session_id"].as_str().unwrap().to_owned();
    let listed = run(dir.path(), &["status", "--json"]).json();
    assert_eq!((&listed["migrations"][0]["session_id"], &listed["migrations"][0]["name"]), (&json!(id), &json!("From a preset")));
    assert!(!(made.stdout + &made.stderr).contains("canary"));
    let wrong = run(dir.path(), &["presets", "create-migration", "wordpress-mysql", "--set", "source.hots=x", "--set", "destination.bucket=new-site"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("source.hots: is not a known field here"), "{}", wrong.stderr);
}

#[test]
fn ones_own_go_elsewhere() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = here.path().join("shop.json");
    let exported = run(here.path(), &["presets", "export", "static-s3", "-o", file.to_str().unwrap()]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    let refused = run(there.path(), &["presets", "import", file.to_str().unwrap()]);
    assert_eq!(refused.code, 2, "a built-in one needs another id: {}", refused.stderr);
    let mut exchange: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    exchange["presets"][0]["id"] = json!("shop");
    std::fs::write(&file, exchange.to_string()).unwrap();
    for (rule, words) in [("fail", "created: shop\n"), ("skip", "skipped: shop\n"), ("replace", "replaced: shop\n")] {
        let imported = run(there.path(), &["presets", "import", file.to_str().unwrap(), "--on-conflict", rule]);
        assert_eq!((imported.code, imported.stdout.as_str()), (0, words), "{}", imported.stderr);
    }
    assert!(run(there.path(), &["presets", "list"]).stdout.contains("(your own)"));
    assert_eq!(run(there.path(), &["presets", "import", file.to_str().unwrap()]).code, 1, "its id is in use");
    let all = run(there.path(), &["presets", "export", "--json"]).json();
    assert_eq!(all["presets"][0]["id"], "shop");
}
