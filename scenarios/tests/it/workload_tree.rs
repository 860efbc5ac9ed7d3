//! A tree with everything that Linux knows moves from one server's disk to another's: both are then listed from the inside, by the servers' own
//! programs, and must be equal. It is changed while it is moved, moved again in warm passes, interrupted again and again, and taken back.

use domain::Secret;
use domain::spec::{HostKeyPin, SshAt, SshLogin};
use movers::files::{FileOptions, FilesMover, Lag};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use testkit::rig;
use tokio_util::sync::CancellationToken;

/// A directory of its own on a server's disk.
struct Place {
    server: rig::Ssh,
    root: String,
}

impl Place {
    fn new(number: u8, disk: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = format!("{disk}/tree-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let place = Self { server: rig::server_machine(number), root };
        place.run("mkdir -p \"$R\"");
        place
    }

    /// Runs a script on the server, in the directory; `$R` is its name.
    fn run(&self, script: &str) -> String {
        let mut ssh = Command::new("ssh");
        ssh.arg("-i").arg(&self.server.key_file).args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.server.known_hosts_file.display()));
        ssh.arg(format!("root@{}", self.server.host)).arg("bash -s");
        let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ssh");
        let script = format!("set -e; export LC_ALL=C; R='{}'; mkdir -p \"$R\"; cd \"$R\"\n{script}\n", self.root);
        child.stdin.take().expect("an input").write_all(script.as_bytes()).expect("the script");
        let done = child.wait_with_output().expect("an end");
        assert!(done.status.success(), "{script}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn files(&self) -> Arc<connectors_files::sftp::SftpFiles> {
        let login =
            SshLogin { username: self.server.user.clone(), password: Some(Secret::new(self.server.password.clone())), private_key: None, passphrase: None };
        let host_key = HostKeyPin::KnownHosts(self.server.known_hosts_file.to_string_lossy().into_owned());
        let at = SshAt { host: self.server.host.clone(), port: self.server.port, login, host_key, jump: None };
        Arc::new(connectors_files::sftp::SftpFiles::new(&at, &self.root, 16))
    }

    /// Everything that the server's own programs tell of the tree: kinds, names, owners, modes, times, links, attributes, access lists, hashes; and
    /// whether what has holes still has them.
    fn told(&self) -> String {
        self.run(TELL)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run("cd /; rm -rf -- \"$R\"");
        }
    }
}

const TELL: &str = r#"
find . -type d -printf '%y %p %U:%G %m %T@\n' | sort; find . ! -type s ! -type d -printf '%y %p %U:%G %m %s %T@ %l\n' | sort
find . -type f -links +1 -printf '%i %p\n' | sort -k2 | awk '{ if (!($1 in f)) f[$1] = $2; print "same file:", f[$1], $2 }' | sort
find . -type f -size +1000k -printf '%p %s %b\n' | awk '{ print "holes:", $1, ($3 * 512 < $2 / 2) }' | sort
find . \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} + | sort
find . ! -type s -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex -- 2>/dev/null | sed '/^$/d; /^trusted.SGI_/d'
find . -type f -print0 | sort -z | xargs -0 sha256sum -z | tr '\0' '\n'"#;

const MAKE: &str = r#"
mkdir -p www/uploads/2024 www/cache empty deep/$(printf 'd%.0s/' $(seq 30)) secret odd mail
for n in $(seq 1500); do echo "page $n" >www/uploads/2024/p$n.html; done
head -c 300000 /dev/urandom >www/photo.jpg; head -c 5000000 /dev/urandom >www/film.mp4; : >www/nothing
head -c 90000000 /dev/urandom >mail/archive.mbox
printf x >deep/$(printf 'd%.0s/' $(seq 30))bottom
chown -R 33:33 www; chmod 2775 www/uploads; chown 1001:1002 mail; chmod 700 mail; chmod 000 secret; chmod 4755 www/photo.jpg
chown 3000000000:3000000001 www/film.mp4
ln www/photo.jpg mail/photo.jpg; ln www/photo.jpg www/uploads/also; ln www/nothing odd/nothing
ln -s ../mail/archive.mbox www/link; ln -s /etc/passwd www/absolute; ln -s nowhere "www/dangling link"; chown -h 5:6 www/link
truncate -s 3M www/holes; printf middle | dd of=www/holes bs=1 seek=1500000 conv=notrunc status=none
truncate -s 300M mail/disk.img; printf start | dd of=mail/disk.img conv=notrunc status=none; printf end | dd of=mail/disk.img bs=1 seek=200000000 conv=notrunc status=none
truncate -s 200M mail/half.img; head -c 120000000 /dev/urandom | dd of=mail/half.img bs=1M seek=80 conv=notrunc status=none
setfattr -n user.note -v "$(printf 'a=b %%\ncd')" www/film.mp4; setfattr -n trusted.t -v 1 mail; setfattr -n user.dir -v 2 www
setcap cap_net_raw+ep www/nothing; setfacl -m u:4321:rw,g:99:r www/film.mp4; setfacl -d -m u:77:rwx www/cache; setfacl -m u:77:rx www/cache
mkfifo mail/fifo; mknod mail/null c 1 3; mknod mail/disk b 7 300; chown 9:9 mail/fifo; chmod 640 mail/fifo
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("mail/sock")'
for n in $'new\nline' $'tab\t' 'quote"' "it's" '$(x)' '`y`' ' lead' 'trail ' '*' '?' '[a]' '\\' '-rf' '--' $'\x01low' $'caf\xe9' 'ünï' '#' '~' '%41' ';' '&' '!'; do printf %s "$n" >"odd/$n"; mkdir "odd/d$n"; done
touch -h -d '2001-02-03 04:05:06.123456789' www/link www/film.mp4 odd mail/fifo; touch -d '1969-12-31 23:59:58.5' www/nothing; touch -d '2019-01-01 01:01:01.000000001' deep/d www; chmod 711 .; chown 12:13 ."#;

const CHANGE: &str = r"
echo more >>www/uploads/2024/p7.html; rm www/uploads/2024/p8.html; mv www/uploads/2024/p9.html www/uploads/renamed; echo new >www/new
chmod 600 www/uploads/2024/p10.html; chown 44:44 empty; setfattr -x user.dir www; setfacl -b www/cache; setfattr -n user.dir -v 3 odd
ln www/uploads/2024/p11.html mail/p11; rm mail/photo.jpg; ln -sf elsewhere www/link; rm -r deep; mkdir -p fresh/dir; touch fresh/dir/file; printf Z | dd of=mail/archive.mbox bs=1 seek=70000000 conv=notrunc status=none";

struct Journey {
    mover: FilesMover,
    bulk: MemoryLedger,
    last: MemoryLedger,
    observer: MemoryObserver,
    stop: CancellationToken,
}

impl Journey {
    async fn new(from: &Place, to: &Place) -> Self {
        let options = FileOptions { staging: "tree-run".to_owned(), ..FileOptions::default() };
        let mover = FilesMover::new(from.files(), to.files(), options).overwriting().whole().await.expect("both sides");
        assert!(mover.is_whole() && mover.notes().is_empty(), "{:?}", mover.notes());
        Self { mover, bulk: MemoryLedger::default(), last: MemoryLedger::default(), observer: MemoryObserver::default(), stop: CancellationToken::new() }
    }

    async fn verify(&self) {
        let verified = self.mover.verify(&[&self.bulk, &self.last], &self.observer, &self.stop).await.expect("verify");
        assert!(verified.is_equal() && verified.not_copied == 0, "{verified:#?}");
    }

    async fn lag(&self) -> Lag {
        self.mover.lag(&[&self.bulk, &self.last], &self.stop).await.expect("lag")
    }
}

/// Lines that only one side has, for a message that can be read.
fn assert_equal(one: &str, other: &str) {
    if one != other {
        let only = |a: &str, b: &str| a.lines().filter(|line| !b.lines().any(|l| l == *line)).take(20).map(str::to_owned).collect::<Vec<_>>();
        panic!("only at the source: {:#?}\nonly at the destination: {:#?}", only(one, other), only(other, one));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_moves_with_everything_and_back() {
    let _alone = crate::workloads::server::DISKS.lock().await;
    let (from, to) = (Place::new(1, "/srv/shop"), Place::new(2, "/data"));
    from.run(MAKE);
    to.run("mkdir -p own www; echo theirs >own/file; echo old >www/photo.jpg; setfacl -d -m u:55:rwx www; chown 1:2 .; touch -d '2010-01-01' www own .");
    let before = to.told();
    let journey = Journey::new(&from, &to).await;
    let plan = journey.mover.plan(&journey.bulk, &journey.observer, &journey.stop).await.expect("plan");
    let named: Vec<String> = plan.problems.listed.iter().map(|p| p.path.to_string()).collect();
    assert_eq!(named, ["mail/sock"], "only a socket stays behind: {:?}", plan.problems);
    let copied = journey.mover.copy(&journey.bulk, &journey.observer, &journey.stop).await.expect("copy");
    assert_eq!((copied.hard_links, copied.nodes, copied.symlinks), (3, 3, 3), "{copied:?}");
    journey.verify().await;
    let own = "own";
    to.run(&format!("mv {own} ../{own}-aside-$$; mv ../{own}-aside-$$ \"$R.{own}\"; touch -d @$(stat -c %Y .) .; find . -maxdepth 0 >/dev/null"));
    from.run("touch -d '2020-02-02' .");
    to.run("touch -d '2020-02-02' .");
    assert_equal(&from.told(), &to.told());
    to.run(&format!("mv \"$R.{own}\" {own}"));

    assert!(journey.lag().await.is_none(), "nothing has changed");
    from.run(CHANGE);
    let lag = journey.lag().await;
    assert!(lag.files >= 9 && lag.removed >= 4, "{lag:?}");
    let found = journey.mover.warm_pass(&journey.bulk, &journey.last, &journey.observer, &journey.stop).await.expect("warm pass");
    assert_eq!(found, lag);
    assert!(journey.lag().await.is_none());
    from.run("echo late >www/late; rm www/new");
    journey.mover.final_pass(&journey.bulk, &journey.last, &journey.observer, &journey.stop).await.expect("final pass");
    journey.verify().await;
    to.run(&format!("mv {own} \"$R.{own}\""));
    from.run("touch -d '2020-02-02' .");
    to.run("touch -d '2020-02-02' .");
    assert_equal(&from.told(), &to.told());
    to.run(&format!("mv \"$R.{own}\" {own}"));

    // What was overwritten was not backed up, so it is put there again by hand; all else goes.
    let undone = journey.mover.undo(&[&journey.bulk, &journey.last], None, &journey.observer, &journey.stop).await.expect("undo");
    assert_eq!(undone.not_restored.listed.iter().map(|p| p.path.to_string()).collect::<Vec<_>>(), ["www/photo.jpg"], "{undone:?}");
    to.run("echo old >www/photo.jpg; touch -d '2010-01-01' www own .");
    let strip = |told: &str| told.lines().filter(|l| !l.contains("photo.jpg")).map(str::to_owned).collect::<Vec<_>>().join("\n");
    assert_equal(&strip(&before), &strip(&to.told()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_tree_goes_on() {
    let _alone = crate::workloads::server::DISKS.lock().await;
    let (from, to) = (Place::new(1, "/var/lib/archive"), Place::new(2, "/srv/shop"));
    from.run("for d in $(seq 20); do mkdir d$d; for n in $(seq 60); do head -c $((n * 150)) /dev/urandom >d$d/f$n; done; ln d$d/f1 d$d/link; done; head -c 70000000 /dev/urandom >large");
    let mut journey = Journey::new(&from, &to).await;
    journey.mover.plan(&journey.bulk, &journey.observer, &journey.stop).await.expect("plan");
    let mut cuts = 0;
    loop {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        // The moment is what this is about; whatever it meets must come out right.
        let cut = tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(300 << cuts.min(8))).await;
            stopping.cancel();
        });
        let ended = journey.mover.copy(&journey.bulk, &journey.observer, &stop).await;
        cut.abort();
        match ended {
            Ok(_) => break,
            Err(e) => assert_eq!(e.kind, ports::ErrorKind::Stopped, "{e}"),
        }
        let half = to.run("find . -path './.migration-assistant*' -prune -o -type f -size 0 -print | head");
        assert!(half.is_empty(), "half a file under its name: {half}");
        cuts += 1;
        // A new process knows nothing but the ledger.
        journey.mover = Journey::new(&from, &to).await.mover;
    }
    journey.mover.final_pass(&journey.bulk, &journey.last, &journey.observer, &journey.stop).await.expect("final pass");
    journey.verify().await;
    use ports::files::FileTarget;
    to.files().posix().await.expect("probe").expect("whole").sweep("tree-run").await.expect("sweep");
    from.run("touch -d '2020-02-02' .");
    to.run("touch -d '2020-02-02' .");
    assert_equal(&from.told(), &to.told());
    assert!(cuts > 0, "it was never interrupted");
}
