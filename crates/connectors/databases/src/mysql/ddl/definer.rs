//! The account in whose name a view or a stored program runs.

use super::lexer::{Kind, Mode, tokens_in, words_in};

/// The account named by `DEFINER=`, as `(user, host)`.
pub(in super::super) fn definer(sql: &str, mode: Mode) -> Option<(String, String)> {
    let all = words_in(sql, mode);
    let at = all.iter().position(|t| t.is("DEFINER"))?;
    let [eq, user, sign, host] = all.get(at + 1..at + 5)? else { return None };
    let named = eq.is("=") && user.kind == Kind::Name && sign.text == "@" && host.kind == Kind::Name;
    if named { user.name().zip(host.name()) } else { None }
}

/// The same statement with the user who runs it as its definer.
pub(in super::super) fn without_definer(sql: &str, mode: Mode) -> String {
    let all = tokens_in(sql, mode);
    let Some(at) = all.iter().position(|t| t.is("DEFINER")) else { return sql.to_owned() };
    let Some(host) = (at..all.len()).filter(|i| all[*i].kind == Kind::Name).nth(1) else { return sql.to_owned() };
    let before: String = all[..at].iter().map(|t| t.text).collect();
    let after: String = all[host + 1..].iter().map(|t| t.text).collect();
    format!("{before}DEFINER=CURRENT_USER{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definers_are_found_and_replaced() {
        let sql = "CREATE ALGORITHM=UNDEFINED DEFINER=`a b`@`%` SQL SECURITY DEFINER VIEW `v` AS select 1";
        assert_eq!(definer(sql, Mode::default()), Some(("a b".to_owned(), "%".to_owned())));
        let ansi = "CREATE DEFINER=\"a\"\"b\"@\"h\" PROCEDURE \"p\"() SELECT 1";
        assert_eq!(definer(ansi, Mode::of("ANSI_QUOTES")), Some(("a\"b".to_owned(), "h".to_owned())));
        assert_eq!(without_definer(ansi, Mode::of("ANSI_QUOTES")), "CREATE DEFINER=CURRENT_USER PROCEDURE \"p\"() SELECT 1");
        assert_eq!(without_definer(sql, Mode::default()), "CREATE ALGORITHM=UNDEFINED DEFINER=CURRENT_USER SQL SECURITY DEFINER VIEW `v` AS select 1");
    }
}
