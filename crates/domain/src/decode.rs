//! Reading a JSON document strictly and kindly: every bad field is named in one answer, unknown fields included.
//!
//! [`Fields`] walks one object. Each getter notes a [`Problem`] instead of failing, and [`Fields::done`] notes the fields
//! that nobody asked for. The caller looks at the problems once, at the end.

use serde_json::{Map, Value};

/// One bad field: its dotted path, what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    pub field: String,
    pub message: String,
}

/// All problems found so far, in the order of the document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub fn note(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { field: field.into(), message: message.into() });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One object of the document, being read. `path` is empty for the root.
pub struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
    asked: Vec<&'static str>,
}

/// The JSON word for a value's type, as used in messages.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl<'a> Fields<'a> {
    /// Starts reading `value`; notes a problem and gives `None` when it is no object.
    pub fn of(path: impl Into<String>, value: &'a Value, problems: &mut Problems) -> Option<Self> {
        let path = path.into();
        if let Value::Object(map) = value {
            return Some(Self { path, map, asked: Vec::new() });
        }
        let field = if path.is_empty() { "body".to_owned() } else { path };
        problems.note(field, format!("must be an object, not {}", type_name(value)));
        None
    }

    /// The dotted path of a field of this object.
    pub fn path(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// The raw value; an explicit null counts as absent.
    pub fn value(&mut self, field: &'static str) -> Option<&'a Value> {
        self.asked.push(field);
        self.map.get(field).filter(|v| !v.is_null())
    }

    /// Whether the field is there and not null, without marking it as known.
    pub fn has(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|v| !v.is_null())
    }

    pub fn text(&mut self, field: &'static str, problems: &mut Problems) -> Option<String> {
        match self.value(field)? {
            Value::String(s) if s.contains('\0') => {
                problems.note(self.path(field), "must not contain a NUL character");
                None
            }
            Value::String(s) => Some(s.clone()),
            other => {
                problems.note(self.path(field), format!("must be a string, not {}", type_name(other)));
                None
            }
        }
    }

    /// A string that must be there and must not be blank.
    pub fn required_text(&mut self, field: &'static str, problems: &mut Problems) -> String {
        let before = problems.0.len();
        match self.text(field, problems) {
            Some(s) if !s.trim().is_empty() => s,
            Some(_) => {
                problems.note(self.path(field), "must not be empty");
                String::new()
            }
            None if problems.0.len() == before => {
                problems.note(self.path(field), "is required");
                String::new()
            }
            None => String::new(),
        }
    }

    pub fn flag(&mut self, field: &'static str, default: bool, problems: &mut Problems) -> bool {
        match self.value(field) {
            None => default,
            Some(Value::Bool(b)) => *b,
            Some(other) => {
                problems.note(self.path(field), format!("must be true or false, not {}", type_name(other)));
                default
            }
        }
    }

    /// A flag that may be left open.
    pub fn maybe_flag(&mut self, field: &'static str, problems: &mut Problems) -> Option<bool> {
        let given = self.has(field);
        let value = self.flag(field, false, problems);
        given.then_some(value)
    }

    pub fn integer(&mut self, field: &'static str, range: std::ops::RangeInclusive<u64>, problems: &mut Problems) -> Option<u64> {
        let value = self.value(field)?;
        match whole(value) {
            Some(n) if range.contains(&n) => Some(n),
            _ => {
                let found = if value.is_number() { value.to_string() } else { type_name(value).to_owned() };
                problems.note(self.path(field), format!("must be a whole number from {} to {}, not {found}", range.start(), range.end()));
                None
            }
        }
    }

    /// One of a closed list of words.
    pub fn choice<T: Copy>(&mut self, field: &'static str, words: &[(&str, T)], problems: &mut Problems) -> Option<T> {
        let text = self.text(field, problems)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list = words.iter().map(|(w, _)| *w).collect::<Vec<_>>().join(", ");
            problems.note(self.path(field), format!("'{text}' is not one of: {list}"));
        }
        found
    }

    pub fn texts(&mut self, field: &'static str, problems: &mut Problems) -> Vec<String> {
        let path = self.path(field);
        match self.value(field) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let mut out = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    match item.as_str() {
                        Some(s) => out.push(s.to_owned()),
                        None => problems.note(format!("{path}[{i}]"), format!("must be a string, not {}", type_name(item))),
                    }
                }
                out
            }
            Some(other) => {
                problems.note(path, format!("must be an array of strings, not {}", type_name(other)));
                Vec::new()
            }
        }
    }

    /// A nested object; absent is `None` without a problem.
    pub fn object(&mut self, field: &'static str, problems: &mut Problems) -> Option<Fields<'a>> {
        let path = self.path(field);
        let value = self.value(field)?;
        Fields::of(path, value, problems)
    }

    /// Notes every field that was never asked for.
    pub fn done(self, problems: &mut Problems) {
        for name in self.map.keys() {
            if !self.asked.contains(&name.as_str()) {
                let near = self.asked.iter().copied().filter(|a| similar(a, name)).min();
                let hint = near.map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
                problems.note(self.path(name), format!("is not a known field here{hint}"));
            }
        }
    }
}

/// A whole number, also when it is written as `2.0`: to JSON that is the same.
pub(crate) fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..EXACT).contains(n)).map(|n| n as u64))
}

/// Close enough to be a typing slip: same letters but for case, separators or a plural, or one edit away.
fn similar(a: &str, b: &str) -> bool {
    let plain = |s: &str| s.to_ascii_lowercase().replace(['_', '-'], "");
    let (a, b) = (plain(a), plain(b));
    let (short, long) = if a.len() <= b.len() { (&a, &b) } else { (&b, &a) };
    if long.len() - short.len() > 1 || short.len() < 3 {
        return false;
    }
    let same = short.bytes().zip(long.bytes()).take_while(|(x, y)| x == y).count();
    let tail = short.bytes().rev().zip(long.bytes().rev()).take_while(|(x, y)| x == y).count();
    same + tail + 1 >= long.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_is_absent_and_two_point_zero_is_two() {
        let body = json!({"open": null, "port": 2.0, "half": 2.5, "minus": -1.0});
        let mut problems = Problems::default();
        let mut f = Fields::of("", &body, &mut problems).unwrap();
        assert_eq!((f.maybe_flag("open", &mut problems), f.integer("port", 1..=9, &mut problems)), (None, Some(2)));
        assert_eq!((f.integer("half", 1..=9, &mut problems), f.integer("minus", 0..=9, &mut problems)), (None, None));
        f.done(&mut problems);
        assert_eq!(problems.0.iter().map(|p| p.field.as_str()).collect::<Vec<_>>(), ["half", "minus"]);
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let body = json!({"name": "", "port": 70000, "tls": "sometimes", "bukket": "x", "paths": []});
        let mut problems = Problems::default();
        let mut f = Fields::of("source", &body, &mut problems).unwrap();
        f.required_text("name", &mut problems);
        f.integer("port", 1..=65535, &mut problems);
        f.choice("tls", &[("disable", 0), ("require", 1)], &mut problems);
        f.object("paths", &mut problems);
        f.text("bucket", &mut problems);
        f.required_text("host", &mut problems);
        f.done(&mut problems);
        let said: Vec<String> = problems.0.iter().map(|p| format!("{} {}", p.field, p.message)).collect();
        assert_eq!(
            said,
            [
                "source.name must not be empty",
                "source.port must be a whole number from 1 to 65535, not 70000",
                "source.tls 'sometimes' is not one of: disable, require",
                "source.paths must be an object, not an array",
                "source.host is required",
                "source.bukket is not a known field here; did you mean 'bucket'?",
            ]
        );
    }
}
