//! What a caller may do, as a closed list of words.

use crate::caller::ADMIN;
use domain::decode::Problems;
use std::collections::BTreeSet;

/// A set of scopes.
pub type Scopes = BTreeSet<String>;

/// Every scope with what it allows, for people.
pub const ALL: &[(&str, &str)] = &[
    ("migrations:read", "See migrations, their logs and backups, analytics and schedules"),
    ("migrations:write", "Create, change, start, stop and undo migrations"),
    ("presets:read", "See presets"),
    ("presets:write", "Create and change presets"),
    ("templates:read", "See templates"),
    ("templates:write", "Create and change templates"),
    ("webhooks:read", "See webhooks and their deliveries"),
    ("webhooks:write", "Create and change webhooks"),
    ("workloads:read", "See workloads"),
    ("workloads:write", "Create and change workloads"),
    ("processes:read", "See processes"),
    ("processes:write", "Start, stop and move processes"),
    ("vms:read", "See virtual machines"),
    ("vms:write", "Create, start, stop and move virtual machines"),
    (ADMIN, "Everything in the tenant: also its users, keys and audit log"),
];

/// Everything but `admin`: what an application gets that asks for nothing in particular.
pub fn ordinary() -> Scopes {
    ALL.iter().map(|(word, _)| *word).filter(|word| *word != ADMIN).map(str::to_owned).collect()
}

/// Notes every unknown word.
pub fn judge(field: &str, given: Vec<String>, problems: &mut Problems) -> Scopes {
    for (i, word) in given.iter().enumerate() {
        if !is_known(word) {
            let list = ALL.iter().map(|(w, _)| *w).collect::<Vec<_>>().join(", ");
            problems.note(format!("{field}[{i}]"), format!("'{}' is not one of: {list}", word.escape_default()));
        }
    }
    given.into_iter().collect()
}

/// OAuth's form: words between blanks. `None` when one of them is unknown.
pub fn parse(text: &str) -> Option<Scopes> {
    let words: Scopes = text.split_ascii_whitespace().map(str::to_owned).collect();
    words.iter().all(|w| is_known(w)).then_some(words)
}

pub fn text(scopes: &Scopes) -> String {
    scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// What is left of `has` when only `limit` was granted. `admin` includes all others, on both sides.
pub fn narrowed(has: &Scopes, limit: &Scopes) -> Scopes {
    if limit.contains(ADMIN) {
        return has.clone();
    }
    if has.contains(ADMIN) {
        return limit.clone();
    }
    has.intersection(limit).cloned().collect()
}

/// Whether somebody with `has` may hand out `wanted`.
pub fn covers(has: &Scopes, wanted: &Scopes) -> bool {
    has.contains(ADMIN) || wanted.is_subset(has)
}

fn is_known(word: &str) -> bool {
    ALL.iter().any(|(known, _)| *known == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &str) -> Scopes {
        parse(words).expect("known scopes")
    }

    #[test]
    fn a_grant_never_widens() {
        assert_eq!(narrowed(&set("admin"), &set("presets:read")), set("presets:read"));
        assert_eq!(narrowed(&set("presets:read"), &set("admin")), set("presets:read"));
        assert_eq!(narrowed(&set("presets:read vms:read"), &set("vms:read vms:write")), set("vms:read"));
        assert!(covers(&set("admin"), &set("vms:write")) && !covers(&set("vms:read"), &set("vms:write")) && !covers(&set("vms:read"), &set("admin")));
        assert_eq!(parse("vms:read root"), None);
    }
}
