# What all rig scripts share. Source it; needs bash, root, Debian 12.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
RIG=${RIG:-$PWD/.rig}; RUN=${RUN:-$RIG/data}; mkdir -p "$RUN" "$RIG/log"
VENV=${VENV:-$RIG/venv}; NPM=${NPM:-$RIG/npm}
apt_get() { # apt_get pkg...   installs only what is missing; never starts services
  local need=() p
  for p in "$@"; do dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || need+=("$p"); done
  [ ${#need[@]} = 0 ] && return 0
  [ -e "$RIG/.apt-updated" ] || { apt-get -o DPkg::Lock::Timeout=600 -qq update; touch "$RIG/.apt-updated"; }
  [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; }
  apt-get -o DPkg::Lock::Timeout=600 -y -qq --no-install-recommends install "${need[@]}" >>"$RIG/log/apt.log" 2>&1
}
pip_get() { # pip_get pkg==ver ...   into $VENV
  python3 -c 'import ensurepip' 2>/dev/null || apt_get python3-venv
  [ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
  "$VENV/bin/pip" -q install "$@"
}
npm_get() { mkdir -p "$NPM"; [ -e "$NPM/package.json" ] || echo '{"private":true}' >"$NPM/package.json"
  npm --prefix "$NPM" --no-audit --no-fund --loglevel=error install "$@"; }
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }             # alive PIDFILE
spawn() { # spawn NAME cmd...   background, pid in $RUN/NAME.pid, log in $RIG/log/NAME.log
  local n=$1; shift; alive "$RUN/$n.pid" && return 0
  setsid "$@" >"$RIG/log/$n.log" 2>&1 </dev/null & echo $! >"$RUN/$n.pid"; }
wait_tcp() { local p=$1 t=${2:-30} i; for ((i=0;i<t*20;i++)); do (exec 3<>/dev/tcp/127.0.0.1/"$p") 2>/dev/null && return 0; sleep .05; done
  echo "port $p did not open in ${t}s" >&2; return 1; }
stop() { local f="$RUN/$1.pid"; alive "$f" && kill "$(cat "$f")"; for _ in $(seq 100); do alive "$f" || break; sleep .1; done
  alive "$f" && kill -9 "$(cat "$f")"; rm -f "$f"; }
as() { local u=$1; shift; setpriv --reuid="$u" --regid="$u" --init-groups env HOME="$(getent passwd "$u" | cut -d: -f6)" "$@"; }
# debroot SUITE DIR pkg...  unpack packages of ANOTHER Debian suite with all their libraries under DIR (nothing is installed on the host)
debroot() { local s=$1 d=$2 a uri; shift 2; [ -e "$d/.ok" ] && return 0
  a=$d/.apt; mkdir -p "$a"/{lists/partial,cache/archives/partial}; : >"$a/status"
  uri=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null | head -1) || :
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $s main" >"$a/sources.list"
  local o=(-o Dir::Etc::sourcelist="$a/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$a/lists" -o Dir::Cache="$a/cache"
    -o Dir::State::status="$a/status" -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o Debug::NoLocking=1
    -o APT::Install-Recommends=0 -o Acquire::Languages=none -o APT::Sandbox::User=root)
  apt-get "${o[@]}" -qq update
  apt-get "${o[@]}" -qq -y --download-only install "$@" >"$RIG/log/debroot-$s.log" 2>&1
  mkdir -p "$d"/usr/{bin,sbin,lib,lib64}; local l; for l in bin sbin lib lib64; do [ -e "$d/$l" ] || ln -s "usr/$l" "$d/$l"; done
  local f; for f in "$a"/cache/archives/*.deb; do dpkg-deb --fsys-tarfile "$f" | tar -x -C "$d" --keep-directory-symlink; done
  rm -rf "$a"; touch "$d/.ok"; }
inroot() { local d=$1 b=$2; shift 2; exec "$d/lib64/ld-linux-x86-64.so.2" --library-path "$d/usr/lib/x86_64-linux-gnu" --argv0 "$b" "$d$b" "$@"; }
