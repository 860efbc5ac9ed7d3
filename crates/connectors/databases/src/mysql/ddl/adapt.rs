//! Rewriting definitions for another server: collations, engines, options and forms that one of the two products does not know.
//!
//! Every change is told in words. What cannot be kept in meaning is refused, with the reason. Pure text work.

use super::lexer::{Kind, Mode, tokens, tokens_in};
use super::table::{Item, TableDefinition, remove_option};
use std::collections::{BTreeMap, BTreeSet};

/// What the destination knows.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Dialect {
    pub mariadb: bool,
    /// Full collation name → character set.
    pub collations: BTreeMap<String, String>,
    /// Character set → its default collation.
    pub defaults: BTreeMap<String, String>,
    /// In upper case.
    pub engines: BTreeSet<String>,
}

/// What was changed, one phrase each.
pub(in super::super) type Notes = Vec<String>;

/// Options of MariaDB that MySQL has no word for.
const MARIADB_OPTIONS: [&str; 10] = [
    "PAGE_CHECKSUM",
    "TRANSACTIONAL",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "ENCRYPTED",
    "ENCRYPTION_KEY_ID",
    "IETF_QUOTES",
    "TABLE_CHECKSUM",
    "WITH_SYSTEM_VERSIONING",
    "SEQUENCE",
];
const MYSQL_OPTIONS: [&str; 5] = ["ENCRYPTION", "COMPRESSION", "AUTOEXTEND_SIZE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"];

/// SQL modes that only the other product has.
const MARIADB_MODES: [&str; 15] = [
    "NO_AUTO_CREATE_USER",
    "NO_FIELD_OPTIONS",
    "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS",
    "POSTGRESQL",
    "ORACLE",
    "MSSQL",
    "DB2",
    "MAXDB",
    "MYSQL323",
    "MYSQL40",
    "EMPTY_STRING_IS_NULL",
    "SIMULTANEOUS_ASSIGNMENT",
    "TIME_ROUND_FRACTIONAL",
    "IGNORE_BAD_TABLE_OPTIONS",
];
const MYSQL_MODES: [&str; 1] = ["TIME_TRUNCATE_FRACTIONAL"];

/// Adapts a table.
///
/// # Errors
/// The reason why it cannot be made there.
pub(in super::super) fn table(mut table: TableDefinition, dialect: &Dialect) -> Result<(TableDefinition, Notes), String> {
    let mut notes = Notes::new();
    if dialect.mariadb {
        table.items.retain(|item| !is_unenforced(item, &mut notes));
    } else {
        notes.extend(whole_texts(&mut table));
    }
    for item in &mut table.items {
        match item {
            Item::Column { name, text } => *text = column(name, text, dialect, &mut notes)?,
            Item::Index { text, .. } | Item::PrimaryKey { text, .. } => *text = index(text, dialect, &mut notes),
            Item::ForeignKey { .. } => {}
            Item::Other { text } => {
                if !dialect.mariadb && tokens(text).first().is_some_and(|t| t.is("PERIOD")) {
                    return Err("application-time and system-time periods exist only in MariaDB".to_owned());
                }
                *text = collations(text, dialect, &mut notes);
                if dialect.mariadb {
                    *text = without_introducers(text);
                }
            }
        }
    }
    table.options = options(&table.options, dialect, &mut notes)?;
    notes.dedup();
    Ok((table, notes))
}

/// Whether this is a check that is not enforced. MariaDB reads the words as a comment and would enforce it.
fn is_unenforced(item: &Item, notes: &mut Notes) -> bool {
    let Item::Other { text } = item else { return false };
    let all = tokens(text);
    let found = all.iter().any(|t| t.kind == Kind::Comment && t.text.to_ascii_uppercase().contains("NOT ENFORCED"));
    if found {
        notes.push(format!("{}: NOT ENFORCED exists only in MySQL, left out", text.trim_end()));
    }
    found
}

/// Takes out unique keys over whole texts, which MySQL does not have. Their rows arrive; that they stay unique is no longer proven.
fn whole_texts(table: &mut TableDefinition) -> Notes {
    let long = |column: &str| table.items.iter().any(|i| matches!(i, Item::Column { name, text } if name == column && is_long(text)));
    let (mut notes, mut out) = (Notes::new(), BTreeSet::new());
    for item in &table.items {
        let Item::Index { name, text, .. } = item else { continue };
        if let Some(column) = unbounded(text).into_iter().find(|c| long(c)) {
            notes.push(format!("unique key {name} over the whole of {column} exists only in MariaDB, left out"));
            out.insert(name.clone());
        }
    }
    table.items.retain(|i| !matches!(i, Item::Index { name, .. } if out.contains(name)));
    notes
}

/// The columns of a key that stand without a length.
fn unbounded(key: &str) -> Vec<String> {
    let all = super::lexer::words(key);
    let solid = |at: usize, text: &str| all.get(at).is_some_and(|t| t.text == text);
    (0..all.len())
        .filter(|at| all[*at].kind == Kind::Name && *at > 0 && (solid(at - 1, "(") || solid(at - 1, ",")) && !solid(at + 1, "("))
        .filter_map(|at| all[at].name())
        .collect()
}

/// Adapts any other statement, written in `mode`: its collations only.
pub(in super::super) fn statement(sql: &str, mode: Mode, dialect: &Dialect) -> (String, Notes) {
    let mut notes = Notes::new();
    let sql = collations_in(sql, mode, dialect, &mut notes);
    notes.dedup();
    (sql, notes)
}

/// Adapts `ALTER TABLE … ADD … KEY`.
///
/// # Errors
/// The reason why it cannot be made there.
pub(in super::super) fn index_statement(sql: &str, dialect: &Dialect) -> Result<(String, Notes), String> {
    let all = super::lexer::words(sql);
    if dialect.mariadb && !all.iter().any(|t| t.is("FOREIGN")) && all.windows(2).any(|pair| pair[0].is("(") && pair[1].is("(")) {
        return Err("indexes on expressions exist only in MySQL".to_owned());
    }
    let mut notes = Notes::new();
    Ok((index(sql, dialect, &mut notes), notes))
}

/// A list of SQL modes without those that the destination does not know.
pub(in super::super) fn sql_mode(modes: &str, dialect: &Dialect) -> String {
    let unknown: &[&str] = if dialect.mariadb { &MYSQL_MODES } else { &MARIADB_MODES };
    modes.split(',').filter(|m| !unknown.contains(m)).collect::<Vec<_>>().join(",")
}

/// The collation to use instead of one that the destination does not have.
pub(in super::super) fn collation(name: &str, dialect: &Dialect) -> Option<String> {
    if dialect.collations.contains_key(name) {
        return None;
    }
    let charset = name.split('_').next().unwrap_or("utf8mb4");
    let charset = if charset == "uca1400" { "utf8mb4" } else { charset };
    let sensitivity =
        ["_ai_ci", "_as_ci", "_as_cs", "_ai_cs"].into_iter().find(|s| name.ends_with(s)).unwrap_or(if name.ends_with("_bin") { "_bin" } else { "_ai_ci" });
    let near = if sensitivity == "_ai_cs" { "_as_cs" } else { sensitivity };
    let mut candidates = vec![name.replace("nopad_", ""), name.replace("mysql561_", "")];
    if sensitivity == "_bin" {
        candidates.extend([format!("{charset}_nopad_bin"), format!("{charset}_bin")]);
    } else {
        candidates.extend([format!("{charset}_0900{near}"), format!("{charset}_uca1400_nopad{sensitivity}"), format!("{charset}_uca1400{sensitivity}")]);
        if sensitivity == "_as_cs" || sensitivity == "_ai_cs" {
            candidates.push(format!("{charset}_bin"));
        }
        candidates.extend([format!("{charset}_unicode_520_ci"), format!("{charset}_unicode_ci"), format!("{charset}_general_ci")]);
    }
    candidates.extend(dialect.defaults.get(charset).cloned());
    candidates.into_iter().find(|c| dialect.collations.contains_key(c))
}

fn collations(sql: &str, dialect: &Dialect, notes: &mut Notes) -> String {
    collations_in(sql, Mode::default(), dialect, notes)
}

fn collations_in(sql: &str, mode: Mode, dialect: &Dialect, notes: &mut Notes) -> String {
    let all = tokens_in(sql, mode);
    let mut out = String::with_capacity(sql.len());
    let mut expecting = false;
    for token in &all {
        let name = token.text.to_ascii_lowercase();
        let replacement = if expecting && token.kind == Kind::Word { collation(&name, dialect) } else { None };
        expecting = token.is("COLLATE") || (expecting && (token.kind == Kind::Space || token.is("=")));
        match replacement {
            Some(new) => {
                notes.push(format!("collation {name} → {new}"));
                out.push_str(&new);
            }
            None => out.push_str(token.text),
        }
    }
    out
}

/// MySQL says INVISIBLE in a comment for versions that MariaDB does not count itself among.
fn spelled_out(text: &str, instead: &str, possible: bool) -> String {
    let is_it = |t: &super::lexer::Token<'_>| possible && t.kind == Kind::Comment && t.text.starts_with("/*!80") && t.text.ends_with(" INVISIBLE */");
    tokens(text).iter().map(|t| if is_it(t) { instead } else { t.text }).collect()
}

fn index(text: &str, dialect: &Dialect, notes: &mut Notes) -> String {
    let mut out = if dialect.mariadb { spelled_out(text, "IGNORED", true) } else { text.to_owned() };
    if !dialect.mariadb {
        for (word, instead) in [("IGNORED", "INVISIBLE"), ("CLUSTERING", "")] {
            if tokens(&out).iter().any(|t| t.is(word)) {
                notes.push(format!("index option {word} → {}", if instead.is_empty() { "left out" } else { instead }));
                out = if instead.is_empty() {
                    remove_option(&out, word).0
                } else {
                    tokens(&out).iter().map(|t| if t.is(word) { instead } else { t.text }).collect()
                };
            }
        }
    }
    foreign_comments(&out, dialect, "index", notes);
    out
}

fn column(name: &str, text: &str, dialect: &Dialect, notes: &mut Notes) -> Result<String, String> {
    let all = tokens(text);
    let has = |word: &str| all.iter().any(|t| t.is(word));
    if !dialect.mariadb {
        let kind = all.iter().find(|t| t.kind == Kind::Word).map(|t| t.text.to_ascii_lowercase()).unwrap_or_default();
        if matches!(kind.as_str(), "uuid" | "inet4" | "inet6" | "xmltype") {
            return Err(format!("column {name} has the type {kind}, which MySQL does not have"));
        }
        if has("ROW") && (has("START") || has("END")) && has("GENERATED") {
            return Err(format!("column {name} belongs to system versioning, which MySQL does not have"));
        }
        if has("NEXTVAL") || all.iter().any(|t| t.kind == Kind::Word && t.text.eq_ignore_ascii_case("nextval")) {
            return Err(format!("column {name} takes its default from a sequence, which MySQL does not have"));
        }
    }
    let text = &if dialect.mariadb { spelled_out(text, "INVISIBLE", !has("NOT") || has("DEFAULT") || has("AUTO_INCREMENT")) } else { text.to_owned() };
    foreign_comments(text, dialect, name, notes);
    let mut out = collations(text, dialect, notes);
    if dialect.mariadb {
        out = without_introducers(&out);
    } else {
        let (plain, had) = remove_option(&out, "REF_SYSTEM_ID");
        if had {
            notes.push(format!("column {name}: REF_SYSTEM_ID left out"));
            out = plain;
        }
        out = default_expression(&out);
    }
    Ok(out)
}

/// Takes `_utf8mb4` away from before literals: our sessions speak UTF-8 anyway, and MariaDB stores such a literal inside an
/// expression with its bytes escaped in a way that it does not read back.
fn without_introducers(text: &str) -> String {
    let all = tokens(text);
    let introduces = |at: usize| all[at].is("_utf8mb4") && all.get(at + 1).is_some_and(|t| t.kind == Kind::Text);
    (0..all.len()).filter(|at| !introduces(*at)).map(|at| all[at].text).collect()
}

/// Comments for another product are ignored by the server; the report must say what they held.
fn foreign_comments(text: &str, dialect: &Dialect, name: &str, notes: &mut Notes) {
    for token in tokens(text).iter().filter(|t| t.kind == Kind::Comment) {
        let body = token.text.trim_start_matches("/*").trim_end_matches("*/").trim();
        let version = |s: &str| s.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().unwrap_or(0);
        let ignored = if dialect.mariadb { body.strip_prefix('!').is_some_and(|b| (50_700..100_000).contains(&version(b))) } else { body.starts_with("M!") };
        if ignored {
            let words = body.trim_start_matches(['M', '!']).trim_start_matches(|c: char| c.is_ascii_digit()).trim();
            notes.push(format!("{name}: {words} left out"));
        }
    }
}

/// Whether a column is of one of the types that are stored apart from the row.
fn is_long(column: &str) -> bool {
    tokens(column).iter().find(|t| t.kind == Kind::Word).is_some_and(|t| {
        let name = t.text.to_ascii_lowercase();
        name.ends_with("text") || name.ends_with("blob")
    })
}

/// MySQL wants an expression as a default in parentheses, and a literal as well where the type is TEXT, BLOB, JSON or spatial.
fn default_expression(text: &str) -> String {
    let all = tokens(text);
    let solid = |from: usize| (from..all.len()).find(|i| !matches!(all[*i].kind, Kind::Space | Kind::Comment));
    let Some(from) = all.iter().position(|t| t.is("DEFAULT")).and_then(|at| solid(at + 1)) else { return text.to_owned() };
    let word = all[from].text.to_ascii_lowercase();
    let large = is_long(text)
        || all.iter().find(|t| t.kind == Kind::Word).is_some_and(|t| {
            let t = t.text.to_ascii_lowercase();
            matches!(t.as_str(), "json" | "geometry" | "point" | "linestring" | "polygon") || t.starts_with("multi")
        });
    let now = matches!(word.as_str(), "current_timestamp" | "now" | "localtime" | "localtimestamp");
    let prefixed = matches!(word.as_str(), "b" | "x") || word.starts_with('_');
    let literal =
        all[from].kind == Kind::Text || matches!(word.as_str(), "-" | "+" | "true" | "false") || word.starts_with(|c: char| c.is_ascii_digit()) || prefixed;
    if word == "null" || word == "(" || now || (literal && !large) {
        return text.to_owned();
    }
    let mut depth = 0usize;
    let mut end = all.len();
    for (at, token) in all.iter().enumerate().skip(from) {
        depth = if token.is("(") {
            depth + 1
        } else if token.is(")") {
            depth.saturating_sub(1)
        } else {
            depth
        };
        if depth == 0 && ["COMMENT", "ON", "CHECK", "INVISIBLE", "UNIQUE"].iter().any(|w| token.is(w)) {
            end = at;
            break;
        }
    }
    let join = |range: std::ops::Range<usize>| all[range].iter().map(|t| t.text).collect::<String>();
    let tail = join(end..all.len());
    format!("{}({}){}{tail}", join(0..from), join(from..end).trim(), if tail.is_empty() { "" } else { " " })
}

fn options(options: &str, dialect: &Dialect, notes: &mut Notes) -> Result<String, String> {
    let all = tokens(options);
    let has = |word: &str| all.iter().any(|t| t.is(word));
    if !dialect.mariadb && has("VERSIONING") {
        return Err("system-versioned tables exist only in MariaDB".to_owned());
    }
    if !dialect.mariadb && has("SYSTEM_TIME") {
        return Err("partitions by system time exist only in MariaDB".to_owned());
    }
    foreign_comments(options, dialect, "table", notes);
    let mut out = collations(options, dialect, notes);
    let unknown: &[&str] = if dialect.mariadb { &MYSQL_OPTIONS } else { &MARIADB_OPTIONS };
    for name in unknown {
        let (plain, had) = remove_option(&out, name);
        if had {
            notes.push(format!("table option {name} left out"));
            out = plain;
        }
    }
    Ok(engine(&out, dialect, notes))
}

fn engine(options: &str, dialect: &Dialect, notes: &mut Notes) -> String {
    let all = tokens(options);
    let partitioned = all.iter().any(|t| t.is("PARTITION")) || options.contains("PARTITION BY");
    let mut replaced = false;
    let mut expecting = false;
    let mut out = String::with_capacity(options.len());
    for token in &all {
        let foreign = expecting && token.kind == Kind::Word && {
            let name = token.text.to_ascii_uppercase();
            !dialect.engines.is_empty() && (!dialect.engines.contains(&name) || (!dialect.mariadb && partitioned && name != "INNODB"))
        };
        expecting = token.is("ENGINE") || (expecting && (token.kind == Kind::Space || token.is("=")));
        if foreign {
            notes.push(format!("engine {} → InnoDB", token.text));
            replaced = true;
            out.push_str("InnoDB");
        } else {
            out.push_str(token.text);
        }
    }
    if replaced && remove_option(&out, "ROW_FORMAT").1 {
        notes.push("ROW_FORMAT left out".to_owned());
        out = remove_option(&out, "ROW_FORMAT").0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql() -> Dialect {
        let names = ["utf8mb4_0900_ai_ci", "utf8mb4_0900_as_cs", "utf8mb4_general_ci", "utf8mb4_bin", "latin1_swedish_ci", "utf8mb3_unicode_ci"];
        Dialect {
            mariadb: false,
            collations: names.iter().map(|n| ((*n).to_owned(), n.split('_').next().unwrap_or("").to_owned())).collect(),
            defaults: [("utf8mb4".to_owned(), "utf8mb4_0900_ai_ci".to_owned())].into(),
            engines: ["INNODB", "MYISAM"].map(str::to_owned).into(),
        }
    }

    #[test]
    fn collations_are_mapped_and_told() {
        let d = mysql();
        for (from, to) in [
            ("utf8mb4_uca1400_ai_ci", "utf8mb4_0900_ai_ci"),
            ("utf8mb4_general_nopad_ci", "utf8mb4_general_ci"),
            ("utf8mb4_uca1400_nopad_as_cs", "utf8mb4_0900_as_cs"),
            ("utf8mb4_nopad_bin", "utf8mb4_bin"),
            ("utf8mb3_uca1400_ai_ci", "utf8mb3_unicode_ci"),
        ] {
            assert_eq!(collation(from, &d).as_deref(), Some(to), "{from}");
        }
        assert_eq!(collation("utf8mb4_bin", &d), None);
        let (sql, notes) = statement("SELECT 'COLLATE x' COLLATE utf8mb4_uca1400_ai_ci", Mode::default(), &d);
        assert_eq!(sql, "SELECT 'COLLATE x' COLLATE utf8mb4_0900_ai_ci");
        assert_eq!(notes, ["collation utf8mb4_uca1400_ai_ci → utf8mb4_0900_ai_ci"]);
    }

    #[test]
    fn defaults_get_their_parentheses() {
        for (from, to) in [
            ("`a` text DEFAULT 'x' COMMENT 'DEFAULT y'", "`a` text DEFAULT ('x') COMMENT 'DEFAULT y'"),
            ("`a` char(36) DEFAULT uuid()", "`a` char(36) DEFAULT (uuid())"),
            ("`a` int(11) NOT NULL DEFAULT 0", "`a` int(11) NOT NULL DEFAULT 0"),
            ("`a` bit(3) DEFAULT b'101'", "`a` bit(3) DEFAULT b'101'"),
            (
                "`a` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp()",
                "`a` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp()",
            ),
            ("`a` longtext DEFAULT NULL CHECK (json_valid(`a`))", "`a` longtext DEFAULT NULL CHECK (json_valid(`a`))"),
            ("`a` int DEFAULT (1 + 2)", "`a` int DEFAULT (1 + 2)"),
        ] {
            assert_eq!(default_expression(from), to);
        }
    }

    #[test]
    fn foreign_engines_options_and_types_are_named() {
        let parse = |sql| TableDefinition::parse(sql).expect("a table");
        let (made, notes) = table(parse("CREATE TABLE `t` (\n `a` int) ENGINE=Aria DEFAULT CHARSET=utf8mb4 PAGE_CHECKSUM=1 ROW_FORMAT=PAGE"), &mysql())
            .expect("it can be made");
        assert_eq!(made.options, "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
        assert_eq!(notes, ["table option PAGE_CHECKSUM left out", "engine Aria → InnoDB", "ROW_FORMAT left out"]);
        let (made, notes) = table(
            parse("CREATE TABLE `t` (\n `b` text NOT NULL,\n `n` int,\n UNIQUE KEY `u` (`b`) USING HASH,\n UNIQUE KEY `v` (`n`,`b`(9))) ENGINE=InnoDB"),
            &mysql(),
        )
        .expect("it can be made");
        assert_eq!(made.items.len(), 3, "the key with a length stays");
        assert_eq!(notes, ["unique key u over the whole of b exists only in MariaDB, left out"]);
        assert!(table(parse("CREATE TABLE `t` (\n `a` uuid) ENGINE=InnoDB"), &mysql()).expect_err("no such type").contains("uuid"));
        assert!(table(parse("CREATE TABLE `t` (\n `a` int) ENGINE=InnoDB WITH SYSTEM VERSIONING"), &mysql()).is_err());
    }

    #[test]
    fn what_only_mysql_enforces_or_hides_is_kept_in_meaning() {
        let sql = "CREATE TABLE `t` (\n `id` int NOT NULL,\n `a` int DEFAULT '4' /*!80023 INVISIBLE */,\n `b` int NOT NULL /*!80023 INVISIBLE */,\n \
            CONSTRAINT `c` CHECK ((`a` > 0)) /*!80016 NOT ENFORCED */,\n CONSTRAINT `d` CHECK ((`a` > 1))) ENGINE=InnoDB";
        let mariadb = Dialect { mariadb: true, ..mysql() };
        let (made, notes) = table(TableDefinition::parse(sql).expect("a table"), &mariadb).expect("it can be made");
        assert_eq!(
            made.items.iter().map(Item::text).collect::<Vec<_>>()[1..],
            ["`a` int DEFAULT '4' INVISIBLE", "`b` int NOT NULL /*!80023 INVISIBLE */", "CONSTRAINT `d` CHECK ((`a` > 1))"]
        );
        assert_eq!(notes, ["CONSTRAINT `c` CHECK ((`a` > 0)) /*!80016 NOT ENFORCED */: NOT ENFORCED exists only in MySQL, left out", "b: INVISIBLE left out"]);
        assert_eq!(
            index_statement("ALTER TABLE `t` ADD KEY `i` (`a`) /*!80000 INVISIBLE */", &mariadb).expect("it can be made").0,
            "ALTER TABLE `t` ADD KEY `i` (`a`) IGNORED"
        );
        assert!(index_statement("ALTER TABLE `t` ADD KEY `i` ((lower(`s`)))", &mariadb).is_err());
    }
}
