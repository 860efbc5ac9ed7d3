//! Options of `presets`.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Presets {
    /// All presets: built in, and your own
    List,
    /// One preset: what it moves and what it needs
    Show(OnePreset),
    /// Your own presets, or any one, as a file to import elsewhere
    Export(ExportPresets),
    /// Take presets over from an export
    Import(ImportPresets),
    /// A migration from a preset
    CreateMigration(PresetMigration),
}

#[derive(Debug, ClapArgs)]
pub struct OnePreset {
    /// Preset
    pub id: String,
}

#[derive(Debug, ClapArgs)]
pub struct ExportPresets {
    /// Preset; all of your own without it
    pub id: Option<String>,
    /// Write it there instead of to stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct ImportPresets {
    /// JSON, YAML or TOML file of an export (- reads stdin)
    pub file: PathBuf,
    /// What becomes of a preset whose id is in use
    #[arg(long, value_enum, default_value = "fail")]
    pub on_conflict: OnConflict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnConflict {
    Fail,
    Replace,
    Skip,
}

impl OnConflict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Replace => "replace",
            Self::Skip => "skip",
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct PresetMigration {
    /// Preset
    pub id: String,
    /// Give one of its values, or change any other field (repeatable): source.host=old.example.
    /// Secrets come from the environment: 'source.password=${OLD_PASSWORD}'
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Name of the migration
    #[arg(long)]
    pub name: Option<String>,
    /// Start it at once, and follow it to its end
    #[arg(long)]
    pub start: bool,
}
