//! Who may know whom: the arrows between the crates, read from their manifests, tests included.

use super::{Complaint, Text};
use anyhow::{Context, Result};

/// Crate → crates of ours that it may depend on. A crate that is not listed may depend on everything.
const ARROWS: [(&str, &[&str]); 13] = [
    ("domain", &[]),
    ("ports", &["domain"]),
    ("engine", &[]),
    ("store", &["engine", "ports", "domain"]),
    ("movers", &["ports", "domain"]),
    ("connectors-files", &["ports", "domain"]),
    ("connectors-databases", &["ports", "domain"]),
    ("connectors-hosts", &["ports", "domain"]),
    ("connectors-clouds", &["ports", "domain"]),
    ("couriers", &["ports", "domain"]),
    ("plans", &["engine", "ports", "movers", "domain"]),
    ("control", &["plans", "engine", "ports", "domain"]),
    ("api", &["control", "domain"]),
];

/// Crates that may depend on whatever they need: the binary, and what only tests and developers use.
const FREE: [&str; 4] = ["migration-assistant", "testkit", "scenarios", "xtask"];

pub fn check(texts: &[Text]) -> Result<Vec<Complaint>> {
    let mut complaints = Vec::new();
    for text in texts.iter().filter(|t| t.path.ends_with("Cargo.toml") && t.path.components().count() > 1) {
        let manifest: toml::Table = text.words.parse().with_context(|| text.name())?;
        let Some(name) = manifest.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str()) else { continue };
        complaints.extend(foreign_arrows(name, &manifest).into_iter().map(|words| Complaint { place: text.name(), words }));
    }
    Ok(complaints)
}

fn foreign_arrows(name: &str, manifest: &toml::Table) -> Vec<String> {
    if FREE.contains(&name) {
        return Vec::new();
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![format!("crate '{name}' has no row in the table of arrows (xtask/src/check/arrows.rs)")];
    };
    let mut wrong = Vec::new();
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        let Some(table) = manifest.get(section).and_then(|d| d.as_table()) else { continue };
        for other in table.keys().filter(|k| ours(k)) {
            // The tests of a connector move and take back with the mover: only that shows that a dump is as before.
            let moved = other == "movers" && name.starts_with("connectors-");
            let in_tests = section == "dev-dependencies" && (other == "testkit" || moved);
            if !in_tests && !allowed.contains(&other.as_str()) {
                wrong.push(format!(
                    "[{section}] '{name}' may not know '{other}' (allowed: {})",
                    if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") }
                ));
            }
        }
    }
    wrong
}

fn ours(name: &str) -> bool {
    FREE.contains(&name) || ARROWS.iter().any(|(from, _)| *from == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_against_the_plan_is_named_also_in_tests() {
        let manifest = "[dependencies]\nports.workspace = true\nserde = '1'\n[dev-dependencies]\ntestkit.workspace = true\nconnectors-files.workspace = true"
            .parse()
            .unwrap();
        assert_eq!(foreign_arrows("movers", &manifest), ["[dev-dependencies] 'movers' may not know 'connectors-files' (allowed: ports, domain)"]);
        assert_eq!(foreign_arrows("engine", &manifest).len(), 2);
        assert_eq!(foreign_arrows("scenarios", &manifest).len(), 0);
    }

    #[test]
    fn a_new_crate_must_take_its_place() {
        assert!(foreign_arrows("helpers", &toml::Table::new())[0].contains("no row"));
    }
}
