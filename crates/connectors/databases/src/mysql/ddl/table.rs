//! `SHOW CREATE TABLE` taken apart: columns, keys, foreign keys, checks, options.

use super::super::quote::{ident, unquote};
use super::lexer::{Kind, Token, tokens, words};

/// One entry between the parentheses of `CREATE TABLE`, as text without the comma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Item {
    Column {
        name: String,
        text: String,
    },
    PrimaryKey {
        columns: Vec<String>,
        text: String,
    },
    /// Any other index; `first` is its first column (empty for an expression).
    Index {
        name: String,
        first: String,
        text: String,
    },
    ForeignKey {
        name: String,
        text: String,
    },
    /// CHECK constraints, PERIOD and whatever else stays with the table.
    Other {
        text: String,
    },
}

impl Item {
    /// The name of an index, a foreign key or a column; empty for what has none.
    pub fn name(&self) -> &str {
        match self {
            Self::Column { name, .. } | Self::Index { name, .. } | Self::ForeignKey { name, .. } => name,
            Self::PrimaryKey { .. } | Self::Other { .. } => "",
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Column { text, .. } | Self::PrimaryKey { text, .. } | Self::Index { text, .. } | Self::ForeignKey { text, .. } | Self::Other { text } => text,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct TableDefinition {
    pub name: String,
    pub items: Vec<Item>,
    /// Everything after the closing parenthesis: options and partitions.
    pub options: String,
}

impl TableDefinition {
    /// Reads the server's text; `None` when it is not a plain `CREATE TABLE name ( … ) …`.
    pub fn parse(sql: &str) -> Option<Self> {
        let all = tokens(sql);
        let open = all.iter().position(|t| t.is("("))?;
        let name = all[..open].iter().rev().find(|t| t.kind == Kind::Name).map(|t| unquote(t.text))?;
        let (items, after) = split_list(&all[open..])?;
        let options = all[open + after..].iter().map(|t| t.text).collect::<String>().trim().to_owned();
        Some(Self { name, items: items.iter().map(|text| item(text)).collect(), options })
    }

    /// The text of `CREATE TABLE` with exactly these items.
    pub fn render(&self) -> String {
        let body = self.items.iter().map(|i| format!("  {}", i.text())).collect::<Vec<_>>().join(",\n");
        format!("CREATE TABLE {} (\n{body}\n) {}", ident(&self.name), self.options)
    }

    /// The column that counts by itself, if there is one.
    pub fn auto_increment(&self) -> Option<&str> {
        self.items.iter().find_map(|i| match i {
            Item::Column { name, text } if words(text).iter().any(|t| t.is("AUTO_INCREMENT")) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Takes out what must come after the rows: secondary indexes and foreign keys. An index stays when the table cannot be
    /// made (counting column) or its ranges cannot be found (`key`: the columns of the key in use) without it.
    pub fn take_late(&mut self, key_index: Option<&str>) -> Vec<Item> {
        let counting = self.auto_increment().map(str::to_owned);
        let primary = self.items.iter().find_map(|i| if let Item::PrimaryKey { columns, .. } = i { columns.first().cloned() } else { None });
        let mut needs_index = counting.filter(|c| primary.as_ref() != Some(c));
        let mut late = Vec::new();
        self.items.retain(|i| {
            let stays = match i {
                Item::ForeignKey { .. } => false,
                Item::Index { name, first, .. } => {
                    let counts = needs_index.as_ref() == Some(first);
                    if counts {
                        needs_index = None;
                    }
                    counts || key_index == Some(name.as_str())
                }
                _ => true,
            };
            if !stays {
                late.push(i.clone());
            }
            stays
        });
        late
    }

    /// Takes the collation out of columns that have it from the table. MySQL writes it without a character set there, and with one
    /// where the column was given it: made as it is shown, the column would be shown otherwise from then on.
    pub fn inherit_collations(&mut self) {
        let Some(own) = collation_at(&tokens(&self.options)).map(|(_, _, name)| name.to_owned()) else { return };
        for item in &mut self.items {
            let Item::Column { text, .. } = item else { continue };
            let all = tokens(text);
            if all.iter().any(|t| t.is("CHARACTER")) {
                continue;
            }
            if let Some((from, to, name)) = collation_at(&all)
                && name == own
            {
                let before: String = all[..from].iter().map(|t| t.text).collect();
                let after: String = all[to + 1..].iter().map(|t| t.text).collect();
                *text = format!("{}{after}", before.trim_end());
            }
        }
    }

    /// Removes `AUTO_INCREMENT=n` from the options: a position, not a part of the definition.
    pub fn without_position(mut self) -> Self {
        self.options = remove_option(&self.options, "AUTO_INCREMENT").0;
        self
    }
}

/// `COLLATE name` or `COLLATE=name` outside of parentheses: its first and its last token, and the name.
fn collation_at<'a>(all: &[Token<'a>]) -> Option<(usize, usize, &'a str)> {
    let mut depth = 0usize;
    for (at, token) in all.iter().enumerate() {
        if token.is("(") {
            depth += 1;
        } else if token.is(")") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is("COLLATE") {
            let name = (at + 1..all.len()).find(|i| all[*i].kind == Kind::Word)?;
            return Some((at, name, all[name].text));
        }
    }
    None
}

/// Removes `NAME=value` or `NAME = value` at the top of an option list; true when it was there.
pub(in super::super) fn remove_option(options: &str, name: &str) -> (String, bool) {
    let all = tokens(options);
    let Some(at) = all.iter().position(|t| t.is(name) || (t.kind == Kind::Name && unquote(t.text).eq_ignore_ascii_case(name))) else {
        return (options.to_owned(), false);
    };
    let solid = |from: usize| (from..all.len()).find(|i| all[*i].kind != Kind::Space);
    let end = match solid(at + 1) {
        Some(eq) if all[eq].is("=") => solid(eq + 1).map_or(all.len(), |v| v + 1),
        _ => at + 1,
    };
    let kept: String = all[..at].iter().chain(&all[end..]).map(|t| t.text).collect();
    (kept.trim().replace("  ", " "), true)
}

/// Splits a parenthesised list at its top-level commas. `list[0]` is the opening parenthesis. Gives the entries and the number of
/// tokens up to and including the closing parenthesis.
fn split_list(list: &[Token<'_>]) -> Option<(Vec<String>, usize)> {
    let mut entries = vec![String::new()];
    let mut depth = 0usize;
    for (at, token) in list.iter().enumerate() {
        if token.is("(") {
            depth += 1;
            if depth == 1 {
                continue;
            }
        } else if token.is(")") {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                let entries = entries.into_iter().map(|e| e.trim().to_owned()).filter(|e| !e.is_empty()).collect();
                return Some((entries, at + 1));
            }
        } else if depth == 1 && token.is(",") {
            entries.push(String::new());
            continue;
        }
        if let Some(last) = entries.last_mut() {
            last.push_str(token.text);
        }
    }
    None
}

fn item(text: &str) -> Item {
    let words = words(text);
    let text = text.to_owned();
    let Some(first) = words.first() else { return Item::Other { text } };
    if first.kind == Kind::Name {
        return Item::Column { name: unquote(first.text), text };
    }
    let name = words.iter().take(4).find(|t| t.kind == Kind::Name).map(|t| unquote(t.text)).unwrap_or_default();
    let columns = || {
        let open = words.iter().position(|t| t.is("(")).unwrap_or(words.len());
        words[open..].iter().filter(|t| t.kind == Kind::Name).map(|t| unquote(t.text)).collect::<Vec<_>>()
    };
    let first_column = || {
        let open = words.iter().position(|t| t.is("(")).unwrap_or(words.len());
        words.get(open + 1).filter(|t| t.kind == Kind::Name).map(|t| unquote(t.text)).unwrap_or_default()
    };
    match first.text.to_ascii_uppercase().as_str() {
        "PRIMARY" => Item::PrimaryKey { columns: columns(), text },
        "UNIQUE" | "KEY" | "INDEX" | "FULLTEXT" | "SPATIAL" | "VECTOR" => Item::Index { name, first: first_column(), text },
        "CONSTRAINT" if words.iter().take(4).any(|t| t.is("FOREIGN")) => Item::ForeignKey { name, text },
        "FOREIGN" => Item::ForeignKey { name: String::new(), text },
        _ => Item::Other { text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "CREATE TABLE `a b` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `k``x` varchar(10) DEFAULT 'a,b)(' COMMENT 'KEY `q` (`r`)',\n  \
        `g` int GENERATED ALWAYS AS (`id` + length('x,y')) VIRTUAL,\n  PRIMARY KEY (`k``x`),\n  KEY `by id` (`id`),\n  UNIQUE KEY `u` (`g`,`id`),\n  \
        FULLTEXT KEY `ft` (`k``x`),\n  CONSTRAINT `fk` FOREIGN KEY (`id`) REFERENCES `p` (`id`) ON DELETE CASCADE,\n  CONSTRAINT `chk` CHECK (`id` > 0)\n\
        ) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=utf8mb4 COMMENT='a (b'\n PARTITION BY HASH (`id`)";

    #[test]
    fn a_definition_is_taken_apart_and_put_together() {
        let mut table = TableDefinition::parse(SQL).expect("it is a table");
        assert_eq!(table.name, "a b");
        assert_eq!(table.items.len(), 9);
        assert_eq!(table.auto_increment(), Some("id"));
        assert_eq!(table.render(), SQL);
        let late = table.take_late(None);
        let names = late.iter().map(|i| match i {
            Item::Index { name, .. } | Item::ForeignKey { name, .. } => name.as_str(),
            _ => "?",
        });
        assert_eq!(names.collect::<Vec<_>>(), ["u", "ft", "fk"], "the counting column's index stays, the check stays");
        let plain = table.without_position();
        assert!(!plain.options.contains("AUTO_INCREMENT"), "{}", plain.options);
        assert!(plain.options.ends_with("PARTITION BY HASH (`id`)"));
    }

    #[test]
    fn collations_of_the_table_are_inherited_again() {
        let sql = "CREATE TABLE `t` (\n  `a` varchar(20) COLLATE latin1_bin DEFAULT 'COLLATE',\n  `b` varchar(20) CHARACTER SET latin1 COLLATE latin1_bin,\n  \
            `c` varchar(9) COLLATE latin1_german1_ci\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_bin";
        let mut table = TableDefinition::parse(sql).expect("it is a table");
        table.inherit_collations();
        assert_eq!(table.render(), sql.replacen(" COLLATE latin1_bin DEFAULT", " DEFAULT", 1));
    }
}
