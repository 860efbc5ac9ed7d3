//! One bad day: a small migration, and what happens to it after which call of a system.

use super::dice::Dice;
use serde_json::{Value, json};

/// Names of files, on both sides. Order matters to whoever merges listings: a directory sorts as `dir/`.
pub const PATHS: [&str; 8] = ["dir-2", "dir.txt", "dir/one", "dir/sub/two", "index.php", "notes.txt", "wp-content/uploads/a.jpg", "zebra.css"];

/// Tables that move, and one of the destination that nobody named.
pub const TABLES: [&str; 2] = ["wp_options", "wp_posts"];
pub const FOREIGN_TABLE: &str = "of_somebody_else";

/// What moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Files and a database, with maintenance mode for the last passes.
    WordPress,
    /// Files and a database, without.
    Static,
    DatabaseOnly,
}

/// Who acts, and on which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Destination,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A person creates or changes a file; `longer`: the size changes too.
    Write {
        side: Side,
        path: usize,
        longer: bool,
    },
    Delete {
        side: Side,
        path: usize,
    },
    Rename {
        side: Side,
        from: usize,
        to: usize,
    },
    WriteRow {
        side: Side,
        table: usize,
        key: i64,
    },
    DeleteRow {
        side: Side,
        table: usize,
        key: i64,
    },
    /// The clock of both systems goes on by so many milliseconds.
    TimePasses {
        milliseconds: u64,
    },
    Pause,
    Cancel,
    /// The process is gone between two calls; one on this node goes on.
    Kill {
        node: usize,
    },
    /// The process ends as told (SIGTERM); one on this node goes on.
    Shutdown {
        node: usize,
    },
    /// Another process on this node takes the run over while the first one still works.
    LeaseLost {
        node: usize,
    },
    /// The call fails; `lasting`: with an error that no retry mends.
    Fault {
        lasting: bool,
    },
    /// Somebody removes every backup.
    DeleteBackups,
    /// The destination's machine loses power, with all processes; one on this node goes on. Where a real disk would be needed: a kill.
    PowerLoss {
        node: usize,
    },
}

impl Deed {
    /// Whether a person writes at the destination.
    pub fn is_at_destination(&self) -> bool {
        matches!(
            self,
            Self::Write { side: Side::Destination, .. }
                | Self::Delete { side: Side::Destination, .. }
                | Self::Rename { side: Side::Destination, .. }
                | Self::WriteRow { side: Side::Destination, .. }
                | Self::DeleteRow { side: Side::Destination, .. }
        )
    }
}

/// Where calls are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anchor {
    /// The very first call.
    Start,
    /// The first one in maintenance mode.
    Standstill,
    /// The first one of the step `verify`.
    Verify,
    /// The first one of a rollback.
    Rollback,
}

/// A deed before a call: so many after the anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub from: Anchor,
    pub at: u64,
    pub deed: Deed,
}

/// What is done with a run that completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Leave,
    Rollback,
}

#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub kind: Kind,
    pub delete_extraneous: bool,
    pub auto_rollback: bool,
    /// The source shows whole seconds and no version, as SFTP does.
    pub coarse: bool,
    /// The destination holds objects, not a tree.
    pub objects: bool,
    /// Files above a few bytes are written in parts.
    pub parts: bool,
    /// WordPress lives in `wp/` below the web root.
    pub own_directory: bool,
    /// The destination holds an older copy and things of its own.
    pub occupied: bool,
    /// Files and rows that are there at the beginning, as bits.
    pub source_files: u64,
    pub destination_files: u64,
    pub events: Vec<Event>,
    /// What happens while nobody works on the run: paused, or failed.
    pub at_rest: Vec<Deed>,
    /// What people do after the run has completed, before `ending`.
    pub after: Vec<Deed>,
    pub ending: Ending,
    /// The power fails once more in the moment in which the run has ended.
    pub power_fails_at_end: bool,
}

/// Calls of an undisturbed run, about.
const CALLS: u64 = 260;

impl Scenario {
    pub fn generate(seed: u64) -> Self {
        let dice = &mut Dice::new(seed);
        let kind = dice.pick(&[Kind::WordPress, Kind::WordPress, Kind::Static, Kind::DatabaseOnly]);
        let occupied = !dice.once_in(3);
        let mut scenario = Self {
            seed,
            kind,
            delete_extraneous: dice.once_in(3),
            auto_rollback: dice.once_in(2),
            coarse: dice.once_in(2),
            objects: kind == Kind::Static && dice.once_in(3),
            parts: dice.once_in(4),
            own_directory: dice.once_in(3),
            occupied,
            source_files: dice.below(256) | 16,
            destination_files: if occupied { dice.below(256) } else { 0 },
            events: Vec::new(),
            at_rest: Vec::new(),
            after: Vec::new(),
            ending: if dice.once_in(2) { Ending::Rollback } else { Ending::Leave },
            power_fails_at_end: dice.once_in(3),
        };
        let calls = if kind == Kind::DatabaseOnly { CALLS / 3 } else { CALLS };
        for _ in 0..dice.below(8) {
            let from = dice.pick(&[Anchor::Start, Anchor::Start, Anchor::Standstill, Anchor::Verify, Anchor::Rollback]);
            let at = if from == Anchor::Start { dice.below(calls) } else { dice.below(40) };
            disturb(dice, from, at, &mut scenario.events);
        }
        scenario.events.sort_by_key(|event| (event.from, event.at));
        scenario.at_rest = (0..dice.below(4)).map(|_| if dice.once_in(3) { person(dice, Side::Destination) } else { person(dice, Side::Source) }).collect();
        if dice.once_in(2) {
            scenario.after = (0..dice.below(4)).map(|_| later(dice)).collect();
        }
        scenario
    }

    /// The same day on systems whose clock and capabilities are their own.
    #[must_use]
    pub fn on_real_systems(mut self) -> Self {
        if self.kind == Kind::WordPress {
            self.kind = Kind::Static;
        }
        (self.coarse, self.objects, self.parts) = (false, false, false);
        self
    }

    /// The same with a bucket now and then.
    #[must_use]
    pub fn on_servers(self) -> Self {
        let objects = self.objects;
        Self { objects, ..self.on_real_systems() }
    }

    pub fn has_files(&self) -> bool {
        self.kind != Kind::DatabaseOnly
    }

    /// Whether somebody does such a thing, at any time.
    pub fn any(&self, is: impl Fn(&Deed) -> bool) -> bool {
        self.events.iter().map(|event| &event.deed).chain(&self.at_rest).chain(&self.after).any(is)
    }

    /// The document of the migration; `places` gives both sides' files and databases.
    pub fn document(&self, places: &Documents) -> Value {
        let side = |files: &Value, database: &Value, config: bool| match self.kind {
            Kind::DatabaseOnly => database.clone(),
            Kind::WordPress | Kind::Static => {
                let mut system = files.clone();
                if self.kind == Kind::WordPress {
                    system["type"] = json!("wordpress");
                }
                if config {
                    system["database"] = database.clone();
                }
                system
            }
        };
        json!({
            "name": "adversary",
            "source": side(&places.source_files, &places.source_database, self.kind != Kind::WordPress && !self.objects),
            "destination": side(&places.destination_files, &places.destination_database, !self.objects),
            "transfer": {"options": {"parallel_transfers": 2, "delete_extraneous": self.delete_extraneous}},
        })
    }
}

/// Both sides as parts of a document.
pub struct Documents {
    pub source_files: Value,
    pub source_database: Value,
    pub destination_files: Value,
    pub destination_database: Value,
}

/// A deed of a person, at either side.
fn person(dice: &mut Dice, side: Side) -> Deed {
    let path = |dice: &mut Dice| dice.below(PATHS.len() as u64) as usize;
    match dice.below(8) {
        0..=2 => Deed::Write { side, path: path(dice), longer: dice.once_in(4) },
        3 => Deed::Delete { side, path: path(dice) },
        4 => Deed::Rename { side, from: path(dice), to: path(dice) },
        5 | 6 => Deed::WriteRow { side, table: dice.below(3) as usize, key: dice.below(12) as i64 },
        _ => Deed::DeleteRow { side, table: dice.below(3) as usize, key: dice.below(12) as i64 },
    }
}

/// One disturbance, which may be two deeds.
fn disturb(dice: &mut Dice, from: Anchor, at: u64, into: &mut Vec<Event>) {
    let node = dice.below(2) as usize;
    let deed = match dice.below(24) {
        0..=6 => person(dice, Side::Source),
        7 => {
            // The same file twice, with another look at it between.
            let deed = Deed::Write { side: Side::Source, path: dice.below(PATHS.len() as u64) as usize, longer: false };
            into.push(Event { from, at: at + 1 + dice.below(80), deed });
            deed
        }
        8..=11 => person(dice, Side::Destination),
        12 => Deed::TimePasses { milliseconds: 400 + dice.below(3000) },
        13..=15 => Deed::Pause,
        16 => Deed::Kill { node },
        17 => Deed::Shutdown { node },
        18 => Deed::LeaseLost { node },
        19 | 20 => Deed::Fault { lasting: dice.once_in(3) },
        22 | 23 => Deed::PowerLoss { node },
        _ if dice.once_in(3) => Deed::Cancel,
        _ => Deed::Kill { node },
    };
    into.push(Event { from, at, deed });
}

fn later(dice: &mut Dice) -> Deed {
    match dice.below(8) {
        0 => Deed::DeleteBackups,
        1 | 2 => person(dice, Side::Source),
        _ => person(dice, Side::Destination),
    }
}
