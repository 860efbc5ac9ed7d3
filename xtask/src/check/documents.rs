//! Any path that a document of ours names must exist: in back-ticks (`crates/cli`), or as a link.

use super::{Complaint, Text};
use crate::workspace;
use std::path::Path;

/// A back-ticked word is a path of the workspace when it begins with one of these.
const ROOMS: [&str; 10] = ["crates/", "docs/", "rig/", "scenarios/", "xtask/", "web/", "proto/", "sdks/", ".ci/", ".cargo/"];

pub fn check(texts: &[Text]) -> Vec<Complaint> {
    let root = workspace::root();
    let documents = texts.iter().filter(|t| t.extension() == "md" && !t.path.components().any(|c| c.as_os_str() == "assets"));
    let mut complaints = Vec::new();
    for document in documents {
        for (line, words) in document.words.lines().enumerate() {
            let inside = paths_in_ticks(words).into_iter().map(|p| root.join(p));
            let links = links_in(words).into_iter().map(|l| root.join(document.path.parent().unwrap_or(Path::new(""))).join(l));
            for missing in inside.chain(links).filter(|p| !p.exists()) {
                let shown = missing.strip_prefix(&root).unwrap_or(&missing).display().to_string();
                complaints.push(Complaint { place: format!("{}:{}", document.name(), line + 1), words: format!("names '{shown}', which does not exist") });
            }
        }
    }
    complaints
}

fn paths_in_ticks(line: &str) -> Vec<&str> {
    let ticked = line.split('`').skip(1).step_by(2);
    let words = ticked.flat_map(|code| code.split_whitespace()).map(|w| w.trim_end_matches([',', ';', ':', '.']));
    words
        .filter(|w| ROOMS.iter().any(|r| w.starts_with(r)) && !w.contains(['*', '<', '{', '…', '$']))
        .map(|w| w.split_once("::").map_or(w, |(p, _)| p))
        .collect()
}

fn links_in(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets
        .filter(|t| !t.contains("://") && !t.starts_with(['#', '/']) && !t.starts_with("mailto:"))
        .map(|t| t.split_once('#').map_or(t, |(path, _)| path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_links_are_found_and_addresses_are_not() {
        let line = "See `crates/cli/src/main.rs`, `cargo xtask test`, `crates/*/src`, [errors](docs/errors.md#codes) and [docs](http://localhost:8000/docs).";
        assert_eq!(paths_in_ticks(line), ["crates/cli/src/main.rs"]);
        assert_eq!(links_in(line), ["docs/errors.md"]);
    }
}
