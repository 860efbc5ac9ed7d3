//! S3, on the rig's SeaweedFS. What needs a store with plain keys is in [`rgw`].

mod rgw;

use crate::suite::{Case, body, clear, entries, file, noise, paths, put, suite};
use connectors_files::s3::S3Files;
use domain::Secret;
use domain::spec::S3At;
use ports::files::{Entry, EntryKind, FilePath, FileSource, FileTarget};
use ports::{CheckOutcome, ErrorKind, Examine, Role};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

static NEXT: AtomicU32 = AtomicU32::new(0);

fn unique() -> String {
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn at(bucket: &str, prefix: &str) -> S3At {
    on(testkit::rig::s3(), bucket, prefix)
}

fn on(rig: testkit::rig::S3, bucket: &str, prefix: &str) -> S3At {
    S3At {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(rig.endpoint),
        path_style: None,
        access_key_id: Some(rig.access_key_id),
        secret_access_key: Some(Secret::new(rig.secret_access_key)),
        session_token: None,
        index_document: None,
        error_document: None,
    }
}

fn open(at: &S3At) -> Arc<S3Files> {
    Arc::new(S3Files::new(at, 8).expect("open"))
}

async fn prepared(at: &S3At) -> Case {
    let target = open(at);
    target.prepare().await.expect("prepare");
    Case { target, other: open(at), disk: None, _guard: Box::new(()) }
}

/// One bucket for all (a bucket is dear on SeaweedFS), a prefix for each.
async fn case() -> Case {
    prepared(&at("files-suite", &format!("case {}/", unique()))).await
}

/// A whole bucket of its own.
async fn bucket_case() -> Case {
    prepared(&at(&format!("files-suite-{}", unique()), "")).await
}

/// A bucket that is missing, made, and removed again, each as often as asked.
async fn comes_and_goes(case: &Case) {
    crate::suite::listing::a_missing_root_is_not_found_until_prepared(case).await;
    case.target.remove(&FilePath::default()).await.expect("remove the bucket");
    case.target.remove(&FilePath::default()).await.expect("twice");
}

suite!(objects case);

#[tokio::test]
async fn a_missing_bucket_is_not_found_until_prepared() {
    comes_and_goes(&bucket_case().await).await;
}

/// A store that answers every request with the same words and remembers what was asked: what no real store of the rig can show.
async fn scripted(answer: &'static str, headers: &'static str) -> (S3At, Arc<Mutex<Vec<String>>>) {
    answering(move |_| format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{answer}", answer.len())).await
}

/// A store whose answers follow from the request: its first line and headers.
async fn answering(answer: impl Fn(&str) -> String + Send + 'static) -> (S3At, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let mut at = at("raw-bucket", "");
    at.endpoint = Some(format!("http://{}", listener.local_addr().expect("address")));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 65_536];
            let length = socket.read(&mut request).await.expect("read");
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            seen.lock().expect("lock").push(request.lines().next().unwrap_or_default().to_owned());
            socket.write_all(answer(&request).as_bytes()).await.expect("write");
        }
    });
    (at, asked)
}

fn reply(status: &str, body: &str) -> String {
    let etag = "etag: \"0cc175b9c0f1b6a831c399e269772661\"\r\n";
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{etag}content-length: {}\r\n\r\n{body}", body.len())
}

fn refusal(code: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>no</Message></Error>")
}

/// Stores differ in what they make of a condition; what was seen to differ is never overwritten.
#[tokio::test]
async fn conditional_writes_work_with_stores_that_know_them_and_stores_that_do_not() {
    let seen = Entry { version: Some("0cc175b9c0f1b6a831c399e269772661".to_owned()), ..file("a", 1) };
    // What it says to a condition, whether the object changes at that moment, and what comes of it.
    let cases = [
        ("501 Not Implemented", "NotImplemented", false, None),
        ("200 OK", "", false, None),
        ("412 Precondition Failed", "PreconditionFailed", true, Some(ErrorKind::AlreadyExists)),
        ("412 Precondition Failed", "PreconditionFailed", false, None),
    ];
    for (answer, code, changes, outcome) in cases {
        let met = std::sync::atomic::AtomicBool::new(false);
        let (at, asked) = answering(move |request| {
            let conditional = request.to_lowercase().contains("if-match: ");
            if request.starts_with("PUT") && conditional && !answer.starts_with('2') {
                met.store(true, Ordering::Relaxed);
                return reply(answer, &refusal(code));
            }
            let etag = if changes && met.load(Ordering::Relaxed) { "another" } else { "0cc175b9c0f1b6a831c399e269772661" };
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\netag: \"{etag}\"\r\ncontent-length: {}\r\n\r\n", u8::from(request.starts_with("HEAD")))
        })
        .await;
        let files = open(&at);
        let put = files.put_replacing(&file("a", 1), crate::suite::TAG, body(b"a"), &seen).await;
        assert_eq!(put.err().map(|e| e.kind), outcome, "{answer}");
        let other = Entry { version: Some("a third one".to_owned()), ..seen.clone() };
        asked.lock().expect("lock").clear();
        let refused = files.put_replacing(&file("a", 1), crate::suite::TAG, body(b"a"), &other).await;
        assert_eq!(refused.err().map(|e| e.kind), Some(ErrorKind::AlreadyExists), "{answer}");
        assert!(!asked.lock().expect("lock").iter().any(|line| line.starts_with("PUT")), "nothing was sent");
    }
}

/// A store that refuses tags (or a key that may not set them) gets the object without, and that is named.
#[tokio::test]
async fn what_the_store_refuses_of_an_object_is_left_out_and_named() {
    let (at, _) = answering(|request| {
        let refused = ["x-amz-tagging", "x-amz-storage-class"].iter().any(|name| request.to_lowercase().contains(name));
        if refused { reply("403 Forbidden", &refusal("AccessDenied")) } else { reply("200 OK", "") }
    })
    .await;
    let files = open(&at);
    let mut metadata = crate::suite::writing::rich_metadata();
    metadata.storage_class = Some("GLACIER_IR".to_owned());
    let entry = Entry { object: Some(Box::new(metadata)), ..file("a", 1) };
    assert_eq!(files.unkept(&entry), Vec::<String>::new());
    for _ in 0..2 {
        files.put(&entry, crate::suite::TAG, body(b"a")).await.expect("put without what is refused");
        assert_eq!(files.unkept(&entry), ["storage class 'GLACIER_IR'", "tags (kind of, team)"]);
    }
}

/// What a path is, the key is: nothing is tidied up on the way out.
#[tokio::test]
async fn keys_travel_raw() {
    let (at, asked) = scripted("", "etag: \"0cc175b9c0f1b6a831c399e269772661\"\r\n").await;
    let files = open(&at);
    for key in ["a//b", "/a", "a/b/", "//", "a b", "a+b", "a%20b"] {
        files.accepts(&FilePath::from(key)).expect("accepted");
        files.put(&file(key, 1), crate::suite::TAG, body(b"a")).await.unwrap_or_else(|e| panic!("{key}: {e}"));
    }
    let asked = asked.lock().expect("lock").clone();
    let paths: Vec<&str> = asked.iter().filter_map(|line| line.split(['?', ' ']).nth(1)).collect();
    assert_eq!(
        paths,
        ["/raw-bucket/a//b", "/raw-bucket//a", "/raw-bucket/a/b/", "/raw-bucket///", "/raw-bucket/a%20b", "/raw-bucket/a%2Bb", "/raw-bucket/a%2520b"]
    );
}

/// And on the way in.
#[tokio::test]
async fn listed_keys_stay_raw() {
    let listing = "<ListBucketResult><IsTruncated>false</IsTruncated>\
        <Contents><Key>/a</Key><Size>1</Size></Contents><Contents><Key>a b</Key><Size>1</Size></Contents><Contents><Key>a/</Key><Size>0</Size></Contents>\
        <Contents><Key>a//b</Key><Size>1</Size></Contents><Contents><Key>a/b/</Key><Size>7</Size></Contents><Contents><Key>caf%E9</Key><Size>1</Size></Contents></ListBucketResult>";
    let (at, _) = scripted(listing, "").await;
    let listed = entries(&*open(&at)).await;
    let found: Vec<(&[u8], bool)> = listed.iter().map(|e| (e.path.as_bytes(), e.kind == EntryKind::Directory)).collect();
    let expected: [(&[u8], bool); 6] = [(b"/a", false), (b"a b", false), (b"a", true), (b"a//b", false), (b"a/b/", false), (b"caf%E9", false)];
    assert_eq!(found, expected);
}

/// A store out of order is noticed, not believed.
#[tokio::test]
async fn a_listing_out_of_order_is_begun_anew() {
    let listing = "<ListBucketResult><Contents><Key>a/x</Key><Size>1</Size></Contents><Contents><Key>a b</Key><Size>1</Size></Contents></ListBucketResult>";
    let (at, asked) = scripted(listing, "").await;
    let files = open(&at);
    let first: Vec<ports::Result<Entry>> = futures::StreamExt::collect(files.list()).await;
    let error = first.into_iter().find_map(Result::err).expect("it is an error");
    assert!(error.temporary, "{error}");
    assert!(!asked.lock().expect("lock").last().expect("asked").contains("delimiter="));
    let _: Vec<ports::Result<Entry>> = futures::StreamExt::collect(futures::StreamExt::take(files.list(), 1)).await;
    assert!(asked.lock().expect("lock").last().expect("asked").contains("delimiter=%2F"));
}

/// What SeaweedFS would store under another key is refused.
#[tokio::test]
async fn a_store_with_a_tree_refuses_what_a_tree_cannot_hold() {
    let case = case().await;
    for key in ["a//b", "/a", "a/b/", "back\\slash"] {
        assert_eq!(case.target.accepts(&FilePath::from(key)).expect_err("refused").kind, ErrorKind::Name, "{key}");
    }
}

#[tokio::test]
async fn content_types_come_from_the_name_or_the_source() {
    let case = case().await;
    for (name, given, expected) in [
        ("index.html", None, "text/html"),
        ("style.CSS", None, "text/css"),
        ("photo.webp", None, "image/webp"),
        ("no-extension", None, "application/octet-stream"),
        ("odd.html", Some("text/plain; charset=latin1"), "text/plain; charset=latin1"),
    ] {
        let mut entry = file(name, 1);
        entry.content_type = given.map(str::to_owned);
        case.target.put(&entry, crate::suite::TAG, body(b"x")).await.expect("put");
        let found = case.target.stat(&FilePath::from(name)).await.expect("stat").expect("there");
        assert_eq!(found.content_type.as_deref(), Some(expected), "{name}");
    }
    clear(&*case.target).await;
}

#[tokio::test]
async fn a_file_above_the_limit_goes_in_parts() {
    let case = case().await;
    let size = case.target.traits().single_put_limit as usize;
    put(&*case.target, "just", &noise(size, 1)).await;
    let error = case.target.put(&file("more", size + 1), crate::suite::TAG, body(b"")).await.expect_err("too large");
    assert_eq!(error.kind, ErrorKind::Invalid);
    clear(&*case.target).await;
}

#[tokio::test]
async fn a_prefix_marker_is_the_root_itself() {
    let at = at("files-suite", &format!("marked {}/", unique()));
    let outer = open(&S3At { prefix: String::new(), ..at.clone() });
    let inner = open(&at);
    outer.prepare().await.expect("prepare");
    let root = at.prefix.trim_end_matches('/');
    outer.make(&crate::suite::directory(root)).await.expect("make");
    put(&*inner, "a", b"x").await;
    assert_eq!(paths(&*inner).await, [FilePath::from("a")]);
    assert_eq!(entries(&*inner).await[0].kind, EntryKind::File { size: 1 });
    clear(&*inner).await;
    outer.remove(&FilePath::from(root)).await.expect("remove");
}

#[tokio::test]
async fn wrong_credentials_are_told_as_such() {
    let mut wrong = at("files-suite", "");
    wrong.secret_access_key = Some(Secret::new("not the secret"));
    let files = open(&wrong);
    let error = files.prepare().await.expect_err("refused");
    assert!(matches!(error.kind, ErrorKind::Authentication | ErrorKind::Permission), "{error}");
    assert!(!format!("{error} {error:?}").contains("not the secret"));
    let outcomes = outcomes(&files, Role::Destination).await;
    assert!(
        outcomes.iter().any(|(name, o)| *name == "credentials"
            && matches!(o, CheckOutcome::Failed { kind: ErrorKind::Authentication, finding } if finding.field == "access_key_id")),
        "{outcomes:?}"
    );
    assert!(outcomes.iter().any(|(name, o)| *name == "connectivity" && matches!(o, CheckOutcome::Passed(_))), "{outcomes:?}");
}

async fn outcomes(files: &S3Files, role: Role) -> Vec<(&'static str, CheckOutcome)> {
    futures::future::join_all(files.checks(role).into_iter().map(|c| async move { (c.name, c.run.await) })).await
}

#[tokio::test]
async fn a_missing_bucket_fails_the_source_and_not_the_destination() {
    let files = open(&at(&format!("files-none-{}", unique()), ""));
    let source = outcomes(&files, Role::Source).await;
    assert!(source.iter().any(|(_, o)| matches!(o, CheckOutcome::Failed { kind: ErrorKind::NotFound, finding } if finding.field == "bucket")), "{source:?}");
    let destination = outcomes(&files, Role::Destination).await;
    assert!(destination.iter().all(|(_, o)| matches!(o, CheckOutcome::Passed(_))), "{destination:?}");
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let mut nobody = at("files-suite", "");
    nobody.endpoint = Some("http://127.0.0.1:1".to_owned());
    let error = open(&nobody).prepare().await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    nobody.endpoint = Some("http://no-such-host.invalid:80".to_owned());
    let error = open(&nobody).prepare().await.expect_err("unknown");
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
}

/// A server that accepts and never answers.
#[tokio::test]
async fn a_mute_server_fails_the_checks_within_ten_seconds() {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let mut dead = at("files-suite", "");
    dead.endpoint = Some(format!("http://{}", mute.local_addr().expect("address")));
    let files = open(&dead);
    let start = Instant::now();
    let outcomes = outcomes(&files, Role::Source).await;
    assert!(start.elapsed() < Duration::from_secs(12));
    assert!(
        outcomes.iter().any(|(_, o)| matches!(o, CheckOutcome::Failed { kind: ErrorKind::TimedOut, finding } if finding.field == "endpoint")),
        "{outcomes:?}"
    );
}

/// SeaweedFS serves no sites: the letter says so.
#[tokio::test]
async fn a_store_that_serves_no_sites_says_so() {
    let case = bucket_case().await;
    let site = case.target.website().expect("an object store has one");
    let error = site.set_website("index.html", Some("404.html")).await.expect_err("it cannot");
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    site.restore_website(None).await.expect("there is none to remove");
    case.target.remove(&FilePath::default()).await.expect("remove the bucket");
}
