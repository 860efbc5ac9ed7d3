//! One of the rig's servers, and what a test does on it as root.

use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use testkit::rig::{Ssh, server_machine};

/// Held by a story that uses whole disks of the servers: one at a time, also among several runs on one rig.
pub static DISKS: Disks = Disks;

pub struct Disks;

impl Disks {
    /// Until what this gives is dropped.
    pub async fn lock(&self) -> File {
        let beside_the_keys = server_machine(1).key_file.with_file_name("disks.lock");
        let waiting = tokio::task::spawn_blocking(move || {
            let file = File::create(beside_the_keys).expect("a file to lock");
            file.lock().map(|()| file)
        });
        waiting.await.expect("the waiting ends").expect("the lock")
    }
}

pub struct Server {
    pub ssh: Ssh,
}

impl Server {
    pub fn number(number: u8) -> Self {
        Self { ssh: server_machine(number) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        let known = format!("UserKnownHostsFile={}", self.ssh.known_hosts_file.display());
        command.args(["-o", "BatchMode=yes", "-o", &known, "-i"]).arg(&self.ssh.key_file).arg(format!("root@{}", self.ssh.host)).arg("sh -s");
        command
    }

    /// Runs a script; what it said. A script that fails is the test's failure.
    pub fn run(&self, script: &str) -> String {
        let mut child = self.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ssh");
        child.stdin.take().expect("an input").write_all(format!("set -e\n{script}\n").as_bytes()).expect("the script");
        let output = child.wait_with_output().expect("ssh ends");
        assert!(output.status.success(), "{}: {script}\n{}", self.ssh.host, String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command with something to read.
    pub fn feed(&self, command: &str, input: &[u8]) {
        let mut ssh = Command::new("ssh");
        let known = format!("UserKnownHostsFile={}", self.ssh.known_hosts_file.display());
        ssh.args(["-o", "BatchMode=yes", "-o", &known, "-i"]).arg(&self.ssh.key_file).arg(format!("root@{}", self.ssh.host)).arg(command);
        let mut child = ssh.stdin(Stdio::piped()).spawn().expect("ssh");
        child.stdin.take().expect("an input").write_all(input).expect("the input");
        assert!(child.wait().expect("ssh ends").success(), "{}: {command}", self.ssh.host);
    }

    /// Starts a script that goes on until [`Going::end`].
    pub fn start(&self, script: &str) -> Going<'_> {
        let mut child = self.command().stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("ssh");
        child.stdin.as_mut().expect("an input").write_all(format!("echo $$ > /run/going.pid\n{script}\n").as_bytes()).expect("the script");
        Going { server: self, child }
    }

    /// Document 0's body of a workload. `mount_points` with their sizes; `None`: to be discovered.
    pub fn workload(&self, mount_points: Option<&[(&str, u64)]>) -> Value {
        let mut body = json!({"ip": self.ssh.host, "credentials": {"username": "root", "password": self.ssh.password, "domain": "testdomain.com"}});
        if let Some(list) = mount_points {
            let list: Vec<Value> = list.iter().map(|(name, size)| json!({"mount_point_name": name, "total_size": size})).collect();
            body["storage"] = json!({"mount_points": list});
        }
        body
    }

    /// Everything below a directory with all that belongs to it, but for device and inode numbers, and change times.
    pub fn everything(&self, dir: &str) -> String {
        self.run(&format!(
            "cd {dir}
            find . -mindepth 1 -printf '%p|%y|%m|%U:%G|%T@|%l|' -a \\( -type d -printf 'dir\\n' -o -printf '%n|%s\\n' \\) | sort
            find . -type f -print0 | sort -z | xargs -0 -r sha256sum
            find . -mindepth 1 -print0 | sort -z | xargs -0 -r getfattr -h -d -m - --absolute-names 2>/dev/null || true
            find . -type f -links +1 -printf '%i %p\\n' | sort -k2 | awk '{{if (!($1 in n)) n[$1] = ++c; print n[$1], $2}}'"
        ))
    }
}

/// A script that runs on a server; ends when dropped, so that a story that failed does not spoil the next one.
pub struct Going<'a> {
    server: &'a Server,
    child: Child,
}

impl Going<'_> {
    /// Nothing of it runs any more when this ends.
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        let kill = "kill -9 $(cat /run/going.pid); while kill -0 $(cat /run/going.pid) 2>/dev/null; do :; done";
        let told = self.server.command().stdin(Stdio::piped()).spawn().and_then(|mut ssh| {
            ssh.stdin.take().map_or(Ok(()), |mut input| input.write_all(kill.as_bytes()))?;
            ssh.wait()
        });
        // A second panic would hide the first one's words.
        assert!(std::thread::panicking() || told.is_ok_and(|status| status.success()), "the script goes on");
        let _ended = self.child.wait();
    }
}
