//! What this user may see. The catalogue leaves out what a user has no right to, without a word: so the rights are read, and
//! each kind that may have been left out is named.

use super::super::ddl::lexer::{Token, words};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use ports::databases::Unmovable;
use std::collections::BTreeSet;

/// Rights on the whole database, on all databases, and on the catalogue of routines.
#[derive(Debug, Default)]
pub(in super::super) struct Rights {
    held: BTreeSet<String>,
    global: BTreeSet<String>,
    reads_routines: bool,
    /// Routines that may be altered and dropped by a right on them alone, in lower case.
    alterable: BTreeSet<String>,
    /// The server told no rights at all.
    unknown: bool,
}

/// A kind of object, and one of the rights that make the catalogue list all of it.
const KINDS: [(&str, &[&str]); 4] = [
    ("tables", &["SELECT"]),
    ("routines", &["EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "SHOW CREATE ROUTINE"]),
    ("triggers", &["TRIGGER"]),
    ("events", &["EVENT"]),
];

impl Rights {
    /// Whether the right is held on the whole database.
    pub fn has(&self, right: &str) -> bool {
        self.held.contains(right) || self.held.contains("ALL PRIVILEGES") || self.held.contains("ALL")
    }

    fn lists(&self, kind: &str, rights: &[&str]) -> bool {
        let all_routines = || self.reads_routines || ["SHOW_ROUTINE", "SELECT"].iter().any(|r| self.global.contains(*r));
        rights.iter().any(|r| self.has(r)) || (kind == "routines" && all_routines())
    }

    /// Whether a routine of the database may be altered and dropped; yes where the server does not tell.
    pub fn may_alter(&self, routine: &str) -> bool {
        self.unknown || self.has("ALTER ROUTINE") || self.alterable.contains(&routine.to_lowercase())
    }

    /// The kinds of which this user may not see all, with the right that is missing.
    pub fn missing(&self) -> Vec<(&'static str, &'static str)> {
        KINDS.iter().filter(|(kind, rights)| !self.lists(kind, rights)).filter_map(|(kind, rights)| Some((*kind, *rights.first()?))).collect()
    }

    /// One name for each of these kinds.
    pub fn hidden_kinds(&self, database: &str) -> Vec<Unmovable> {
        let named = |(kind, right): (&str, &str)| Unmovable {
            kind: kind.to_owned(),
            name: format!("{database}.*"),
            reason: format!(
                "this user does not see all {kind} of the database ({right} on {database}.* is missing): if there are any that it does not see, they stay behind"
            ),
        };
        self.missing().into_iter().map(named).collect()
    }
}

/// Reads the rights of the session's user, its active roles included.
pub(in super::super) async fn read(conn: &mut Conn, database: &str) -> Result<Rights, Error> {
    let grants: Vec<String> = match conn.query("SHOW GRANTS").await {
        Ok(grants) => grants,
        // A proxy or service that does not tell: nothing is proven.
        Err(Error::Server(_)) => Vec::new(),
        Err(e) => return Err(e),
    };
    Ok(collect(&grants, database))
}

fn collect(grants: &[String], database: &str) -> Rights {
    let mut rights = Rights { unknown: grants.is_empty(), ..Rights::default() };
    for grant in grants {
        let words = words(grant);
        let Some(on) = words.iter().position(|t| t.is("ON")) else { continue };
        let scope: Vec<String> = words[on + 1..].iter().take_while(|t| !t.is("TO") && !t.is("FROM")).map(scope_part).collect();
        let names = privileges(&words[1..on]);
        if let [_, home, _, routine] = scope.as_slice()
            && matches(home, database)
            && names.iter().any(|n| n == "ALTER ROUTINE" || n.starts_with("ALL"))
        {
            rights.alterable.insert(routine.to_lowercase());
        }
        let [home, dot, thing] = scope.as_slice() else { continue };
        let everywhere = home == "*";
        if dot != "." {
            continue;
        }
        if words[0].is("REVOKE") {
            if matches(home, database) {
                rights.held.retain(|r| !names.contains(r));
            }
        } else if thing == "*" && (everywhere || matches(home, database)) {
            rights.held.extend(names.iter().cloned());
            if everywhere {
                rights.global.extend(names);
            }
        } else if home == "mysql" && matches!(thing.as_str(), "*" | "proc") && names.iter().any(|n| n == "SELECT" || n.starts_with("ALL")) {
            rights.reads_routines = true;
        }
    }
    rights
}

fn scope_part(token: &Token<'_>) -> String {
    token.name().unwrap_or_else(|| token.text.to_owned())
}

/// The names before `ON`, without column lists.
fn privileges(list: &[Token<'_>]) -> BTreeSet<String> {
    let mut names = vec![String::new()];
    let mut depth = 0usize;
    for token in list {
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "," if depth == 0 => names.push(String::new()),
            word if depth == 0 => {
                if let Some(last) = names.last_mut() {
                    if !last.is_empty() {
                        last.push(' ');
                    }
                    last.push_str(&word.to_ascii_uppercase());
                }
            }
            _ => {}
        }
    }
    names.into_iter().collect()
}

/// Whether a database's name matches the pattern of a grant: `_` one character, `%` any, `\` takes the next one as it is.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut p, mut n) = (pattern.chars(), name.chars());
    match (p.next(), n.next()) {
        (None, None) => true,
        (Some('%'), first) => matches(p.as_str(), name) || (first.is_some() && matches(pattern, n.as_str())),
        (Some('_'), Some(_)) => matches(p.as_str(), n.as_str()),
        (Some('\\'), Some(c)) => p.next() == Some(c) && matches(p.as_str(), n.as_str()),
        (Some(c), Some(d)) => c == d && matches(p.as_str(), n.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(grants: &[&str]) -> Vec<&'static str> {
        let grants: Vec<String> = grants.iter().map(|g| (*g).to_owned()).collect();
        collect(&grants, "my_shop").missing().into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn routines_that_may_be_dropped_are_known() {
        let may = |grants: &[&str]| collect(&grants.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>(), "my_shop").may_alter("P1");
        assert!(may(&[]) && may(&["GRANT ALTER ROUTINE ON *.* TO `u`@`%`"]));
        assert!(may(&["GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE `my_shop`.`p1` TO `u`@`%`"]));
        assert!(!may(&["GRANT EXECUTE ON PROCEDURE `my_shop`.`p1` TO `u`@`%`", "GRANT ALTER ROUTINE ON FUNCTION `my_shop`.`p2` TO `u`@`%`"]));
    }

    #[test]
    fn kinds_that_a_user_does_not_see_are_known() {
        assert_eq!(missing(&["GRANT ALL PRIVILEGES ON *.* TO `u`@`%`"]), [""; 0]);
        assert_eq!(missing(&["GRANT USAGE ON *.* TO `u`@`%`", "GRANT ALL PRIVILEGES ON `my\\_shop`.* TO `u`@`%`"]), [""; 0]);
        assert_eq!(missing(&["GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `my%`.* TO `u`@`%`"]), ["routines"]);
        assert_eq!(missing(&["GRANT SELECT, TRIGGER, EVENT ON `my_shop`.* TO `u`@`%`", "GRANT SELECT ON `mysql`.`proc` TO `u`@`%`"]), [""; 0]);
        assert_eq!(missing(&["GRANT SELECT (`a`, `b`), EXECUTE ON `my_shop`.`t` TO `u`@`%`"]), ["tables", "routines", "triggers", "events"]);
        assert_eq!(missing(&["GRANT SELECT ON `other`.* TO `u`@`%`", "GRANT `r`@`%` TO `u`@`%`"]), ["tables", "routines", "triggers", "events"]);
        assert_eq!(missing(&["GRANT SELECT, TRIGGER ON *.* TO `u`@`%`", "REVOKE TRIGGER ON `my_shop`.* FROM `u`@`%`"]), ["triggers", "events"]);
        assert_eq!(missing(&["GRANT SELECT, TRIGGER, EVENT ON *.* TO `u`@`%`", "GRANT SHOW_ROUTINE ON *.* TO `u`@`%`"]), [""; 0]);
    }
}
