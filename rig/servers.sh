#!/bin/bash
# servers.sh start|stop   three real "servers": sshd in namespaces of their own (network, mounts, processes, host name), each with its own address on a bridge
# ($SERVERS_NET.11, .12, .13, port 22), its own / (an overlay above this machine's) and its own disks on loop devices. root logs in by key and by password.
#   server 1 and 2: /data (ext4), /srv/shop (xfs), /var/lib/archive (btrfs); server 3: /data (ext4)
# Everything hangs on one process per server: when it ends, the kernel takes down its mounts, loop devices, addresses and programs.
. "$(dirname "$0")/lib.sh"
SERVERS_NET=${SERVERS_NET:-10.77.0}; SSH_PASS=${SSH_PASS:-rigpw}; D=$RUN/servers; ME=$(realpath "$0")
BRIDGE=marig$(cut -d. -f3 <<<"$SERVERS_NET")
disks() { case $1 in 3) echo "data:ext4:/data";; *) echo "data:ext4:/data shop:xfs:/srv/shop archive:btrfs:/var/lib/archive";; esac; }
size() { case $1 in root) echo 8G;; archive) echo 4G;; *) echo 6G;; esac; }
image() { # image FILE FORMAT SIZE   a sparse disk with a file system, once
  [ -s "$1" ] && return 0; truncate -s "$3" "$1.new"
  case $2 in ext4) mkfs.ext4 -q -m 0 -N 400000 -E lazy_itable_init=1,lazy_journal_init=1 "$1.new";; xfs) mkfs.xfs -q "$1.new";; btrfs) mkfs.btrfs -q -m single "$1.new" 2>&1;; esac
  mv "$1.new" "$1"; }
config() { cat >"$D/sshd_config" <<C
Port 22
HostKey /etc/ssh/rig_host
PidFile none
AuthorizedKeysFile /etc/ssh/rig_authorized_keys
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
MaxStartups 100
UseDNS no
C
}
inside() { # inside N   in the new namespaces, as process 1: make the machine, then become its sshd
  local n=$1 d=$D/$1 r=$D/$1/new i x
  mount --make-rprivate /; mkdir -p "$d/root" "$r"; mount -o loop "$d/root.img" "$d/root"; mkdir -p "$d/root/up" "$d/root/work"
  mount -t overlay "server$n" -o "lowerdir=/,upperdir=$d/root/up,workdir=$d/root/work" "$r"
  mkdir -p "$r/.old" "$r/run" "$r/proc" "$r/sys" "$r/dev"; mount -t tmpfs -o mode=755 run "$r/run"; mount -t proc proc "$r/proc"; mount -t sysfs -o ro sysfs "$r/sys"
  mount -t tmpfs -o mode=755 dev "$r/dev"; mkdir "$r/dev/pts" "$r/dev/shm"; mount -t devpts -o newinstance,ptmxmode=0666 devpts "$r/dev/pts"; ln -s pts/ptmx "$r/dev/ptmx"
  for i in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$r/dev/${i%:*}" c 1 "${i#*:}"; done; mknod -m 666 "$r/dev/tty" c 5 0; ln -s /proc/self/fd "$r/dev/fd"
  for i in 0 1 2; do ln -s "/proc/self/fd/$i" "$r/dev/$(printf 'stdin\nstdout\nstderr\n' | sed -n $((i + 1))p)"; done
  for x in $(disks "$n"); do IFS=: read -r name _ point <<<"$x"; mkdir -p "$r$point"; mount -o loop "$d/$name.img" "$r$point"; chmod 755 "$r$point"; done
  rm -f "$r"/root/.bash* "$r"/root/.profile # What this machine does at every log-in is no part of a server.
  mkdir -p "$r/run/sshd" "$r/etc/ssh"; cp "$D/host" "$r/etc/ssh/rig_host"; chmod 600 "$r/etc/ssh/rig_host"; cp "$D/authorized_keys" "$r/etc/ssh/rig_authorized_keys"
  cp "$D/sshd_config" "$r/etc/ssh/rig_sshd_config"; echo "server$n" >"$r/etc/hostname"; hostname "server$n"
  cd "$r"; pivot_root . .old; umount -l /.old; rmdir /.old; cd /; echo "root:$SSH_PASS" | chpasswd
  ip link set lo up; for ((i = 0; i < 200; i++)); do ip link show eth0 >/dev/null 2>&1 && break; sleep .05; done
  ip addr add "$SERVERS_NET.$((10 + n))/24" dev eth0; ip link set eth0 up
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /usr/sbin/sshd -D -e -f /etc/ssh/rig_sshd_config
}
one() { # one N
  local n=$1 d=$D/$1 x name kind pid i host=mr$(cut -d. -f3 <<<"$SERVERS_NET")-$1; mkdir -p "$d"
  alive "$RUN/server$n.pid" && return 0
  image "$d/root.img" ext4 "$(size root)"; for x in $(disks "$n"); do IFS=: read -r name kind _ <<<"$x"; image "$d/$name.img" "$kind" "$(size "$name")"; done
  export SERVERS_NET SSH_PASS RIG
  spawn "server$n" unshare --net --mount --pid --uts --ipc --fork --kill-child "$ME" inside "$n"
  for ((i = 0; i < 200; i++)); do pid=$(pgrep -P "$(cat "$RUN/server$n.pid")") && break; sleep .05; done
  ip link add "$host" type veth peer name eth0 netns "$pid"; ip link set "$host" master "$BRIDGE" up
  for ((i = 0; i < 400; i++)); do (exec 3<>"/dev/tcp/$SERVERS_NET.$((10 + n))/22") 2>/dev/null && return 0; sleep .05; done; echo "server $n does not answer" >&2; return 1; }
case ${1:-start} in
 start) apt_get openssh-server openssh-client iproute2 util-linux e2fsprogs xfsprogs btrfs-progs attr acl libcap2-bin rsync tar findutils procps
  mkdir -p "$D"; chmod 711 "$RUN"; config
  [ -s "$D/host" ] || { ssh-keygen -q -t ed25519 -N '' -f "$D/host"; ssh-keygen -q -t ed25519 -N '' -f "$D/id_ed25519"; }; cp "$D/id_ed25519.pub" "$D/authorized_keys"
  ip link show "$BRIDGE" >/dev/null 2>&1 || ip link add "$BRIDGE" type bridge; ip addr replace "$SERVERS_NET.1/24" dev "$BRIDGE"; ip link set "$BRIDGE" up
  for n in 1 2 3; do one $n; done
  for n in 1 2 3; do echo "$SERVERS_NET.$((10 + n)) $(cut -d' ' -f1,2 "$D/host.pub")"; done >"$D/known_hosts";;
 inside) inside "$2";;
 # unshare itself heeds no signal; it ends with its child, and with it everything in there.
 stop) for n in 1 2 3; do if alive "$RUN/server$n.pid"; then pkill -P "$(cat "$RUN/server$n.pid")" || :; fi; stop "server$n"; done; ip link show "$BRIDGE" >/dev/null 2>&1 && ip link del "$BRIDGE" || :;;
esac
