//! Help texts: reviewed as they are read.

use crate::program::run;

#[test]
fn help_of_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["", "serve", "migrate", "validate", "status", "logs", "report", "rollback", "resume"] {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        let ran = run(dir.path(), &args);
        assert_eq!(ran.code, 0);
        let text = ran.stdout.replace(&dir.path().display().to_string(), "DATA");
        insta::assert_snapshot!(format!("help_{command}"), text);
    }
}

#[test]
fn the_version_is_the_products() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["--version"]).stdout, concat!("migration-assistant ", env!("CARGO_PKG_VERSION"), "\n"));
}
