//! Looking through the source's files for a few seconds: how much there is, what is large, which names the destination cannot
//! hold, and how fast a sample reads.

use futures::StreamExt;
use ports::files::{EntryKind, FilePath, FileTarget};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Document 3 warns of files from here on.
pub(super) const LARGE: u64 = 100 << 20;
/// So many are named; the rest is counted.
const NAMED: usize = 20;
/// A sample reads at most this much of one file.
const SAMPLE_BYTES: u64 = 8 << 20;
const SAMPLE_FILES: usize = 6;

#[derive(Debug, Default)]
pub(super) struct Listing {
    pub files: u64,
    pub bytes: u64,
    /// Cut at the time limit.
    pub cut: bool,
    pub large: Vec<(FilePath, u64)>,
    pub large_count: u64,
    /// Names that the destination refuses, and why.
    pub refused: Vec<(FilePath, String)>,
    pub refused_count: u64,
    /// Devices, sockets, FIFOs.
    pub special_count: u64,
    pub wp_config: bool,
    pub sample_rate: Option<f64>,
    pub seconds_per_file: Option<f64>,
}

/// Lists for at most `limit`, then reads a sample for about a third of it.
pub(super) async fn look(source: &Arc<dyn FileTarget>, destination: Option<&Arc<dyn FileTarget>>, limit: Duration) -> ports::Result<Listing> {
    let mut seen = Listing::default();
    let mut samples: Vec<(FilePath, u64)> = Vec::new();
    let deadline = tokio::time::Instant::now() + limit;
    let mut entries = source.list();
    loop {
        let entry = match tokio::time::timeout_at(deadline, entries.next()).await {
            Ok(Some(entry)) => entry?,
            Ok(None) => break,
            Err(_) => {
                seen.cut = true;
                break;
            }
        };
        if let Some(Err(error)) = destination.map(|d| d.accepts(&entry.path)) {
            seen.refused_count += 1;
            if seen.refused.len() < NAMED {
                seen.refused.push((entry.path.clone(), error.reason));
            }
        }
        match entry.kind {
            EntryKind::File { size } => {
                seen.take_file(&entry.path, size);
                take_sample(&mut samples, entry.path, size, seen.files);
            }
            EntryKind::Other(_) => seen.special_count += 1,
            EntryKind::Directory | EntryKind::Symlink { .. } => {}
        }
    }
    drop(entries);
    read_samples(&mut seen, source, &samples, limit / 3).await;
    Ok(seen)
}

impl Listing {
    fn take_file(&mut self, path: &FilePath, size: u64) {
        self.files += 1;
        self.bytes += size;
        self.wp_config |= path.as_bytes() == b"wp-config.php";
        if size > LARGE {
            self.large_count += 1;
            if self.large.len() < NAMED {
                self.large.push((path.clone(), size));
            }
        }
    }
}

/// Keeps the first files, then ever rarer ones, so that the sample is spread over the tree; and always the largest.
fn take_sample(samples: &mut Vec<(FilePath, u64)>, path: FilePath, size: u64, nth: u64) {
    if samples.len() < SAMPLE_FILES {
        samples.push((path, size));
    } else if nth.is_power_of_two() {
        let slot = (nth.trailing_zeros() as usize) % (SAMPLE_FILES - 1) + 1;
        samples[slot] = (path, size);
    } else if size > samples[0].1 {
        samples[0] = (path, size);
    }
}

async fn read_samples(seen: &mut Listing, source: &Arc<dyn FileTarget>, samples: &[(FilePath, u64)], limit: Duration) {
    let began = Instant::now();
    let (mut bytes, mut streaming, mut opening, mut opened) = (0u64, Duration::ZERO, Duration::ZERO, 0u32);
    for (path, size) in samples {
        let left = limit.saturating_sub(began.elapsed());
        let one = async {
            let start = Instant::now();
            let mut body = source.open(path, Some(0..(*size).min(SAMPLE_BYTES))).await.ok()?.body;
            let open = start.elapsed();
            let mut read = 0u64;
            while let Some(piece) = body.next().await {
                read += piece.ok()?.len() as u64;
                if start.elapsed() > left {
                    break;
                }
            }
            Some((open, start.elapsed(), read))
        };
        let Ok(Some((open, whole, read))) = tokio::time::timeout(left, one).await else { continue };
        opening += open;
        opened += 1;
        streaming += whole.saturating_sub(open);
        bytes += read;
    }
    if opened > 0 {
        seen.seconds_per_file = Some(opening.as_secs_f64() / f64::from(opened));
        seen.sample_rate = (bytes > 0).then(|| bytes as f64 / streaming.as_secs_f64().max(1e-6));
    }
}
