//! Reading and rewriting `wp-config.php`.
//!
//! A small reader of PHP's surface (inline HTML, comments, strings, heredocs) finds `define('NAME', …)`, `const NAME = …` and
//! `$table_prefix = …`. Rewriting replaces the span of a value and leaves every other byte alone. Nothing is executed: a value
//! that PHP computes (`getenv('X')`) is named, not guessed.

mod scan;

use scan::{Assignment, scan};
use std::collections::BTreeMap;
use std::ops::Range;

/// The assignments of one configuration file, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Config {
    settings: Vec<Setting>,
}

#[derive(Clone)]
struct Setting {
    name: String,
    value: Expression,
    span: Range<usize>,
}

/// Values may be passwords, so only names are shown.
impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Expression {
    Text(Vec<u8>),
    /// Anything PHP would have to compute, by its form: `getenv(…)`.
    Computed(String),
}

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the file ends inside {0} that begins on line {1}")]
    Unfinished(&'static str, usize),
    #[error("{name} is computed by PHP as {form}, and its value is not in the file; give source.database in the migration instead")]
    Computed { name: String, form: String },
    #[error("{0} is defined more than once with different values; give source.database in the migration instead")]
    Ambiguous(String),
    #[error("{0} is not defined in the file; give source.database in the migration instead")]
    Missing(String),
    #[error("{0} holds bytes that are no UTF-8 text")]
    NotText(String),
}

/// `DB_HOST`, taken apart as WordPress does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbHost {
    pub host: String,
    pub port: Option<u16>,
    /// A socket on the site's own machine; it cannot be reached from elsewhere.
    pub socket: Option<String>,
}

/// The name under which the table prefix is kept beside the constants.
const PREFIX: &str = "$table_prefix";

impl Config {
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let settings = scan(text)?
            .into_iter()
            .map(|Assignment { name, span, literal }| {
                let value = literal.map_or_else(|| Expression::Computed(form(&text[span.clone()])), Expression::Text);
                Setting { name, value, span }
            })
            .collect();
        Ok(Self { settings })
    }

    /// The text of a constant. Several equal definitions are one; several different ones are an error.
    pub fn text(&self, name: &str) -> Result<String, ConfigError> {
        let mut found: Option<&Vec<u8>> = None;
        for setting in self.settings.iter().filter(|s| s.name == name) {
            match &setting.value {
                Expression::Computed(form) => return Err(ConfigError::Computed { name: name.to_owned(), form: form.clone() }),
                Expression::Text(value) if found.is_some_and(|f| f != value) => return Err(ConfigError::Ambiguous(name.to_owned())),
                Expression::Text(value) => found = Some(value),
            }
        }
        let value = found.ok_or_else(|| ConfigError::Missing(name.to_owned()))?;
        String::from_utf8(value.clone()).map_err(|_| ConfigError::NotText(name.to_owned()))
    }

    /// The table prefix; WordPress's own default when the file sets none.
    pub fn table_prefix(&self) -> Result<String, ConfigError> {
        match self.text(PREFIX) {
            Err(ConfigError::Missing(_)) => Ok("wp_".to_owned()),
            other => other,
        }
    }

    pub fn host(&self) -> Result<DbHost, ConfigError> {
        self.text("DB_HOST").map(|text| split_host(&text))
    }

    /// Whether the file turns a constant on: `define('MULTISITE', true)`.
    pub fn is_on(&self, name: &str) -> bool {
        self.settings.iter().any(|s| s.name == name && matches!(&s.value, Expression::Computed(form) if form == "true" || form == "1"))
    }
}

/// `host`, `host:port`, `host:/socket`, `:/socket`, `[::1]:port`.
fn split_host(text: &str) -> DbHost {
    let (text, socket) = match text.find(":/") {
        Some(cut) => (&text[..cut], Some(text[cut + 1..].to_owned())),
        None => (text, None),
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && (host.ends_with(']') || !host.contains(':')) => {
            (host, port.parse().ok())
        }
        _ => (text, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    DbHost { host: if host.is_empty() { "localhost".to_owned() } else { host.to_owned() }, port, socket }
}

/// The shape of an expression for an error, without any string in it that could be a secret.
fn form(expression: &[u8]) -> String {
    let text = String::from_utf8_lossy(expression);
    let text = text.trim();
    let name: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '\\')).collect();
    let rest = text[name.len()..].trim_start();
    if name.is_empty() {
        "an expression".to_owned()
    } else if rest.starts_with('(') {
        format!("{name}(…)")
    } else if rest.is_empty() {
        name.to_ascii_lowercase()
    } else {
        format!("{name} …")
    }
}

/// The new file and which names got a new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConfig {
    pub text: Vec<u8>,
    pub changed: Vec<String>,
}

/// Gives the constants in `values` new values, and every other text constant what `other` makes of it (the site's address).
/// Everything else stays byte for byte. A name in `values` that the file does not define is an error.
pub fn rewrite(text: &[u8], values: &BTreeMap<&str, String>, other: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Result<NewConfig, ConfigError> {
    let config = Config::parse(text)?;
    if let Some(missing) = values.keys().find(|name| !config.settings.iter().any(|s| s.name == **name)) {
        return Err(ConfigError::Missing((*missing).to_owned()));
    }
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut copied = 0;
    let mut changed: Vec<String> = Vec::new();
    for setting in &config.settings {
        let new = match (values.get(setting.name.as_str()), &setting.value) {
            (Some(value), Expression::Text(old)) if old == value.as_bytes() => None,
            (Some(value), _) => Some(value.clone().into_bytes()),
            (None, Expression::Text(old)) => other(old),
            (None, Expression::Computed(_)) => None,
        };
        let Some(new) = new else { continue };
        out.extend_from_slice(&text[copied..setting.span.start]);
        out.extend_from_slice(&quote(&new));
        copied = setting.span.end;
        if !changed.contains(&setting.name) {
            changed.push(setting.name.clone());
        }
    }
    out.extend_from_slice(&text[copied..]);
    Ok(NewConfig { text: out, changed })
}

/// A PHP string in single quotes.
fn quote(value: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for b in value {
        if matches!(b, b'\'' | b'\\') {
            out.push(b'\\');
        }
        out.push(*b);
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
