//! The presets that every installation has: one file each, part of the program.

use super::form::Form;
use crate::Error;
use std::sync::OnceLock;

/// In the order of the list.
const FILES: [&str; 22] = [
    include_str!("builtin/wordpress-mysql.json"),
    include_str!("builtin/django-postgres.json"),
    include_str!("builtin/wordpress-server.json"),
    include_str!("builtin/drupal-mysql.json"),
    include_str!("builtin/laravel-mysql.json"),
    include_str!("builtin/rails-postgres.json"),
    include_str!("builtin/static-s3.json"),
    include_str!("builtin/static-gcs.json"),
    include_str!("builtin/static-azure.json"),
    include_str!("builtin/static-server.json"),
    include_str!("builtin/mysql-mysql.json"),
    include_str!("builtin/mysql-aurora.json"),
    include_str!("builtin/postgres-postgres.json"),
    include_str!("builtin/postgres-aurora.json"),
    include_str!("builtin/mysql-postgres.json"),
    include_str!("builtin/postgres-mysql.json"),
    include_str!("builtin/mongo-mongo.json"),
    include_str!("builtin/mongo-postgres.json"),
    include_str!("builtin/redis-postgres.json"),
    include_str!("builtin/docker-mysql.json"),
    include_str!("builtin/docker-postgres.json"),
    include_str!("builtin/docker-static.json"),
];

/// All of them, read once.
pub(super) fn all() -> Result<&'static [Form], Error> {
    static ALL: OnceLock<Result<Vec<Form>, String>> = OnceLock::new();
    let read = || FILES.iter().map(|text| serde_json::from_str(text).map_err(|e| format!("a built-in preset cannot be read: {e}"))).collect();
    match ALL.get_or_init(read) {
        Ok(forms) => Ok(forms),
        Err(why) => Err(Error::internal(why.as_str())),
    }
}

pub(super) fn find(id: &str) -> Result<Option<&'static Form>, Error> {
    Ok(all()?.iter().find(|form| form.id == id))
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;
    use crate::templates::placeholders::{at, find};
    use domain::decode::Problems;

    #[test]
    fn every_file_is_in_order() {
        let all = all().unwrap();
        let ids: std::collections::BTreeSet<&str> = all.iter().map(|f| f.id.as_str()).collect();
        assert_eq!(ids.len(), FILES.len());
        for form in all {
            let mut problems = Problems::default();
            let found = find(&form.config_template, "", &mut problems);
            assert!(problems.is_empty() && found.iter().all(|f| f.whole), "{}: {problems:?}", form.id);
            for path in &form.optional {
                assert!(at(&form.config_template, path).is_some(), "{}: {path} is not in the template", form.id);
            }
            for (types, side) in [(&form.source_types, "source"), (&form.destination_types, "destination")] {
                let own = form.config_template[side]["type"].as_str().unwrap();
                assert!(types.iter().any(|t| t == own), "{}: {side} {own}", form.id);
            }
        }
    }

    /// Which presets this version runs; the others say why. Changes when connectors come.
    #[test]
    fn what_is_not_supported_says_why_in_a_sentence() {
        for form in all().unwrap() {
            if let Some(problems) = shown::unfit(form) {
                let reason = shown::reason(form, &problems);
                assert!(reason.contains("not") && reason.len() > 20, "{}: {reason}", form.id);
            }
        }
        let runs = |id: &str| shown::unfit(super::find(id).unwrap().unwrap()).is_none();
        let moved = ["wordpress-mysql", "django-postgres", "drupal-mysql", "laravel-mysql", "rails-postgres", "static-s3", "static-server", "docker-mysql"];
        for id in moved {
            assert!(runs(id), "{id}: {:?}", shown::unfit(super::find(id).unwrap().unwrap()));
        }
    }
}
