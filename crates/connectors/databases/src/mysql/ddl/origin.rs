//! Where a definition comes from, written as its first statement: ``USE `shop` /* on … */``.
//!
//! The text of a definition may name its database. Made in the same database again (a restored backup) it stays as it is, to the
//! letter; made elsewhere, the name is taken out of it.

use super::lexer::{Kind, words};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Origin {
    pub database: String,
    /// What the server calls itself, alike for every session.
    pub server: String,
}

const ON: &str = " /* on ";

impl Origin {
    /// The statement that tells it.
    pub fn statement(&self) -> String {
        let server: String = self.server.chars().filter(|c| !matches!(c, '*' | '/')).collect();
        format!("USE {}{ON}{server} */", super::super::quote::ident(&self.database))
    }

    /// Divides an object's statements into where they come from and what makes it. Backups of earlier versions do not tell.
    pub fn of(statements: &[String]) -> (Option<Self>, &[String]) {
        match statements.split_first() {
            Some((first, rest)) => match Self::read(first) {
                Some(origin) => (Some(origin), rest),
                None => (None, statements),
            },
            None => (None, statements),
        }
    }

    fn read(statement: &str) -> Option<Self> {
        let words = words(statement);
        let [verb, name] = words.as_slice() else { return None };
        if !verb.is("USE") || name.kind != Kind::Name {
            return None;
        }
        let server = statement.rsplit_once(ON)?.1.strip_suffix(" */")?.to_owned();
        Some(Self { database: name.name()?, server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_back() {
        let origin = Origin { database: "a `b".to_owned(), server: "host:3306:/var/lib/mysql/".to_owned() };
        let statements = [origin.statement(), "CREATE VIEW v AS select 1".to_owned()];
        let (found, rest) = Origin::of(&statements);
        assert_eq!(found, Some(Origin { server: "host:3306:varlibmysql".to_owned(), ..origin }));
        assert_eq!(rest, &statements[1..]);
        assert_eq!(Origin::of(&statements[1..]).0, None);
    }
}
