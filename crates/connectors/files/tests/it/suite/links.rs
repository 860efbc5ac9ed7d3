//! Symbolic links: kept as they are, followed inside the root, never out of it.

use super::{Case, TAG, body, directory, entries, file, link, put, read};
use ports::ErrorKind;
use ports::files::{EntryKind, FilePath};

pub async fn links_are_kept_and_replaced(case: &Case) {
    if !case.target.traits().symlinks {
        let error = case.target.make(&link("l", "x")).await.expect_err("no links here");
        assert_eq!(error.kind, ErrorKind::Unsupported);
        return;
    }
    put(&*case.target, "dir/real", b"real").await;
    for (path, to) in
        [("dir/good", "real"), ("up", "dir/real"), ("dangling", "nowhere/at all"), ("loop", "loop"), ("out", "../../etc/passwd"), ("to-dir", "dir")]
    {
        for _ in 0..2 {
            case.target.make(&link(path, to)).await.unwrap_or_else(|e| panic!("{path}: {e}"));
        }
    }
    for entry in entries(&*case.target).await {
        if let EntryKind::Symlink { target } = entry.kind {
            let stat = case.target.stat(&entry.path).await.expect("stat").expect("there");
            assert_eq!(stat.kind, EntryKind::Symlink { target }, "{}", entry.path);
        }
    }
    for (path, size) in [("dir/good", Some(4)), ("up", Some(4)), ("dangling", None), ("loop", None), ("out", None), ("dir/real", Some(4))] {
        let found = case.target.resolve(&FilePath::from(path)).await.unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(found.as_ref().map(|e| e.size()), size, "{path}");
        assert!(found.is_none_or(|e| e.path == FilePath::from(path)));
    }
    assert_eq!(case.target.resolve(&FilePath::from("to-dir")).await.expect("resolve").map(|e| e.kind), Some(EntryKind::Directory));
    assert_eq!(read(&*case.target, "up").await.expect("read through"), b"real");
    // A file replaces the link, never what it points to; and the other way round.
    put(&*case.target, "up", b"own").await;
    assert_eq!(read(&*case.target, "dir/real").await.expect("read"), b"real");
    assert_eq!(read(&*case.target, "up").await.expect("read"), b"own");
    case.target.make(&link("up", "dangling")).await.expect("make");
    assert_eq!(case.target.stat(&FilePath::from("up")).await.expect("stat").map(|e| e.kind), Some(EntryKind::Symlink { target: b"dangling".to_vec() }));
    case.target.make(&directory("to-dir")).await.expect("a directory replaces a link");
    assert_eq!(case.target.stat(&FilePath::from("to-dir")).await.expect("stat").map(|e| e.kind), Some(EntryKind::Directory));
    assert_eq!(read(&*case.target, "dir/real").await.expect("read"), b"real");
}

pub async fn nothing_leads_out_of_the_root(case: &Case) {
    let Some(disk) = &case.disk else { return };
    let outside = disk.with_extension("outside");
    std::fs::create_dir_all(&outside).expect("mkdir");
    std::fs::write(outside.join("secret"), b"secret").expect("write");
    std::fs::set_permissions(&outside, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("chmod");
    let outside_name = outside.file_name().and_then(|n| n.to_str()).expect("name").to_owned();
    case.target.make(&link("escape", &format!("../{outside_name}"))).await.expect("make");
    case.target.make(&link("absolute", outside.to_str().expect("utf-8"))).await.expect("make");
    case.target.make(&link("file", &format!("../{outside_name}/secret"))).await.expect("make");
    for path in ["escape/secret", "absolute/secret", "file"] {
        let error = read(&*case.target, path).await.expect_err("never followed");
        assert!(matches!(error.kind, ErrorKind::Permission | ErrorKind::NotFound), "{path}: {error}");
        assert_eq!(case.target.resolve(&FilePath::from(path)).await.expect("resolve"), None, "{path}");
    }
    for path in ["escape/new", "absolute/new", "escape/sub/new"] {
        let error = case.target.put(&file(path, 1), TAG, body(b"x")).await.expect_err("never written through");
        assert_eq!(error.kind, ErrorKind::Permission, "{path}: {error}");
        assert!(case.target.make(&directory(path)).await.is_err(), "{path}");
        assert!(case.target.parts().begin(&file(path, 1), TAG, 5 << 20).await.is_err(), "{path}");
    }
    let _ = case.target.remove(&FilePath::from("escape/secret")).await;
    let left: Vec<_> = std::fs::read_dir(&outside).expect("read_dir").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(left, ["secret"]);
    assert!(entries(&*case.target).await.iter().all(|e| !e.path.to_string().contains("secret")), "listing does not follow");
    put(&*case.target, "file", b"mine").await;
    assert_eq!(std::fs::read(outside.join("secret")).expect("read"), b"secret");
    // An absolute link back into the root is inside.
    put(&*case.target, "dir/real", b"real").await;
    case.target.make(&link("home", disk.join("dir/real").to_str().expect("utf-8"))).await.expect("make");
    assert_eq!(case.target.resolve(&FilePath::from("home")).await.expect("resolve").map(|e| e.size()), Some(4));
    assert_eq!(read(&*case.target, "home").await.expect("read"), b"real");
    std::fs::remove_dir_all(&outside).expect("clean up");
}
