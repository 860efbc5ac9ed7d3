//! GRUB's menu, and what the kernel is told.

use super::kernels::Kernel;
use super::tree;
use cap_std::fs::Dir;
use std::fmt::Write;

/// Where workloads keep what their boot loader tells the kernel.
const MENUS: [&str; 3] = ["boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/grub/menu.lst"];
const DEFAULTS: &str = "etc/default/grub";
/// What speaks of the disk that the workload had.
const OF_THE_OLD_DISK: [&str; 10] =
    ["root=", "BOOT_IMAGE=", "resume=", "rootfstype=", "rootflags=", "rd.lvm.", "rd.luks.", "rd.md.", "cryptdevice=", "resume_offset="];

/// The workload's own words for its newest kernel, or for every kernel, without those about the old disk; with a serial console if it had no console.
/// `has_root`: whether the table of file systems says how the root is to be mounted in the end. `notes`: for people, about what
/// could not be looked at.
pub(super) fn arguments(root: &Dir, newest: &Kernel, has_root: bool, notes: &mut Vec<String>) -> String {
    let mut read = |file: &str| Some(String::from_utf8_lossy(&tree::read(root, file, notes).ok()??.0).into_owned());
    let own = MENUS.iter().find_map(|file| of_menu(&read(file)?, &newest.file));
    let own = own.or_else(|| Some(of_defaults(&read(DEFAULTS)?)));
    let mut words: Vec<String> = own.unwrap_or_default().split_whitespace().filter(|w| is_kept(w)).map(str::to_owned).collect();
    if !words.iter().any(|w| w == "ro" || w == "rw") {
        words.push(if has_root { "ro" } else { "rw" }.to_owned());
    }
    if !words.iter().any(|w| w.starts_with("console=")) {
        words.extend(["console=tty0".to_owned(), "console=ttyS0,115200".to_owned()]);
    }
    words.join(" ")
}

/// Words with signs that GRUB would read as its own are left out, too.
fn is_kept(word: &str) -> bool {
    !OF_THE_OLD_DISK.iter().any(|old| word.starts_with(old)) && word.bytes().all(|b| b.is_ascii_graphic() && !b"'\"\\$;{}<>&|#".contains(&b))
}

fn of_menu(text: &str, kernel: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let command = words.next()?;
        let file = words.next()?;
        let ours = matches!(command, "linux" | "linux16" | "linuxefi" | "kernel") && file.rsplit('/').next() == Some(kernel);
        ours.then(|| words.collect::<Vec<_>>().join(" "))
    })
}

fn of_defaults(text: &str) -> String {
    let value = |name: &str| {
        let line = text.lines().rev().find_map(|l| l.trim().strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    format!("{} {}", value("GRUB_CMDLINE_LINUX"), value("GRUB_CMDLINE_LINUX_DEFAULT"))
}

/// The menu with every kernel, the newest one first. Without an initial ramdisk a kernel knows partitions, but no file systems by their UUID.
pub(super) fn text(kernels: &[Kernel], uuid: &str, signature: u32, arguments: &str) -> String {
    let mut out = format!(
        "# Made by a migration; the workload's own boot configuration is untouched.\nserial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\nset default=0\nset timeout=3\nsearch.fs_uuid {uuid} root\n"
    );
    for kernel in kernels {
        let root = if kernel.initrd.is_some() { format!("UUID={uuid}") } else { format!("PARTUUID={signature:08x}-01") };
        let _infallible = write!(out, "\nmenuentry '{0}' {{\n  linux /boot/{0} root={root} {arguments}\n", kernel.file);
        if let Some(initrd) = &kernel.initrd {
            let _infallible = writeln!(out, "  initrd /boot/{initrd}");
        }
        out.push_str("}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(initrd: bool) -> Kernel {
        Kernel { file: "vmlinuz-6.1".to_owned(), initrd: initrd.then(|| "initrd.img-6.1".to_owned()) }
    }

    #[test]
    fn the_workloads_own_words_stay() {
        let dir = tempfile::tempdir().unwrap();
        let root = Dir::open_ambient_dir(dir.path(), cap_std::ambient_authority()).unwrap();
        assert_eq!(arguments(&root, &kernel(true), false, &mut Vec::new()), "rw console=tty0 console=ttyS0,115200");
        root.create_dir_all("etc/default").unwrap();
        root.write(DEFAULTS, "# x\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"net.ifnames=0 resume=/dev/sda5\"\n").unwrap();
        assert_eq!(arguments(&root, &kernel(true), true, &mut Vec::new()), "net.ifnames=0 quiet ro console=tty0 console=ttyS0,115200");
        root.create_dir_all("boot/grub").unwrap();
        let menu = "menuentry 'x' {\n\tlinux\t/vmlinuz-6.0 root=/dev/sda1 old\n\tlinux\t/vmlinuz-6.1 root=UUID=1-2 ro  splash $vt_handoff console=ttyS1\n}\n";
        root.write("boot/grub/grub.cfg", menu).unwrap();
        assert_eq!(arguments(&root, &kernel(true), true, &mut Vec::new()), "ro splash console=ttyS1");
    }

    #[test]
    fn a_kernel_without_a_ramdisk_finds_its_root_by_the_partition() {
        let menu = text(&[kernel(true), kernel(false)], "u-u", 0xab, "ro");
        assert!(menu.contains("linux /boot/vmlinuz-6.1 root=UUID=u-u ro\n  initrd /boot/initrd.img-6.1\n}"), "{menu}");
        assert!(menu.contains("linux /boot/vmlinuz-6.1 root=PARTUUID=000000ab-01 ro\n}"), "{menu}");
    }
}
