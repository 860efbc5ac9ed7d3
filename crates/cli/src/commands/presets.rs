//! `presets`: what there is to start from, and a migration from one.

use super::{Session, below, path};
use crate::args::{ExportPresets, ImportPresets, PresetMigration, Presets};
use crate::failure::{Exit, Failure};
use serde_json::{Map, Value, json};
use std::path::Path;

impl Session<'_> {
    /// `document`: the file of an import, or the overrides of a new migration.
    pub async fn presets(&self, command: &Presets, document: Option<Value>) -> Result<Exit, Failure> {
        let document = document.unwrap_or_default();
        match command {
            Presets::List => self.list_presets().await,
            Presets::Show(one) => self.show_preset(&one.id).await,
            Presets::Export(export) => self.export_presets(export).await,
            Presets::Import(import) => self.import_presets(import, document).await,
            Presets::CreateMigration(wanted) => self.migration_from_preset(wanted, document).await,
        }
    }

    async fn list_presets(&self) -> Result<Exit, Failure> {
        let found = self.door.get("/presets/").await?;
        for preset in found.as_array().into_iter().flatten() {
            let text = |name: &str| preset[name].as_str().unwrap_or_default();
            let mark = match (&preset["supported"], &preset["custom"]) {
                (Value::Bool(false), _) => " (not yet supported)",
                (_, Value::Bool(true)) => " (your own)",
                _ => "",
            };
            self.output.say(&format!("{:<20} {}{mark}", text("id"), text("description")));
        }
        self.output.result(Exit::Ok, json!({"presets": found}));
        Ok(Exit::Ok)
    }

    async fn show_preset(&self, id: &str) -> Result<Exit, Failure> {
        let preset = self.door.get(&below("presets", id, "")).await?;
        let text = |name: &str| preset[name].as_str().unwrap_or_default();
        self.output.say(&format!("{}: {}", text("name"), text("description")));
        if let Some(reason) = preset["unsupported_reason"].as_str() {
            self.output.say(&format!("Not supported: {reason}"));
        }
        for (title, required) in [("needs", true), ("takes", false)] {
            let parameters = preset["parameters"].as_array().into_iter().flatten().filter(|p| p["required"] == required);
            let paths: Vec<&str> = parameters.filter_map(|p| p["path"].as_str()).collect();
            if !paths.is_empty() {
                self.output.say(&format!("  {title}  {}", paths.join("\n         ")));
            }
        }
        self.output.say(&format!("Use it: {}", self.command(&format!("presets create-migration {id} --set PATH=VALUE …"))));
        self.output.result(Exit::Ok, json!({"preset": preset}));
        Ok(Exit::Ok)
    }

    async fn export_presets(&self, export: &ExportPresets) -> Result<Exit, Failure> {
        let address = export.id.as_ref().map_or_else(|| "/presets/export".to_owned(), |id| below("presets", id, "/export"));
        let exchange = self.door.get(&address).await?;
        match &export.output {
            Some(file) => {
                save(file, &exchange)?;
                self.output.say(&format!(
                    "Written to {}; `presets import` reads it. Fixed secrets are not in it: placeholders stand in their places.",
                    file.display()
                ));
                self.output.result(Exit::Ok, json!({"file": file}));
            }
            None => {
                self.output.say(&format!("{exchange:#}"));
                self.output.result(Exit::Ok, exchange);
            }
        }
        Ok(Exit::Ok)
    }

    async fn import_presets(&self, import: &ImportPresets, mut exchange: Value) -> Result<Exit, Failure> {
        exchange["on_conflict"] = json!(import.on_conflict.word());
        let done = self.door.post("/presets/import", &exchange).await?;
        for word in ["created", "replaced", "skipped"] {
            let ids: Vec<&str> = done[word].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if !ids.is_empty() {
                self.output.say(&format!("{word}: {}", ids.join(", ")));
            }
        }
        self.output.result(Exit::Ok, json!({"imported": done}));
        Ok(Exit::Ok)
    }

    async fn migration_from_preset(&self, wanted: &PresetMigration, overrides: Value) -> Result<Exit, Failure> {
        let mut body = json!({"overrides": overrides});
        if let Some(name) = &wanted.name {
            body["name"] = json!(name);
        }
        let made = self.door.post(&below("presets", &wanted.id, "/create-migration"), &body).await?;
        let id = made["session_id"].as_str().unwrap_or_default().to_owned();
        self.output.note(&format!("Migration {id} was created from the preset {}", wanted.id));
        if wanted.start {
            self.door.post(&path(&id, "/start"), &json!({})).await?;
            return self.follow(&id, 0).await;
        }
        self.output.say(&id);
        self.output.note(&format!("Start it: {}", self.command(&format!("resume {id}"))));
        self.output.result(Exit::Ok, made);
        Ok(Exit::Ok)
    }
}

/// The overrides that `--set` gives, as one object of dotted paths; `${VAR}` in them is filled in from the environment.
pub fn overrides(changes: &[String]) -> Result<Value, Failure> {
    let mut out = Map::new();
    for change in changes {
        let (path, value) = crate::config::change(change)?;
        out.insert(path.to_owned(), value);
    }
    let mut document = Value::Object(out);
    crate::config::fill(&mut document)?;
    Ok(document)
}

fn save(file: &Path, exchange: &Value) -> Result<(), Failure> {
    std::fs::write(file, format!("{exchange:#}\n"))
        .map_err(|e| Failure::new(Exit::Failed, "FILE", format!("The presets could not be written to {}: {e}", file.display())))
}
