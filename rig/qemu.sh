#!/bin/bash
# qemu.sh start|stop   QEMU from Debian's packages (backports where the release has them), and a guest for it in $QEMU_GUEST: Debian's cloud kernel with an
# initramfs of busybox. The guest says "guest is up" and then a number every second on ttyS0, knows /dev/vda, and switches off at the power button.
# Beside it lies root.tar: a small server's whole tree, with that kernel, an initramfs that finds its root by the UUID on the command line, and an init that says
# where it runs from and what its /etc/greeting holds.
. "$(dirname "$0")/lib.sh"
QEMU_GUEST=${QEMU_GUEST:-$RIG/guest}
qemu_get() { # plain bookworm's QEMU would remove newer tools; backports' own does not
  command -v qemu-system-x86_64 >/dev/null && command -v qemu-img >/dev/null && return 0
  local suite=; [ "$(. /etc/os-release; echo "$VERSION_CODENAME")" = bookworm ] && suite=bookworm-backports
  if [ -n "$suite" ] && ! grep -rqs "$suite" /etc/apt/sources.list /etc/apt/sources.list.d; then
    # From where this machine gets everything else.
    local mirror; mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Release: bookworm' | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >/etc/apt/sources.list.d/rig-backports.list
    rm -f "$RIG/.apt-updated"
  fi
  [ -e "$RIG/.apt-updated" ] || { apt-get -o DPkg::Lock::Timeout=600 -qq update; touch "$RIG/.apt-updated"; }
  apt-get -o DPkg::Lock::Timeout=600 -y -qq --no-install-recommends --no-remove ${suite:+-t "$suite"} install qemu-system-x86 qemu-utils seabios >>"$RIG/log/apt.log" 2>&1
}
unpacked() { # unpacked DIR PACKAGE...   downloads Debian packages and unpacks them there; installs nothing
  local d=$1; shift; mkdir -p "$d/deb"; (cd "$d/deb" && apt-get -qq -o APT::Sandbox::User=root download "$@")
  for f in "$d"/deb/*.deb; do dpkg-deb -x "$f" "$d"; done; }
kernel_get() { # kernel_get DIR   Debian's cloud kernel and busybox, unpacked there
  [ -e "$RIG/.apt-updated" ] || { apt-get -o DPkg::Lock::Timeout=600 -qq update; touch "$RIG/.apt-updated"; }
  apt_get cpio
  unpacked "$1" "$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/{print $2; exit}')" busybox-static; }
initramfs() { # initramfs DIR TREE MODULE...   a tree with busybox and modules of the kernel in DIR, in the order in which they are loaded
  local d=$1 root=$2 m; shift 2; mkdir -p "$root"/{bin,dev,proc,sys,modules}; cp "$d/bin/busybox" "$root/bin/busybox"
  printf '%s\n' "${@##*/}" >"$root/modules/order"
  for m in "$@"; do m=$(find "$d"/lib/modules "$d"/usr/lib/modules -path "*/kernel/$m.ko*" 2>/dev/null | head -1 || :)
    [ -z "$m" ] || case $m in *.xz) xz -dc "$m" >"$root/modules/$(basename "${m%.xz}")";; *) cp "$m" "$root/modules/";; esac; done; }
packed() { # packed TREE FILE
  chmod +x "$1/init"; (cd "$1" && find . | cpio -o -H newc --quiet | gzip -9) >"$2.tmp"; mv "$2.tmp" "$2"; }
VIRTIO=(drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci drivers/block/virtio_blk)
guest_get() {
  [ -e "$QEMU_GUEST/initrd.gz" ] && return 0
  local d; d=$(mktemp -d); kernel_get "$d"; mkdir -p "$QEMU_GUEST"
  cp "$d"/boot/vmlinuz-* "$QEMU_GUEST/vmlinuz"
  initramfs "$d" "$d/root" "${VIRTIO[@]}" drivers/acpi/button drivers/input/evdev
  cat >"$d/root/init" <<'I'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc; $b mount -t sysfs sys /sys
while read -r m; do [ -e /modules/$m.ko ] && $b insmod /modules/$m.ko; done </modules/order
for e in /dev/input/event*; do ( $b dd if=$e of=/dev/null bs=24 count=1 2>/dev/null && echo "power button" && $b sync && $b poweroff -f ) & done
echo "guest is up, disk $($b cat /sys/block/vda/size 2>/dev/null), mark '$($b dd if=/dev/vda bs=16 count=1 2>/dev/null | $b tr -d '\000\n')'"
case "$($b cat /proc/cmdline)" in *mark=*) m=$($b sed 's/.*mark=\([a-z0-9]*\).*/\1/' /proc/cmdline); echo "$m" | $b dd of=/dev/vda conv=notrunc,fsync 2>/dev/null; echo "marked $m";; esac
n=0; while :; do n=$((n+1)); echo "tick $n"; $b sleep 1; done
I
  packed "$d/root" "$QEMU_GUEST/initrd.gz"; rm -rf "$d"
}
root_get() {
  [ -e "$QEMU_GUEST/root.tar" ] && return 0
  local d r v; d=$(mktemp -d); r=$d/tree; kernel_get "$d"; mkdir -p "$QEMU_GUEST" "$r"/{bin,sbin,boot,dev,proc,sys,run,etc,root,tmp}
  v=$(basename "$d"/boot/vmlinuz-*); v=${v#vmlinuz-}; cp "$d/boot/vmlinuz-$v" "$r/boot/"; cp "$d/bin/busybox" "$r/bin/"; ln -s busybox "$r/bin/sh"
  initramfs "$d" "$d/early" "${VIRTIO[@]}" lib/crc16 crypto/crc32c_generic fs/mbcache fs/jbd2/jbd2 fs/ext4/ext4; mkdir "$d/early/root"
  cat >"$d/early/init" <<'I'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc; $b mount -t sysfs sys /sys
while read -r m; do [ -e /modules/$m.ko ] && $b insmod /modules/$m.ko; done </modules/order
u=$($b sed 's/.*root=\([^ ]*\).*/\1/' /proc/cmdline)
n=0; while ! r=$($b findfs "$u") && [ $n -lt 50 ]; do n=$((n + 1)); $b sleep 0.1; done
$b mount -t ext4 -o ro "$r" /root || exec $b sh
$b mount --move /dev /root/dev; $b umount /proc /sys; exec $b switch_root /root /sbin/init
I
  packed "$d/early" "$r/boot/initrd.img-$v"
  cat >"$r/sbin/init" <<'I'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -o remount,rw / && echo written >/root/written
echo "root is up, $($b awk '$2 == "/" {r = $1 " " $3} END {print r}' /proc/mounts), greeting '$($b cat /etc/greeting)'"
n=0; while :; do n=$((n + 1)); echo "tick $n"; $b sleep 1; done
I
  chmod +x "$r/sbin/init"; echo "hello from the rig" >"$r/etc/greeting"
  tar -C "$r" --owner=0 --group=0 --numeric-owner -cf "$QEMU_GUEST/root.tmp" .; mv "$QEMU_GUEST/root.tmp" "$QEMU_GUEST/root.tar"; rm -rf "$d"
}
case ${1:-start} in
 start) qemu_get; apt_get fdisk e2fsprogs mount grub-common grub-pc-bin; guest_get; root_get;;
 stop) :;; # nothing runs
esac
