//! The kernels in the image's `/boot`, newest first, each with its initial ramdisk.

use super::tree;
use cap_std::fs::Dir;
use std::cmp::Ordering;
use std::io::{ErrorKind as Io, Read, Result};

/// How names of kernels begin.
const NAMES: [&str; 3] = ["vmlinuz", "bzImage", "kernel"];

/// A kernel that a BIOS can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Name in `/boot`.
    pub file: String,
    pub initrd: Option<String>,
}

/// All of them. What is damaged, or for other processors, is passed over.
pub(super) fn of(root: &Dir) -> Result<Vec<Kernel>> {
    let boot = match root.open_dir("boot") {
        Ok(boot) => boot,
        Err(e) if matches!(e.kind(), Io::NotFound | Io::NotADirectory | Io::PermissionDenied) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names: Vec<String> = boot.entries()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| name.bytes().all(|b| b.is_ascii_graphic() && !b"'\"\\$;{}<>&|".contains(&b)));
    let mut kernels: Vec<(Vec<String>, Kernel)> = names
        .iter()
        .filter_map(|file| Some((NAMES.iter().find_map(|n| file.strip_prefix(n))?, file)))
        .filter(|(version, file)| !version.contains("rescue") && is_kernel(root, file))
        .map(|(version, file)| (parts(version), Kernel { file: file.clone(), initrd: initrd(&names, version) }))
        .collect();
    kernels.sort_by(|(a, _), (b, _)| newer(a, b));
    Ok(kernels.into_iter().map(|(_, kernel)| kernel).collect())
}

/// The mark in the header that Linux for x86 has.
fn is_kernel(root: &Dir, file: &str) -> bool {
    let mut header = [0; 0x206];
    let opened = tree::open(root, &format!("boot/{file}")).ok().flatten();
    opened.is_some_and(|mut f| f.read_exact(&mut header).is_ok()) && header[0x202..] == *b"HdrS"
}

fn initrd(names: &[String], version: &str) -> Option<String> {
    let known = [
        format!("initrd.img{version}"),
        format!("initramfs{version}.img"),
        format!("initrd{version}"),
        format!("initrd{version}.img"),
        format!("initramfs{version}"),
        format!("initrd{version}.gz"),
    ];
    known.into_iter().find(|name| names.contains(name))
}

/// `-6.1.0-10-amd64` as `6`, `1`, `0`, `10`, `amd`, `64`.
fn parts(version: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut digits = None;
    for c in version.chars() {
        if !c.is_ascii_alphanumeric() {
            digits = None;
        } else if digits == Some(c.is_ascii_digit()) {
            out.last_mut().expect("a part was begun").push(c);
        } else {
            digits = Some(c.is_ascii_digit());
            out.push(c.to_string());
        }
    }
    out
}

fn newer(a: &[String], b: &[String]) -> Ordering {
    let number = |part: &String| part.parse::<u64>().ok();
    let one = |x: &String, y: &String| match (number(x), number(y)) {
        (Some(x), Some(y)) => y.cmp(&x),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => y.cmp(x),
    };
    a.iter().zip(b).map(|(x, y)| one(x, y)).find(|o| o.is_ne()).unwrap_or_else(|| b.len().cmp(&a.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_first_and_has_its_ramdisk() {
        let dir = tempfile::tempdir().unwrap();
        let root = Dir::open_ambient_dir(dir.path(), cap_std::ambient_authority()).unwrap();
        assert_eq!(of(&root).unwrap(), []);
        root.create_dir("boot").unwrap();
        let mut kernel = vec![0; 0x206];
        kernel[0x202..].copy_from_slice(b"HdrS");
        for name in ["vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-10-amd64", "vmlinuz-0-rescue-ab", "vmlinuz-5.10.0-20-amd64", "vmlinuz-6.1.0 $(x)"] {
            root.write(format!("boot/{name}"), &kernel).unwrap();
        }
        root.write("boot/vmlinuz-9.0-arm", [7; 2000]).unwrap();
        root.write("boot/initrd.img-6.1.0-9-amd64", "").unwrap();
        root.write("boot/initramfs-6.1.0-10-amd64.img", "").unwrap();
        let found: Vec<_> = of(&root).unwrap().into_iter().map(|k| (k.file, k.initrd)).collect();
        let row = |file: &str, initrd: Option<&str>| (file.to_owned(), initrd.map(str::to_owned));
        let wanted = [
            row("vmlinuz-6.1.0-10-amd64", Some("initramfs-6.1.0-10-amd64.img")),
            row("vmlinuz-6.1.0-9-amd64", Some("initrd.img-6.1.0-9-amd64")),
            row("vmlinuz-5.10.0-20-amd64", None),
        ];
        assert_eq!(found, wanted);
    }
}
