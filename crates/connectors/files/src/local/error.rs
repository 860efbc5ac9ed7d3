//! From an operating system error to a letter.

use ports::{ConnectorError, ErrorKind};
use std::io;

/// `operation` on `subject` ended in `error`.
pub(super) fn from_io(operation: &str, subject: impl Into<String>, error: io::Error) -> ConnectorError {
    let (kind, reason, advice) = explain(&error);
    ConnectorError::new(kind, operation, subject, reason).advice(advice).because(error)
}

fn explain(error: &io::Error) -> (ErrorKind, String, &'static str) {
    use io::ErrorKind as K;
    let said = |text: &str| text.to_owned();
    match error.kind() {
        K::NotFound => (ErrorKind::NotFound, said("it does not exist"), "Check the path"),
        K::PermissionDenied if escaped(error) => (
            ErrorKind::Permission,
            said("a symbolic link in it leads out of the root directory"),
            "Links out of the root are never followed; copy what it points to, or skip links",
        ),
        K::PermissionDenied => (ErrorKind::Permission, said("this user may not do that"), "Give the user who runs Migration Assistant access to it"),
        K::ReadOnlyFilesystem => (ErrorKind::Permission, said("the file system is mounted read-only"), "Mount it writable, or choose another directory"),
        K::AlreadyExists => (ErrorKind::AlreadyExists, said("something with that name is already there"), ""),
        K::DirectoryNotEmpty => (ErrorKind::AlreadyExists, said("the directory is not empty"), "Move its content away first"),
        K::IsADirectory => (ErrorKind::AlreadyExists, said("a directory is in the way"), "Move the directory away first"),
        K::ResourceBusy => (ErrorKind::AlreadyExists, said("a file system is mounted there, or a program holds it"), "Unmount it first, or leave it out"),
        K::NotADirectory => (ErrorKind::Invalid, said("a part of the path is not a directory"), "Check the path"),
        K::StorageFull => (ErrorKind::NoSpace, said("the disk is full"), "Free some space; the migration then goes on where it stopped"),
        K::QuotaExceeded => (ErrorKind::NoSpace, said("the user's disk quota is used up"), "Raise the quota; the migration then goes on where it stopped"),
        K::FileTooLarge => (ErrorKind::NoSpace, said("the file system cannot hold a file of that size"), "Choose another file system"),
        K::InvalidFilename => (ErrorKind::Name, said("the file system cannot hold that name"), "Rename it at the source, or leave it out"),
        _ => explain_number(error),
    }
}

fn explain_number(error: &io::Error) -> (ErrorKind, String, &'static str) {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => {
            (ErrorKind::Throttled, "too many files are open".to_owned(), "Raise the limit of open files (ulimit -n), or lower the parallelism")
        }
        Some(Errno::LOOP) => (ErrorKind::Invalid, "symbolic links go round in a circle".to_owned(), "Repair the links"),
        Some(Errno::IO) => (ErrorKind::Corrupt, "the disk reported an input/output error".to_owned(), "Check the disk and the system log"),
        Some(Errno::ILSEQ | Errno::INVAL) => (ErrorKind::Name, "the file system cannot hold that name".to_owned(), "Rename it at the source, or leave it out"),
        Some(Errno::STALE) => (ErrorKind::Interrupted, "the network file system lost the file".to_owned(), ""),
        _ => (ErrorKind::Internal, format!("the operating system says: {error}"), ""),
    }
}

/// cap-std's own refusal has no error number.
pub(super) fn escaped(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}
