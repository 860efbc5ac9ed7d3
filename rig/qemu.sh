#!/bin/bash
# qemu.sh start|stop   QEMU from Debian's packages (backports where the release has them), and a guest for it in $QEMU_GUEST: Debian's cloud kernel with an
# initramfs of busybox. The guest says "guest is up" and then a number every second on ttyS0, knows /dev/vda, and switches off at the power button.
. "$(dirname "$0")/lib.sh"
QEMU_GUEST=${QEMU_GUEST:-$RIG/guest}
qemu_get() { # plain bookworm's QEMU would remove newer tools; backports' own does not
  command -v qemu-system-x86_64 >/dev/null && command -v qemu-img >/dev/null && return 0
  local suite=; [ "$(. /etc/os-release; echo "$VERSION_CODENAME")" = bookworm ] && suite=bookworm-backports
  if [ -n "$suite" ] && ! grep -rqs "$suite" /etc/apt/sources.list /etc/apt/sources.list.d; then
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" >/etc/apt/sources.list.d/rig-backports.list
    rm -f "$RIG/.apt-updated"
  fi
  [ -e "$RIG/.apt-updated" ] || { apt-get -o DPkg::Lock::Timeout=600 -qq update; touch "$RIG/.apt-updated"; }
  apt-get -o DPkg::Lock::Timeout=600 -y -qq --no-install-recommends --no-remove ${suite:+-t "$suite"} install qemu-system-x86 qemu-utils seabios >>"$RIG/log/apt.log" 2>&1
}
unpacked() { # unpacked DIR PACKAGE...   downloads Debian packages and unpacks them there; installs nothing
  local d=$1; shift; mkdir -p "$d/deb"; (cd "$d/deb" && apt-get -qq -o APT::Sandbox::User=root download "$@")
  for f in "$d"/deb/*.deb; do dpkg-deb -x "$f" "$d"; done; }
guest_get() {
  [ -e "$QEMU_GUEST/initrd.gz" ] && return 0
  [ -e "$RIG/.apt-updated" ] || { apt-get -o DPkg::Lock::Timeout=600 -qq update; touch "$RIG/.apt-updated"; }
  apt_get cpio; local d kernel modules m; d=$(mktemp -d)
  kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/{print $2; exit}')
  unpacked "$d" "$kernel" busybox-static; mkdir -p "$QEMU_GUEST" "$d/root"/{bin,dev,proc,sys,modules}
  cp "$d"/boot/vmlinuz-* "$QEMU_GUEST/vmlinuz"; cp "$d/bin/busybox" "$d/root/bin/busybox"
  modules=(virtio/virtio_ring virtio/virtio virtio/virtio_pci_legacy_dev virtio/virtio_pci_modern_dev virtio/virtio_pci block/virtio_blk acpi/button input/evdev)
  for m in "${modules[@]}"; do m=$(find "$d"/lib/modules "$d"/usr/lib/modules -path "*/drivers/$m.ko*" 2>/dev/null | head -1 || :)
    [ -z "$m" ] || case $m in *.xz) xz -dc "$m" >"$d/root/modules/$(basename "${m%.xz}")";; *) cp "$m" "$d/root/modules/";; esac; done
  printf '%s\n' "${modules[@]##*/}" >"$d/root/modules/order"
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
  chmod +x "$d/root/init"
  (cd "$d/root" && find . | cpio -o -H newc --quiet | gzip -9) >"$QEMU_GUEST/initrd.tmp"; mv "$QEMU_GUEST/initrd.tmp" "$QEMU_GUEST/initrd.gz"; rm -rf "$d"
}
case ${1:-start} in
 start) qemu_get; guest_get;;
 stop) :;; # nothing runs
esac
