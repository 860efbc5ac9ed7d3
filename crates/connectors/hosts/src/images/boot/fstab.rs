//! The workload's table of file systems (`/etc/fstab`), adapted to a disk on which everything that moved is one file system.

/// The table and what the file system is to be called.
pub(super) struct Adapted {
    pub text: String,
    /// The workload's own where its table names one, so that everything else that names it stays true.
    pub uuid: String,
    pub label: Option<String>,
    /// Whether it has a line for the root.
    pub has_root: bool,
    /// For people.
    pub notes: Vec<String>,
}

struct Line<'a> {
    device: &'a str,
    directory: &'a str,
    kind: &'a str,
    options: &'a str,
    rest: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// `None`: a comment, or nothing.
    fn read(text: &'a str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let device = words.next().filter(|w| !w.starts_with('#'))?;
        let (directory, kind) = (words.next()?, words.next()?);
        Some(Self { device, directory, kind, options: words.next().unwrap_or("defaults"), rest: words.collect() })
    }

    /// Whether it needs a disk that the image is not.
    fn needs_disk(&self) -> bool {
        let named = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID="].iter().any(|n| self.device.starts_with(n));
        named || self.device.starts_with("/dev/")
    }
}

/// Lines are as they were, but for the root's and those that need other disks: these become comments. `moved`: the directories that were filled.
/// `unless_named`: the UUID that the file system has when the table names none.
pub(super) fn adapt(text: &str, unless_named: &str, moved: &[String]) -> Adapted {
    let lines: Vec<Line<'_>> = text.lines().filter_map(Line::read).collect();
    let root = lines.iter().find(|l| l.directory == "/");
    let known = root.and_then(|l| value(l.device, "UUID=")).filter(|uuid| is_uuid(uuid)).map(str::to_ascii_lowercase);
    let label = root.and_then(|l| value(l.device, "LABEL=")).filter(|l| (1..=16).contains(&l.len()) && !l.contains('\\')).map(str::to_owned);
    let uuid = known.unwrap_or_else(|| unless_named.to_owned());
    let mut notes = Vec::new();
    let out: Vec<String> = text.lines().map(|line| adapted(line, moved, &uuid, label.is_some(), &mut notes)).collect();
    let end = if text.ends_with('\n') { "\n" } else { "" };
    Adapted { text: out.join("\n") + end, uuid, label, has_root: root.is_some(), notes }
}

fn adapted(text: &str, moved: &[String], uuid: &str, labelled: bool, notes: &mut Vec<String>) -> String {
    let Some(line) = Line::read(text) else { return text.to_owned() };
    if line.directory == "/" {
        let out = root(&line, uuid, labelled);
        if out.is_some() {
            notes.push(format!("/etc/fstab: the root's line was '{}'", text.trim()));
        }
        return out.unwrap_or_else(|| text.to_owned());
    }
    let network = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs"].contains(&line.kind);
    if network {
        notes.push(format!("/etc/fstab: {} comes over the network from {}; without it the machine may wait when it starts", line.directory, line.device));
    }
    if network || !line.needs_disk() {
        return text.to_owned();
    }
    let here = moved.iter().any(|m| m.trim_end_matches('/') == line.directory.trim_end_matches('/'));
    let why = match (here, line.kind) {
        (true, _) => "is in the root's file system now",
        (false, "swap") => "was swap on a disk of its own",
        (false, _) => "was not moved",
    };
    notes.push(format!("/etc/fstab: {} {why}; its line is a comment now", if line.kind == "swap" { line.device } else { line.directory }));
    format!("# {why}: {text}")
}

/// The root's line for the image; `None` when it is right as it is.
fn root(line: &Line<'_>, uuid: &str, labelled: bool) -> Option<String> {
    let known = value(line.device, "UUID=").is_some_and(|u| u.eq_ignore_ascii_case(uuid)) || labelled;
    if known && line.kind == "ext4" {
        return None;
    }
    let device = if known { line.device.to_owned() } else { format!("UUID={uuid}") };
    let options = if line.kind.starts_with("ext") { line.options } else { "defaults" };
    Some([&[device.as_str(), "/", "ext4", options], line.rest.as_slice()].concat().join(" "))
}

fn value<'a>(device: &'a str, name: &str) -> Option<&'a str> {
    device.strip_prefix(name).map(|v| v.trim_matches('"'))
}

/// One that a file system of Linux can have; those of DOS are shorter.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: &str = "11111111-2222-3333-4444-555555555555";
    const UUID: &str = "0A1B2C3D-1111-2222-3333-444455556666";

    #[test]
    fn a_table_that_is_right_stays_as_it_is() {
        let text = format!("# a comment\n\nUUID={UUID} / ext4 errors=remount-ro 0 1\nproc /proc proc defaults 0 0\n/swapfile none swap sw 0 0\n");
        let adapted = adapt(&text, OTHER, &["/".to_owned()]);
        assert_eq!((adapted.text, adapted.uuid, adapted.notes.len()), (text, UUID.to_lowercase(), 0));
        let labelled = adapt("LABEL=system / ext4 defaults 0 1", OTHER, &[]);
        assert_eq!((labelled.label.as_deref(), labelled.notes.len(), labelled.text.as_str()), (Some("system"), 0, "LABEL=system / ext4 defaults 0 1"));
        let none = adapt("", OTHER, &[]);
        assert!(!none.has_root && none.uuid == OTHER && none.text.is_empty());
    }

    #[test]
    fn what_was_on_other_disks_is_a_comment() {
        let text = format!(
            "UUID={UUID} / xfs noatime,logbsize=256k 0 0\n/dev/mapper/vg-data /data/ ext4 defaults 0 2\nUUID=AB-CD /boot/efi vfat umask=77 0 1\n/dev/sda3 none swap sw 0 0\nnas:/x /mnt nfs defaults 0 0"
        );
        let adapted = adapt(&text, OTHER, &["/".to_owned(), "/data".to_owned()]);
        let lines: Vec<&str> = adapted.text.lines().collect();
        assert_eq!(lines[0], format!("UUID={UUID} / ext4 defaults 0 0"));
        assert_eq!(lines[1], "# is in the root's file system now: /dev/mapper/vg-data /data/ ext4 defaults 0 2");
        assert!(lines[2].starts_with("# was not moved: ") && lines[3].starts_with("# was swap") && lines[4].starts_with("nas:"), "{lines:#?}");
        assert_eq!((adapted.notes.len(), adapted.uuid), (5, UUID.to_lowercase()));
    }
}
