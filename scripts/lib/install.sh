# shellcheck shell=bash
# Installs what a test needs and the machine lacks. A missing tool is installed or is an error, never a reason to leave a test out.
# Needs say.sh, postgres.sh and $ROOT.

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo -n "$@"
  else
    return 1
  fi
}

apt_updated=no

# debian_packages PACKAGE… installs them with apt-get.
debian_packages() {
  command -v apt-get >/dev/null 2>&1 ||
    die "it needs $*, and this machine has no apt-get." "Install the same by hand and run it again."
  step "installing Debian packages: $*"
  local log="$ROOT/target/test-logs/apt.log"
  if [ "$apt_updated" = no ]; then
    as_root timeout 300 apt-get -o DPkg::Lock::Timeout=240 update -qq >"$log" 2>&1 ||
      die "apt-get update failed (see $log)." "It has to run as root or with a sudo that asks for no password."
    apt_updated=yes
  fi
  as_root timeout 900 env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=240 install -y -qq --no-install-recommends "$@" >>"$log" 2>&1 ||
    die "apt-get could not install $* (see $log)."
}

need_postgres() {
  _pg_bin >/dev/null 2>&1 || debian_packages postgresql
  command -v psql >/dev/null 2>&1 || debian_packages postgresql-client
}

# The README shows the database with it.
need_sqlite() {
  command -v sqlite3 >/dev/null 2>&1 || debian_packages sqlite3
}

# libFuzzer is C++.
need_cxx() {
  command -v c++ >/dev/null 2>&1 || debian_packages g++
}

need_chromium() {
  [ -x /usr/bin/chromium ] || debian_packages chromium fonts-liberation
  [ -x /usr/bin/chromium ] || die "there is no /usr/bin/chromium after installing Debian's chromium."
}

# need_node installs the exact packages of tests/npm/package-lock.json.
need_node() {
  if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then debian_packages nodejs npm; fi
  local major
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 20 ] || die "the Node.js here is version $major, and the tests need 20 or later."
  local dir="$ROOT/tests/npm" stamp wanted
  stamp="$dir/node_modules/.installed-lock"
  wanted=$(sha256sum "$dir/package-lock.json" | cut -d' ' -f1)
  if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    step "npm ci in tests/npm"
    (cd "$dir" && timeout 600 npm ci --no-audit --no-fund --loglevel=error </dev/null >&2) ||
      die "npm ci failed in tests/npm." "The package registry may be out of reach, or package-lock.json may not match package.json."
    printf '%s' "$wanted" >"$stamp"
  fi
  # The foreign verifier reads as a vendor's own program, and Node looks for its packages beside it.
  ln -sfn ../npm/node_modules "$ROOT/tests/foreign/node_modules"
  ln -sfn ../../tests/npm/node_modules "$ROOT/sdks/js/node_modules"
}

# need_python makes target/venv with the packages of tests/foreign/requirements.txt.
need_python() { need_venv target/venv tests/foreign/requirements.txt; }

# need_venv FOLDER REQUIREMENTS makes a virtual environment with exactly these packages, both named from the root on.
need_venv() {
  command -v python3 >/dev/null 2>&1 || debian_packages python3 python3-venv
  python3 -c 'import ensurepip, venv' 2>/dev/null || debian_packages python3-venv
  local venv="$ROOT/$1" requirements="$ROOT/$2" wanted
  [ -f "$requirements" ] || die "$2 is missing."
  wanted=$(sha256sum "$requirements" | cut -d' ' -f1)
  if [ "$(cat "$venv/.installed-requirements" 2>/dev/null || true)" != "$wanted" ]; then
    step "making $1"
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || die "python3 -m venv failed."
    timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2 ||
      die "pip could not install $2."
    printf '%s' "$wanted" >"$venv/.installed-requirements"
  fi
}
