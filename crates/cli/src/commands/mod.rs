//! What each command does: a few requests through the door, and a result.

mod db;
mod lifecycle;
mod migrate;
mod outcome;
mod presets;
mod report;
mod rollback;
mod show;
mod validate;

use crate::args::{Args, Command, Presets};
use crate::door::{self, Door, Needs};
use crate::failure::{Exit, Failure};
use crate::follow::OnSignal;
use crate::output::Output;
use crate::serve;
use crate::signals::Signals;
use control::operations::Sampling;
use serde_json::Value;

/// A command at work: where it talks to, and where its words go.
struct Session<'a> {
    door: &'a dyn Door,
    output: &'a Output,
    signals: Signals,
    /// What the user must add to another command so that it means the same control plane: ` --server URL`, or nothing.
    place: String,
}

impl Session<'_> {
    /// A command to copy: `migration-assistant rollback 0198… --server http://…`.
    fn command(&self, words: &str) -> String {
        format!("migration-assistant {words}{}", self.place)
    }

    /// A signal means leaving where a server goes on with the work, and pausing where this process does it.
    fn on_signal(&self) -> OnSignal {
        if self.door.address().is_some() { OnSignal::Leave } else { OnSignal::Pause }
    }

    /// A request that a signal may cut short.
    async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut signals = self.signals.clone();
        tokio::select! {
            answer = self.door.post(path, body) => answer,
            () = signals.next() => Err(Failure::new(Exit::Interrupted, "INTERRUPTED", "Interrupted before there was an answer")),
        }
    }
}

pub async fn run(args: Args, output: &Output, sampling: Sampling) -> Result<Exit, Failure> {
    if let Command::Serve(options) = &args.command {
        return serve::run(&args, options, output, sampling).await;
    }
    if let Command::Db(options) = &args.command {
        return db::run(&args, options, output).await;
    }
    refuse_early(&args)?;
    let needs = match &args.command {
        Command::Migrate(m) if m.dry_run => Needs::Reading,
        Command::Rollback(r) if r.dry_run => Needs::Reading,
        Command::Presets(Presets::CreateMigration(p)) if p.start => Needs::Working,
        Command::Migrate(_) | Command::Rollback(_) | Command::Resume(_) => Needs::Working,
        Command::Pause(_) | Command::Cancel(_) => Needs::Telling,
        Command::Serve(_)
        | Command::Db(_)
        | Command::Validate(_)
        | Command::Status(_)
        | Command::Logs(_)
        | Command::Report(_)
        | Command::Release(_)
        | Command::Presets(_) => Needs::Reading,
    };
    // A configuration that cannot be read needs no journal.
    let document = match &args.command {
        Command::Migrate(m) if m.resume.is_none() => Some(crate::config::read(&m.what)?),
        Command::Validate(v) => Some(crate::config::read(&v.what)?),
        Command::Presets(Presets::Import(i)) => Some(crate::config::file(&i.file)?),
        Command::Presets(Presets::CreateMigration(p)) => Some(presets::overrides(&p.set)?),
        _ => None,
    };
    let signals = if follows(&args.command, needs) { Signals::listen()? } else { Signals::none() };
    let door = door::open(&args, needs).await?;
    let session = Session { door: &*door, output, signals: signals.clone(), place: place(&args) };
    let ended = match (&args.command, document) {
        (Command::Migrate(m), document) => session.migrate(m, document).await,
        (Command::Validate(_), Some(document)) => session.validate(&document).await,
        (Command::Status(s), _) => session.status(s).await,
        (Command::Logs(l), _) => session.logs(l).await,
        (Command::Report(r), _) => session.report(r).await,
        (Command::Rollback(r), _) => session.rollback(r).await,
        (Command::Pause(one), _) => session.pause(&one.id).await,
        (Command::Resume(r), _) => session.resume(&r.id, r.detach).await,
        (Command::Cancel(one), _) => session.cancel(&one.id).await,
        (Command::Release(r), _) => session.release(&r.id, r.force).await,
        (Command::Presets(p), document) => session.presets(p, document).await,
        (Command::Serve(_) | Command::Db(_) | Command::Validate(_), _) => Ok(Exit::Ok),
    };
    close(door, signals).await;
    ended
}

/// Waits until the work has stopped cleanly, unless a further signal says not to.
async fn close(door: Box<dyn Door>, mut signals: Signals) {
    // Those that came until now have been heeded.
    signals.forget();
    tokio::select! { () = door.close() => {}, () = signals.next() => {} }
}

/// Commands that look on or work until somebody stops them. All others end with the first signal.
fn follows(command: &Command, needs: Needs) -> bool {
    match command {
        Command::Status(s) => s.watch,
        Command::Logs(l) => l.follow,
        _ => needs != Needs::Reading,
    }
}

/// Only a server goes on without us.
fn refuse_early(args: &Args) -> Result<(), Failure> {
    let detach = match &args.command {
        Command::Migrate(m) => m.detach,
        Command::Rollback(r) => r.detach,
        Command::Resume(r) => r.detach,
        _ => false,
    };
    if detach && args.server.is_none() {
        return Err(Failure::usage("--detach needs --server: without a server the work is done in this process and ends with it"));
    }
    if let Command::Rollback(r) = &args.command {
        rollback::refuse_unasked(r, args.json)?;
    }
    Ok(())
}

fn place(args: &Args) -> String {
    match (&args.server, &args.data_dir) {
        (Some(url), _) => format!(" --server {url}"),
        (None, Some(dir)) => format!(" --data-dir {}", dir.display()),
        (None, None) => String::new(),
    }
}

/// The path of a migration, or of something below it.
fn path(id: &str, rest: &str) -> String {
    below("migrations", id, rest)
}

/// An id as part of a path: everything but the plainest characters is escaped.
fn below(noun: &str, id: &str, rest: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    format!("/{noun}/{escaped}{rest}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        assert_eq!(super::path("a/../b?x=1", "/status"), "/migrations/a%2F..%2Fb%3Fx%3D1/status");
    }
}
