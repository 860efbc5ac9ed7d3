//! What every whole tree must be able to do, as root.

use super::{TAG, body, directory, entries, file, link, noise, read};
use futures::{StreamExt, stream};
use ports::ErrorKind;
use ports::files::posix::{BLOCK_DEVICE, CHARACTER_DEVICE, FIFO, Packed};
use ports::files::{Entry, EntryKind, FilePath, Posix, PosixTree};
use std::collections::BTreeMap;

const TIME: i64 = 981_173_106_123_456_789;

/// user::rwx, user:4321:rw-, group::r-x, mask::rwx, other::r-x, as the kernel has it.
fn access_list() -> Vec<u8> {
    hex::decode("0200000001000700ffffffff02000600e110000004000500ffffffff10000700ffffffff20000500ffffffff").expect("hex")
}

fn facts(owner: u32, attributes: &[(&str, &[u8])]) -> Posix {
    let attributes: BTreeMap<String, Vec<u8>> = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    Posix { owner, group: owner + 1, attributes, ..Posix::default() }
}

/// With everything that a file can have.
fn rich(path: &str, size: usize) -> Entry {
    let list = access_list();
    let capability = hex::decode("0100000200200000000000000000000000000000").expect("hex");
    let attributes = [("user.a=b %", b"\0\n\xff".as_slice()), ("trusted.t", b"x"), ("system.posix_acl_access", &list), ("security.capability", &capability)];
    Entry { mode: Some(0o4775), modified_ns: Some(TIME), posix: Some(Box::new(facts(3_000_000_000, &attributes))), ..file(path, size) }
}

/// Without what only the place can know.
fn comparable(mut entry: Entry) -> Entry {
    entry.version = None;
    if let Some(posix) = entry.posix.as_mut() {
        (posix.device, posix.inode, posix.links, posix.stored) = (0, 0, 0, 0);
    }
    entry
}

async fn found(tree: &dyn PosixTree, path: &str) -> Entry {
    tree.stat(&FilePath::from(path)).await.expect("stat").unwrap_or_else(|| panic!("{path} is missing"))
}

pub async fn everything_is_kept(tree: &dyn PosixTree) {
    let list = access_list();
    let data = noise(1000, 1);
    let wanted = [
        Entry {
            mode: Some(0o2750),
            modified_ns: Some(TIME + 1),
            posix: Some(Box::new(facts(7, &[("system.posix_acl_default", &list), ("user.d", b"")]))),
            ..directory("dir")
        },
        rich("dir/odd \n'\"$ name", data.len()),
        Entry { mode: Some(0o600), modified_ns: Some(TIME), posix: Some(Box::new(facts(9, &[]))), ..file("dir/plain", data.len()) },
        Entry { mode: Some(0o640), modified_ns: Some(TIME), posix: Some(Box::new(facts(9, &[]))), kind: EntryKind::Other(FIFO.to_owned()), ..file("fifo", 0) },
        Entry { mode: Some(0o777), modified_ns: Some(TIME), posix: Some(Box::new(facts(5, &[]))), ..link("link", "dir/no where") },
        node("node-b", BLOCK_DEVICE, (7, 300)),
        node("node-c", CHARACTER_DEVICE, (1, 3)),
    ];
    tree.make(&wanted[0]).await.expect("directory");
    for entry in &wanted[1..] {
        match entry.kind {
            EntryKind::File { .. } => drop(tree.put(entry, TAG, body(&data)).await.expect("put")),
            _ => tree.make(entry).await.expect("make"),
        }
    }
    tree.make_directories(&wanted[..1]).await.expect("directories");
    let there: Vec<Entry> = entries(tree).await.into_iter().map(comparable).collect();
    assert_eq!(there, wanted);
    let paths: Vec<FilePath> = wanted.iter().map(|e| e.path.clone()).chain([FilePath::from("dir/none"), FilePath::from("fifo/none")]).collect();
    let stats: Vec<Option<Entry>> = tree.stats(&paths).await.expect("stats").into_iter().map(|e| e.map(comparable)).collect();
    assert_eq!(stats, wanted.iter().cloned().map(Some).chain([None, None]).collect::<Vec<_>>());
    let digests = tree.digests(&paths[..4]).await.expect("digests");
    assert!(digests[0].is_none() && digests[1].is_some() && digests[1] == digests[2], "{digests:?}");
    assert_eq!(read(tree, paths[1].clone()).await.expect("read"), data);
    // A second time changes nothing, and attributes that are too many go.
    let less = Entry { mode: Some(0o755), modified_ns: Some(TIME + 2), posix: Some(Box::new(facts(8, &[("user.e", b"1")]))), ..directory("dir") };
    tree.make_directories(std::slice::from_ref(&less)).await.expect("directories");
    assert_eq!(comparable(found(tree, "dir").await), less);
    let adjusted = Entry { mode: Some(0o444), posix: Some(Box::new(facts(1, &[("user.f", b"2")]))), ..rich("dir/odd \n'\"$ name", data.len()) };
    tree.make(&adjusted).await.expect("adjust");
    assert_eq!(comparable(found(tree, "dir/odd \n'\"$ name").await), adjusted);
}

fn node(path: &str, kind: &str, numbers: (u32, u32)) -> Entry {
    let mut entry =
        Entry { mode: Some(0o600), modified_ns: Some(TIME), posix: Some(Box::new(facts(2, &[]))), kind: EntryKind::Other(kind.to_owned()), ..file(path, 0) };
    if let Some(posix) = entry.posix.as_mut() {
        posix.node = Some(numbers);
    }
    entry
}

pub async fn names_of_one_file(tree: &dyn PosixTree) {
    let data = noise(100, 2);
    tree.put(&rich("a", 100), TAG, body(&data)).await.expect("put");
    tree.put(&rich("d/old", 100), TAG, body(&data)).await.expect("put");
    let pairs: Vec<(FilePath, FilePath)> = [("a", "b"), ("a", "d/e/f"), ("a", "d/old"), ("none", "x")].map(|(a, b)| (a.into(), b.into())).to_vec();
    for _ in 0..2 {
        let outcomes = tree.link(TAG, &pairs).await.expect("link");
        assert!(outcomes[..3].iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(outcomes[3].as_ref().expect_err("no such file").kind, ErrorKind::NotFound);
    }
    let mut inodes = Vec::new();
    for name in ["a", "b", "d/e/f", "d/old"] {
        let posix = found(tree, name).await.posix.expect("facts");
        assert_eq!(posix.links, 4, "{name}");
        inodes.push((posix.device, posix.inode));
    }
    assert!(inodes.windows(2).all(|two| two[0] == two[1]));
    assert_eq!(entries(tree).await.len(), 6, "nothing unfinished is left");
}

/// What one tree packs, another unpacks; here it is the same, below another directory.
pub async fn packs_arrive(tree: &dyn PosixTree) {
    let large = noise(3_000_000, 3);
    tree.put(&rich("in/large", large.len()), TAG, body(&large)).await.expect("put");
    tree.put(&rich("in/small\n", 5), TAG, body(b"small")).await.expect("put");
    tree.put(&rich("in/empty", 0), TAG, body(b"")).await.expect("put");
    let mut holes = vec![0_u8; 4 << 20];
    holes[1 << 20..(1 << 20) + 5].copy_from_slice(b"bytes");
    let sparse = rich("in/holes", holes.len());
    tree.unpack(TAG, pack_with_holes(sparse.clone())).await.expect("unpack").pop().expect("one").expect("in place");
    assert_eq!(read(tree, "in/holes").await.expect("read"), holes);
    assert!(found(tree, "in/holes").await.posix.is_some_and(|p| p.stored < 100_000), "holes stay holes");
    tree.make(&Entry { mode: Some(0o777), modified_ns: Some(TIME), posix: Some(Box::new(facts(5, &[]))), ..link("in/link", "x") }).await.expect("link");
    let names = ["in/small\n", "in/none", "in/large", "in/link", "in/holes", "in/empty"];
    let pack = tree.pack(names.iter().map(|n| FilePath::from(*n)).collect()).await.expect("pack");
    let moved = pack.map(|packed| {
        packed.map(|packed| match packed {
            Packed::Begin { mut entry, data, .. } => {
                entry.path = FilePath::new([b"out/deep/".as_slice(), &entry.path.as_bytes()[3..]].concat());
                Packed::Begin { entry, data, fresh: true }
            }
            piece @ Packed::Piece(_) => piece,
        })
    });
    let outcomes = tree.unpack(TAG, moved.boxed()).await.expect("unpack");
    assert_eq!(outcomes.len(), 5, "what is missing is left out");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for name in ["small\n", "large", "holes", "empty"] {
        let (one, other) = (format!("in/{name}"), format!("out/deep/{name}"));
        assert_eq!(read(tree, one.as_str()).await.expect("read"), read(tree, other.as_str()).await.expect("read"), "{name}");
        let copy = found(tree, &other).await;
        assert_eq!(comparable(Entry { path: one.as_str().into(), ..copy }), comparable(found(tree, &one).await));
    }
    assert!(found(tree, "out/deep/holes").await.posix.is_some_and(|p| p.stored < 100_000), "holes stay holes");
    // What stands there is left alone when nothing may.
    let again = tree.unpack(TAG, stream::iter(vec![Ok(Packed::Begin { entry: Box::new(rich("in/large", 0)), data: vec![], fresh: true })]).boxed()).await;
    assert_eq!(again.expect("unpack").pop().expect("one").expect_err("occupied").kind, ErrorKind::AlreadyExists);
    assert_eq!(read(tree, "in/large").await.expect("read"), large);
    assert!(entries(tree).await.iter().all(|e| !e.path.to_string().contains("migration-assistant")));
}

/// Something small of a pack.
fn small(path: impl Into<FilePath>, fresh: bool) -> [ports::Result<Packed>; 2] {
    let entry = Entry { path: path.into(), ..rich("", 3) };
    let whole = 0..3_u64;
    [Ok(Packed::Begin { entry: Box::new(entry), data: vec![whole], fresh }), Ok(Packed::Piece("new".into()))]
}

/// One thing of a pack that cannot come to its place holds up none of the others.
pub async fn each_thing_of_a_pack_is_its_own(tree: &dyn PosixTree) {
    for path in ["occupied", "replaced", "parent", "full/file"] {
        tree.put(&rich(path, 3), TAG, body(b"old")).await.expect("put");
    }
    tree.make(&directory("empty")).await.expect("make");
    let (named, odd) = (link("link", "occupied"), FilePath::new(b"odd \xff\n-dir/'+\"$n".to_vec()));
    let things = [
        small("occupied", true),
        small("replaced", false),
        small("empty", false),
        small("parent/below", true),
        small("full", false),
        small(odd.clone(), true),
        small("-", true),
        small("deep/er/file", false),
    ];
    let one = Ok(Packed::Begin { entry: Box::new(Entry { posix: Some(Box::new(facts(5, &[]))), ..named }), data: vec![], fresh: true });
    let pack = stream::iter(things.into_iter().flatten().chain([one])).boxed();
    assert_eq!(tree.stat(&FilePath::from("deep/er")).await.expect("a look"), None, "a look at what is not there makes nobody believe in its directory");
    let outcomes = tree.unpack(TAG, pack).await.expect("unpack");
    let kinds: Vec<Option<ErrorKind>> = outcomes.iter().map(|o| o.as_ref().err().map(|e| e.kind)).collect();
    assert_eq!(kinds[..3], [Some(ErrorKind::AlreadyExists), None, None], "{outcomes:#?}");
    assert!(kinds[3].is_some() && kinds[4].is_some(), "{outcomes:#?}");
    assert_eq!(kinds[5..], [None; 4], "{outcomes:#?}");
    for (path, content) in
        [("occupied", "old"), ("replaced", "new"), ("empty", "new"), ("parent", "old"), ("full/file", "old"), ("-", "new"), ("deep/er/file", "new")]
    {
        assert_eq!(read(tree, path).await.expect("read"), content.as_bytes(), "{path}");
    }
    assert_eq!(tree.stat(&odd).await.expect("stat").expect("there").size(), 3);
    assert_eq!(found(tree, "link").await.kind, EntryKind::Symlink { target: b"occupied".to_vec() });
}

fn pack_with_holes(entry: Entry) -> ports::files::posix::Pack {
    let start = 1 << 20;
    let begin = Packed::Begin { entry: Box::new(entry), data: std::iter::once(start..start + 5).collect(), fresh: false };
    stream::iter(vec![Ok(begin), Ok(Packed::Piece("bytes".into()))]).boxed()
}

/// A pack of `count` files of `size` bytes each.
pub fn noise_pack(count: usize, size: usize) -> ports::files::posix::Pack {
    noise_pack_in("", count, size)
}

/// The same below `prefix`.
pub fn noise_pack_in(prefix: &'static str, count: usize, size: usize) -> ports::files::posix::Pack {
    let whole = 0..size as u64;
    let piece = bytes::Bytes::from(noise(size, 9));
    let one = move |n: usize| {
        let begin = Packed::Begin { entry: Box::new(rich(&format!("{prefix}{n}"), size)), data: vec![whole.clone()], fresh: true };
        [Ok(begin), Ok(Packed::Piece(piece.clone()))]
    };
    stream::iter((0..count).flat_map(one)).boxed()
}

/// A pack that breaks off leaves nothing under a final name; the sweep removes the rest.
pub async fn a_broken_pack_leaves_nothing(tree: &dyn PosixTree) {
    let whole = 0..10_u64;
    let begin = Packed::Begin { entry: Box::new(rich("x", 10)), data: vec![whole], fresh: false };
    let broken = || ports::ConnectorError::new(ErrorKind::Interrupted, "read", "x", "broken off");
    let pack = stream::iter(vec![Ok(begin), Ok(Packed::Piece("12345".into())), Err(broken())]).boxed();
    let error = tree.unpack(TAG, pack).await.expect_err("broken off");
    assert_eq!(error.kind, ErrorKind::Interrupted, "{error}");
    tree.sweep(TAG).await.expect("sweep");
    assert!(entries(tree).await.is_empty());
}
