//! Names that only one side can hold: a flat store's keys, a local directory's bytes. What fits arrives under the very same name; what
//! does not is named, each, and never dropped silently.

use super::{Kind, Place, noise};
use movers::files::{FileOptions, FilesMover, ProblemKind};
use ports::files::{Entry, EntryKind, FilePath};
use std::collections::BTreeMap;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use tokio_util::sync::CancellationToken;

/// Keys that no directory holds, and why.
const FLAT_ONLY: [(&str, ProblemKind); 10] = [
    ("a//b", ProblemKind::Name),
    ("/a", ProblemKind::Name),
    ("//", ProblemKind::Name),
    ("a/b/", ProblemKind::Name),
    ("deep//", ProblemKind::Name),
    ("deep//er", ProblemKind::Name),
    ("stone/below", ProblemKind::Collision),
    ("stone/below the stone/1", ProblemKind::Collision),
    ("nul\u{1}//", ProblemKind::Name),
    ("trailing /", ProblemKind::Name),
];

/// Names that both can hold.
const BOTH: [&str; 22] = [
    "a b",
    " ",
    "a+b",
    "a%20b",
    "a%2Fb",
    "caf%E9",
    "%%caf%E9",
    "100%",
    "back\\slash",
    "tab\tnew\nline\rreturn",
    "bell\u{7}escape\u{1b}delete\u{7f}",
    "no character \u{fffe}",
    "what?&x=1#y",
    "quote'\"<>&amp;]]>",
    "*:|~^`{}[]$@!,;=()",
    "é",
    "e\u{301}",
    "日本/漢字.txt",
    "\u{202e}right to left",
    "stone",
    "...",
    "-rf",
];

struct Moved {
    mover: FilesMover,
    bulk: MemoryLedger,
    observer: MemoryObserver,
    stop: CancellationToken,
}

impl Moved {
    /// Plans, copies and verifies; gives every problem of the plan by path.
    async fn new(source: &Place, destination: &Place) -> (Self, BTreeMap<String, ProblemKind>) {
        let options = FileOptions { parallel: 8, staging: "odd".to_owned(), ..FileOptions::default() };
        let mover = FilesMover::new(source.files.clone(), destination.files.clone(), options);
        let this = Self { mover, bulk: MemoryLedger::default(), observer: MemoryObserver::default(), stop: CancellationToken::new() };
        let plan = this.mover.plan(&this.bulk, &this.observer, &this.stop).await.expect("a plan");
        let copied = this.mover.copy(&this.bulk, &this.observer, &this.stop).await.expect("the copy");
        assert_eq!((copied.files, copied.problems.count), (plan.files, 0), "{:?}", copied.problems);
        let verified = this.mover.verify(&[&this.bulk], &this.observer, &this.stop).await.expect("verification");
        assert!(verified.is_equal(), "{:?}", verified.mismatches);
        assert_eq!(plan.problems.count, plan.problems.listed.len() as u64);
        (this, plan.problems.listed.into_iter().map(|p| (p.path.to_string(), p.kind)).collect())
    }

    async fn undo(&self, destination: &Place) {
        let undone = self.mover.undo(&[&self.bulk], None, &self.observer, &self.stop).await.expect("undo");
        assert!(undone.is_complete(), "{undone:?}");
        assert_eq!(destination.contents().await, BTreeMap::new());
    }
}

async fn furnish(source: &Place) {
    for name in BOTH.iter().chain(FLAT_ONLY.iter().map(|(name, _)| name)) {
        source.write(name, noise(name, 100 + name.len() as u64)).await;
    }
    source.write("large//film", noise("film", 1 << 20)).await;
}

async fn mark(source: &Place, path: &str) {
    let marker = Entry::new(path.into(), EntryKind::Directory);
    source.files.make(&marker).await.expect("a directory");
}

async fn clean(place: &Place) {
    for entry in place.entries().await.into_iter().rev() {
        let directory = entry.kind == EntryKind::Directory;
        let path = if directory { FilePath::new([entry.path.as_bytes(), b"/"].concat()) } else { entry.path };
        place.files.remove(&path).await.expect("remove");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_flat_stores_every_key_stays_what_it_is() {
    let (source, destination) = (Place::new(Kind::Rgw).await, Place::new(Kind::Rgw).await);
    furnish(&source).await;
    for marker in ["hollow", "hollow/", "stone"] {
        mark(&source, marker).await;
    }
    let (moved, problems) = Moved::new(&source, &destination).await;
    assert_eq!(problems, BTreeMap::new());
    let listed = async |place: &Place| place.entries().await.into_iter().map(|e| (e.path.to_string(), e.kind)).collect::<Vec<_>>();
    assert_eq!(listed(&source).await, listed(&destination).await);
    assert_eq!(source.contents().await, destination.contents().await);
    moved.undo(&destination).await;
    clean(&source).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_takes_what_it_can_and_names_the_rest() {
    let (source, destination) = (Place::new(Kind::Rgw).await, Place::new(Kind::Local).await);
    furnish(&source).await;
    let (moved, problems) = Moved::new(&source, &destination).await;
    let mut expected: BTreeMap<String, ProblemKind> = FLAT_ONLY.iter().map(|(name, kind)| (FilePath::from(*name).to_string(), *kind)).collect();
    expected.insert("large//film".to_owned(), ProblemKind::Name);
    assert_eq!(problems, expected);
    let (mut ours, mut theirs) = (source.contents().await, destination.contents().await);
    theirs.retain(|_, what| what != "Directory");
    ours.retain(|name, _| !expected.contains_key(name));
    // The store's key `caf%E9` is the escaped form of a name that is no UTF-8, which a directory holds as it is.
    assert_eq!(ours, theirs);
    moved.undo(&destination).await;
    clean(&source).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directorys_names_survive_the_way_through_a_store() {
    for store in [Kind::Rgw, Kind::S3] {
        let (source, between, back) = (Place::new(Kind::Local).await, Place::new(store).await, Place::new(Kind::Local).await);
        let raw: [&[u8]; 4] = [b"caf\xe9", b"\xff\xfe/\x80", b"caf%E9 \xe9", "caf%E9".as_bytes()];
        let odd = |name: &str| store == Kind::S3 && name.contains(['\\', '\u{7}', '\u{fffe}']);
        for (n, name) in raw.into_iter().chain(BOTH.iter().filter(|n| !odd(n)).map(|n| n.as_bytes())).enumerate() {
            let entry = Entry { mode: Some(0o640), ..Entry::new(FilePath::new(name), EntryKind::File { size: n as u64 }) };
            let body = futures::StreamExt::boxed(futures::stream::once(async move { Ok(noise("raw", n as u64).into()) }));
            source.files.put(&entry, "preparing", body).await.expect("put");
        }
        let (there, problems) = Moved::new(&source, &between).await;
        assert_eq!(problems, BTreeMap::new(), "{store:?}");
        let (_, problems) = Moved::new(&between, &back).await;
        assert_eq!(problems, BTreeMap::new(), "{store:?}");
        let plain = async |place: &Place| {
            let entries = place.entries().await.into_iter().filter(|e| e.kind != EntryKind::Directory);
            entries.map(|e| (e.path.as_bytes().to_vec(), e.size())).collect::<Vec<_>>()
        };
        assert_eq!(plain(&source).await, plain(&back).await, "{store:?}");
        there.undo(&between).await;
    }
}
