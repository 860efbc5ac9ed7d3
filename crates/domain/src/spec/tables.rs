//! Which tables of a database move.

use crate::decode::{Fields, Problems};

/// Patterns over names of tables and views; `*` stands for any text, `?` for one character. A pattern with a `.` is compared with
/// `schema.name`, one without with the name alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSelection {
    /// Empty: all (of a WordPress: its own).
    pub include: Vec<String>,
    /// Stays behind, whatever `include` says.
    pub exclude: Vec<String>,
}

impl TableSelection {
    pub(super) fn read(fields: Option<Fields<'_>>, p: &mut Problems) -> Option<Self> {
        let mut f = fields?;
        let out = Self { include: f.texts("include", p), exclude: f.texts("exclude", p) };
        for (field, patterns) in [("include", &out.include), ("exclude", &out.exclude)] {
            for (i, _) in patterns.iter().enumerate().filter(|(_, pattern)| pattern.trim().is_empty()) {
                p.note(f.path(&format!("{field}[{i}]")), "must not be empty");
            }
        }
        f.done(p);
        Some(out)
    }

    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    pub fn includes(&self, schema: &str, name: &str) -> bool {
        self.include.iter().any(|pattern| matches(pattern, schema, name))
    }

    pub fn excludes(&self, schema: &str, name: &str) -> bool {
        self.exclude.iter().any(|pattern| matches(pattern, schema, name))
    }
}

/// Whether a pattern of a [`TableSelection`] means this table.
pub fn matches(pattern: &str, schema: &str, name: &str) -> bool {
    if pattern.contains('.') && !schema.is_empty() {
        return glob(pattern.as_bytes(), format!("{schema}.{name}").as_bytes());
    }
    glob(pattern.as_bytes(), name.as_bytes())
}

/// Goes back to the last `*` only, so it takes at most the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(b'?') => (at, seen) = (at + 1, next_character(text, seen)),
            Some(byte) if *byte == text[seen] => (at, seen) = (at + 1, seen + 1),
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, seen) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Where the character after the one at `at` begins.
fn next_character(text: &[u8], at: usize) -> usize {
    (at + 1..text.len()).find(|i| text[*i] & 0xC0 != 0x80).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_names_with_or_without_their_schema() {
        for (pattern, schema, name, expected) in [
            ("wp_*", "", "wp_posts", true),
            ("wp_*", "", "xwp_posts", false),
            ("*", "public", "orders", true),
            ("*_log", "", "a_log_b_log", true),
            ("*_log", "", "a_log_b", false),
            ("orders", "public", "orders", true),
            ("public.*", "public", "orders", true),
            ("shop.*", "public", "orders", false),
            ("caf?", "", "café", true),
            ("", "", "a", false),
            ("a*b*c", "", "aXbYbZc", true),
            ("wp_*", "", "WP_posts", false),
        ] {
            assert_eq!(matches(pattern, schema, name), expected, "{pattern} {schema} {name}");
        }
    }
}
