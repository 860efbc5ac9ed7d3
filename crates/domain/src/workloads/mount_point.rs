//! A mount point: where a file system hangs in the tree of a server, in the words of Unix (`/data`) or of Windows (`C:\`).

use crate::decode::{Fields, Problems};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Write;

/// How an SSH server on Windows names a drive, unless the workload says otherwise: Microsoft's OpenSSH serves `C:\` as `/C:/`.
pub const DRIVE_ROOT: &str = "/{drive}:/";

/// One mount point. Names are kept as they were given; [`MountPoint::key`] tells whether two of them are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    pub mount_point_name: String,
    /// Bytes.
    pub total_size: u64,
}

impl MountPoint {
    /// Reads `{mount_point_name, total_size}`.
    pub fn read(f: &mut Fields<'_>, p: &mut Problems) -> Self {
        let mount_point_name = f.required_text("mount_point_name", p);
        if !mount_point_name.is_empty()
            && let Err(why) = parse(&mount_point_name)
        {
            p.note(f.path("mount_point_name"), why);
        }
        if !f.has("total_size") {
            p.note(f.path("total_size"), "is required: the size of the file system in bytes");
        }
        let total_size = f.integer("total_size", 0..=u64::MAX, p).unwrap_or_default();
        Self { mount_point_name, total_size }
    }

    /// A list of them, each once.
    pub fn read_list(values: &[Value], path: &str, p: &mut Problems) -> Vec<Self> {
        read_each(values, path, p, Self::read, |m| m)
    }

    /// The same for every spelling of one mount point: `C:`, `c:/` and `C:\` are one, and so are `/data` and `/data/`.
    pub fn key(&self) -> String {
        key(&self.mount_point_name)
    }

    /// Whether Windows starts from it.
    pub fn is_system_drive(&self) -> bool {
        self.key() == "C:\\"
    }
}

/// Reads a list of what is known by a mount point, each mount point once.
pub(super) fn read_each<T>(
    values: &[Value],
    path: &str,
    p: &mut Problems,
    read: fn(&mut Fields<'_>, &mut Problems) -> T,
    mount_point: fn(&T) -> &MountPoint,
) -> Vec<T> {
    let mut out: Vec<T> = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        let at = format!("{path}[{i}]");
        let Some(mut f) = Fields::of(at.clone(), value, p) else { continue };
        let one = read(&mut f, p);
        f.done(p);
        let new = mount_point(&one);
        if out.iter().any(|known| mount_point(known).key() == new.key()) {
            p.note(format!("{at}.mount_point_name"), format!("'{}' is there twice", new.mount_point_name));
        }
        out.push(one);
    }
    out
}

/// What is wrong with an absolute path in the words of Unix or of Windows.
pub(super) fn check_path(name: &str) -> Result<(), String> {
    parse(name).map(drop)
}

/// Whether one of two directories of a server is the other one or lies in it. Drives do not tell small letters from large ones.
pub fn overlap(one: &str, other: &str, drive_root: &str) -> bool {
    let folds = is_drive(one) || is_drive(other);
    let segments = |name: &str| {
        let path = directory(name, drive_root).unwrap_or_else(|_| name.to_owned());
        let path = if folds { path.to_lowercase() } else { path };
        path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let (one, other) = (segments(one), segments(other));
    one.iter().zip(&other).all(|(a, b)| a == b)
}

/// See [`MountPoint::key`].
pub fn key(name: &str) -> String {
    match parse(name) {
        Ok(Place::Posix(path)) => path,
        Ok(Place::Drive { letter, below }) => format!("{letter}:\\{}", below.join("\\")),
        Err(_) => name.to_owned(),
    }
}

/// Whether it is a name in the words of Windows.
pub fn is_drive(name: &str) -> bool {
    matches!(parse(name), Ok(Place::Drive { .. }))
}

/// The directory that an SSH server shows it as. `drive_root` has `{drive}` where the letter goes ([`DRIVE_ROOT`]; `/cygdrive/{drive}/`
/// and `/mnt/{drive}/` elsewhere: a template whose other letters are small gets a small one).
pub fn directory(name: &str, drive_root: &str) -> Result<String, String> {
    match parse(name)? {
        Place::Posix(path) => Ok(path),
        Place::Drive { letter, below } => {
            let small = drive_root.replace("{drive}", "").chars().any(|c| c.is_ascii_lowercase());
            let letter = if small { letter.to_ascii_lowercase() } else { letter };
            let mut out = drive_root.replace("{drive}", &letter.to_string());
            if !below.is_empty() {
                let join = if out.ends_with('/') { "" } else { "/" };
                let _infallible = write!(out, "{join}{}", below.join("/"));
            }
            Ok(out)
        }
    }
}

/// The directories above one, nearest first, without the root or the drive itself.
pub fn parents(name: &str) -> Vec<String> {
    let (root, separator, segments) = match parse(name) {
        Ok(Place::Posix(path)) => ("/".to_owned(), "/", path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>()),
        Ok(Place::Drive { letter, below }) => (format!("{letter}:\\"), "\\", below.into_iter().map(str::to_owned).collect()),
        Err(_) => return Vec::new(),
    };
    (1..segments.len()).rev().map(|depth| format!("{root}{}", segments[..depth].join(separator))).collect()
}

/// The directories for what is known by `names` in another one, in their order: `/srv/shop` in `/srv/try` is `/srv/try/srv-shop`, and `C:\Shop` in
/// `E:\try` is `E:\try\C-Shop`. The root of a tree is called `root`. Flat, so that no mount point lies in another one; a name that is taken gets a number.
pub fn below<'a>(directory: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let plain = one_below(directory, name);
        let taken = |path: &str| all.iter().any(|known| overlap(known, path, DRIVE_ROOT));
        let numbered = (2_u32..).map(|number| format!("{plain}-{number}"));
        all.extend(std::iter::once(plain.clone()).chain(numbered).find(|path| !taken(path)));
    }
    all
}

fn one_below(directory: &str, name: &str) -> String {
    let flat = key(name).split(['/', '\\']).map(|s| s.trim_end_matches(':')).filter(|s| !s.is_empty()).collect::<Vec<_>>().join("-");
    let separator = if is_drive(directory) { "\\" } else { "/" };
    format!("{}{separator}{}", directory.trim_end_matches(['/', '\\']), if flat.is_empty() { "root" } else { &flat })
}

/// A template for drives is an absolute path with `{drive}` in it once.
pub fn check_drive_root(template: &str) -> Result<(), String> {
    let plain = template.starts_with('/') && template.matches("{drive}").count() == 1 && !template.split('/').any(|s| s == "..");
    if plain { Ok(()) } else { Err(format!("'{template}' must be an absolute path with {{drive}} in it once, such as {DRIVE_ROOT}")) }
}

enum Place<'a> {
    Posix(String),
    Drive { letter: char, below: Vec<&'a str> },
}

fn parse(name: &str) -> Result<Place<'_>, String> {
    let shown = || name.escape_default();
    if name.chars().any(char::is_control) {
        return Err(format!("'{}' has control characters", shown()));
    }
    let mut letters = name.chars();
    let (first, second) = (letters.next(), letters.next());
    let place = match (first, second) {
        (Some(letter), Some(':')) if letter.is_ascii_alphabetic() => {
            let rest = letters.as_str();
            if !rest.is_empty() && !rest.starts_with(['\\', '/']) {
                return Err(format!("'{}' is not an absolute path on a drive", shown()));
            }
            Place::Drive { letter: letter.to_ascii_uppercase(), below: rest.split(['\\', '/']).filter(|s| !s.is_empty()).collect() }
        }
        (Some('/'), _) => Place::Posix(format!("/{}", name.split('/').filter(|s| !s.is_empty()).collect::<Vec<_>>().join("/"))),
        _ => return Err(format!("'{}' is neither an absolute path (/data) nor a drive of Windows (C:\\)", shown())),
    };
    if name.split(['/', '\\']).any(|s| s == ".." || s == ".") {
        return Err(format!("'{}' must not contain '.' or '..'", shown()));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_mount_point_have_one_key() {
        for name in ["C:", "c:", "c:/", "C:\\", "c:\\\\"] {
            assert_eq!(key(name), "C:\\", "{name}");
        }
        assert_eq!((key("/data/"), key("//data"), key("/")), ("/data".to_owned(), "/data".to_owned(), "/".to_owned()));
        assert_eq!(key("d:/Shop/Files"), "D:\\Shop\\Files");
    }

    #[test]
    fn a_drive_is_a_directory_to_ssh() {
        for (name, template, expected) in [
            ("C:\\", DRIVE_ROOT, "/C:/"),
            ("c:", DRIVE_ROOT, "/C:/"),
            ("D:\\Shop\\Files", DRIVE_ROOT, "/D:/Shop/Files"),
            ("D:/Shop", "/cygdrive/{drive}/", "/cygdrive/d/Shop"),
            ("E:\\x", "/mnt/{drive}", "/mnt/e/x"),
            ("/data/", DRIVE_ROOT, "/data"),
        ] {
            assert_eq!(directory(name, template).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn one_directory_in_another() {
        let both = |a: &str, b: &str| (overlap(a, b, DRIVE_ROOT), overlap(b, a, DRIVE_ROOT));
        for (a, b) in [("/data", "/data/"), ("/data", "/data/x/y"), ("/", "/srv"), ("C:\\Data", "c:/data/x"), ("C:\\", "/C:/x")] {
            assert_eq!(both(a, b), (true, true), "{a} {b}");
        }
        for (a, b) in [("/data", "/database"), ("/srv/a", "/srv/b"), ("/Data", "/data"), ("C:\\a", "D:\\a")] {
            assert_eq!(both(a, b), (false, false), "{a} {b}");
        }
    }

    #[test]
    fn above_and_below() {
        assert_eq!(parents("/srv/try/data/"), ["/srv/try", "/srv"]);
        assert_eq!(parents("d:/a/b"), ["D:\\a"]);
        assert!(parents("/").is_empty() && parents("/data").is_empty() && parents("C:\\").is_empty());
        for (directory, name, expected) in [
            ("/srv/try/", "/data", "/srv/try/data"),
            ("/srv/try", "/srv/shop", "/srv/try/srv-shop"),
            ("/srv/try", "/", "/srv/try/root"),
            ("/", "/data", "/data"),
            ("E:\\try\\", "c:/Shop/Files", "E:\\try\\C-Shop-Files"),
            ("e:", "D:\\", "e:\\D"),
            ("/mnt/try", "C:\\x", "/mnt/try/C-x"),
        ] {
            assert_eq!(below(directory, [name]), [expected]);
        }
        let colliding = below("/try", ["/", "/root", "/srv/shop", "/srv-shop", "/srv-shop-2", "/SRV/shop"]);
        assert_eq!(colliding, ["/try/root", "/try/root-2", "/try/srv-shop", "/try/srv-shop-2", "/try/srv-shop-2-2", "/try/SRV-shop"]);
        assert_eq!(below("E:\\try", ["/srv/shop", "/SRV/shop"]), ["E:\\try\\srv-shop", "E:\\try\\SRV-shop-2"], "drives do not tell them apart");
    }

    #[test]
    fn what_is_no_mount_point_is_refused() {
        for name in ["", "data", "C", "CC:\\", "C:x", "1:\\", "/a/../b", "C:\\..", "/a\nb", "\\\\server\\share", "./x"] {
            assert!(parse(name).is_err(), "{name}");
        }
        for template in ["", "{drive}", "/x", "/{drive}/{drive}", "/../{drive}"] {
            assert!(check_drive_root(template).is_err(), "{template}");
        }
    }
}
