//! Configurations that cannot be used: one letter each, exit code 2, no secret shown, and no journal made.

use crate::program::{program, run};
use std::path::Path;

fn refused(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    std::fs::write(&file, text).unwrap();
    let ran = run(dir, &["migrate", file.to_str().unwrap()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    ran.stderr.replace(&dir.display().to_string(), "DIR")
}

#[test]
fn letters_about_configurations() {
    let dir = tempfile::tempdir().unwrap();
    let letters = [
        refused(dir.path(), "a.yaml", "name: [unclosed"),
        refused(dir.path(), "a.json", "{\"name\": }"),
        refused(dir.path(), "a.toml", "name = \"x\"\n[source\n"),
        refused(dir.path(), "b.yaml", "- a\n- b\n"),
        refused(dir.path(), "c.yaml", "name: x\nsource: {password: \"${NOT_SET}\", host: \"${ALSO_NOT_SET}\"}\n"),
        run(dir.path(), &["migrate", "missing.yaml"]).stderr,
        run(dir.path(), &["migrate"]).stderr,
        run(dir.path(), &["migrate", "--from", "/a"]).stderr,
        run(dir.path(), &["migrate", "--from", "/a", "--to", "/b", "--set", "x"]).stderr,
        run(dir.path(), &["migrate", "--from-db", "mysql://u:secret@h/d", "--to-db", "mysql://u@h/e"]).stderr,
        run(dir.path(), &["migrate", "--from", "/a", "--to", "/b", "--detach"]).stderr,
    ];
    assert!(!letters.concat().contains("secret@"));
    insta::assert_snapshot!(letters.join("\n"));
    assert!(!dir.path().join("migration-assistant.db").exists(), "a configuration that cannot be read needs no journal");
}

#[test]
fn with_json_the_letter_is_the_result() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["migrate", "missing.yaml", "--json"]);
    let result = ran.json();
    assert_eq!((ran.code, &result["ok"], &result["exit_code"], &result["error"]["code"]), (2, &false.into(), &2.into(), &"USAGE".into()));
    let ran = run(dir.path(), &["migrate", "--no-such-flag", "--json"]);
    assert_eq!((ran.code, &ran.json()["error"]["code"]), (2, &"USAGE".into()));
}

#[test]
fn serve_refuses_an_address_that_others_can_reach() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["serve", "--host", "0.0.0.0", "--port", "0"]);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!(ran.stderr);
    let missing = run(dir.path(), &["serve", "--port", "0", "--local-root", "/does/not/exist"]);
    assert_eq!(missing.code, 2, "{}", missing.stderr);
}

#[test]
fn stdin_is_read_as_yaml() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(dir.path())
        .args(["migrate", "-"])
        .env("MIGRATION_ASSISTANT_SERVER", "http://127.0.0.1:9")
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"name: from stdin").unwrap();
    let ran = crate::program::finish(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 4, "the configuration was read; the server is not there: {}", ran.stderr);
}

/// The last of two would win silently, and the migration go elsewhere than the first one says.
#[test]
fn a_key_that_is_there_twice_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text, line) in [
        ("a.yaml", "name: x\ndestination:\n  bucket: a\n  bucket: b\n", "line 4"),
        ("a.json", "{\"name\": \"x\",\n\"destination\": {\"bucket\": \"a\",\n\"bucket\": \"b\"}}", "line 3"),
        ("a.toml", "name = \"x\"\n[destination]\nbucket = \"a\"\nbucket = \"b\"\n", "line 4"),
    ] {
        let letter = refused(dir.path(), name, text);
        assert!(letter.contains(line) && (letter.contains("twice") || letter.contains("duplicate")), "{letter}");
    }
}
