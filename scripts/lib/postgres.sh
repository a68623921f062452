# A private PostgreSQL server for tests: source this file.
#
#   url=$(pg_start DIR)   initdb in DIR (created), start on a free loopback port and a socket in DIR, print the superuser URL
#   pg_stop DIR           stop it at once; DIR itself is left to the caller
#
# PostgreSQL refuses to run as root, so root hands DIR to the user `postgres` (or PG_TEST_USER) and runs it as that user.
# Durability is off, since the data lives as long as the test: never point this at data that matters.

_pg_bin() {
    if [ -n "${PG_BIN:-}" ]; then
        echo "$PG_BIN"
        return
    fi
    local candidate newest=""
    for candidate in /usr/lib/postgresql/*/bin; do
        [ -x "$candidate/initdb" ] && newest=$candidate
    done
    if [ -z "$newest" ] && command -v initdb >/dev/null 2>&1; then
        newest=$(dirname "$(command -v initdb)")
    fi
    if [ -z "$newest" ]; then
        echo "postgres.sh: no initdb found; install postgresql (Debian: apt-get install postgresql) or set PG_BIN" >&2
        return 1
    fi
    echo "$newest"
}

_pg_run() {
    if [ "$(id -u)" = 0 ]; then
        runuser -u "${PG_TEST_USER:-postgres}" -- "$@"
    else
        "$@"
    fi
}

_pg_free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

pg_start() {
    local dir=$1 bin port attempt
    bin=$(_pg_bin) || return 1
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    if [ "$(id -u)" = 0 ]; then
        if ! id "${PG_TEST_USER:-postgres}" >/dev/null 2>&1; then
            useradd --system --no-create-home "${PG_TEST_USER:-postgres}" >&2 || return 1
        fi
        chown "${PG_TEST_USER:-postgres}" "$dir"
        if ! _pg_run test -x "$dir"; then
            echo "postgres.sh: the user ${PG_TEST_USER:-postgres} cannot reach $dir; choose a folder below /tmp" >&2
            return 1
        fi
    fi
    (
        cd "$dir" || exit 1
        _pg_run "$bin/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 --no-locale --no-sync
    ) >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; return 1; }
    # Another process may take the port between our look and PostgreSQL's: a few attempts.
    for attempt in 1 2 3 4 5; do
        port=$(_pg_free_port)
        if (
            cd "$dir" || exit 1
            _pg_run "$bin/pg_ctl" --pgdata="$dir/data" --log="$dir/server.log" --wait --timeout=60 --silent \
                --options="-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories='$dir' -c fsync=off \
-c full_page_writes=off -c max_connections=300 -c shared_buffers=64MB" start
        ) </dev/null >"$dir/start.log" 2>&1; then
            echo "postgres://postgres@127.0.0.1:$port/postgres"
            return 0
        fi
    done
    cat "$dir/start.log" "$dir/server.log" >&2
    return 1
}

pg_stop() {
    local dir bin
    bin=$(_pg_bin) || return 1
    dir=$(cd "$1" && pwd) || return 1
    (cd "$dir" && _pg_run "$bin/pg_ctl" --pgdata="$dir/data" --mode=immediate --silent stop) >/dev/null 2>&1
}
