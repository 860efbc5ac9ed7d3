//! What all steps of one migration share: the specification, and one open place for each selected mount point.

use crate::Settings;
use crate::adapters::{RunLedger, StepResult, failed, step_error};
use crate::application::recall;
use crate::backups::{self, Backup};
use domain::spec::FilesAt;
use domain::workloads::{Target, Workload, WorkloadSpec, mount_point_key};
use engine::StepContext;
use movers::files::{FileOptions, FilesBackup, FilesMover, FilesPlan};
use ports::ErrorKind;
use ports::files::FileTarget;
use ports::images::OpenImage;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// How many times a call is tried in all before a temporary error is final.
const RETRIES: u32 = 5;

pub struct Job {
    pub settings: Settings,
    pub spec: WorkloadSpec,
    places: OnceCell<Vec<Place>>,
    targets: OnceCell<Vec<Arc<dyn FileTarget>>>,
    image: OnceCell<Arc<dyn OpenImage>>,
    /// Nothing is made, not even an image: an empty directory stands in for it.
    dry: bool,
}

/// One mount point on its way.
pub struct Place {
    pub index: usize,
    /// As the caller wrote it.
    pub name: String,
    pub source: Arc<dyn FileTarget>,
    pub target: Arc<dyn FileTarget>,
    /// From one to the other, with all that both sides know of a file.
    pub mover: FilesMover,
}

/// Keys of the run's notes.
pub mod notes {
    pub const BACKUP: &str = crate::backups::NOTE;

    pub fn plan(index: usize) -> String {
        format!("plan.files.{index}")
    }
}

impl Place {
    pub fn bulk(&self, cx: &StepContext) -> RunLedger {
        RunLedger::new(cx.ledger(&format!("files.{}", self.index)))
    }

    pub fn last(&self, cx: &StepContext) -> RunLedger {
        RunLedger::new(cx.ledger(&format!("files-final.{}", self.index)))
    }

    pub fn saved(&self, cx: &StepContext) -> RunLedger {
        RunLedger::new(cx.ledger(&format!("backup.{}", self.index)))
    }
}

impl Job {
    pub fn new(settings: Settings, spec: WorkloadSpec) -> Self {
        Self { settings, spec, places: OnceCell::new(), targets: OnceCell::new(), image: OnceCell::new(), dry: false }
    }

    /// For what only looks.
    pub fn dry(settings: Settings, spec: WorkloadSpec) -> Self {
        Self { dry: true, ..Self::new(settings, spec) }
    }

    /// Every selected mount point on both servers, opened on first use.
    /// `run` tags what is written under staging names.
    pub async fn places(&self, run: &str) -> StepResult<&[Place]> {
        let open = || async {
            let targets = self.targets(run).await?;
            let mut out = Vec::with_capacity(targets.len());
            for (index, selected) in self.spec.selected.iter().enumerate() {
                let name = selected.name().to_owned();
                let (source, target) = (self.open(&self.spec.source, &name).await?, targets[index].clone());
                let mover = self.mover(run, &source, &target, self.further(index)).await?;
                out.push(Place { index, name, source, target, mover });
            }
            Ok(out)
        };
        self.places.get_or_try_init(open).await.map(Vec::as_slice)
    }

    /// The target's side alone: taking back needs no source.
    pub async fn targets(&self, run: &str) -> StepResult<&[Arc<dyn FileTarget>]> {
        let open = || async {
            let mut out = Vec::with_capacity(self.spec.selected.len());
            for selected in &self.spec.selected {
                out.push(self.at_target(run, selected.target()).await?);
            }
            Ok(out)
        };
        self.targets.get_or_try_init(open).await.map(Vec::as_slice)
    }

    /// A directory of the target. In an image it is made by that.
    pub async fn at_target(&self, run: &str, directory: &str) -> StepResult<Arc<dyn FileTarget>> {
        match &self.spec.target {
            Target::Vm(target) => self.open(&target.vm, directory).await,
            Target::Image(_) if self.dry => {
                let at = FilesAt::Local { root: self.settings.work_dir.join("no-image").to_string_lossy().into_owned() };
                self.settings.connectors.files(&at, self.spec.transfer.parallel_transfers).await.map_err(step_error)
            }
            Target::Image(_) => self.image(run).await?.directory(directory).await.map_err(step_error),
        }
    }

    /// The unfinished image, opened on first use and held as long as the worker has the migration.
    pub async fn image(&self, run: &str) -> StepResult<&Arc<dyn OpenImage>> {
        let (images, image) = super::image::of(self)?;
        self.image.get_or_try_init(|| async { images.open(run, image).await.map_err(step_error) }).await
    }

    /// The directories of other places that lie in this one's. On servers the boundaries of file systems keep them apart; in an image there are none.
    fn further(&self, index: usize) -> Vec<String> {
        if self.spec.target.image().is_none() {
            return Vec::new();
        }
        let outer = mount_point_key(self.spec.selected[index].target());
        let outer = outer.trim_end_matches('/');
        let others = self.spec.selected.iter().enumerate().filter(|(i, _)| *i != index);
        others.filter_map(|(_, other)| Some(literal(mount_point_key(other.target()).strip_prefix(outer)?.strip_prefix('/')?))).collect()
    }

    async fn open(&self, workload: &Workload, mount_point: &str) -> StepResult<Arc<dyn FileTarget>> {
        let at = workload.files(mount_point).map_err(|why| failed(ErrorKind::Invalid, why, ""))?;
        self.settings.connectors.files(&at, self.spec.transfer.parallel_transfers).await.map_err(step_error)
    }

    async fn mover(&self, run: &str, source: &Arc<dyn FileTarget>, target: &Arc<dyn FileTarget>, further: Vec<String>) -> StepResult<FilesMover> {
        let mut options = self.options(run);
        options.exclude.extend(further);
        let mover = FilesMover::new(source.clone(), target.clone(), options);
        let mover = if self.spec.safety.overwrite_without_backup { mover.overwriting() } else { mover };
        mover.whole().await.map_err(step_error)
    }

    /// A mover for taking back: it never looks at the source, so the target stands in for it.
    pub async fn undoer(&self, run: &str, target: &Arc<dyn FileTarget>) -> StepResult<FilesMover> {
        self.mover(run, target, target, Vec::new()).await
    }

    fn options(&self, run: &str) -> FileOptions {
        let transfer = &self.spec.transfer;
        FileOptions {
            parallel: transfer.parallel_transfers,
            chunk_size: transfer.chunk_size,
            symlinks: transfer.symlinks,
            name_links_out: false,
            exclude: transfer.exclude.clone(),
            delete_extraneous: transfer.delete_extraneous,
            allow_empty_source: transfer.allow_empty_source,
            max_delete: transfer.max_delete,
            staging: run.to_owned(),
            retries: RETRIES,
        }
    }

    /// Where a backup keeps the files of a mount point.
    pub async fn store(&self, dir: &Path, index: usize) -> StepResult<Arc<dyn FileTarget>> {
        let at = FilesAt::Local { root: dir.join("files").join(index.to_string()).to_string_lossy().into_owned() };
        self.settings.connectors.files(&at, self.spec.transfer.parallel_transfers).await.map_err(step_error)
    }

    /// The backup that a rollback restores from: the one named in its options, else the run's own. `None` when none was made, or none that was completed; one
    /// that was made and is not here is an error.
    pub async fn restorable(&self, cx: &StepContext) -> StepResult<Option<Backup>> {
        let asked = cx.options().get("backup_id").and_then(Value::as_str).map(str::to_owned);
        let Some(id) = asked.or(recall(cx, notes::BACKUP).await?) else { return Ok(None) };
        let found = backups::read(&self.settings, &id).await.map_err(step_error)?.ok_or_else(|| step_error(backups::lost(&id)))?;
        Ok(Some(found).filter(|b| b.tenant == cx.tenant() && b.run == cx.run_id() && b.state == backups::BackupState::Verified))
    }

    /// The files of one place in a backup; `None` where it holds none.
    pub async fn saved_files(&self, backup: &Backup, index: usize) -> StepResult<Option<Arc<dyn FileTarget>>> {
        match backup.part(&format!("files.{index}")) {
            Some(_) => self.store(&backups::directory(&self.settings, &backup.id).map_err(step_error)?, index).await.map(Some),
            None => Ok(None),
        }
    }

    /// Before anything is taken back: of every place that the backup has files of, at least one is there.
    pub async fn refuse_lost_files(&self, cx: &StepContext, backup: &Backup) -> StepResult<()> {
        for index in 0..self.spec.selected.len() {
            let (Some(part), Some(store)) = (backup.part(&format!("files.{index}")), self.saved_files(backup, index).await?) else { continue };
            let ledger = |name: &str| RunLedger::new(cx.ledger(&format!("{name}.{index}")));
            let (own, last) = (ledger("backup"), ledger("files-final"));
            let dir = backups::directory(&self.settings, &backup.id).map_err(step_error)?.join("files").join(index.to_string());
            let files = FilesBackup { store, ledger: &own };
            let checked = backups::refuse_lost_files(part, &dir, &files, &last, self.spec.transfer.parallel_transfers).await;
            checked.map_err(|e| backups::unrestorable(&backup.id, &e))?;
        }
        Ok(())
    }
}

/// A path below a root as a pattern that matches nothing else.
fn literal(path: &str) -> String {
    let mut out = "/".to_owned();
    for c in path.chars() {
        if "*?[]{}\\!".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

pub async fn plan_of(cx: &StepContext, index: usize) -> StepResult<Option<FilesPlan>> {
    recall(cx, &notes::plan(index)).await
}
