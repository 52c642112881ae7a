#!/usr/bin/env bash
# Throw-away servers for tests and development, without Docker, as root or not.
#   services.sh up [postgres] [pgbouncer]   install what is missing (apt), start, print export lines
#   services.sh env                         print the export lines of a running set
#   services.sh down                        stop everything by pid and delete the state
# Every server listens on 127.0.0.1 only, on a free port. Postgres runs with fsync on: tests must not be kinder than production.
# WORKFLOW_SERVICES_STATE: where the servers live (default /tmp/workflow-services-$UID). The path must be short (sockets
# live below it) and enterable by the user postgres, who runs the server when we are root.
set -euo pipefail
STATE=${WORKFLOW_SERVICES_STATE:-/tmp/workflow-services-$(id -u)}

die() { echo "services: $*" >&2; exit 1; }
log() { echo "services: $*" >&2; }

# All users may write to /tmp: what they put there is neither followed, run nor deleted.
if [ -L "$STATE" ] || { [ -e "$STATE" ] && ! { [ -d "$STATE" ] && [ -O "$STATE" ]; }; }; then
  die "$STATE is not a directory of your own"
fi

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# initdb and postgres refuse to run as root, and are not on PATH in Debian.
server_user() { if [ "$(id -u)" = 0 ]; then echo postgres; else id -un; fi; }
as_server() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
give() { if [ "$(id -u)" = 0 ]; then chown -R postgres "$1"; fi; }
bindir() { compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -1 | xargs -r dirname; }

# kill -0 succeeds on a zombie, and the first process of a container reaps late: look at the state letter instead.
runs() {
  local state
  state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) && [ -n "$state" ] && [ "$state" != Z ]
}
alive() { [ -s "$STATE/$1.pid" ] && runs "$(cat "$STATE/$1.pid")"; }

install_missing() {
  local need=() sudo="" options="-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
  [ -n "$(bindir)" ] || need+=(postgresql)
  if [[ " $* " == *" pgbouncer "* ]] && ! command -v pgbouncer >/dev/null && [ ! -x /usr/sbin/pgbouncer ]; then need+=(pgbouncer); fi
  ((${#need[@]})) || return 0
  [ "$(id -u)" = 0 ] || sudo="sudo -n"
  log "installing ${need[*]}"
  $sudo apt-get $options -qq update >&2
  # Skip Debian's own cluster; RUNLEVEL=1 keeps packages from starting their services.
  $sudo mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] ||
    echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
  $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get $options -y -qq -o Dpkg::Options::=--force-confold \
    --no-install-recommends install "${need[@]}" >/dev/null
}

start_postgres() {
  local dir=$STATE/postgres port bin
  port=$(free_port) bin=$(bindir)
  rm -rf "$dir"; mkdir -p "$dir/sock"; give "$dir"; chmod 755 "$dir"
  cd /  # initdb complains when it cannot read the working directory
  as_server "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 ||
    { cat "$dir/initdb.log" >&2; return 1; }
  cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$dir/sock'
max_connections = 200
shared_buffers = 256MB
max_wal_size = 2GB
fsync = on
autovacuum_naptime = 15s
CONF
  as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 60 -s start >/dev/null || { cat "$dir/server.log" >&2; return 1; }
  head -1 "$dir/data/postmaster.pid" >"$STATE/postgres.pid"
  as_server "$bin/psql" -q -h 127.0.0.1 -p "$port" -U postgres -d postgres -c 'create database workflow' >/dev/null
  echo "$port" >"$STATE/postgres.port"
  {
    echo "export WORKFLOW_POSTGRES_URL=postgresql://postgres@127.0.0.1:$port/workflow"
    echo "export WORKFLOW_POSTGRES_DATA=$dir/data WORKFLOW_POSTGRES_BIN=$bin"
  } >"$STATE/postgres.env"
  log "postgres on port $port"
}

start_pgbouncer() {
  local dir=$STATE/pgbouncer port user bouncer pid
  port=$(free_port) user=$(server_user) bouncer=$(command -v pgbouncer || echo /usr/sbin/pgbouncer)
  rm -rf "$dir"; mkdir -p "$dir"
  cat >"$dir/pgbouncer.ini" <<CONF
[databases]
* = host=127.0.0.1 port=$(cat "$STATE/postgres.port")
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
logfile = $dir/pgbouncer.log
pidfile = $dir/pgbouncer.pid
CONF
  # auth_type "any" ignores the client's user name, so the server's must be fixed.
  sed -i 's/^\(\* = .*\)$/\1 user=postgres/' "$dir/pgbouncer.ini"
  give "$dir"; chmod 755 "$dir"; cd /
  as_server "$bouncer" -d -q "$dir/pgbouncer.ini" || { cat "$dir/pgbouncer.log" >&2; return 1; }
  for _ in $(seq 200); do [ -s "$dir/pgbouncer.pid" ] && break; sleep 0.02; done
  pid=$(cat "$dir/pgbouncer.pid"); echo "$pid" >"$STATE/pgbouncer.pid"
  echo "export WORKFLOW_PGBOUNCER_URL=postgresql://postgres@127.0.0.1:$port/workflow" >"$STATE/pgbouncer.env"
  log "pgbouncer ($user) on port $port"
}

up() {
  local wanted="${*:-postgres}" service
  for service in $wanted; do case $service in postgres | pgbouncer) ;; *) die "unknown service $service" ;; esac; done
  [[ " $wanted " == *" pgbouncer "* && " $wanted " != *" postgres "* ]] && wanted="postgres $wanted"
  mkdir -p "$STATE"; chmod 755 "$STATE"; touch "$STATE/.workflow-services"
  exec 9>"$STATE/.lock"; flock 9
  install_missing "$wanted" >&2
  for service in postgres pgbouncer; do
    [[ " $wanted " == *" $service "* ]] || continue
    alive "$service" || "start_$service" 9>&- >&2 || die "$service did not start"
  done
  print_env
}

print_env() { local file; for file in "$STATE"/*.env; do [ -e "$file" ] && cat "$file"; done; }

down() {
  # The marker keeps a wrong WORKFLOW_SERVICES_STATE from deleting somebody's directory.
  [ -e "$STATE/.workflow-services" ] || { log "nothing in $STATE"; return 0; }
  local service pid
  for service in pgbouncer postgres; do
    alive "$service" || continue
    pid=$(cat "$STATE/$service.pid")
    kill -INT "$pid" 2>/dev/null || true  # Postgres: fast shutdown
    for _ in $(seq 100); do runs "$pid" || break; sleep 0.05; done
    ! runs "$pid" || kill -KILL "$pid" 2>/dev/null || true
  done
  rm -rf "${STATE:?}"
}

case ${1:-} in
  up) shift; up "$@" ;;
  env) print_env ;;
  down) down ;;
  *) die "usage: $0 up [postgres] [pgbouncer] | env | down" ;;
esac
