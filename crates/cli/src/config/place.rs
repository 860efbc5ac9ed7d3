//! The simplest configuration: `--from`, `--to`, `--from-db`, `--to-db`. Passwords come from the environment, never from here.

use super::environment::Lookup;
use crate::args::What;
use crate::failure::Failure;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The document that the flags describe.
pub fn document(what: &What, lookup: Lookup<'_>) -> Result<Value, Failure> {
    let mut source = match &what.from {
        Some(text) => files(text, "SOURCE", lookup)?,
        None => json!({}),
    };
    let mut destination = match &what.to {
        Some(text) => files(text, "DESTINATION", lookup)?,
        None => json!({}),
    };
    match (&what.from, &what.to, &what.from_db, &what.to_db) {
        (None, None, None, None) => {
            return Err(Failure::usage("Say what to move: a configuration file, or --from and --to").advice("`migration-assistant migrate --help` shows both."));
        }
        (Some(_), None, ..) | (None, Some(_), ..) => return Err(Failure::usage("--from and --to go together: where the files are, and where they go")),
        (.., Some(_), None) | (.., None, Some(_)) if what.from.is_none() => {
            return Err(Failure::usage("--from-db and --to-db go together: where the database is, and where it goes"));
        }
        _ => {}
    }
    if let Some(text) = &what.from_db {
        source["database"] = database(text, "SOURCE", lookup)?;
    }
    if let Some(text) = &what.to_db {
        destination["database"] = database(text, "DESTINATION", lookup)?;
    }
    for side in [&mut source, &mut destination] {
        if side.get("type").is_none() {
            // A database alone: the system is the database.
            side["type"] = match side["database"]["type"].as_str() {
                Some("mariadb") => json!("mysql"),
                other => json!(other),
            };
        }
    }
    if source["type"] == "server" {
        source["type"] = json!(what.kind.clone().unwrap_or_else(|| seen(&source).to_owned()));
    } else if let Some(kind) = &what.kind {
        source["type"] = json!(kind);
    }
    let name = format!(
        "{} to {}",
        what.from.as_ref().or(what.from_db.as_ref()).map_or("", String::as_str),
        what.to.as_ref().or(what.to_db.as_ref()).map_or("", String::as_str)
    );
    Ok(json!({"name": name, "source": source, "destination": destination}))
}

/// What a source directory is. Elsewhere than on this machine `--type` says it; a site without a program is the safe guess.
fn seen(source: &Value) -> &'static str {
    let root = source["paths"]["web_root"].as_str().filter(|_| source["host"].is_null());
    if root.is_some_and(|r| Path::new(r).join("wp-config.php").is_file()) { "wordpress" } else { "static" }
}

fn files(text: &str, side: &str, lookup: Lookup<'_>) -> Result<Value, Failure> {
    if let Some(rest) = text.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let mut at = json!({"type": "aws-s3", "bucket": bucket});
        if !prefix.is_empty() {
            at["prefix"] = json!(prefix);
        }
        for (field, variable) in [("region", "AWS_REGION"), ("endpoint", "AWS_ENDPOINT_URL")] {
            if let Some(value) = lookup(variable).filter(|v| !v.is_empty()) {
                at[field] = json!(value);
            }
        }
        return Ok(at);
    }
    let (login, root) = match text.strip_prefix("sftp://") {
        Some(rest) => rest.split_once('/').map(|(login, root)| (Some(login), format!("/{root}"))).ok_or_else(|| place_failure(text))?,
        None if text.contains("://") => return Err(place_failure(text)),
        None => match text.split_once(':') {
            Some((login, root)) if !login.contains('/') => (Some(login), root.to_owned()),
            _ => (None, absolute(text)?),
        },
    };
    let mut at = json!({"type": "server", "paths": {"web_root": root}});
    let Some(login) = login else { return Ok(at) };
    let (user, host, port) = parts(login, text, 22)?;
    at["host"] = json!(host);
    at["port"] = json!(port);
    at["username"] = json!(user.or_else(|| lookup("USER")).unwrap_or_default());
    at["known_hosts"] = json!(home(lookup).join(".ssh/known_hosts"));
    let key = home(lookup).join(".ssh/id_ed25519");
    match lookup(&format!("MIGRATION_ASSISTANT_{side}_PASSWORD")) {
        Some(password) => at["password"] = json!(password),
        None if key.is_file() => at["private_key"] = json!(key),
        None => {}
    }
    Ok(at)
}

fn home(lookup: Lookup<'_>) -> PathBuf {
    PathBuf::from(lookup("HOME").unwrap_or_default())
}

fn absolute(text: &str) -> Result<String, Failure> {
    let path = std::path::absolute(text).map_err(|e| Failure::usage(format!("'{text}' is no path: {e}")))?;
    path.into_os_string()
        .into_string()
        .map_err(|_| Failure::usage(format!("'{text}' lies below a directory whose name is not UTF-8; use a configuration file")))
}

fn place_failure(text: &str) -> Failure {
    Failure::usage(format!("'{text}' is no place for files")).advice("Write /dir, user@host:/dir, sftp://user@host:port/dir or s3://bucket/prefix.")
}

fn database(text: &str, side: &str, lookup: Lookup<'_>) -> Result<Value, Failure> {
    let wrong = || Failure::usage("A database is written sqlite:/file, mysql://user@host:port/name or postgresql://user@host:port/name");
    let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
    if kind == "sqlite" {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        return Ok(json!({"type": "sqlite", "database": absolute(path)?}));
    }
    let (kind, port) = match kind {
        "mysql" | "mariadb" => (kind, 3306),
        "postgresql" | "postgres" => ("postgresql", 5432),
        _ => return Err(wrong()),
    };
    let (login, name) = rest.strip_prefix("//").and_then(|r| r.split_once('/')).ok_or_else(wrong)?;
    let (user, host, port) = parts(login, kind, port)?;
    let mut at = json!({"type": kind, "host": host, "port": port, "username": user.unwrap_or_default(), "database": name});
    if let Some(password) = lookup(&format!("MIGRATION_ASSISTANT_{side}_DB_PASSWORD")) {
        at["password"] = json!(password);
    }
    Ok(at)
}

/// `user@host:port`. A password in it is refused: others on this machine can read command lines.
fn parts(login: &str, shown: &str, default_port: u16) -> Result<(Option<String>, String, u16), Failure> {
    let (user, address) = login.rsplit_once('@').map_or((None, login), |(u, a)| (Some(u), a));
    if user.is_some_and(|u| u.contains(':')) {
        return Err(Failure::usage("A password does not belong on the command line, where others can read it")
            .advice("Set MIGRATION_ASSISTANT_SOURCE_PASSWORD, …_DESTINATION_PASSWORD, …_SOURCE_DB_PASSWORD or …_DESTINATION_DB_PASSWORD, or use a configuration file with ${VAR}."));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().map_err(|_| Failure::usage(format!("'{port}' is no port, in the place given as '{shown}'")))?)
        }
        _ => (address, default_port),
    };
    Ok((user.map(str::to_owned), host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(from: &str, to: &str, from_db: &str, to_db: &str) -> What {
        let some = |t: &str| (!t.is_empty()).then(|| t.to_owned());
        What {
            config: None,
            from: some(from),
            to: some(to),
            from_db: some(from_db),
            to_db: some(to_db),
            kind: None,
            name: None,
            set: Vec::new(),
            allow_empty_source: false,
        }
    }

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/nowhere/ann".to_owned()),
            "MIGRATION_ASSISTANT_SOURCE_PASSWORD" => Some("s3cret".to_owned()),
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:9000".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn places_become_systems() {
        for (given, expected) in [
            (
                what("/a", "/b", "sqlite:/x.db", "sqlite:///y.db"),
                json!({"name": "/a to /b",
                "source": {"type": "static", "paths": {"web_root": "/a"}, "database": {"type": "sqlite", "database": "/x.db"}},
                "destination": {"type": "server", "paths": {"web_root": "/b"}, "database": {"type": "sqlite", "database": "/y.db"}}}),
            ),
            (
                what("ann@old.example:/srv", "s3://bucket/pre/fix", "", ""),
                json!({"name": "ann@old.example:/srv to s3://bucket/pre/fix",
                "source": {"type": "static", "host": "old.example", "port": 22, "username": "ann", "password": "s3cret", "known_hosts": "/nowhere/ann/.ssh/known_hosts", "paths": {"web_root": "/srv"}},
                "destination": {"type": "aws-s3", "bucket": "bucket", "prefix": "pre/fix", "endpoint": "http://127.0.0.1:9000"}}),
            ),
            (
                what("", "", "mariadb://wp@old:3307/shop", "mysql://wp@[::1]/shop"),
                json!({"name": "mariadb://wp@old:3307/shop to mysql://wp@[::1]/shop",
                "source": {"type": "mysql", "database": {"type": "mariadb", "host": "old", "port": 3307, "username": "wp", "database": "shop"}},
                "destination": {"type": "mysql", "database": {"type": "mysql", "host": "::1", "port": 3306, "username": "wp", "database": "shop"}}}),
            ),
        ] {
            assert_eq!(document(&given, &lookup).unwrap(), expected);
        }
    }

    #[test]
    fn half_a_migration_and_passwords_are_refused() {
        for (given, words) in [
            (what("", "", "", ""), "Say what to move"),
            (what("/a", "", "", ""), "go together"),
            (what("", "", "sqlite:/a", ""), "go together"),
            (what("ftp://x/y", "/b", "", ""), "is no place"),
            (what("sftp://u:p@h/x", "/b", "", ""), "A password does not belong"),
            (what("sftp://u@h:ssh/x", "/b", "", ""), "is no port"),
            (what("/a", "/b", "oracle://x/y", "sqlite:/b"), "A database is written"),
        ] {
            let failure = document(&given, &lookup).unwrap_err();
            assert!(failure.message.contains(words) && !failure.message.contains(":p@"), "{}", failure.message);
        }
    }
}
