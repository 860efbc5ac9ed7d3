//! Hashing what is read, in the kind that the destination itself reports, whole or over parts.

use bytes::Bytes;
use futures::StreamExt;
use md5::Digest as _;
use ports::files::{Body, Digest, DigestKind};
use ports::{ConnectorError, ErrorKind, Result};

pub(super) enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Md5(md5::Md5),
    Sha256(sha2::Sha256),
}

impl Hasher {
    pub(super) fn new(kind: DigestKind) -> Self {
        match kind {
            DigestKind::Blake3 => Self::Blake3(Box::default()),
            DigestKind::Md5 => Self::Md5(md5::Md5::new()),
            DigestKind::Sha256 => Self::Sha256(sha2::Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(h) => {
                h.update(bytes);
            }
            Self::Md5(h) => h.update(bytes),
            Self::Sha256(h) => h.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Blake3(h) => h.finalize().as_bytes().to_vec(),
            Self::Md5(h) => h.finalize().to_vec(),
            Self::Sha256(h) => h.finalize().to_vec(),
        }
    }
}

/// The digest of a file written in parts: the hash of the parts' raw hashes, `-`, their number. S3's form of an ETag.
pub(super) fn over_parts(kind: DigestKind, parts: &[Vec<u8>]) -> Digest {
    let mut all = Hasher::new(kind);
    for part in parts {
        all.update(part);
    }
    Digest { kind, hex: format!("{}-{}", hex::encode(all.finish()), parts.len()) }
}

/// A running digest of a whole body; with a part size, the digest over parts.
pub(super) struct Running {
    kind: DigestKind,
    part_size: Option<u64>,
    hasher: Hasher,
    in_part: u64,
    parts: Vec<Vec<u8>>,
    pub(super) bytes: u64,
}

impl Running {
    pub(super) fn new(kind: DigestKind, part_size: Option<u64>) -> Self {
        Self { kind, part_size, hasher: Hasher::new(kind), in_part: 0, parts: Vec::new(), bytes: 0 }
    }

    pub(super) fn update(&mut self, mut piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let Some(size) = self.part_size else { return self.hasher.update(piece) };
        while !piece.is_empty() {
            let take = (size - self.in_part).min(piece.len() as u64) as usize;
            self.hasher.update(&piece[..take]);
            self.in_part += take as u64;
            piece = &piece[take..];
            if self.in_part == size {
                self.close_part();
            }
        }
    }

    fn close_part(&mut self) {
        let full = std::mem::replace(&mut self.hasher, Hasher::new(self.kind));
        self.parts.push(full.finish());
        self.in_part = 0;
    }

    pub(super) fn finish(mut self) -> Digest {
        if self.part_size.is_none() {
            return Digest { kind: self.kind, hex: hex::encode(self.hasher.finish()) };
        }
        if self.in_part > 0 {
            self.close_part();
        }
        over_parts(self.kind, &self.parts)
    }
}

/// Reads a body to its end.
pub(super) async fn of_body(mut body: Body, kind: DigestKind, part_size: Option<u64>) -> Result<(Digest, u64)> {
    let mut running = Running::new(kind, part_size);
    while let Some(piece) = body.next().await {
        let piece: Bytes = piece?;
        running.update(&piece);
    }
    let bytes = running.bytes;
    Ok((running.finish(), bytes))
}

/// `md5:0cc1…`, as the log prints it.
pub(super) fn printed(digest: &Digest) -> String {
    let kind = match digest.kind {
        DigestKind::Blake3 => "blake3",
        DigestKind::Md5 => "md5",
        DigestKind::Sha256 => "sha256",
    };
    format!("{kind}:{}", digest.hex)
}

/// Raw bytes of a hash from the ledger.
pub(super) fn raw(hex_text: &str) -> Result<Vec<u8>> {
    hex::decode(hex_text).map_err(|e| ConnectorError::new(ErrorKind::Internal, "read a part's hash from", "the ledger", e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_hashed_as_s3_does() {
        let data: Vec<u8> = (0..25_000u32).map(|n| n as u8).collect();
        let mut running = Running::new(DigestKind::Md5, Some(10_000));
        data.chunks(777).for_each(|piece| running.update(piece));
        let parts: Vec<Vec<u8>> = data.chunks(10_000).map(|part| md5::Md5::digest(part).to_vec()).collect();
        let expected = format!("{}-3", hex::encode(md5::Md5::digest(parts.concat())));
        assert_eq!(running.finish().hex, expected);
        assert_eq!(over_parts(DigestKind::Md5, &parts).hex, expected);
    }

    #[test]
    fn every_kind_differs_after_one_changed_byte() {
        for kind in [DigestKind::Blake3, DigestKind::Md5, DigestKind::Sha256] {
            let of = |data: &[u8]| {
                let mut running = Running::new(kind, None);
                running.update(data);
                running.finish()
            };
            assert_ne!(of(b"same size"), of(b"sane size"));
        }
    }
}
