//! One tree from one of the rig's servers to another with everything in it, verified, and how long each pass took; `cargo xtask bench workload` runs
//! it beside rsync.
//!
//! `whole-tree 1:/data/from 2:/data/to [change]`: with a third argument, a script that changes the source, a warm pass and a final pass follow it;
//! `--copy-only` in its place: without the verification.

use anyhow::{Context, Result, bail};
use connectors_files::sftp::SftpFiles;
use domain::Secret;
use domain::spec::{HostKeyPin, SshAt, SshLogin};
use movers::files::{FileOptions, FilesMover};
use std::sync::Arc;
use std::time::Instant;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use tokio_util::sync::CancellationToken;

fn place(text: &str) -> Result<Arc<SftpFiles>> {
    let (number, root) = text.split_once(':').context("SERVER:DIRECTORY")?;
    let rig = testkit::rig::server_machine(number.parse()?);
    let login = SshLogin { username: rig.user, password: Some(Secret::new(rig.password)), private_key: None, passphrase: None };
    let host_key = HostKeyPin::KnownHosts(rig.known_hosts_file.display().to_string());
    Ok(Arc::new(SftpFiles::new(&SshAt { host: rig.host, port: rig.port, login, host_key, jump: None }, root, 16)))
}

/// Says how long the time since `since` was, and starts anew.
fn lap(what: &str, since: &mut Instant) {
    println!("{what}: {:.2} s", since.elapsed().as_secs_f64());
    *since = Instant::now();
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, from, to, change @ ..] = arguments.as_slice() else { bail!("whole-tree FROM TO [CHANGE]") };
    let (from, to) = (place(from)?, place(to)?);
    ports::files::FileTarget::prepare(&*to).await?;
    let (bulk, last) = (MemoryLedger::default(), MemoryLedger::default());
    let (observer, stop) = (MemoryObserver::default(), CancellationToken::new());
    let mut since = Instant::now();
    let mover = FilesMover::new(from, to, FileOptions::default()).overwriting().whole().await?;
    if !mover.is_whole() {
        bail!("no whole trees: {:?}", mover.notes());
    }
    let plan = mover.plan(&bulk, &observer, &stop).await?;
    lap(&format!("plan of {} files ({})", plan.files, domain::units::size(plan.bytes)), &mut since);
    mover.copy(&bulk, &observer, &stop).await?;
    lap("copy", &mut since);
    if change.first().is_some_and(|word| word == "--copy-only") {
        return Ok(());
    }
    let verified = mover.verify(&[&bulk, &last], &observer, &stop).await?;
    if !verified.is_equal() {
        bail!("{} differ: {:?}", verified.mismatched, verified.mismatches.first());
    }
    lap("verification", &mut since);
    let Some(change) = change.first() else { return Ok(()) };
    for (pass, script) in [("warm pass", change.as_str()), ("final pass", change.as_str())] {
        if !std::process::Command::new("sh").args(["-c", script]).status()?.success() {
            bail!("the change failed");
        }
        lap("change", &mut since);
        let lag = mover.lag(&[&bulk, &last], &stop).await?;
        lap(&format!("lag of {} files ({})", lag.files, domain::units::size(lag.bytes)), &mut since);
        if pass == "warm pass" {
            mover.warm_pass(&bulk, &last, &observer, &stop).await?;
        } else {
            mover.final_pass(&bulk, &last, &observer, &stop).await?;
        }
        lap(pass, &mut since);
    }
    Ok(())
}
