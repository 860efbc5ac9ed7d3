#!/bin/bash
# ceph-rgw.sh start|stop   real Ceph on one node (a monitor, one OSD on a sparse file, the RADOS Gateway; no manager, which only people need): S3 on $RGW_PORT,
# key $S3_KEY/$S3_SECRET. Keys are plain bytes in a flat order here ('a//b', '/a', 'a/' stay what they are), and it serves websites.
. "$(dirname "$0")/lib.sh"
RGW_PORT=${RGW_PORT:-18480}; MON_PORT=${MON_PORT:-$((RGW_PORT+1))}; S3_KEY=${S3_KEY:-AKIARIGRIGRIGRIG0001}; S3_SECRET=${S3_SECRET:-rigsecretrigsecretrigsecretrigsecret0001}
C=$RUN/ceph; export CEPH_CONF=$C/ceph.conf
FSID=11111111-2222-3333-4444-555555555555; OSD=22222222-2222-3333-4444-555555555555
conf() { mkdir -p "$C"/{mon,osd,run,rgw,log}; cat >"$CEPH_CONF" <<C
[global]
fsid = $FSID
mon host = [v1:127.0.0.1:$MON_PORT]
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
ms bind msgr2 = false
ms bind ipv4 = true
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = $C/run
admin socket = $C/run/\$name.asok
pid file = $C/run/\$name.pid
log file = $C/log/\$name.log
crash dir = $C/log
keyring = $C/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data = $C/mon
mon data avail crit = 1
mon data avail warn = 1
paxos propose interval = 0.05
paxos min wait = 0.01
osd data = $C/osd
osd objectstore = bluestore
bluestore block size = ${OSD_BYTES:-10737418240}
bluestore fsck on mount = false
bluestore cache size = 67108864
osd memory target = 939524096
osd class update on start = false
osd crush update on start = false
rgw data = $C/rgw
rgw frontends = beast endpoint=127.0.0.1:$RGW_PORT
rgw thread pool size = 64
rgw crypt require ssl = false
rgw enable static website = true
rgw gc obj min wait = 5
rgw gc processor period = 5
C
}
first() { local mark=$C/$1.made; shift; [ -e "$mark" ] || { "$@" && touch "$mark"; }; }   # first NAME cmd...   once in the life of this data
make_mon() { monmaptool --create --clobber --addv a "[v1:127.0.0.1:$MON_PORT]" --fsid "$FSID" "$C/monmap" && ceph-mon --mkfs -i a --monmap "$C/monmap"; }
make_osd() { ceph osd new "$OSD" && ceph-osd -i 0 --mkfs --osd-uuid "$OSD" && ceph osd crush add-bucket default root && ceph osd crush add osd.0 1.0 root=default; }
make_user() { radosgw-admin -n client.rgw user create --uid=rig --display-name=rig --access-key="$S3_KEY" --secret-key="$S3_SECRET" --max-buckets=100000; }
case ${1:-start} in
 start) apt_get radosgw ceph-osd ceph-mon ceph-common; conf; : >>"$C/keyring"
  first mon make_mon; spawn ceph-mon ceph-mon -i a -f; wait_tcp "$MON_PORT"
  first osd make_osd; spawn ceph-osd ceph-osd -i 0 -f
  first user make_user; spawn ceph-rgw radosgw -n client.rgw -f; wait_tcp "$RGW_PORT" 120;;
 stop) for n in ceph-rgw ceph-osd ceph-mon; do stop $n; done;;
esac
