//! What a single source file must not be: too long, unfinished, or tied to somebody's machine.

use super::{Complaint, Text};

/// Lines that a file of code may have.
const LONGEST: usize = 600;

const CODE: [&str; 8] = ["rs", "sh", "py", "ts", "tsx", "js", "mjs", "go"];

/// Left behind by unfinished work. In two parts, so that this file does not accuse itself.
const UNFINISHED: [&str; 4] = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!("), concat!("FIX", "ME")];

/// Places where packages come from that any machine can reach; a lock file names no other.
const PUBLIC: [&str; 6] = [
    "https://github.com/",
    "https://registry.npmjs.org/",
    "https://pypi.org/",
    "https://files.pythonhosted.org/",
    "https://proxy.golang.org/",
    "https://index.crates.io/",
];

const LOCKS: [&str; 6] = ["Cargo.lock", "package-lock.json", ".npmrc", "pip.conf", "uv.lock", "config.toml"];

pub fn check(texts: &[Text]) -> Vec<Complaint> {
    let ours = texts.iter().filter(|t| !t.path.components().any(|c| c.as_os_str() == "assets"));
    ours.flat_map(|t| one(t).into_iter().map(|words| Complaint { place: t.name(), words })).collect()
}

fn one(text: &Text) -> Vec<String> {
    let mut wrong = Vec::new();
    let lock = text.path.file_name().is_some_and(|n| LOCKS.iter().any(|l| n == *l));
    if lock {
        wrong.extend(
            text.words
                .lines()
                .enumerate()
                .filter(|(_, l)| names_private_registry(l))
                .map(|(n, _)| format!("line {}: names a package registry that is not public", n + 1)),
        );
        return wrong;
    }
    let code = CODE.contains(&text.extension());
    let length = text.words.lines().count();
    if code && length > LONGEST {
        wrong.push(format!("{length} lines; split it by subject (at most {LONGEST})"));
    }
    for (n, line) in text.words.lines().enumerate() {
        if let Some(word) = UNFINISHED.iter().find(|w| code && line.contains(**w)) {
            wrong.push(format!("line {}: '{word}' has no place in finished code", n + 1));
        }
        if code && note_without_issue(line) {
            wrong.push(format!("line {}: a {} names its issue: {}(#12)", n + 1, concat!("TO", "DO"), concat!("TO", "DO")));
        }
        if names_a_machine(line) {
            wrong.push(format!("line {}: a path of one machine; say it relative to the workspace", n + 1));
        }
    }
    wrong
}

fn note_without_issue(line: &str) -> bool {
    let word = concat!("TO", "DO");
    let mut rest = line;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let whole = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if whole && !after.starts_with("(#") {
            return true;
        }
        rest = after;
    }
    false
}

/// A directory that exists on the builder's machine alone.
fn names_a_machine(line: &str) -> bool {
    let places = [concat!("/wo", "rk/main"), concat!("/wo", "rk/shared"), concat!("/wo", "rk/.")];
    places.iter().any(|p| line.contains(p))
}

fn names_private_registry(line: &str) -> bool {
    let address = line.find("http://").or_else(|| line.find("https://")).map(|at| &line[at..]);
    address.is_some_and(|a| !PUBLIC.iter().any(|p| a.starts_with(p)) && !line.contains("\"funding\"") && !line.contains("\"url\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn said(name: &str, words: &str) -> Vec<String> {
        one(&Text { path: PathBuf::from(name), words: words.to_owned() })
    }

    #[test]
    fn long_files_are_caught_but_not_long_data() {
        assert_eq!(said("a.rs", &"x\n".repeat(601)), ["601 lines; split it by subject (at most 600)"]);
        assert_eq!(said("a.rs", &"x\n".repeat(600)), [""; 0]);
        assert_eq!(said("a.json", &"x\n".repeat(9000)), [""; 0]);
    }

    #[test]
    fn notes_need_an_issue_and_machines_stay_private() {
        let note = concat!("// TO", "DO later");
        assert_eq!(said("a.rs", note).len(), 1);
        assert_eq!(said("a.rs", concat!("// TO", "DO(#7) later, MASTO", "DON")).len(), 0);
        assert_eq!(said("a.md", concat!("see /wo", "rk/main/x")).len(), 1);
        assert_eq!(said("Cargo.lock", "source = \"registry+https://mirror.example/index\"").len(), 1);
        assert_eq!(said("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"").len(), 0);
    }
}
