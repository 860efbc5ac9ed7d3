//! Which migrations a webhook hears of.

use domain::decode::{Fields, Problems};
use domain::spec::SystemKind;
use domain::workloads::CloudType;
use engine::RunView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Types of sources and destinations that document 3's migrations do not have.
const OTHER_SOURCES: [&str; 2] = ["workload", "process"];
const IMAGE: &str = "image";
const MOST: usize = 100;

/// Only these migrations: one must fit every list that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Only {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 100)]
    pub session_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 100, example = json!(["wordpress"]))]
    pub source_types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 100, example = json!(["aws-s3"]))]
    pub destination_types: Vec<String>,
}

impl Only {
    /// Reads `only`; `None` when it is absent or names nothing.
    pub(super) fn read(f: &mut Fields<'_>, p: &mut Problems) -> Option<Self> {
        let mut f = f.object("only", p)?;
        let mut list = |name: &'static str, known: &dyn Fn(&str) -> bool| {
            let (words, path) = (f.texts(name, p), f.path(name));
            if words.len() > MOST {
                p.note(&path, format!("must be at most {MOST}"));
            }
            for (i, word) in words.iter().enumerate().filter(|(_, word)| !known(word)) {
                p.note(format!("{path}[{i}]"), format!("there is nothing of that kind: '{}'", word.escape_default()));
            }
            words
        };
        let is_system = |word: &str| SystemKind::ALL.iter().any(|(w, _)| *w == word);
        let found = Self {
            session_ids: list("session_ids", &|id| !id.is_empty() && id.chars().count() <= 100),
            source_types: list("source_types", &|word| is_system(word) || OTHER_SOURCES.contains(&word)),
            destination_types: list("destination_types", &|word| is_system(word) || word == IMAGE || CloudType::ALL.iter().any(|(w, _)| *w == word)),
        };
        f.done(p);
        (found != Self::default()).then_some(found)
    }

    /// Whether the migration fits. One that was deleted meanwhile has no types any more; its last events are rather told than lost.
    pub(crate) fn admits(&self, id: &str, view: Option<&RunView>) -> bool {
        let among = |list: &[String], word: &str| list.is_empty() || list.iter().any(|one| one == word);
        let label = |name: &str, list: &[String]| view.is_none_or(|v| among(list, v.labels[name].as_str().unwrap_or_default()));
        among(&self.session_ids, id) && label("source_type", &self.source_types) && label("destination_type", &self.destination_types)
    }
}
