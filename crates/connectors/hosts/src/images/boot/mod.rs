//! What makes a machine with a BIOS start from the image: the table of file systems in the workload's own words, a menu, and GRUB before the partition.
//!
//! GRUB is put together here with all that it needs, and written by us into the first megabyte of the disk's file: no program is ever let near this
//! machine's own disks. Its menu is a file of ours in the image; the workload's own boot configuration stays as it was, for the day when somebody runs
//! `grub-install` in the machine.

mod fstab;
mod kernels;
mod menu;
mod original;
mod tree;

use super::check::GRUB;
use super::mount::{Mounted, inside};
use super::place::Place;
use crate::program::run;
use cap_std::fs::{Dir, Permissions};
use kernels::Kernel;
use original::Original;
use ports::Result;
use ports::images::Boot;
use std::fs::{self, File};
use std::io::{Error, ErrorKind as Io, Result as IoResult};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use tree::Access;

/// Our directory in the image.
const OURS: &str = "boot/migration-assistant";
/// What GRUB is put together from, so that it needs nothing from the image but the menu.
const MODULES: [&str; 15] = [
    "biosdisk",
    "part_msdos",
    "ext2",
    "search_fs_uuid",
    "normal",
    "configfile",
    "linux",
    "serial",
    "terminal",
    "echo",
    "test",
    "gzio",
    "minicmd",
    "reboot",
    "halt",
];
const NO_KERNEL: &str = "there is no kernel for x86 in its /boot: install one in the workload, or select the mount point that has it (/boot), and start again; or \
                         give the machine a kernel of its own (POST /vms: kernel, initrd)";
/// What the kernel and every init expect to be there, though it may not have been moved: at the source other file systems hang there.
const SKELETON: [&str; 5] = ["dev", "proc", "sys", "run", "tmp"];
/// Code in the first sector; what follows it are the signature and the table of partitions.
const CODE: usize = 440;

/// What the disk and its file system are known by.
pub(super) struct Names {
    /// Of the table of partitions.
    pub signature: u32,
    pub uuid: String,
    /// The run's id.
    pub run: String,
}

/// Everything inside the image: adapts the table of file systems and writes the menu. Gives what happened, and the UUID under which GRUB is to find the
/// file system when there is something to start.
pub(super) fn prepare(mounted: &Mounted, place: &Place, names: &Names, moved: &[String]) -> Result<(Boot, Option<String>)> {
    if !moved.iter().any(|m| m == "/") {
        let reason = "no mount point was moved to its root directory: select /, or give one the target_directory \"/\"";
        return Ok((Boot { reason: reason.to_owned(), ..Boot::default() }, None));
    }
    let root = mounted.directory("/").map_err(|e| inside(&place.image, "open", "/", e))?;
    let root = Dir::from_std_file(File::from(root));
    prepared(&root, place, names, moved).map_err(|e| place.failed("make bootable", &e))
}

fn prepared(root: &Dir, place: &Place, names: &Names, moved: &[String]) -> IoResult<(Boot, Option<String>)> {
    lay_skeleton(root)?;
    let table = adapt(root, place, names, moved)?;
    let kernels = kernels::of(root)?;
    let mut boot = Boot { uuid: Some(table.uuid.clone()), label: table.label, notes: table.notes, ..Boot::default() };
    let Some(newest) = kernels.first() else {
        NO_KERNEL.clone_into(&mut boot.reason);
        return Ok((boot, None));
    };
    let arguments = menu::arguments(root, newest, table.has_root, &mut boot.notes);
    let menu = menu::text(&kernels, &table.uuid, names.signature, &arguments);
    tree::write(root, &format!("{OURS}/grub.cfg"), menu.as_bytes(), Access::OPEN, &names.run)?;
    (boot.bootable, boot.kernel) = (true, Some(format!("/boot/{}", newest.file)));
    boot.notes.push(after(newest));
    Ok((boot, Some(table.uuid)))
}

fn after(newest: &Kernel) -> String {
    let mut text = format!(
        "It starts /boot/{} from the menu in /{OURS}/grub.cfg. When the machine gets other kernels, run grub-install and update-grub in it",
        newest.file
    );
    if newest.initrd.is_none() {
        text.push_str("; the kernel has no initial ramdisk, so drivers for virtio disks and ext4 must be built into it");
    }
    text
}

fn lay_skeleton(root: &Dir) -> IoResult<()> {
    for name in SKELETON {
        match root.create_dir(name) {
            Ok(()) if name == "tmp" => root.set_permissions(name, Permissions::from_std(fs::Permissions::from_mode(0o1777)))?,
            Ok(()) => {}
            Err(e) if e.kind() == Io::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Adapts the table, always from the original, so that this can be done again.
fn adapt(root: &Dir, place: &Place, names: &Names, moved: &[String]) -> IoResult<fstab::Adapted> {
    let mut notes = Vec::new();
    let original = Original::take(root, place, &mut notes)?;
    let text = original.as_ref().map(Original::text).unwrap_or_default();
    let mut adapted = fstab::adapt(&text, &names.uuid, moved);
    if let Some(original) = original.filter(|_| adapted.text != text) {
        original.replace(root, &adapted.text, &names.run, &mut notes)?;
    }
    adapted.notes.extend(notes);
    Ok(adapted)
}

/// Puts GRUB together and writes it before the partition.
pub(super) async fn install(place: &Place, uuid: &str) -> Result<()> {
    let failed = |e: Error| place.failed("write the boot loader of", &e);
    let (early, core) = (place.file("early.cfg"), place.file("core.img"));
    fs::write(&early, format!("search.fs_uuid {uuid} root\nset prefix=($root)/{OURS}\n")).map_err(failed)?;
    let (early, out, prefix) = (early.display().to_string(), core.display().to_string(), format!("/{OURS}"));
    let words = ["-O", "i386-pc", "-d", GRUB, "-p", &prefix, "-c", &early, "-o", &out].into_iter().chain(MODULES);
    run("grub-mkimage", words).await?;
    write_loader(&place.raw(), &core).map_err(failed)
}

/// The first sector loads what begins at the second one; GRUB's files say so by themselves.
fn write_loader(raw: &Path, core: &Path) -> IoResult<()> {
    let (first, rest) = (fs::read(Path::new(GRUB).join("boot.img"))?, fs::read(core)?);
    let expected = first.get(0x5c..0x64) == Some(&1_u64.to_le_bytes()[..]);
    if !expected || rest.len() as u64 + 512 > super::disk::PARTITION {
        return Err(Error::new(Io::InvalidData, "this GRUB cannot be written before a partition"));
    }
    let disk = File::options().write(true).open(raw)?;
    disk.write_all_at(&first[..CODE], 0)?;
    disk.write_all_at(&rest, 512)?;
    disk.sync_all()
}

#[cfg(test)]
mod tests {
    use super::original::{FSTAB, KEPT};
    use super::*;
    use cap_std::ambient_authority;
    use domain::vms::ImageFormat;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    const TABLE: &str = "/dev/sda1 / xfs defaults 0 1\nUUID=AA-BB /boot/efi vfat umask=0077 0 1\n";

    fn names() -> Names {
        Names { signature: 7, uuid: "0198e2b4-c5d6-7f80-a1b2-c3d4e5f60718".to_owned(), run: "run".to_owned() }
    }

    /// The working directory of a run, and a workload's tree in it.
    fn place(dir: &tempfile::TempDir, kernels: bool) -> (Place, Dir) {
        let place = Place { image: dir.path().join("a.raw"), work: dir.path().to_owned(), format: ImageFormat::Raw };
        fs::create_dir(place.file("tree")).unwrap();
        let root = Dir::open_ambient_dir(place.file("tree"), ambient_authority()).unwrap();
        root.create_dir_all("etc").unwrap();
        root.create_dir_all("boot").unwrap();
        root.write(FSTAB, TABLE).unwrap();
        if kernels {
            let mut kernel = vec![0; 1024];
            kernel[0x202..0x206].copy_from_slice(b"HdrS");
            root.write("boot/vmlinuz-6.1.0-9", &kernel).unwrap();
            root.write("boot/vmlinuz-6.1.0-10", &kernel).unwrap();
            root.write("boot/initrd.img-6.1.0-10", b"x").unwrap();
        }
        (place, root)
    }

    fn everything() -> [String; 1] {
        ["/".to_owned()]
    }

    #[test]
    fn twice_is_once_and_the_original_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (place, root) = place(&dir, true);
        let (boot, uuid) = prepared(&root, &place, &names(), &everything()).unwrap();
        assert_eq!((boot.bootable, boot.kernel.as_deref()), (true, Some("/boot/vmlinuz-6.1.0-10")), "{boot:?}");
        let uuid = uuid.unwrap();
        let first = root.read_to_string(FSTAB).unwrap();
        assert!(first.contains(&format!("UUID={uuid} / ext4 defaults")), "{first}");
        assert_eq!(prepared(&root, &place, &names(), &everything()).unwrap().0, boot);
        assert_eq!((root.read_to_string(FSTAB).unwrap(), root.read_to_string(KEPT).unwrap()), (first, TABLE.to_owned()));
        assert!(root.exists(format!("{OURS}/grub.cfg")));
        assert_eq!(root.read_dir("etc").unwrap().count(), 2);
        assert_eq!(fs::metadata(place.file("tree/tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert!(root.is_dir("proc") && root.is_dir("dev"));
    }

    #[test]
    fn what_an_earlier_migration_left_is_not_the_original() {
        let dir = tempfile::tempdir().unwrap();
        let (place, root) = place(&dir, true);
        root.write(KEPT, "UUID=0a1b2c3d-1111-2222-3333-444455556666 / ext4 defaults 0 1\n").unwrap();
        root.write("etc/fstab.new", "the workload's own").unwrap();
        // Killed with the copy made and the tree's table changed, and once more.
        for _ in 0..2 {
            let (boot, _) = prepared(&root, &place, &names(), &everything()).unwrap();
            assert_eq!(boot.uuid, Some(names().uuid), "{boot:?}");
            assert_eq!(root.read_to_string(KEPT).unwrap(), TABLE);
            assert!(root.read_to_string(FSTAB).unwrap().starts_with("UUID=0198e2b4"));
            root.remove_file(KEPT).unwrap();
        }
        assert_eq!(root.read_to_string("etc/fstab.new").unwrap(), "the workload's own");
    }

    #[test]
    fn a_table_that_was_a_link_becomes_a_file_and_every_try_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (place, root) = place(&dir, true);
        let table = [b"# caf\xe9\n".as_slice(), TABLE.as_bytes()].concat();
        root.remove_file(FSTAB).unwrap();
        root.write("etc/table", &table).unwrap();
        fs::set_permissions(place.file("tree/etc/table"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("/etc/table", place.file("tree/etc/fstab")).unwrap();
        for _ in 0..2 {
            let (boot, _) = prepared(&root, &place, &names(), &everything()).unwrap();
            assert!(boot.notes.iter().any(|n| n.contains("/etc/fstab was a link to /etc/table")), "{boot:?}");
        }
        assert_eq!((root.read("etc/table").unwrap(), root.read(KEPT).unwrap()), (table.clone(), table));
        assert_eq!(fs::symlink_metadata(place.file("tree/etc/fstab")).unwrap().permissions().mode(), 0o100_640);
    }

    #[test]
    fn what_is_no_file_or_no_text_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let (place, root) = place(&dir, true);
        root.create_dir_all("boot/grub").unwrap();
        root.create_dir_all("etc/default").unwrap();
        for fifo in ["boot/vmlinuz-9.9", "boot/grub/grub.cfg", "etc/default/grub", "etc/fstab.new"] {
            mknodat(CWD, place.file("tree").join(fifo), FileType::Fifo, Mode::RWXU, 0).unwrap();
        }
        root.create("boot/grub/menu.lst").unwrap().set_len(1 << 40).unwrap();
        root.create(FSTAB).unwrap().set_len(1 << 40).unwrap();
        let (boot, _) = prepared(&root, &place, &names(), &everything()).unwrap();
        assert_eq!((boot.bootable, boot.kernel.as_deref()), (true, Some("/boot/vmlinuz-6.1.0-10")), "{boot:?}");
        assert!(boot.notes[0].starts_with("/etc/fstab is larger") && boot.notes[1].starts_with("/boot/grub/menu.lst is larger"), "{boot:?}");
        assert_eq!((root.metadata(FSTAB).unwrap().len(), root.exists(KEPT)), (1 << 40, false));
    }

    #[test]
    fn without_a_kernel_it_says_so_and_the_table_is_right_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (place, root) = place(&dir, false);
        let (boot, uuid) = prepared(&root, &place, &names(), &everything()).unwrap();
        assert!(!boot.bootable && boot.reason.contains("no kernel") && uuid.is_none(), "{boot:?}");
        assert_eq!(boot.notes.len(), 2, "{boot:?}");
    }
}
