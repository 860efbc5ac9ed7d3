//! Ctrl-C and worse: a migration that was cancelled can be taken back, one that was killed goes on where it stopped.

use crate::program::{finish, program, run};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// Files of 24 MiB. Together they take longer than a worker needs to see a wish.
const FILMS: u8 = 36;

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// Large enough that no machine has moved it before the first word about it is read.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        std::fs::create_dir_all(&from).unwrap();
        for i in 0..FILMS {
            std::fs::write(from.join(format!("film-{i}.bin")), vec![i; 24 << 20]).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A migration that has said which step it is in.
    fn begin(&self, step: &str) -> (Child, BufReader<ChildStderr>) {
        let mut command = program(&self.path("data"));
        command.args(["migrate", "--json", "--from"]).arg(self.path("from")).arg("--to").arg(self.path("to"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut words = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(step) {
            line.clear();
            assert!(words.read_line(&mut line).unwrap() > 0, "it ended before '{step}'");
        }
        (child, words)
    }

    fn list(&self) -> Value {
        run(&self.path("data"), &["status", "--json"]).json()["migrations"][0].clone()
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn ctrl_c_cancels_cleanly_and_says_how_to_go_on() {
    let site = Site::new();
    let (mut child, mut words) = site.begin("Validating");
    signal(&child, "-INT");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut words, &mut rest).unwrap();
    child.stderr = None;
    let ran = finish(child.wait_with_output().unwrap());
    assert_eq!((ran.code, &ran.json()["status"]), (130, &Value::from("cancelled")), "{rest}");
    assert!(rest.contains("migration-assistant rollback") && rest.contains("run the same migrate command again"), "{rest}");

    let listed = site.list();
    assert_eq!(listed["status"], "cancelled");
    let back = run(&site.path("data"), &["rollback", listed["session_id"].as_str().unwrap()]);
    assert_eq!((back.code, files(&site.path("to"))), (0, 0), "{}", back.stderr);
}

#[test]
fn a_killed_migration_goes_on_where_it_stopped() {
    let site = Site::new();
    let (mut child, _words) = site.begin("Transferring files");
    signal(&child, "-KILL");
    child.wait().unwrap();
    let listed = site.list();
    assert_eq!(listed["status"], "running", "nobody has ended it: {listed}");
    let resumed = run(&site.path("data"), &["migrate", "--resume", listed["session_id"].as_str().unwrap(), "--json"]);
    assert_eq!((resumed.code, &resumed.json()["status"]), (0, &Value::from("completed")), "{}", resumed.stderr);
    for i in 0..FILMS {
        assert!(std::fs::read(site.path("to").join(format!("film-{i}.bin"))).unwrap() == vec![i; 24 << 20], "film {i}");
    }
    assert_eq!(files(&site.path("to")), usize::from(FILMS), "nothing half-written is left");
}
