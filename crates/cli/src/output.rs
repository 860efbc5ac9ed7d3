//! What a person reads goes to stderr while it happens and to stdout when it is the result; with `--json`, stdout holds one
//! JSON document and nothing else.

use crate::failure::{Exit, Failure};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Where a command's words go.
pub struct Output {
    json: bool,
    live: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let live = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        Self { json, live }
    }

    /// Whether live bars make sense.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// A line about what happens now; never part of the result.
    #[expect(clippy::unused_self, reason = "whoever speaks holds the output")]
    pub fn note(&self, line: &str) {
        // A closed stderr is no reason to stop a migration.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// A line of the result, for people. Nothing with `--json`.
    pub fn say(&self, line: &str) {
        if !self.json {
            // The reader may have gone (`| head`); there is nobody left to tell.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }

    /// The one result of `--json`; nothing without it.
    pub fn result(&self, exit: Exit, mut body: Value) {
        if !self.json {
            return;
        }
        if !body.is_object() {
            body = json!({"result": body});
        }
        body["ok"] = json!(exit == Exit::Ok || exit == Exit::Partial);
        body["exit_code"] = json!(exit.code());
        let _ = writeln!(std::io::stdout(), "{body:#}");
    }

    /// The letter of a failed command.
    pub fn fail(&self, failure: &Failure) -> ExitCode {
        self.note(&letter(failure));
        self.result(failure.exit, json!({"error": failure.to_json()}));
        failure.exit.into()
    }
}

/// The letter as it is printed.
pub fn letter(failure: &Failure) -> String {
    let mut text = format!("error: {}", failure.message);
    for line in &failure.lines {
        text.push_str("\n  ");
        text.push_str(line);
    }
    if let Some(advice) = &failure.advice {
        text.push_str("\nhint: ");
        text.push_str(advice);
    }
    text
}
