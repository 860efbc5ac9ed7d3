//! `cargo xtask demo`: the product in a minute, on a machine with Rust only. A static site of some thousand files and a SQLite
//! database move to a place where an older shop is live; the result is verified and compared; then everything is taken back.

use crate::{interrupt, workspace};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

pub fn run(args: &[String]) -> Result<()> {
    let keep = match args {
        [] => false,
        [only] if only == "--keep" => true,
        _ => bail!("cargo xtask demo [--keep]"),
    };
    say("Building (the first time takes some minutes) …");
    workspace::run(workspace::cargo().args(["build", "--quiet", "--package", "migration-assistant", "--package", "scenarios", "--bins"]))?;
    let dir = std::env::temp_dir().join(format!("migration-assistant-demo-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let stage = Stage { dir };
    let shown = stage.play(keep);
    if keep && shown.is_ok() {
        println!("Everything is in {}", stage.dir.display());
    } else {
        std::fs::remove_dir_all(&stage.dir).with_context(|| format!("remove {}", stage.dir.display()))?;
    }
    shown
}

struct Stage {
    dir: PathBuf,
}

impl Stage {
    fn play(&self, keep: bool) -> Result<()> {
        say("Making a shop: a static site and a SQLite database. Where it will move to, an older shop is live.");
        workspace::run(site().arg("make").arg(&self.dir))?;
        let (source, before) = (self.fingerprint("site", "shop.db")?, self.fingerprint("live", "live.db")?);
        println!("  source:      {source}\n  destination: {before}");

        let server = Server::start(&self.dir)?;
        say(&format!("The control plane is ready at {}", server.address));
        say("Moving the shop");
        let moved = self.migrate(&server)?;
        let id = moved["session_id"].as_str().context("the result has an id")?.to_owned();

        say("Is it really there? Comparing source and destination without the program's help");
        let arrived = self.fingerprint("live", "live.db")?;
        println!("  source:      {source}\n  destination: {arrived}   (and the one file that was there before)");
        self.every_file_arrived()?;
        ensure!(rows(&arrived) == rows(&source), "the database that arrived is not the source's");

        say("Taking it back");
        server.command(&["rollback", &id, "--yes"])?;
        let after = self.fingerprint("live", "live.db")?;
        println!("  before: {before}\n  after:  {after}");
        ensure!(before == after, "the destination is not as it was before");
        println!("  The destination is as it was before, to the last byte of every file and the last row of every table.");

        println!("\nWhere to look next, while `migration-assistant serve` runs:");
        println!(
            "  console        {}/console\n  documentation  {}/docs\n  report         {}/migrations/{id}/report?format=html",
            server.address, server.address, server.address
        );
        if keep {
            println!("\nThe server keeps running (process {}); stop it with: kill {}", server.child.id(), server.child.id());
            server.leave();
        } else {
            println!("  (cargo xtask demo --keep leaves the server running)");
        }
        Ok(())
    }

    fn migrate(&self, server: &Server) -> Result<Value> {
        let place = |name: &str| self.dir.join(name).display().to_string();
        let (from, to) = (place("site"), place("live"));
        let (from_db, to_db) = (format!("sqlite:{}", place("shop.db")), format!("sqlite:{}", place("live.db")));
        let args = ["migrate", "--from", &from, "--to", &to, "--from-db", &from_db, "--to-db", &to_db, "--name", "The shop moves"];
        let shown: Vec<_> = args.iter().map(|a| if a.contains(' ') { format!("'{a}'") } else { (*a).to_owned() }).collect();
        println!("  $ migration-assistant {}", shown.join(" "));
        server.command(&args)?;
        // The newest migration is ours: the server is.
        let list = workspace::output(server.program().args(["status", "--json"]))?;
        let list: Value = serde_json::from_str(&list)?;
        Ok(list["migrations"][0].clone())
    }

    fn fingerprint(&self, tree: &str, database: &str) -> Result<String> {
        let line = workspace::output(site().arg("fingerprint").arg(self.dir.join(tree)).arg(self.dir.join(database)))?;
        Ok(line.trim().to_owned())
    }

    fn every_file_arrived(&self) -> Result<()> {
        let (mut todo, mut compared) = (vec![PathBuf::new()], 0);
        while let Some(relative) = todo.pop() {
            for entry in std::fs::read_dir(self.dir.join("site").join(&relative))? {
                let entry = entry?;
                let relative = relative.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    todo.push(relative);
                    continue;
                }
                let copy = std::fs::read(self.dir.join("live").join(&relative)).with_context(|| format!("{} did not arrive", relative.display()))?;
                ensure!(std::fs::read(entry.path())? == copy, "{} is not as it was sent", relative.display());
                compared += 1;
            }
        }
        println!("  {compared} files are the same, byte for byte.");
        Ok(())
    }
}

/// The part of a fingerprint that tells of the database.
fn rows(fingerprint: &str) -> &str {
    fingerprint.split_once(", ").map_or("", |(_, rows)| rows)
}

/// A running `serve`. Dropping it asks it to stop, and waits.
struct Server {
    child: Child,
    address: String,
    data: PathBuf,
    /// Kept open, so that the server's words have somewhere to go.
    _words: BufReader<ChildStdout>,
}

impl Server {
    fn start(dir: &Path) -> Result<Self> {
        let log = std::fs::File::create(dir.join("server.log"))?;
        let mut command = binary("migration-assistant");
        command.args(["serve", "--port", "0", "--json"]).arg("--data-dir").arg(dir.join("data")).arg("--local-root").arg(dir);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().context("start the control plane")?;
        let mut words = BufReader::new(child.stdout.take().context("the server has an output")?);
        let mut greeting = String::new();
        while serde_json::from_str::<Value>(&greeting).is_err() {
            if words.read_line(&mut greeting)? == 0 {
                let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
                bail!("the control plane ended at once: {log}");
            }
        }
        let greeting: Value = serde_json::from_str(&greeting)?;
        let address = greeting["address"].as_str().context("the greeting names the address")?.to_owned();
        Ok(Self { child, address, data: dir.join("data"), _words: words })
    }

    fn program(&self) -> Command {
        let mut command = binary("migration-assistant");
        command.env("MIGRATION_ASSISTANT_SERVER", &self.address);
        command
    }

    /// A command of the product against this server, with its own words on the screen.
    fn command(&self, args: &[&str]) -> Result<()> {
        workspace::run(self.program().args(args)).with_context(|| format!("the server's log is in {}", self.data.with_file_name("server.log").display()))
    }

    /// Lets it run on after us.
    fn leave(mut self) {
        self.address.clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.address.is_empty() {
            return;
        }
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // Already ended is fine.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if let Err(error) = self.child.wait() {
            eprintln!("xtask: the server did not end well: {error}");
        }
    }
}

fn binary(name: &str) -> Command {
    Command::new(workspace::target().join("debug").join(name))
}

fn site() -> Command {
    binary("demo-site")
}

fn say(words: &str) {
    if !interrupt::asked() {
        println!("\n▶ {words}");
    }
}
