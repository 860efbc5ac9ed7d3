//! Files moved by the mover over the real connectors, between every pair of local directory, SFTP and S3: a source that lives on between the
//! bulk copy and the final pass, what stood at the destination before, an edit that verification must find, and the way back.

mod belongings;
mod odd_names;

use crate::tree;
use domain::Secret;
use domain::spec::{FilesAt, HostKeyPin, S3At, SshAt, SshLogin, Symlinks};
use futures::StreamExt;
use movers::files::{FileOptions, FilesBackup, FilesMover, ProblemKind};
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use testkit::rig;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Local,
    Sftp,
    /// SeaweedFS: objects in a tree.
    S3,
    /// Ceph's gateway: plain keys.
    Rgw,
}

impl Kind {
    fn is_store(self) -> bool {
        matches!(self, Self::S3 | Self::Rgw)
    }
}

/// A root of its own on one of the rig's systems, emptied at the end.
struct Place {
    files: Arc<dyn FileTarget>,
    guard: Option<tempfile::TempDir>,
}

impl Place {
    async fn new(kind: Kind) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("mover-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (at, guard) = match kind {
            Kind::Local => {
                let dir = tempfile::tempdir().expect("a directory");
                (FilesAt::Local { root: dir.path().to_string_lossy().into_owned() }, Some(dir))
            }
            Kind::Sftp => {
                let ssh = rig::ssh();
                let dir = tempfile::Builder::new().prefix(&unique).tempdir_in(&ssh.home).expect("a directory");
                // The SSH user is another one than we are.
                std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("permissions");
                let login = SshLogin { username: ssh.user, password: Some(Secret::new(ssh.password)), private_key: None, passphrase: None };
                let host_key = HostKeyPin::KnownHosts(ssh.known_hosts_file.to_string_lossy().into_owned());
                let at = SshAt { host: ssh.host, port: ssh.port, login, host_key, jump: None };
                (FilesAt::Sftp { ssh: at, root: dir.path().to_string_lossy().into_owned() }, Some(dir))
            }
            Kind::S3 | Kind::Rgw => {
                let s3 = if kind == Kind::S3 { rig::s3() } else { rig::rgw() };
                let at = S3At {
                    bucket: "files-mover".to_owned(),
                    prefix: format!("{unique}/"),
                    region: "us-east-1".to_owned(),
                    endpoint: Some(s3.endpoint),
                    path_style: None,
                    access_key_id: Some(s3.access_key_id),
                    secret_access_key: Some(Secret::new(s3.secret_access_key)),
                    session_token: None,
                    index_document: None,
                    error_document: None,
                };
                (FilesAt::S3(at), None)
            }
        };
        let files = connectors_files::open(&at, 8).await.expect("open");
        files.prepare().await.expect("prepare");
        Self { files, guard }
    }

    /// The root of a local place.
    fn disk(&self) -> &std::path::Path {
        self.guard.as_ref().expect("on this machine").path()
    }

    async fn entries(&self) -> Vec<Entry> {
        self.files.list().map(|e| e.expect("an entry")).collect().await
    }

    /// Content by path; directories and links as words.
    async fn contents(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for entry in self.entries().await {
            let what = match &entry.kind {
                EntryKind::File { .. } => self.hash(&entry.path).await,
                EntryKind::Symlink { target } => format!("-> {}", target.escape_ascii()),
                other => format!("{other:?}"),
            };
            found.insert(entry.path.to_string(), what);
        }
        found
    }

    async fn hash(&self, path: &FilePath) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut body = self.files.open(path, None).await.expect("open").body;
        while let Some(piece) = body.next().await {
            hasher.update(&piece.expect("a piece"));
        }
        hasher.finalize().to_hex().to_string()
    }

    async fn write(&self, path: &str, data: Vec<u8>) {
        // A later write has a later time, to the second, as SFTP tells no more.
        static NOW: AtomicI64 = AtomicI64::new(1_700_000_000);
        let now = NOW.fetch_add(1, Ordering::Relaxed);
        let kind = EntryKind::File { size: data.len() as u64 };
        let entry = Entry { modified_ns: Some(now * 1_000_000_000), mode: Some(0o640), ..Entry::new(path.into(), kind) };
        let body = futures::stream::once(async move { Ok(data.into()) }).boxed();
        self.files.put(&entry, "preparing", body).await.expect("put");
    }

    async fn clean(&self) {
        for entry in self.entries().await.into_iter().rev() {
            self.files.remove(&entry.path).await.expect("remove");
        }
    }
}

fn noise(seed: &str, size: u64) -> Vec<u8> {
    let mut out = vec![0; size as usize];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut out);
    out
}

async fn furnish(source: &Place, tree: bool) {
    for n in 0..60 {
        source.write(&format!("d{}/é f{n}.txt", n % 7), noise(&n.to_string(), n * 977)).await;
    }
    source.write("index.html", noise("index", 300)).await;
    source.write("empty", Vec::new()).await;
    source.write("large.bin", noise("large", 7 << 20)).await;
    if tree {
        let make = |path: &str, kind| Entry { mode: Some(0o750), ..Entry::new(path.into(), kind) };
        source.files.make(&make("hollow/inner", EntryKind::Directory)).await.expect("a directory");
        source.files.make(&make("link", EntryKind::Symlink { target: b"index.html".to_vec() })).await.expect("a link");
    }
}

async fn journey(from: Kind, to: Kind) {
    let (source, destination, backup) = (Place::new(from).await, Place::new(to).await, Place::new(Kind::Local).await);
    furnish(&source, !from.is_store()).await;
    destination.write("index.html", noise("the old site", 400)).await;
    destination.write("d1/of the destination", noise("own", 40)).await;
    destination.write("d2/é f2.txt", noise("2", 2 * 977)).await;
    let before = destination.contents().await;

    let symlinks = to.is_store().then_some(Symlinks::Skip);
    let options = FileOptions { parallel: 8, chunk_size: 5 << 20, symlinks, delete_extraneous: true, staging: "run-7".to_owned(), ..FileOptions::default() };
    let mover = FilesMover::new(source.files.clone(), destination.files.clone(), options);
    let (bulk, last, own) = (MemoryLedger::default(), MemoryLedger::default(), MemoryLedger::default());
    let (observer, stop) = (MemoryObserver::default(), CancellationToken::new());
    let plan = mover.plan(&bulk, &observer, &stop).await.expect("a plan");
    assert_eq!((plan.overwrites, plan.deletes, plan.files + plan.unchanged), (if plan.unchanged == 1 { 1 } else { 2 }, 1, 63), "{plan:?}");
    let saved = mover.back_up(&bulk, backup.files.clone(), &own, &observer, &stop).await.expect("a backup");
    assert_eq!(saved.files, plan.overwrites + 1);
    let copied = mover.copy(&bulk, &observer, &stop).await.expect("the bulk copy");
    assert_eq!((copied.files, copied.problems.count), (plan.files, 0), "{:?}", copied.problems);

    source.write("index.html", noise("edited", 300)).await;
    source.write("new/file", noise("new", 20)).await;
    source.files.remove(&FilePath::from("empty")).await.expect("remove");
    let passed = mover.final_pass(&bulk, &last, &observer, &stop).await.expect("the final pass");
    assert_eq!((passed.files, passed.removed, passed.problems.count), (2, 1, 0), "{from:?} → {to:?}: {passed:?}");
    let verified = mover.verify(&[&bulk, &last], &observer, &stop).await.expect("verification");
    assert!(verified.is_equal(), "{from:?} → {to:?}: {:?}", verified.mismatches);
    compare(&source, &destination, from, to).await;

    destination.write("d3/é f3.txt", noise("forged", 3 * 977)).await;
    let verified = mover.verify(&[&bulk, &last], &observer, &stop).await.expect("verification");
    assert_eq!(verified.mismatches.iter().map(|m| m.path.to_string()).collect::<Vec<_>>(), ["d3/é f3.txt"]);
    destination.write("d3/é f3.txt", noise("3", 3 * 977)).await;

    let saved = || FilesBackup { store: backup.files.clone(), ledger: &own };
    let moved = destination.contents().await["index.html"].clone();
    let intact = damage(backup.disk(), &noise("the old site", 400));
    let undone = mover.undo(&[&bulk, &last], Some(saved()), &observer, &stop).await.expect("undo");
    let lost: Vec<_> = undone.not_restored.listed.iter().map(|p| (p.path.to_string(), p.kind)).collect();
    assert_eq!(lost, [("index.html".to_owned(), ProblemKind::BackupDamaged)], "{from:?} → {to:?}: {undone:?}");
    assert_eq!(destination.contents().await["index.html"], moved, "{from:?} → {to:?}: what stands there stays");
    std::fs::write(intact, noise("the old site", 400)).expect("the backup is whole again");
    let undone = mover.undo(&[&bulk, &last], Some(saved()), &observer, &stop).await.expect("undo");
    assert!(undone.is_complete(), "{from:?} → {to:?}: {undone:?}");
    let mut after = destination.contents().await;
    if to.is_store() {
        after.retain(|_, what| what != "Directory");
    }
    assert_eq!(after, before, "{from:?} → {to:?}");
    destination.clean().await;
    source.clean().await;
}

/// Changes one byte of the file with that content below `dir`, and gives its path.
fn damage(dir: &std::path::Path, content: &[u8]) -> std::path::PathBuf {
    let mut directories = vec![dir.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in std::fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if std::fs::read(&path).expect("a file") == content {
                let mut changed = content.to_vec();
                changed[content.len() / 2] ^= 1;
                std::fs::write(&path, changed).expect("a damaged file");
                return path;
            }
        }
    }
    panic!("nothing below {} has that content", dir.display());
}

/// The destination is the source, as far as it can hold it.
async fn compare(source: &Place, destination: &Place, from: Kind, to: Kind) {
    let (mut ours, mut theirs) = (source.contents().await, destination.contents().await);
    if from.is_store() || to.is_store() {
        for side in [&mut ours, &mut theirs] {
            side.retain(|_, what| what != "Directory" && !what.starts_with("->"));
        }
    } else {
        let modes = async |place: &Place| place.entries().await.into_iter().map(|e| (e.path.to_string(), e.mode)).collect::<BTreeMap<_, _>>();
        assert_eq!(modes(source).await, modes(destination).await);
    }
    assert_eq!(ours, theirs, "{from:?} → {to:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_directory_moves_to_everything_and_back() {
    for to in [Kind::Local, Kind::Sftp, Kind::S3, Kind::Rgw] {
        journey(Kind::Local, to).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_and_s3_move_to_everything_and_back() {
    for (from, to) in [(Kind::Sftp, Kind::Local), (Kind::Sftp, Kind::S3), (Kind::S3, Kind::Local), (Kind::S3, Kind::S3)] {
        journey(from, to).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_store_moves_to_everything_and_back() {
    for (from, to) in [(Kind::Rgw, Kind::Local), (Kind::Rgw, Kind::Sftp), (Kind::Rgw, Kind::S3), (Kind::S3, Kind::Rgw), (Kind::Rgw, Kind::Rgw)] {
        journey(from, to).await;
    }
}

/// Two thousand files between two directories; the copy has their modes and times to the nanosecond.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_of_real_files_arrives_as_it_was() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    tree::make(from.path(), 2000);
    let at = |dir: &tempfile::TempDir| FilesAt::Local { root: dir.path().to_string_lossy().into_owned() };
    let source = connectors_files::open(&at(&from), 8).await.expect("open");
    let destination = connectors_files::open(&at(&to), 8).await.expect("open");
    let mover = FilesMover::new(source.clone(), destination.clone(), FileOptions::default());
    let (bulk, observer, stop) = (MemoryLedger::default(), MemoryObserver::default(), CancellationToken::new());
    mover.plan(&bulk, &observer, &stop).await.expect("a plan");
    mover.copy(&bulk, &observer, &stop).await.expect("the copy");
    assert_eq!(tree::state(from.path()), tree::state(to.path()));
    let times =
        async |files: Arc<dyn FileTarget>| files.list().map(|e| e.expect("an entry")).map(|e| (e.path, e.modified_ns, e.mode)).collect::<Vec<_>>().await;
    assert_eq!(times(source).await, times(destination).await);
}
