//! Trees of files: making them, and hashing their whole state.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// `files` small files in directories of 100, sizes from 0 to 8 KiB, content from the path.
pub fn make(root: &Path, files: usize) {
    for n in 0..files {
        let dir = root.join(format!("d{:03}", n / 100));
        std::fs::create_dir_all(&dir).expect("a directory");
        let seed = blake3::hash(format!("{n}").as_bytes());
        let size = n * 37 % 8192;
        let body: Vec<u8> = seed.as_bytes().iter().copied().cycle().take(size).collect();
        std::fs::write(dir.join(format!("f{n:05}.bin")), body).expect("a file");
    }
}

/// A file of `size` bytes that compresses badly.
pub fn make_large(path: &Path, size: u64) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    let mut reader = blake3::Hasher::new().update(path.as_os_str().as_encoded_bytes()).finalize_xof();
    std::io::copy(&mut std::io::Read::take(&mut reader, size), &mut out).expect("write");
}

/// A file of `size` bytes in which no two megabytes are alike, quickly; gives the hash of it.
pub fn make_huge(path: &Path, size: u64) -> String {
    let mut block = vec![0; 1 << 20];
    blake3::Hasher::new().update(path.as_os_str().as_encoded_bytes()).finalize_xof().fill(&mut block);
    let (mut file, mut hasher) = (std::fs::File::create(path).expect("a file"), blake3::Hasher::new());
    for n in 0..size >> 20 {
        block[..8].copy_from_slice(&n.to_le_bytes());
        std::io::Write::write_all(&mut file, &block).expect("write");
        hasher.update(&block);
    }
    hasher.finalize().to_hex().to_string()
}

/// Writes into a new file until its file system is full.
pub fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    while std::io::Write::write_all(&mut file, &[0; 1 << 14]).is_ok() {}
}

/// One hash over names, kinds, modes, link targets and contents of everything below `root`. An absent root has its own hash.
pub fn state(root: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    if root.exists() {
        walk(root, root, &mut hasher);
    } else {
        hasher.update(b"absent");
    }
    hasher.finalize().to_hex().to_string()
}

fn walk(root: &Path, dir: &Path, hasher: &mut blake3::Hasher) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).expect("read the directory").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let meta = std::fs::symlink_metadata(&path).expect("look at the entry");
        hasher.update(path.strip_prefix(root).expect("below the root").as_os_str().as_encoded_bytes());
        hasher.update(&[0]);
        if meta.is_symlink() {
            hasher.update(std::fs::read_link(&path).expect("the target").as_os_str().as_encoded_bytes());
        } else {
            hasher.update(&meta.permissions().mode().to_le_bytes());
        }
        if meta.is_dir() {
            walk(root, &path, hasher);
        } else if meta.is_file() {
            hasher.update_reader(std::fs::File::open(&path).expect("open")).expect("read");
        }
        hasher.update(&[1]);
    }
}
