#!/bin/bash
# up.sh start|stop [family...]   starts the real servers that the tests use and writes their addresses to $RIG/env (read by crates/testkit/src/rig.rs)
# Ports come from the environment (RIG_…_PORT) or default to fixed ones. Families: postgres mariadb mysql s3 rgw ssh wordpress mail oidc servers schemathesis qemu clouds.
cd "$(dirname "$0")" || exit 1
export RIG=${RIG:-$(dirname "$PWD")/.rig}
. ./lib.sh
set +e
export RIG_PG15_PORT=${RIG_PG15_PORT:-15432} RIG_PG18_PORT=${RIG_PG18_PORT:-18432} RIG_MARIADB_PORT=${RIG_MARIADB_PORT:-13306} RIG_MYSQL_PORT=${RIG_MYSQL_PORT:-23306}
export RIG_S3_PORT=${RIG_S3_PORT:-18333} RIG_SSH_PORT=${RIG_SSH_PORT:-12222} RIG_WP_PORT=${RIG_WP_PORT:-18080} RIG_RGW_PORT=${RIG_RGW_PORT:-18480} RIG_SMTP_PORT=${RIG_SMTP_PORT:-12525} RIG_OIDC_PORT=${RIG_OIDC_PORT:-19400} RIG_OIDC_RETURN_PORT=${RIG_OIDC_RETURN_PORT:-19499} RIG_CLOUDS_PORT=${RIG_CLOUDS_PORT:-19600}
export PG15_PORT=$RIG_PG15_PORT PG18_PORT=$RIG_PG18_PORT MARIADB_PORTS=$RIG_MARIADB_PORT MYSQL_PORTS=$RIG_MYSQL_PORT S3_PORT=$RIG_S3_PORT RGW_PORT=$RIG_RGW_PORT SMTP_PORT=$RIG_SMTP_PORT OIDC_PORT=$RIG_OIDC_PORT OIDC_REDIRECT=http://127.0.0.1:$RIG_OIDC_RETURN_PORT/auth/oidc/callback CLOUDS_PORT=$RIG_CLOUDS_PORT SSH_PORT=$RIG_SSH_PORT WP_PORT=$RIG_WP_PORT WP_DB_PORT=$RIG_MARIADB_PORT
export SERVERS_NET=${RIG_SERVERS_NET:-10.77.0}
verb=${1:-start}; shift || :
families=("$@"); [ ${#families[@]} -gt 0 ] || families=(postgres mariadb mysql s3 rgw ssh wordpress mail oidc servers schemathesis qemu clouds)
one() { case $1 in s3) ./s3-seaweedfs.sh "$verb";; rgw) ./ceph-rgw.sh "$verb";; *) "./$1.sh" "$verb";; esac; }
rc=0
for f in "${families[@]}"; do
  t=$(date +%s%N); one "$f" >>"$RIG/log/up-$f.log" 2>&1 || { echo "rig: $f FAILED, see $RIG/log/up-$f.log" >&2; tail -n 5 "$RIG/log/up-$f.log" >&2; rc=1; }
  printf 'rig: %-10s %s %d ms\n' "$f" "$verb" $((($(date +%s%N) - t) / 1000000)) >&2
done
[ "$verb" = start ] && cat >"$RIG/env" <<ENV
RIG_DB_PASS=${DB_PASS:-rigpw}
RIG_PG15_PORT=$RIG_PG15_PORT
RIG_PG18_PORT=$RIG_PG18_PORT
RIG_MARIADB_PORT=$RIG_MARIADB_PORT
RIG_MYSQL_PORT=$RIG_MYSQL_PORT
RIG_S3_PORT=$RIG_S3_PORT
RIG_RGW_PORT=$RIG_RGW_PORT
RIG_S3_KEY=AKIARIGRIGRIGRIG0001
RIG_S3_SECRET=rigsecretrigsecretrigsecretrigsecret0001
RIG_SSH_PORT=$RIG_SSH_PORT
RIG_SMTP_PORT=$RIG_SMTP_PORT
RIG_SMTP_PASS=${SMTP_PASS:-rigpw}
RIG_MAIL=$RUN/mail
RIG_OIDC_PORT=$RIG_OIDC_PORT
RIG_OIDC_RETURN_PORT=$RIG_OIDC_RETURN_PORT
RIG_PYTHON=$VENV/bin/python
RIG_SSH_USER=${SSH_USER:-rigssh}
RIG_SSH_PASS=${SSH_PASS:-rigpw}
RIG_SSH_KEY=$RUN/sshd/id_ed25519
RIG_SSH_KNOWN_HOSTS=$RUN/sshd/known_hosts
RIG_SSH_HOME=/home/${SSH_USER:-rigssh}
RIG_WP_URL=http://127.0.0.1:$RIG_WP_PORT
RIG_WP_ROOT=$RUN/wp-$RIG_WP_PORT
RIG_WP_DB=wp_$RIG_WP_PORT
RIG_SERVER1_IP=$SERVERS_NET.11
RIG_SERVER2_IP=$SERVERS_NET.12
RIG_SERVER3_IP=$SERVERS_NET.13
RIG_SERVER_PASS=${SSH_PASS:-rigpw}
RIG_SERVER_KEY=$RUN/servers/id_ed25519
RIG_SERVER_KNOWN_HOSTS=$RUN/servers/known_hosts
RIG_CLOUDS_PORT=$RIG_CLOUDS_PORT
RIG_CLOUDS=$RUN/clouds
RIG_DIR=$RIG
RIG_GUEST=${QEMU_GUEST:-$RIG/guest}
ENV
exit $rc
