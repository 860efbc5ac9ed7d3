//! SFTP, on the rig's OpenSSH.

use crate::suite::{Case, noise, paths, put, read, suite};
use connectors_files::sftp::SftpFiles;
use domain::Secret;
use domain::spec::{HostKeyPin, SshAt, SshLogin};
use ports::files::{FilePath, FileSource, FileTarget};
use ports::{CheckOutcome, ErrorKind, Examine, Role};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

static NEXT: AtomicU32 = AtomicU32::new(0);

fn at() -> SshAt {
    let rig = testkit::rig::ssh();
    SshAt {
        host: rig.host,
        port: rig.port,
        login: SshLogin { username: rig.user, password: Some(Secret::new(rig.password)), private_key: None, passphrase: None },
        host_key: HostKeyPin::Pinned(host_key()),
        jump: None,
    }
}

fn host_key() -> String {
    std::fs::read_to_string(testkit::rig::ssh().known_hosts_file).expect("known_hosts")
}

/// Removed with everything in it.
struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        // The next run has another name anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn home() -> PathBuf {
    testkit::rig::ssh().home.join(format!("files-suite-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

async fn case() -> Case {
    let home = home();
    let disk = home.join("root");
    let root = disk.to_str().expect("utf-8").to_owned();
    let target = Arc::new(SftpFiles::new(&at(), &root, 8));
    assert!(target.prepare().await.expect("prepare"));
    Case { target, other: Arc::new(SftpFiles::new(&at(), &root, 1)), disk: Some(disk), _guard: Box::new(Home(home)) }
}

suite!(case);

/// A connection that works: it can be listed.
async fn works(at: &SshAt) {
    let home = home();
    let _guard = Home(home.clone());
    let files = SftpFiles::new(at, home.to_str().expect("utf-8"), 1);
    files.prepare().await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(paths(&files).await, []);
}

async fn refused(at: &SshAt) -> ports::ConnectorError {
    SftpFiles::new(at, "/tmp", 1).prepare().await.expect_err("it must not work")
}

#[tokio::test]
async fn a_key_logs_in_as_text_and_as_a_file() {
    let rig = testkit::rig::ssh();
    let text = std::fs::read_to_string(&rig.key_file).expect("key");
    for key in [text.clone(), rig.key_file.to_str().expect("utf-8").to_owned()] {
        let mut at = at();
        at.login.password = None;
        at.login.private_key = Some(Secret::new(key));
        works(&at).await;
    }
    let mut damaged = at();
    damaged.login.private_key = Some(Secret::new(text.replace("\nb3", "\nzz")));
    let error = refused(&damaged).await;
    assert_eq!(error.kind, ErrorKind::Authentication, "{error}");
    assert!(!error.to_string().contains("BEGIN"), "{error}");
}

#[tokio::test]
async fn a_key_with_a_passphrase_wants_it() {
    let rig = testkit::rig::ssh();
    let directory = tempfile::tempdir().expect("tempdir");
    let locked = directory.path().join("key");
    std::fs::copy(&rig.key_file, &locked).expect("copy");
    std::fs::set_permissions(&locked, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
    let done = std::process::Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "open sesame", "-f"])
        .arg(&locked)
        .stdout(std::process::Stdio::null())
        .status()
        .expect("ssh-keygen");
    assert!(done.success());
    let mut at = at();
    at.login.password = None;
    at.login.private_key = Some(Secret::new(locked.to_str().expect("utf-8")));
    let error = refused(&at).await;
    assert!(error.kind == ErrorKind::Authentication && error.reason.contains("passphrase"), "{error}");
    at.login.passphrase = Some(Secret::new("wrong"));
    assert_eq!(refused(&at).await.kind, ErrorKind::Authentication);
    at.login.passphrase = Some(Secret::new("open sesame"));
    works(&at).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_without_showing_it() {
    let mut at = at();
    at.login.password = Some(Secret::new("hunter2"));
    let error = refused(&at).await;
    assert_eq!(error.kind, ErrorKind::Authentication, "{error}");
    assert!(!error.temporary && !format!("{error} {error:?}").contains("hunter2"));
    at.login.password = None;
    assert!(refused(&at).await.reason.contains("neither a password nor a private key"));
}

#[tokio::test]
async fn an_unknown_host_key_is_shown_to_be_confirmed_and_then_works() {
    let mut unknown = at();
    unknown.host_key = HostKeyPin::Unknown;
    let error = refused(&unknown).await;
    assert_eq!(error.kind, ErrorKind::HostKey, "{error}");
    let fingerprint = error.reason.split_whitespace().find(|w| w.starts_with("SHA256:")).expect("a fingerprint").to_owned();
    unknown.host_key = HostKeyPin::Pinned(fingerprint);
    works(&unknown).await;
    unknown.host_key = HostKeyPin::Pinned("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned());
    let error = refused(&unknown).await;
    assert!(error.kind == ErrorKind::HostKey && error.reason.contains("NOT THE ONE"), "{error}");
}

#[tokio::test]
async fn known_hosts_files_are_read_plain_and_hashed() {
    let directory = tempfile::tempdir().expect("tempdir");
    let file = directory.path().join("known_hosts");
    let mut at = at();
    at.host_key = HostKeyPin::KnownHosts(file.to_str().expect("utf-8").to_owned());
    assert!(refused(&at).await.reason.contains("does not exist"));
    std::fs::write(&file, "# empty\n").expect("write");
    assert!(refused(&at).await.reason.contains("unknown"));
    std::fs::write(&file, host_key()).expect("write");
    works(&at).await;
    let hashed = std::process::Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(&file)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .expect("ssh-keygen");
    assert!(hashed.success() && std::fs::read_to_string(&file).expect("read").starts_with("|1|"));
    works(&at).await;
}

#[tokio::test]
async fn a_jump_server_is_gone_through() {
    let mut far = at();
    far.jump = Some(Box::new(at()));
    works(&far).await;
    far.port = 1;
    let error = refused(&far).await;
    assert!(error.kind == ErrorKind::Unreachable && error.reason.contains("jump"), "{error}");
}

#[tokio::test]
async fn nobody_there_and_a_mute_server_are_told_in_time() {
    let mut nobody = at();
    nobody.port = 1;
    assert_eq!(refused(&nobody).await.kind, ErrorKind::Unreachable);
    nobody.host = "no-such-host.invalid".to_owned();
    assert_eq!(refused(&nobody).await.kind, ErrorKind::Unreachable);
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let mut silent = at();
    silent.port = mute.local_addr().expect("address").port();
    let files = SftpFiles::new(&silent, "/tmp", 4);
    let start = Instant::now();
    let outcomes = futures::future::join_all(files.checks(Role::Destination).into_iter().map(|c| c.run)).await;
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    assert!(outcomes.iter().all(|o| matches!(o, CheckOutcome::Failed { kind: ErrorKind::TimedOut, finding } if finding.field == "host")), "{outcomes:?}");
}

/// A proxy that can cut all its connections.
struct Cutter {
    port: u16,
    cut: tokio::sync::watch::Sender<u32>,
    _task: tokio::task::JoinHandle<()>,
}

async fn cutter(to: u16) -> Cutter {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (cut, seen) = tokio::sync::watch::channel(0);
    let task = tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut seen = seen.clone();
            seen.mark_unchanged();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", to)).await.expect("connect");
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = seen.changed() => {}
                }
            });
        }
    });
    Cutter { port, cut, _task: task }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_interrupts_and_the_next_call_connects_again() {
    let home = home();
    let _guard = Home(home.clone());
    let mut at = at();
    let cutter = cutter(at.port).await;
    at.port = cutter.port;
    let files = SftpFiles::new(&at, home.to_str().expect("utf-8"), 1);
    files.prepare().await.expect("prepare");
    let data = noise(24 << 20, 1);
    put(&files, "big", &data).await;
    let mut body = files.open(&FilePath::from("big"), None).await.expect("open").body;
    futures::StreamExt::next(&mut body).await.expect("a piece").expect("the first piece comes");
    cutter.cut.send_modify(|n| *n += 1);
    let error = crate::suite::read_body(body).await.expect_err("cut");
    assert_eq!(error.kind, ErrorKind::Interrupted, "{error}");
    assert!(error.temporary);
    assert!(read(&files, "big").await.expect("connected again") == data);
    // Cut while writing: nothing appears under the final name.
    let half = data.len() / 2;
    let (first, second) = (bytes::Bytes::copy_from_slice(&data[..half]), bytes::Bytes::copy_from_slice(&data[half..]));
    let cut = cutter.cut.clone();
    let body = futures::stream::unfold(0, move |step| {
        let (first, second, cut) = (first.clone(), second.clone(), cut.clone());
        async move {
            match step {
                0 => Some((Ok(first), 1)),
                1 => {
                    cut.send_modify(|n| *n += 1);
                    Some((Ok(second), 2))
                }
                _ => None,
            }
        }
    });
    let entry = crate::suite::file("new", data.len());
    let error = files.put(&entry, crate::suite::TAG, futures::StreamExt::boxed(body)).await.expect_err("cut");
    assert_eq!(error.kind, ErrorKind::Interrupted, "{error}");
    assert_eq!(paths(&files).await, [FilePath::from("big")]);
    files.sweep(crate::suite::TAG).await.expect("sweep");
    assert_eq!(std::fs::read_dir(&home).expect("read_dir").count(), 1, "the sweep removed the half-written file");
}

/// Each of many transfers at once gets its own bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_transfers_side_by_side_do_not_mix() {
    let case = case().await;
    let done: Vec<()> = futures::StreamExt::collect(futures::StreamExt::buffer_unordered(
        futures::stream::iter((0..200_u64).map(|i| {
            let target = &case.target;
            async move {
                let path = format!("d{}/f{i}", i % 7);
                let data = noise(1000 + (i as usize * 977) % 90_000, i);
                put(&**target, path.as_str(), &data).await;
                assert!(read(&**target, path.as_str()).await.expect("read") == data);
            }
        })),
        32,
    ))
    .await;
    assert_eq!(done.len(), 200);
}
