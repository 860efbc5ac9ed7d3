//! One place under two names is refused by every check, and another place beside it is not.

use super::Connectors;
use domain::spec::MigrationSpec;
use serde_json::{Value, json};
use std::process::Command;
use testkit::rig;

/// What the check says: the problem, or nothing.
async fn problem(source: &Value, destination: &Value) -> Option<String> {
    let spec = MigrationSpec::decode(&json!({"name": "n", "source": source, "destination": destination})).expect("a good document");
    let found = plans::validation::validate(&spec, &Connectors).await;
    let check = found.checks.iter().find(|c| c.check == "two_places").unwrap_or_else(|| panic!("no such check: {:#?}", found.checks));
    assert!(check.failed().is_some() || matches!(check.outcome, plans::validation::Outcome::Passed(_)), "{check:?}");
    check.failed().map(|(finding, _)| finding.issue.clone())
}

async fn expect(source: &Value, destination: &Value, one: bool) {
    let found = problem(source, destination).await;
    assert_eq!(found.is_some(), one, "{source} → {destination}: {found:?}");
}

fn with(system: &Value, name: &str, value: &Value) -> Value {
    let mut system = system.clone();
    system[name] = value.clone();
    system
}

fn sql(program: &str, server: &rig::Server, statements: &str) {
    let mut client = Command::new(program);
    match program {
        "psql" => {
            client.env("PGPASSWORD", &server.password).args(["-h", &server.host, "-p", &server.port.to_string(), "-U", &server.user, "-q", "-d", "postgres"])
        }
        _ => client.args(["-h", &server.host, "-P", &server.port.to_string(), "-u", &server.user, &format!("-p{}", server.password)]),
    };
    let flag = if program == "psql" { "-c" } else { "-e" };
    for statement in statements.split(';').filter(|s| !s.trim().is_empty()) {
        client.args([flag, &format!("{statement};")]);
    }
    let done = client.output().expect("the client");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_under_another_name_of_its_host_is_refused() {
    let own = format!("places_one_{}", std::process::id());
    // MySQL speaks TLS, and `127.1` is no name for that.
    let all = [
        ("postgresql", "psql", rig::postgres18(), &["127.1", "localhost"][..]),
        ("mysql", "mysql", rig::mysql(), &["localhost"]),
        ("mysql", "mysql", rig::mariadb(), &["127.1", "localhost"]),
    ];
    for (kind, program, server, aliases) in all {
        let port = server.port;
        sql(program, &server, &format!("CREATE DATABASE {own};CREATE DATABASE {own}_b"));
        let at = json!({"type": kind, "host": "127.0.0.1", "port": port, "username": server.user, "password": server.password, "database": own});
        for alias in aliases {
            expect(&at, &with(&at, "host", &json!(alias)), true).await;
        }
        let other = with(&with(&at, "host", &json!(aliases[0])), "database", &json!(format!("{own}_b")));
        expect(&at, &other, false).await;
        expect(&at, &with(&other, "database", &json!(format!("{own}_c"))), false).await;
        sql(program, &server, &format!("DROP DATABASE {own};DROP DATABASE {own}_b"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_database_under_another_path_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| json!({"type": "sqlite", "database": dir.path().join(name)});
    rusqlite::Connection::open(dir.path().join("a.db")).expect("a database").execute_batch("CREATE TABLE t(x)").expect("a table");
    std::fs::hard_link(dir.path().join("a.db"), dir.path().join("b.db")).expect("a second name");
    expect(&file("a.db"), &file("b.db"), true).await;
    expect(&file("a.db"), &file("c.db"), false).await;
}

fn sftp(host: &str, root: &str) -> Value {
    let at = rig::ssh();
    json!({"type": "static", "host": host, "port": at.port, "username": at.user, "password": at.password, "host_key": at.host_key(), "paths": {"web_root": root}})
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir).expect("a listing").map(|e| e.expect("a name").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_a_server_under_another_name_is_refused_with_what_lies_in_it() {
    let home = rig::ssh().home.join(format!("places-{}", std::process::id()));
    let (site, inner) = (home.join("site"), home.join("site/inner"));
    std::fs::create_dir_all(&inner).expect("directories");
    std::fs::create_dir_all(home.join("other")).expect("directories");
    for path in [&home, &site, &inner, &home.join("other")] {
        Command::new("chmod").args(["0777"]).arg(path).status().expect("chmod");
    }
    std::fs::write(site.join("index.html"), "x").expect("a file");
    std::fs::write(inner.join("index.html"), "x").expect("a file");
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let local = |path: &std::path::Path| json!({"type": "static", "paths": {"web_root": path}});
    for (from, to, one) in
        [(&site, &site, true), (&site, &inner, true), (&inner, &site, true), (&site, &inner.join("new"), true), (&site, &home.join("other"), false)]
    {
        expect(&sftp("127.0.0.1", &text(from)), &sftp("127.1", &text(to)), one).await;
        expect(&local(from), &sftp("127.1", &text(to)), one).await;
        expect(&sftp("127.1", &text(from)), &local(to), one).await;
    }
    assert_eq!((names(&site), names(&home.join("other"))), (vec!["index.html".to_owned(), "inner".to_owned()], vec![]), "a check leaves nothing behind");
    std::fs::remove_dir_all(&home).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_mounted_elsewhere_is_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(path("site/inner")).expect("directories");
    std::fs::create_dir_all(path("mounted")).expect("directories");
    std::fs::write(path("site/inner/index.html"), "x").expect("a file");
    let mounted = Command::new("mount").arg("--bind").args([path("site/inner"), path("mounted")]).status().expect("mount");
    assert!(mounted.success(), "the tests' user may mount");
    let local = |name: &str| json!({"type": "static", "paths": {"web_root": path(name)}});
    let found = [
        problem(&local("mounted"), &local("site")).await,
        problem(&local("site"), &local("mounted")).await,
        problem(&local("site"), &local("mounted/new")).await,
        problem(&local("mounted"), &local("else")).await,
    ];
    Command::new("umount").arg(path("mounted")).status().expect("umount");
    assert_eq!(found.each_ref().map(Option::is_some), [true, true, true, false], "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_under_another_name_of_its_store_is_refused_with_what_lies_in_it() {
    for store in [rig::s3(), rig::rgw()] {
        let bucket = format!("places-{}", std::process::id());
        let at = |endpoint: &str, prefix: &str| json!({"type": "aws-s3", "bucket": bucket, "prefix": prefix, "endpoint": endpoint, "access_key_id": store.access_key_id, "secret_access_key": store.secret_access_key});
        let alias = store.endpoint.replace("127.0.0.1", "localhost");
        let door = |system: &Value| {
            let document = json!({"name": "n", "source": system, "destination": {"type": "static", "paths": {"web_root": "/nowhere"}}});
            MigrationSpec::decode(&document).expect("a good document").source.files.expect("files")
        };
        let files = connectors_files::open(&door(&at(&store.endpoint, "")), 1).await.expect("a bucket");
        files.prepare().await.expect("the bucket");
        for (from, to, one) in [("", "", true), ("a/", "a/", true), ("a/", "", true), ("", "a/", true), ("a/", "b/", false)] {
            expect(&at(&store.endpoint, from), &at(&alias, to), one).await;
        }
        files.remove(&ports::files::FilePath::default()).await.expect("an empty bucket: a check leaves nothing behind");
    }
}
