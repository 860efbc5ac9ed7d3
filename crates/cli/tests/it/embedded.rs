//! A site and its database moved by the binary alone, with no server: there, verified, and back.

use crate::program::{program, run};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;

/// A static site of some files and a directory, one of them large enough for parts.
fn make_site(root: &Path) {
    std::fs::create_dir_all(root.join("css")).unwrap();
    std::fs::write(root.join("index.html"), "<h1>old</h1>").unwrap();
    std::fs::write(root.join("empty"), "").unwrap();
    for i in 0..300 {
        std::fs::write(root.join(format!("css/{i}.css")), format!("body {{ margin: {i}px }}").repeat(i + 1)).unwrap();
    }
    std::fs::write(root.join("film.bin"), vec![7_u8; 40 << 20]).unwrap();
}

fn same(a: &Path, b: &Path) {
    for entry in std::fs::read_dir(a).unwrap() {
        let entry = entry.unwrap();
        let other = b.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            same(&entry.path(), &other);
        } else {
            assert!(std::fs::read(entry.path()).unwrap() == std::fs::read(&other).unwrap_or_default(), "{} differs", other.display());
        }
    }
}

#[test]
fn there_verified_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let (data, from, to) = (dir.path().join("data"), dir.path().join("from"), dir.path().join("to"));
    make_site(&from);
    let (from, to_text) = (from.to_str().unwrap(), to.to_str().unwrap());

    let plan = run(&data, &["migrate", "--from", from, "--to", to_text, "--dry-run", "--json"]);
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    assert!(!to.exists(), "a dry run changes nothing");

    let ran = run(&data, &["migrate", "--from", from, "--to", to_text, "--json"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stderr, ran.stdout);
    let result = ran.json();
    assert_eq!(result["status"], "completed");
    let id = result["session_id"].as_str().unwrap();
    same(Path::new(from), &to);

    let list = run(&data, &["status", "--json"]).json();
    assert_eq!(list["migrations"].as_array().map(Vec::len), Some(1), "{list}");
    let logs = run(&data, &["logs", id, "--json"]).json();
    assert!(logs["logs"].as_array().is_some_and(|l| !l.is_empty()), "{logs}");
    let page = dir.path().join("report.html");
    assert_eq!(run(&data, &["report", id, "--html", page.to_str().unwrap()]).code, 0);
    assert!(std::fs::read_to_string(&page).unwrap().contains("<html"));

    let back = run(&data, &["rollback", id, "--yes", "--json"]);
    assert_eq!((back.code, &back.json()["status"]), (0, &Value::from("rolled_back")), "{}", back.stderr);
    let report = run(&data, &["report", id]);
    assert!(report.stdout.contains(": Rolled back. Before that: ") && !report.stdout.contains("take everything back"), "{}", report.stdout);
    assert!(!to.exists() || std::fs::read_dir(&to).unwrap().next().is_none(), "the destination is as it was: empty");
}

#[test]
fn an_unknown_migration_is_exit_code_7() {
    let dir = tempfile::tempdir().unwrap();
    let commands: [&[&str]; 6] = [
        &["status", "nobody"],
        &["logs", "nobody"],
        &["rollback", "nobody", "--yes"],
        &["rollback", "nobody", "--dry-run"],
        &["resume", "nobody"],
        &["report", "nobody"],
    ];
    for args in commands {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, 7, "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn bad_fields_are_all_named() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["migrate", "--from", "/a", "--to", "/b", "--set", "source.type=bogus", "--set", "transfer.options.parallel_transfers=0"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("source.type: ") && ran.stderr.contains("parallel_transfers"), "{}", ran.stderr);
}

#[test]
fn one_data_directory_has_one_owner() {
    use std::io::BufRead;
    let dir = tempfile::tempdir().unwrap();
    let mut server = program(dir.path()).args(["serve", "--port", "0", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(server.stdout.take().unwrap()).lines();
    let mut greeting = String::new();
    while serde_json::from_str::<Value>(&greeting).is_err() {
        greeting += &lines.next().expect("the server greets").unwrap();
    }
    let address = serde_json::from_str::<Value>(&greeting).unwrap()["address"].as_str().unwrap().to_owned();

    let second = run(dir.path(), &["status"]);
    assert!(second.code != 0 && second.stderr.contains("--server"), "{}", second.stderr);
    let through = run(dir.path(), &["status", "--server", &address, "--json"]);
    assert_eq!(through.code, 0, "{}", through.stderr);

    let pid = server.id().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    assert!(server.wait().unwrap().success(), "SIGTERM ends the server in good order");
    assert_eq!(run(dir.path(), &["status"]).code, 0, "the directory is free again");
}
