//! Ctrl-C, a closed terminal and worse: a migration that was interrupted goes on where it stopped, and others of the same user can reach it.

use crate::program::{finish, program, run};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use testkit::leftovers::TestDirectory;

/// Files of 24 MiB. Together they take longer than a worker needs to see a wish.
const FILMS: u8 = 36;

/// Bytes of a file that takes long.
const WHALE: u64 = 4 << 30;

struct Site {
    dir: TestDirectory,
}

impl Site {
    /// Large enough that no machine has moved it before the first word about it is read.
    fn new() -> Self {
        let dir = TestDirectory::new();
        let from = dir.path().join("from");
        std::fs::create_dir_all(&from).unwrap();
        for i in 0..FILMS {
            std::fs::write(from.join(format!("film-{i}.bin")), vec![i; 24 << 20]).unwrap();
        }
        Self { dir }
    }

    /// Adds a file of holes, which costs nothing here, and bytes at the destination: nobody is through with it before a signal or a wish arrives.
    fn with_whale(&self) {
        std::fs::File::create(self.path("from").join("whale.bin")).unwrap().set_len(WHALE).unwrap();
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

    fn assert_arrived(&self) {
        for i in 0..FILMS {
            assert!(std::fs::read(self.path("to").join(format!("film-{i}.bin"))).unwrap() == vec![i; 24 << 20], "film {i}");
        }
        assert_eq!(files(&self.path("to")), usize::from(FILMS), "nothing half-written is left");
    }

    fn list(&self) -> Value {
        run(&self.path("data"), &["status", "--json"]).json()["migrations"][0].clone()
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Whether this process, and so each of its children, was started with SIGHUP ignored: the lowest bit of the mask.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim().to_owned();
    u64::from_str_radix(&mask, 16).unwrap() & 1 == 1
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn every_signal_pauses_cleanly_and_the_last_line_says_how_to_go_on() {
    let site = Site::new();
    site.with_whale();
    // A program that nohup started has been told to stay, and so have these tests.
    let names = ["-INT", "-TERM", "-HUP"].into_iter().filter(|name| *name != "-HUP" || !hangup_is_ignored());
    for name in names {
        let (mut child, mut words) = site.begin("Transferring files");
        signal(&child, name);
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut words, &mut rest).unwrap();
        child.stderr = None;
        let ran = finish(child.wait_with_output().unwrap());
        assert_eq!((ran.code, &ran.json()["status"]), (130, &Value::from("paused")), "{name}: {rest}");
        let listed = site.list();
        let id = listed["session_id"].as_str().unwrap();
        assert_eq!(listed["status"], "paused", "{name}");
        let last = rest.trim_end().lines().last().unwrap_or_default();
        assert!(last.contains(&format!("migration-assistant resume {id}")), "{name}: {rest}");
        let back = run(&site.path("data"), &["rollback", id, "--yes"]);
        assert_eq!((back.code, files(&site.path("to"))), (0, 0), "{name}: {}", back.stderr);
    }
}

#[test]
fn a_paused_migration_is_resumed() {
    let site = Site::new();
    let (mut child, _words) = site.begin("Transferring files");
    signal(&child, "-TERM");
    child.wait().unwrap();
    let resumed = run(&site.path("data"), &["resume", site.list()["session_id"].as_str().unwrap(), "--json"]);
    assert_eq!((resumed.code, &resumed.json()["status"]), (0, &Value::from("completed")), "{}", resumed.stderr);
    site.assert_arrived();
}

#[test]
fn a_killed_migration_is_interrupted_and_goes_on_where_it_stopped() {
    let site = Site::new();
    let (mut child, _words) = site.begin("Transferring files");
    signal(&child, "-KILL");
    child.wait().unwrap();
    let listed = site.list();
    let id = listed["session_id"].as_str().unwrap();
    assert_eq!(listed["status"], "interrupted", "nobody works on it: {listed}");
    let shown = run(&site.path("data"), &["status", id, "--watch", "--json"]);
    assert_eq!((shown.code, &shown.json()["status"]), (0, &Value::from("interrupted")), "{}", shown.stderr);
    let resumed = run(&site.path("data"), &["migrate", "--resume", id, "--json"]);
    assert_eq!((resumed.code, &resumed.json()["status"]), (0, &Value::from("completed")), "{}", resumed.stderr);
    site.assert_arrived();
}

#[test]
fn another_terminal_reads_pauses_and_cancels() {
    let site = Site::new();
    site.with_whale();
    let data = site.path("data");
    for (command, word, code) in [("pause", "paused", 1), ("cancel", "cancelled", 1)] {
        let (mut child, mut words) = site.begin("Transferring files");
        let listed = site.list();
        let id = listed["session_id"].as_str().unwrap();
        assert_eq!(listed["status"], "running", "{listed}");
        // Stopped, so that it has not ended before the second one gives up waiting for the directory.
        signal(&child, "-STOP");
        let second = run(&data, &["migrate", "--from", "/nowhere", "--to", "/else"]);
        signal(&child, "-CONT");
        assert!(second.code == 1 && second.stderr.contains("in use by"), "{}", second.stderr);
        assert_eq!(run(&data, &["logs", id]).code, 0);
        let asked = run(&data, &[command, id, "--json"]);
        assert_eq!((asked.code, &asked.json()["status"]), (0, &Value::from(word)), "{}", asked.stderr);
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut words, &mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{rest}");
        assert_eq!(site.list()["status"], word);
    }
}
