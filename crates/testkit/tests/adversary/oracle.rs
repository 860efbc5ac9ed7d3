//! What must be true when a run has come to rest, measured against the model alone.

use super::model::{Model, Moment, Spot};
use super::places::Files;
use super::scenario::{Deed, Kind, TABLES};
use super::stage::{MAINTENANCE, RUN, Stage, TENANT};
use super::world::World;
use engine::{EventFilter, RunView};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// What kind of promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The site is closed, and nobody works on it.
    MaintenanceLeft,
    /// The migration changed its source.
    SourceChanged,
    /// Completed, but the destination is no standstill of the source.
    NoStandstill,
    /// Completed, but a file is none of the states it had since the last pass began.
    StaleFile,
    /// Completed, but the rows never were so together.
    MixedRows,
    /// A file that people wrote is nowhere.
    FileLost,
    /// A row that people wrote is nowhere.
    RowLost,
    /// It was saved, but neither log nor report names the copy.
    CopyNotNamed,
    /// Rolled back, but what we wrote is still there.
    Leftover,
    /// Rolled back without anybody's disturbance, but not as before.
    NotAsBefore,
    /// The rollback cannot be finished, whatever is done.
    Stuck,
    /// It failed, although nothing was in its way.
    NeedlessFailure,
    /// It never ends.
    Endless,
}

#[derive(Debug, Clone)]
pub struct Violation {
    pub class: Class,
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.class, self.words)
    }
}

pub fn violation(class: Class, words: impl Into<String>) -> Violation {
    Violation { class, words: words.into() }
}

/// What is looked at together.
pub struct Oracle<'a> {
    world: &'a World,
    stage: &'a Stage,
    view: &'a RunView,
    /// Log lines, outputs and errors: all that the run tells.
    told: String,
}

impl<'a> Oracle<'a> {
    pub async fn new(world: &'a World, view: &'a RunView) -> Self {
        let events = world.engine.events(TENANT, RUN, &EventFilter { limit: 100_000, ..EventFilter::default() }).await.unwrap_or_default();
        let mut told = events.iter().map(|event| format!("{} {}", event.message, event.details)).collect::<Vec<_>>().join("\n");
        for step in &view.steps {
            told.push_str(&step.output.as_ref().map(Value::to_string).unwrap_or_default());
        }
        Self { world, stage: &world.stage, view, told }
    }

    /// True whenever nobody works on the run.
    pub async fn at_rest(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        if self.stage.in_maintenance().await && !self.could_not_open() {
            found.push(violation(Class::MaintenanceLeft, format!("the run is {}, and the site is closed", self.view.state)));
        }
        let mut files = self.stage.source.files.files().await;
        files.remove(self.stage.maintenance_file());
        let tables = self.stage.source.rows.tables().await;
        let source = self.stage.lock().model.source.clone();
        if (&files, &tables) != (&source.files, &source.tables) {
            found.push(violation(Class::SourceChanged, difference(&source, &Moment { files, tables }).join("; ")));
        }
        found.extend(self.nothing_lost().await);
        found
    }

    /// A site that does not let itself be opened again is named, and its mode ends by itself.
    fn could_not_open(&self) -> bool {
        self.stage.scenario.any(|deed| matches!(deed, Deed::Fault { lasting: true })) && self.told.contains("could not be stood down")
    }

    /// Every text that is owed is where people put it, or in a copy that is named.
    async fn nothing_lost(&self) -> Vec<Violation> {
        let (files, tables) = (self.stage.destination.files.files().await, self.stage.destination.rows.tables().await);
        let owed = self.stage.lock().model.owed.clone();
        let mut copies = None;
        let mut found = Vec::new();
        for (spot, texts) in owed {
            let there = match &spot {
                Spot::File(path) => files.get(path),
                Spot::Row(table, key) => tables.get(table).and_then(|rows| rows.get(key)),
            };
            for text in texts.iter().filter(|text| Some(*text) != there) {
                let copies = copies.get_or_insert_with(|| copies_below(&self.stage.backups));
                let saved = copies.iter().find(|copy| copy.holds(text));
                let class = if matches!(spot, Spot::File(_)) { Class::FileLost } else { Class::RowLost };
                match saved {
                    None => found.push(violation(class, format!("{spot:?} held {text}, now {there:?}, and no copy has it ({})", self.view.state))),
                    Some(copy) if !self.told.contains(&copy.backup) => {
                        found.push(violation(Class::CopyNotNamed, format!("{spot:?} held {text}, saved in {}, which nothing names", copy.backup)));
                    }
                    Some(_) => {}
                }
            }
        }
        found
    }

    pub async fn completed(&self) -> Vec<Violation> {
        let now = Moment { files: self.stage.destination.files.files().await, tables: self.stage.destination.rows.tables().await };
        let scenario = &self.stage.scenario;
        let state = self.stage.lock();
        let model = &state.model;
        let late = Late { model, verify: state.verify_begun.unwrap_or(u64::MAX) };
        match scenario.kind {
            Kind::WordPress if self.closable() => {
                let nearest = model.standstills.iter().map(|moment| self.differences(&late, moment, &now)).min_by_key(Vec::len);
                match nearest {
                    None => vec![violation(Class::NoStandstill, "it completed without a standstill")],
                    Some(differences) if differences.is_empty() => Vec::new(),
                    Some(differences) => vec![violation(Class::NoStandstill, differences.join("; "))],
                }
            }
            Kind::WordPress | Kind::Static | Kind::DatabaseOnly => {
                let mut found = Vec::new();
                if scenario.has_files() {
                    found.extend(self.stale_files(&late, &now.files, state.files_begun));
                }
                if !scenario.objects {
                    let nearest = model.history.iter().map(|(_, moment)| row_differences(&late, moment, &now)).min_by_key(Vec::len);
                    if let Some(differences) = nearest.filter(|differences| !differences.is_empty()) {
                        found.push(violation(Class::MixedRows, differences.join("; ")));
                    }
                }
                found
            }
        }
    }

    /// Whether the site could be closed; a report that says it could not promises less.
    fn closable(&self) -> bool {
        let files = self.view.steps.iter().find(|step| step.name == "files").and_then(|step| step.output.as_ref());
        files.is_none_or(|output| output["maintenance"]["unavailable"].is_null())
    }

    fn differences(&self, late: &Late<'_>, expected: &Moment, now: &Moment) -> Vec<String> {
        let mut found = row_differences(late, expected, now);
        for path in expected.files.keys().chain(now.files.keys()).collect::<BTreeSet<_>>() {
            let (wanted, there) = (expected.files.get(path), now.files.get(path));
            if wanted != there && !self.excused(late, path, wanted.is_some(), there) {
                found.push(format!("file {path}: {wanted:?} in the standstill, {there:?} at the destination"));
            }
        }
        found
    }

    fn stale_files(&self, late: &Late<'_>, now: &Files, since: u64) -> Vec<Violation> {
        let moments: Vec<&Moment> = late.model.since(since).collect();
        let known = moments.iter().flat_map(|moment| moment.files.keys());
        let mut found = Vec::new();
        for path in known.chain(now.keys()).collect::<BTreeSet<_>>() {
            let there = now.get(path);
            let was = moments.iter().any(|moment| moment.files.get(path) == there);
            let always = moments.iter().all(|moment| moment.files.contains_key(path));
            if !was && !self.excused(late, path, always, there) {
                found.push(violation(Class::StaleFile, format!("{path} is {there:?}, which it never was since the last pass began")));
            }
        }
        found
    }

    /// Whether a file may differ: it is not in the scope, people wrote it where verification could not see it any more, or it is named.
    fn excused(&self, late: &Late<'_>, path: &str, moves: bool, there: Option<&String>) -> bool {
        if path.ends_with(MAINTENANCE) || path == "wp-config.php" || late.is_late(&Spot::File(path.to_owned())) {
            return true;
        }
        let of_people = there.is_some_and(|text| late.model.authored.contains(text));
        if !moves && of_people {
            return true;
        }
        moves && self.view.steps.last().and_then(|step| step.output.as_ref()).is_some_and(|report| report["leftovers"].to_string().contains(path))
    }

    pub async fn rolled_back(&self) -> Vec<Violation> {
        let (files, tables) = (self.stage.destination.files.files().await, self.stage.destination.rows.tables().await);
        let mut found = self.leftovers(&files, &tables);
        found.extend(self.as_before().await);
        found
    }

    /// Whether the run says that it may not drop this object of its own.
    fn stays(&self, object: &str) -> bool {
        self.told.contains(&format!("{object}, made by this migration, could not be dropped and stays"))
    }

    fn leftovers(&self, files: &BTreeMap<String, String>, tables: &BTreeMap<String, BTreeMap<i64, String>>) -> Vec<Violation> {
        let state = self.stage.lock();
        let model = &state.model;
        let mut found = Vec::new();
        for (path, text) in files.iter().filter(|(_, text)| !model.authored.contains(*text)) {
            if !self.told.contains(path.as_str()) {
                found.push(violation(Class::Leftover, format!("file {path} still is {text}")));
            }
        }
        for (table, rows) in tables.iter().filter(|(table, _)| !self.stays(&format!("table {table}"))) {
            for (key, text) in rows.iter().filter(|(_, text)| !model.authored.contains(*text)) {
                found.push(violation(Class::Leftover, format!("row {key} of {table} still is {text}")));
            }
        }
        found
    }

    /// Where nobody else wrote, everything that can be seen is as before.
    async fn as_before(&self) -> Vec<Violation> {
        let (files, rows) = (self.stage.destination.files.state().await, self.stage.destination.rows.state().await);
        let (mut touched_files, mut touched_rows) = (false, false);
        for spot in self.stage.lock().model.touched.keys() {
            match spot {
                Spot::File(_) => touched_files = true,
                Spot::Row(..) => touched_rows = true,
            }
        }
        let mut found = Vec::new();
        for (touched, before, now) in [(touched_files, &self.world.files_before, &files), (touched_rows, &self.world.rows_before, &rows)] {
            if !touched && before != now {
                let gone = before.iter().filter(|line| !now.contains(line)).map(|line| format!("- {line}"));
                let stays = |line: &str| TABLES.iter().any(|t| self.stays(&format!("table {t}"))) || line.starts_with("View ") && self.stays("view recent");
                let new = now.iter().filter(|line| !before.contains(line) && !stays(line)).map(|line| format!("+ {line}"));
                let all: Vec<String> = gone.chain(new).collect();
                found.extend((!all.is_empty()).then(|| violation(Class::NotAsBefore, all.join("; "))));
            }
        }
        found
    }
}

/// Places that people changed after verification had begun.
struct Late<'a> {
    model: &'a Model,
    verify: u64,
}

impl Late<'_> {
    fn is_late(&self, spot: &Spot) -> bool {
        self.model.touched.get(spot).is_some_and(|at| *at >= self.verify)
    }
}

fn difference(expected: &Moment, found: &Moment) -> Vec<String> {
    let files = expected.files.keys().chain(found.files.keys()).collect::<BTreeSet<_>>();
    let mut out: Vec<String> = files
        .into_iter()
        .filter(|path| expected.files.get(*path) != found.files.get(*path))
        .map(|path| format!("file {path}: {:?} → {:?}", expected.files.get(path), found.files.get(path)))
        .collect();
    if expected.tables != found.tables {
        out.push(format!("rows {:?} → {:?}", expected.tables, found.tables));
    }
    out
}

/// A file below a backup, unpacked where it is packed.
struct Copy {
    backup: String,
    bytes: Vec<u8>,
}

impl Copy {
    fn holds(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|some| some == text.as_bytes())
    }
}

fn copies_below(backups: &[impl AsRef<Path>]) -> Vec<Copy> {
    let mut copies = Vec::new();
    for dir in backups {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            let backup = entry.file_name().to_string_lossy().into_owned();
            collect(&entry.path(), &backup, &mut copies);
        }
    }
    copies
}

fn collect(path: &Path, backup: &str, into: &mut Vec<Copy>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            collect(&entry.path(), backup, into);
        }
    } else if let Ok(bytes) = std::fs::read(path) {
        let packed = path.extension().is_some_and(|extension| extension == "zst");
        let bytes = if packed { zstd::decode_all(bytes.as_slice()).unwrap_or_default() } else { bytes };
        into.push(Copy { backup: backup.to_owned(), bytes });
    }
}

fn row_differences(late: &Late<'_>, expected: &Moment, now: &Moment) -> Vec<String> {
    let mut found = Vec::new();
    for table in TABLES {
        let (wanted, there) = (expected.tables.get(table), now.tables.get(table));
        let (Some(wanted), Some(there)) = (wanted, there) else {
            found.push(format!("table {table}: {} at the source, {} at the destination", wanted.is_some(), there.is_some()));
            continue;
        };
        for key in wanted.keys().chain(there.keys()).collect::<BTreeSet<_>>() {
            if wanted.get(key) != there.get(key) && !late.is_late(&Spot::Row(table.to_owned(), *key)) {
                found.push(format!("row {key} of {table}: {:?} expected, {:?} at the destination", wanted.get(key), there.get(key)));
            }
        }
    }
    found
}
