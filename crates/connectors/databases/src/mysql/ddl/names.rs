//! Taking the source's database name out of definitions, so that they mean the database they will be in.
//!
//! A name is a qualifier where it begins a chain of names (`shop.t`, `shop.t.c`). It may also be an alias, a column, a variable or a
//! label; literals and comments are left alone. Where the text does not tell which it is, it stays as it is and the doubt is told.

use super::lexer::{Kind, Mode, Token, tokens_in};
use std::collections::BTreeSet;

/// A definition without the name of its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Unqualified {
    pub sql: String,
    /// What may still mean the old database, in words.
    pub doubts: Vec<String>,
}

/// Words behind which a chain of two names is a database and something in it.
const BEFORE_OBJECTS: [&str; 12] = ["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "CALL", "STRAIGHT_JOIN", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT"];

/// Takes the qualifier `database` out of a text written in `mode`.
pub(in super::super) fn unqualified(sql: &str, mode: Mode, database: &str) -> Unqualified {
    let all = tokens_in(sql, mode);
    let chains = chains(&all);
    let is_own = |at: usize| all[at].name().as_deref() == Some(database);
    // The name is in use for something else than the database: an alias, a table, a variable.
    let shared = chains.iter().any(|chain| matches!(chain.parts.as_slice(), [one] if is_own(*one)) || chain.parts.get(1).is_some_and(|p| is_own(*p)));
    let mut out: Vec<&str> = all.iter().map(|t| t.text).collect();
    let mut unsure = false;
    for chain in chains.iter().filter(|c| c.parts.len() > 1 && is_own(c.parts[0])) {
        if chain.is_certain(&all) || !shared {
            out[chain.parts[0]..chain.parts[1]].fill("");
        } else {
            unsure = true;
        }
    }
    let mut doubts = Vec::new();
    if unsure {
        doubts.push(format!("'{database}.' may mean the source database or something else of that name, and was left as it is"));
    }
    doubts.extend(hidden(&all, database));
    Unqualified { sql: out.concat(), doubts }
}

/// Names that a text written in `mode` may mean objects of `database` by: behind its qualifier, and, where the text is of this database itself
/// (`here`), without one. Columns and aliases of such a name are among them: the text does not always tell which it is.
pub(in super::super) fn mentioned(sql: &str, mode: Mode, database: &str, here: bool) -> BTreeSet<String> {
    let all = tokens_in(sql, mode);
    let mut found = BTreeSet::new();
    for chain in chains(&all) {
        let mut names = chain.parts.iter().filter_map(|at| all[*at].name());
        let first = names.next().unwrap_or_default();
        let second = names.next().filter(|_| first.eq_ignore_ascii_case(database));
        found.extend(second.into_iter().chain(Some(first).filter(|_| here)));
    }
    // The server runs what stands in these comments.
    let executable = |t: &&Token<'_>| t.kind == Kind::Comment && (t.text.starts_with("/*!") || t.text.starts_with("/*M!"));
    for comment in all.iter().filter(executable) {
        let inner = comment.text.trim_start_matches(|c: char| !c.is_whitespace()).trim_end_matches("*/");
        found.extend(mentioned(inner, mode, database, here));
    }
    found
}

/// Names joined by dots, by the positions of their tokens.
struct Chain {
    parts: Vec<usize>,
    /// The token before it that means something.
    before: Option<usize>,
    /// An opening parenthesis follows at once.
    called: bool,
}

impl Chain {
    /// Whether its place says that it names an object of a database.
    fn is_certain(&self, all: &[Token<'_>]) -> bool {
        if self.parts.len() > 2 || self.called {
            return true;
        }
        let Some(before) = self.before else { return false };
        let behind_key = || all[..before].iter().rev().find(|t| t.kind != Kind::Space).is_some_and(|t| t.is("KEY"));
        // ON DUPLICATE KEY UPDATE goes on with a column.
        BEFORE_OBJECTS.iter().any(|w| all[before].is(w)) && !(all[before].is("UPDATE") && behind_key())
    }
}

fn chains(all: &[Token<'_>]) -> Vec<Chain> {
    let solid = |from: usize| (from..all.len()).find(|at| !matches!(all[*at].kind, Kind::Space | Kind::Comment));
    let mut out = Vec::new();
    let mut before = None;
    let mut next = solid(0);
    while let Some(at) = next {
        if !matches!(all[at].kind, Kind::Word | Kind::Name) || all[at].text.starts_with('@') {
            before = Some(at);
            next = solid(at + 1);
            continue;
        }
        let mut parts = vec![at];
        let mut end = solid(at + 1);
        while let Some(dot) = end.filter(|d| all[*d].text == ".") {
            let Some(part) = solid(dot + 1).filter(|p| matches!(all[*p].kind, Kind::Word | Kind::Name)) else { break };
            parts.push(part);
            end = solid(part + 1);
        }
        let called = end.is_some_and(|e| all[e].is("("));
        // Before or after `@` stands an account or a variable, after a stray dot a part of something: never a database.
        let begins = before.is_none_or(|b| all[b].text != "." && !all[b].text.ends_with('@'));
        let last = parts.last().copied();
        if begins && !end.is_some_and(|e| all[e].text.starts_with('@')) {
            out.push(Chain { parts, before, called });
        }
        before = last;
        next = end;
    }
    out
}

/// Places that a rewriting does not reach: executable comments, and SQL that a program puts together from literals.
fn hidden(all: &[Token<'_>], database: &str) -> Vec<String> {
    let mut doubts = Vec::new();
    let holds = |text: &str| mentions(text, database);
    if all.iter().any(|t| t.kind == Kind::Comment && (t.text.starts_with("/*!") || t.text.starts_with("/*M!")) && holds(t.text)) {
        doubts.push(format!("an executable comment names '{database}' and was left as it is"));
    }
    let dynamic = all.iter().any(|t| t.is("PREPARE") || t.is("IMMEDIATE"));
    if dynamic && all.iter().any(|t| t.kind == Kind::Text && holds(t.text)) {
        doubts.push(format!("it runs statements made from text that names '{database}', which was left as it is"));
    }
    doubts
}

/// Whether the text holds the name as a whole word.
fn mentions(text: &str, name: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(inside) && !text[at + name.len()..].starts_with(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str, mode: &str) -> String {
        let found = unqualified(sql, Mode::of(mode), "shop");
        assert_eq!(found.doubts, Vec::<String>::new(), "{sql}");
        found.sql
    }

    #[test]
    fn the_databases_own_name_is_taken_out() {
        for (from, to) in [
            ("select `shop`.`t`.`a` from (`shop`.`t` join `other`.`t` `x`)", "select `t`.`a` from (`t` join `other`.`t` `x`)"),
            ("SET n = (SELECT COUNT(*) FROM shop.t2) -- shopping", "SET n = (SELECT COUNT(*) FROM t2) -- shopping"),
            ("SELECT shop . t . id, shop.f(1) FROM a, shop.b", "SELECT t . id, f(1) FROM a, b"),
            ("SELECT 'shop.t', `shop`.t", "SELECT 'shop.t', t"),
            (
                "CREATE PROCEDURE p() BEGIN -- don't\nINSERT INTO shop.t VALUES ('shop.t'); # it's\nUPDATE shop.t SET a=1; END",
                "CREATE PROCEDURE p() BEGIN -- don't\nINSERT INTO t VALUES ('shop.t'); # it's\nUPDATE t SET a=1; END",
            ),
            ("CREATE DEFINER=`shop`@`%` VIEW v AS select 1 AS a from t, shop.u", "CREATE DEFINER=`shop`@`%` VIEW v AS select 1 AS a from t, u"),
            ("`n` int DEFAULT nextval(`shop`.`sq`)", "`n` int DEFAULT nextval(`sq`)"),
            ("SELECT @shop.x, s.shop FROM shop.s s", "SELECT @shop.x, s.shop FROM s s"),
            ("select `s`.`shop` AS `shop` from `shop`.`stock` `s`", "select `s`.`shop` AS `shop` from `stock` `s`"),
        ] {
            assert_eq!(rewritten(from, ""), to);
        }
        assert_eq!(rewritten(r#"INSERT INTO "shop"."t"("c") VALUES ('"shop".x')"#, "ANSI_QUOTES"), r#"INSERT INTO "t"("c") VALUES ('"shop".x')"#);
        assert_eq!(
            rewritten(r"VALUES ('C:\'); INSERT INTO shop.t VALUES ('shop.t \')", "NO_BACKSLASH_ESCAPES"),
            r"VALUES ('C:\'); INSERT INTO t VALUES ('shop.t \')"
        );
    }

    #[test]
    fn names_that_may_mean_an_object_are_found() {
        let found = |sql, here| mentioned(sql, Mode::default(), "shop", here).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(found("select `x`.`a` AS `b` from (`shop`.`t` `x` join `other`.`u`)", false), "t");
        assert_eq!(found("BEGIN DELETE FROM t2 WHERE id = NEW.t; /*!50000 DELETE FROM t3 */ -- t4\n END", true), "BEGIN DELETE END FROM NEW WHERE id t2 t3");
        assert_eq!(found("SET NEW.a = (SELECT MAX(id) FROM shop.`t 1`), @t = 't'", false), "t 1");
    }

    #[test]
    fn what_is_not_certain_is_left_and_told() {
        for (sql, left) in [
            ("SELECT shop.id FROM items AS shop", "SELECT shop.id FROM items AS shop"),
            ("SELECT shop.id FROM shop.items AS shop", "SELECT shop.id FROM items AS shop"),
            ("INSERT INTO shop SELECT 1 ON DUPLICATE KEY UPDATE shop.n = 1", "INSERT INTO shop SELECT 1 ON DUPLICATE KEY UPDATE shop.n = 1"),
            ("SET @s = 'DELETE FROM shop.t'; PREPARE x FROM @s", "SET @s = 'DELETE FROM shop.t'; PREPARE x FROM @s"),
            ("SELECT 1 /*!50000 FROM shop.t */", "SELECT 1 /*!50000 FROM shop.t */"),
        ] {
            let found = unqualified(sql, Mode::default(), "shop");
            assert_eq!(found.sql, left);
            assert_eq!(found.doubts.len(), 1, "{sql}: {:?}", found.doubts);
        }
        assert_eq!(unqualified("SET @s = 'a workshop'; PREPARE x FROM @s", Mode::default(), "shop").doubts, Vec::<String>::new());
    }
}
