//! The same on Ceph's RADOS Gateway, and what only a store with plain keys and websites can show.

use super::{comes_and_goes, on, prepared, unique};
use crate::suite::{Case, TAG, clear, directory, entries, file, noise, paths, put, read, suite};
use domain::spec::S3At;
use ports::ErrorKind;
use ports::files::{EntryKind, FilePath};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn at(bucket: &str, prefix: &str) -> S3At {
    on(testkit::rig::rgw(), bucket, prefix)
}

async fn case() -> Case {
    prepared(&at("files-suite", &format!("case {}/", unique()))).await
}

async fn bucket_case() -> Case {
    prepared(&at(&format!("files-suite-{}", unique()), "")).await
}

suite!(objects case);

#[tokio::test]
async fn a_missing_bucket_is_not_found_until_prepared() {
    comes_and_goes(&bucket_case().await).await;
}

/// Names that no directory tree holds, and letters that no XML holds.
const ODD: [&str; 29] = [
    "a//b",
    "/a",
    "//",
    "///c",
    "a/b/",
    "a/b//",
    "a b",
    "a+b",
    "a%20b",
    "a%2Fb",
    "caf%E9",
    "%%caf%E9",
    "100%",
    "back\\slash",
    "tab\tnew\nline\rreturn",
    "bell\u{7}escape\u{1b}delete\u{7f}",
    "\u{1}",
    "no character \u{fffe}",
    "what?&x=1#y",
    "quote'\"<>&amp;]]>",
    "*:|~^`{}[]$@!,;=()",
    "é",
    "e\u{301}",
    "日本/漢字.txt",
    "😀",
    "\u{202e}right to left",
    "zero\u{200b}width",
    "...",
    "a/.../b",
];

/// What a path is, the key is: written, listed, looked at, read, replaced and removed under the very same name.
#[tokio::test]
async fn keys_of_any_shape_are_held() {
    let bucket = bucket_case().await;
    for case in [&bucket, &case().await] {
        for name in ODD {
            case.target.accepts(&FilePath::from(name)).expect("accepted");
            put(&*case.target, name, name.as_bytes()).await;
        }
        let listed = entries(&*case.target).await;
        let found: BTreeSet<&[u8]> = listed.iter().map(|e| e.path.as_bytes()).collect();
        assert_eq!(found, ODD.iter().map(|n| n.as_bytes()).collect());
        assert_eq!(listed.len(), ODD.len());
        for entry in &listed {
            let name = entry.path.as_bytes();
            assert_eq!(entry.kind, EntryKind::File { size: name.len() as u64 }, "{}", entry.path);
            assert_eq!(case.target.stat(&entry.path).await.expect("stat").map(|e| e.size()), Some(name.len() as u64), "{}", entry.path);
            assert_eq!(read(&*case.other, entry.path.clone()).await.expect("read"), name, "{}", entry.path);
            case.target.remove(&entry.path).await.expect("remove");
            assert_eq!(case.target.stat(&entry.path).await.expect("stat"), None, "{}", entry.path);
        }
        assert_eq!(paths(&*case.target).await, []);
    }
    bucket.target.remove(&FilePath::default()).await.expect("remove the bucket");
}

/// A client that names nothing cannot ask for it.
#[tokio::test]
async fn a_key_of_blanks_is_refused_and_no_accident() {
    let case = bucket_case().await;
    let path = FilePath::from(" ");
    assert_eq!(case.target.accepts(&path).expect_err("refused").kind, ErrorKind::Name);
    assert_eq!(case.target.open(&path, None).await.err().expect("refused").kind, ErrorKind::Name);
    let below = prepared(&at("files-suite", &format!("case {}/", unique()))).await;
    put(&*below.target, " ", b"x").await;
    assert_eq!(read(&*below.other, " ").await.expect("read"), b"x");
    clear(&*below.target).await;
    case.target.remove(&FilePath::default()).await.expect("remove the bucket");
}

/// Among flat keys the file `x`, the directory `x/` and what lies below live beside each other; the directory goes without the file.
#[tokio::test]
async fn a_file_and_a_directory_may_share_a_name() {
    let case = case().await;
    put(&*case.target, "x", b"file").await;
    put(&*case.target, "x/below", b"below").await;
    put(&*case.target, "y/", b"a file with a slash").await;
    for name in ["x", "hollow"] {
        case.target.make(&directory(name)).await.expect("make");
    }
    let found: Vec<(String, bool)> = entries(&*case.target).await.iter().map(|e| (e.path.to_string(), e.kind == EntryKind::Directory)).collect();
    let expected = [("hollow", true), ("x", false), ("x", true), ("x/below", false), ("y/", false)];
    assert_eq!(found, expected.map(|(name, directory)| (name.to_owned(), directory)));
    clear(&*case.target).await;
    assert_eq!(paths(&*case.target).await, []);
}

/// An upload in parts goes on and is swept by its key, whatever the key looks like.
#[tokio::test]
async fn parts_work_for_odd_keys() {
    const PART: usize = 5 << 20;
    let case = case().await;
    for name in ["a//b", "/a", "a/b/", "tab\there", "caf%E9", "bell\u{7}", "a+b c%20&d"] {
        let (entry, data) = (file(name, PART + 1), noise(PART + 1, 3));
        let swept = case.target.parts().begin(&entry, TAG, PART as u64).await.expect("begin");
        case.other.sweep(TAG).await.expect("sweep");
        let ended = case.target.parts().put_part(&entry, &swept, 1, 0..PART as u64, crate::suite::body(&data[..PART])).await;
        assert_eq!(ended.expect_err("it was swept").kind, ErrorKind::NotFound, "{name}");
        let upload = case.target.parts().begin(&entry, TAG, PART as u64).await.expect("begin");
        let first = case.target.parts().put_part(&entry, &upload, 1, 0..PART as u64, crate::suite::body(&data[..PART])).await.expect("part 1");
        let second = case.other.parts().put_part(&entry, &upload, 2, PART as u64..PART as u64 + 1, crate::suite::body(&data[PART..])).await.expect("part 2");
        case.other.parts().complete(&entry, &upload, &[first, second]).await.expect("complete");
        assert!(read(&*case.target, name).await.expect("read") == data, "{name}");
    }
    let error = case.target.parts().begin(&file("no character \u{fffe}", PART + 1), TAG, PART as u64).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Name, "{error}");
    clear(&*case.target).await;
}

fn with_rules() -> Value {
    let redirect = json!({"host": "example.net", "code": "302", "protocol": "https", "prefix": "new/", "key": null});
    json!({"index_document": "start.html", "error_document": "oops.html", "redirect_all_requests_to": null,
        "routing_rules": [{"condition": {"code": null, "prefix": "old/"}, "redirect": redirect}]})
}

fn elsewhere() -> Value {
    json!({"index_document": null, "error_document": null, "redirect_all_requests_to": {"host": "example.org", "protocol": "https"}, "routing_rules": []})
}

#[tokio::test]
async fn the_website_configuration_is_set_and_put_back() {
    let case = bucket_case().await;
    let site = case.target.website().expect("an object store has one");
    assert_eq!(site.website().await.expect("read"), None);
    for error_document in [Some("404.html"), None] {
        for _ in 0..2 {
            site.set_website("index.html", error_document).await.expect("set");
        }
        let found = site.website().await.expect("read").expect("set");
        assert_eq!((found["index_document"].as_str(), found["error_document"].as_str()), (Some("index.html"), error_document));
    }
    for earlier in [with_rules(), elsewhere()] {
        site.restore_website(Some(&earlier)).await.expect("put");
        assert_eq!(site.website().await.expect("read"), Some(earlier.clone()), "as it was, in every detail");
        site.set_website("home.html", None).await.expect("set");
        assert_ne!(site.website().await.expect("read"), Some(earlier));
    }
    for _ in 0..2 {
        site.restore_website(None).await.expect("remove");
        assert_eq!(site.website().await.expect("read"), None);
    }
    case.target.remove(&FilePath::default()).await.expect("remove the bucket");
}
