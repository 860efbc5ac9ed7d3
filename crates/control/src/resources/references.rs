//! The ids in a body: each must be there, and what is referred to stays as long as what refers to it.

use crate::{Control, Error};
use domain::decode::Problems;
use ports::records::{Fields, Record, RecordsError, Write};

/// What a body refers to, and what is wrong with it.
pub(super) struct References<'a> {
    control: &'a Control,
    tenant: &'a str,
    problems: Problems,
    found: Vec<Reference>,
}

struct Reference {
    field: String,
    kind: &'static str,
    id: String,
}

impl<'a> References<'a> {
    /// Adds to the problems that were found before.
    pub fn new(control: &'a Control, tenant: &'a str, problems: Problems) -> Self {
        Self { control, tenant, problems, found: Vec::new() }
    }

    /// The record that a field names; one that is not there is a problem. An empty id was told before.
    pub async fn take(&mut self, field: &str, kind: &'static str, id: &str) -> Result<Option<Record>, Error> {
        if id.is_empty() {
            return Ok(None);
        }
        let record = self.control.records().get(self.tenant, kind, id).await?;
        let reference = Reference { field: field.to_owned(), kind, id: id.to_owned() };
        match record {
            Some(_) => self.found.push(reference),
            None => reference.is_missing(&mut self.problems),
        }
        Ok(record)
    }

    pub fn problems(&mut self) -> &mut Problems {
        &mut self.problems
    }

    /// All problems as one answer.
    pub fn checked(&mut self) -> Result<(), Error> {
        let problems = std::mem::take(&mut self.problems);
        if problems.is_empty() { Ok(()) } else { Err(Error::request(problems)) }
    }

    /// To be written together with what refers to them. Whoever deletes one of them meanwhile has seen an older version and is refused; a part
    /// that was made together with a workload belongs to that one alone no longer, and stays when it goes.
    pub fn holds(&self) -> impl Iterator<Item = Write> + '_ {
        self.found.iter().map(|r| Write::Update {
            tenant: self.tenant.to_owned(),
            kind: r.kind.to_owned(),
            id: r.id.clone(),
            version: None,
            fields: Fields { parent: Some(None), ..Fields::default() },
        })
    }

    /// What went while it was being referred to is a bad field like one that never was.
    pub fn told(mut self, error: RecordsError) -> Error {
        match error {
            RecordsError::NotFound { ref kind, ref id } => match self.found.iter().find(|r| r.kind == kind && r.id == *id) {
                Some(gone) => {
                    gone.is_missing(&mut self.problems);
                    Error::request(self.problems)
                }
                None => error.into(),
            },
            other => other.into(),
        }
    }
}

impl Reference {
    fn is_missing(&self, p: &mut Problems) {
        let noun = self.kind.replace('_', " ");
        let article = if noun.ends_with('s') { "are no" } else { "is no" };
        p.note(self.field.clone(), format!("there {article} {noun} '{}'", self.id));
    }
}
