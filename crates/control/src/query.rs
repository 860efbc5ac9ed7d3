//! Query parameters of lists, read strictly: every unknown or bad one is named at once.

use crate::Error;
use domain::decode::Problems;

/// The parameters of one request, being read. Each may be given once.
pub struct Filter {
    given: Vec<(String, String)>,
    asked: Vec<&'static str>,
    problems: Problems,
}

impl Filter {
    pub fn new(given: Vec<(String, String)>) -> Self {
        Self { given, asked: Vec::new(), problems: Problems::default() }
    }

    /// Whether a parameter is given with a value.
    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(n, v)| n == name && !v.is_empty())
    }

    /// The raw value; an empty one counts as absent.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.asked.push(name);
        let mut values = self.given.iter().filter(|(n, _)| n == name).map(|(_, v)| v);
        let first = values.next().filter(|v| !v.is_empty()).cloned();
        if values.next().is_some() {
            self.problems.note(name, "is given more than once");
        }
        first
    }

    /// A whole number within `range`, or `default`.
    pub fn number(&mut self, name: &'static str, range: std::ops::RangeInclusive<u64>, default: u64) -> u64 {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(n) if range.contains(&n) => n,
            _ => {
                self.problems.note(name, format!("must be a whole number from {} to {}, not '{}'", range.start(), range.end(), text.escape_default()));
                default
            }
        }
    }

    pub fn flag(&mut self, name: &'static str) -> bool {
        let words = [("true", true), ("1", true), ("false", false), ("0", false)];
        self.choice(name, &words).unwrap_or(false)
    }

    /// One of a closed list of words.
    pub fn choice<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list = words.iter().map(|(w, _)| *w).collect::<Vec<_>>().join(", ");
            self.problems.note(name, format!("'{}' is not one of: {list}", text.escape_default()));
        }
        found
    }

    /// An ISO 8601 time.
    pub fn time(&mut self, name: &'static str) -> Option<jiff::Timestamp> {
        let text = self.text(name)?;
        let at = crate::time::parse(&text);
        if at.is_none() {
            self.problems.note(name, format!("must be an ISO 8601 time such as 2024-08-26T14:30:22, not '{}'", text.escape_default()));
        }
        at
    }

    /// The end of a period: an ISO 8601 time, or a bare date, which means its last moment.
    pub fn last_moment(&mut self, name: &'static str) -> Option<jiff::Timestamp> {
        let at = self.time(name)?;
        let is_date = self.given.iter().any(|(n, v)| n == name && v.trim().parse::<jiff::civil::Date>().is_ok() && v.trim().len() == 10);
        if !is_date {
            return Some(at);
        }
        at.checked_add(std::time::Duration::from_micros(24 * 3_600_000_000 - 1)).ok()
    }

    /// A parameter that is good by itself, but not beside the others.
    pub fn refuse(&mut self, name: &str, message: &str) {
        self.problems.note(name, message);
    }

    /// Fails with everything that was wrong, unknown parameters included.
    pub fn done(mut self) -> Result<(), Error> {
        for (name, _) in &self.given {
            if !self.asked.contains(&name.as_str()) {
                let known = if self.asked.is_empty() { "this path takes none".to_owned() } else { format!("known ones: {}", self.asked.join(", ")) };
                self.problems.note(name.escape_default().to_string(), format!("is not a known parameter here; {known}"));
            }
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Error::parameters(self.problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_parameter_is_named_at_once() {
        let pairs = [("limit", "0"), ("level", "LOUD"), ("since", "tomorrow-ish"), ("lmit", "3"), ("offset", "1"), ("offset", "2")];
        let mut filter = Filter::new(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec());
        filter.number("limit", 1..=1000, 100);
        filter.number("offset", 0..=1_000_000, 0);
        filter.choice("level", &[("INFO", 1)]);
        filter.time("since");
        let error = filter.done().unwrap_err();
        let named: Vec<&str> = error.details["validation_errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
        assert_eq!(named, ["limit", "offset", "level", "since", "lmit"]);
    }
}
