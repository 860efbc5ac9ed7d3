//! `cargo xtask check`: what can be said about the workspace without running it.

mod arrows;
mod documents;
mod sources;

use crate::workspace;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// One thing that is wrong: where, and what to do.
struct Complaint {
    place: String,
    words: String,
}

/// A file of the workspace that is text.
struct Text {
    path: PathBuf,
    words: String,
}

impl Text {
    fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    fn extension(&self) -> &str {
        self.path.extension().and_then(|e| e.to_str()).unwrap_or_default()
    }
}

/// Runs all checks; every complaint is printed before it fails.
pub fn run() -> Result<()> {
    let texts = read()?;
    let mut complaints = arrows::check(&texts)?;
    complaints.extend(sources::check(&texts));
    complaints.extend(documents::check(&texts));
    for c in &complaints {
        eprintln!("{}: {}", c.place, c.words);
    }
    let mut failed = Vec::new();
    for (name, args) in
        [("format", &["fmt", "--all", "--", "--check"][..]), ("lints", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"][..])]
    {
        if let Err(error) = workspace::run(workspace::cargo().args(args)) {
            failed.push(format!("{name}: {error}"));
        }
    }
    if !complaints.is_empty() {
        failed.push(format!("{} complaints about arrows, sizes or documents", complaints.len()));
    }
    if !failed.is_empty() {
        bail!("check failed: {}", failed.join("; "));
    }
    println!("check: {} files in order", texts.len());
    Ok(())
}

fn read() -> Result<Vec<Text>> {
    let root = workspace::root();
    let mut texts = Vec::new();
    for path in workspace::files()? {
        // What is not UTF-8 (images, fonts, test data) is no text and says nothing.
        if let Ok(words) = std::fs::read_to_string(root.join(&path)) {
            texts.push(Text { path, words });
        }
    }
    Ok(texts)
}
