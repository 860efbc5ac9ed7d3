//! How fast the connectors are by themselves: many small files and a few large ones, from one root to another.
//!
//! `throughput local:/from s3:bucket/prefix/ 64` copies with 64 transfers at once; `sftp:/root` uses the rig's SSH server. The rig's
//! addresses come from the environment or `.rig/env`.

use anyhow::{Context, Result, bail};
use domain::Secret;
use domain::spec::{FilesAt, HostKeyPin, S3At, SshAt, SshLogin};
use futures::{StreamExt, TryStreamExt};
use ports::files::{Entry, EntryKind, FileTarget};
use std::sync::Arc;
use std::time::Instant;

const PART: u64 = 16 << 20;

fn place(text: &str) -> Result<FilesAt> {
    let (kind, rest) = text.split_once(':').context("KIND:PLACE")?;
    Ok(match kind {
        "local" => FilesAt::Local { root: rest.to_owned() },
        "sftp" => {
            let rig = testkit::rig::ssh();
            let login = SshLogin { username: rig.user, password: Some(Secret::new(rig.password)), private_key: None, passphrase: None };
            let host_key = HostKeyPin::KnownHosts(rig.known_hosts_file.display().to_string());
            FilesAt::Sftp { ssh: SshAt { host: rig.host, port: rig.port, login, host_key, jump: None }, root: rest.to_owned() }
        }
        "s3" => {
            let rig = testkit::rig::s3();
            let (bucket, prefix) = rest.split_once('/').context("s3:BUCKET/PREFIX/")?;
            FilesAt::S3(S3At {
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
            })
        }
        other => bail!("unknown kind {other}"),
    })
}

async fn copy(source: &dyn FileTarget, target: &Arc<dyn FileTarget>, entry: &Entry) -> Result<u64> {
    let size = entry.size();
    if size <= target.traits().single_put_limit.min(PART) {
        let opened = source.open(&entry.path, None).await?;
        target.put(&opened.entry, "bench", opened.body).await?;
        return Ok(size);
    }
    let parts = target.parts();
    let upload = parts.begin(entry, "bench", PART).await?;
    let ranges: Vec<_> = (0..size.div_ceil(PART)).map(|i| i * PART..((i + 1) * PART).min(size)).collect();
    let sent: Vec<_> = futures::stream::iter(ranges.into_iter().enumerate())
        .map(|(i, range)| {
            let (parts, upload) = (&parts, &upload);
            async move {
                let opened = source.open(&entry.path, Some(range.clone())).await?;
                parts.put_part(entry, upload, i as u32 + 1, range, opened.body).await
            }
        })
        .buffered(8)
        .try_collect()
        .await?;
    parts.complete(entry, &upload, &sent).await?;
    Ok(size)
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, from, to, parallel] = arguments.as_slice() else { bail!("throughput FROM TO PARALLEL") };
    let parallel: usize = parallel.parse()?;
    let source = connectors_files::open(&place(from)?, parallel).await?;
    let target = connectors_files::open(&place(to)?, parallel).await?;
    target.prepare().await?;
    let start = Instant::now();
    let (files, bytes) = source
        .list()
        .map_err(anyhow::Error::from)
        .try_filter(|e| std::future::ready(matches!(e.kind, EntryKind::File { .. })))
        .map_ok(|entry| {
            let (source, target) = (&source, &target);
            async move { copy(&**source, target, &entry).await }
        })
        .try_buffer_unordered(parallel)
        .try_fold((0_u64, 0_u64), |(files, bytes), size| async move { Ok((files + 1, bytes + size)) })
        .await?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{files} files, {} in {seconds:.2} s: {:.0} files/s, {}",
        domain::units::size(bytes),
        files as f64 / seconds,
        domain::units::rate(bytes as f64 / seconds)
    );
    Ok(())
}
