# The set-up that the scripts in ops/ share: sourced, not run. It goes to the root of the checkout and sets $venv.
# `set_up service` makes .venv with what the service needs, `set_up dev` adds what its tests and checks need. Both install
# from the lock files, and both return at once when .venv already fits.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
cd "$root" || exit 1
unset PYTHONPATH PYTHONHOME

say() { printf '%s\n' "$*" >&2; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
    command -v "$candidate" >/dev/null || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$candidate"; return; }
  done
  say "Python 3.11 or newer is needed, and none was found on the PATH. Debian and Ubuntu: apt-get install python3 python3-venv"
  return 1
}

make_venv() {
  local python
  python=$(find_python) || return 1
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    say "$python cannot make virtual environments. Debian and Ubuntu: apt-get install python3-venv"
    return 1
  fi
  "$python" -m venv --clear "$venv" && printf '%s\n' "$root" >"$venv/.made-for"
}

run_pip() {
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off "$@"
}

# install_from LOCK: what the lock names, checked against its hashes, and the checkout itself.
install_from() {
  run_pip --require-hashes -r "$1" && run_pip --no-deps --no-build-isolation --use-pep517 -e .
}

# show_progress TOTAL: reads what pip says, keeps it in setup.log, and counts the packages on one line of a terminal.
show_progress() {
  local line count=0 total=$1
  [ -t 2 ] || say "Setting up .venv with $total packages (first time, or after a change)…"
  while IFS= read -r line; do
    printf '%s\n' "$line" >&3
    [ -t 2 ] || continue
    case $line in
      Collecting* | Ignoring* | 'Requirement already satisfied'*) count=$((count + 1)) ;;
    esac
    case $line in
      'Installing collected'*) printf '\r\033[KSetting up .venv (first time, or after a change): installing %s packages…' "$total" >&2 ;;
      *) printf '\r\033[KSetting up .venv (first time, or after a change): package %s of %s…' "$((count < total ? count : total))" "$total" >&2 ;;
    esac
  done 3>"$venv/setup.log"
  [ ! -t 2 ] || printf '\r\033[K' >&2
}

set_up() {
  local lock=ops/requirements.lock mark=$venv/.set-up-service given
  [ "$1" = dev ] && lock=ops/requirements-dev.lock mark=$venv/.set-up-dev
  # The scripts in a .venv hold absolute paths, so a checkout that was moved needs a new one.
  if [ ! -x "$venv/bin/python" ] || [ "$(cat "$venv/.made-for" 2>/dev/null)" != "$root" ]; then
    make_venv || return 1
  fi
  given=$(cat setup.py "$lock" | cksum)
  [ "$(cat "$mark" 2>/dev/null)" = "$given" ] && return
  if ! install_from "$lock" 2>&1 | show_progress "$(grep -c '^[a-z].*==' "$lock")"; then
    cat "$venv/setup.log" >&2
    say "The set-up failed: pip could not install what $lock names (is the package index within reach?)."
    return 1
  fi
  # The two locks name the same versions, so what the tests need is enough for the service, too.
  printf '%s\n' "$given" >"$mark"
  [ "$1" != dev ] || cat setup.py ops/requirements.lock | cksum >"$venv/.set-up-service"
}
