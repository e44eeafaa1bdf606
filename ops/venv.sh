# The set-up that ./ops/test and ./ops/sandbox share: sourced, not run. It goes to the checkout's root and makes .venv there
# when it is missing or when setup.py has changed. Sets $venv.

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
  local python=$1
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    say "$python cannot make virtual environments. Debian and Ubuntu: apt-get install python3-venv"
    return 1
  fi
  "$python" -m venv --clear "$venv"
}

install_house() {
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --use-pep517 -e '.[test,dev]' \
    >"$venv/setup.log" 2>&1 && return
  cat "$venv/setup.log" >&2
  say "The set-up failed: pip could not install what setup.py asks for (is the package index within reach?)."
  return 1
}

set_up() {
  local wanted
  # A moved checkout needs a new .venv (its scripts hold absolute paths); a changed setup.py needs pip only.
  wanted="$root $(cksum <setup.py)"
  [ "$(cat "$venv/.set-up" 2>/dev/null)" = "$wanted" ] && return
  say "Setting up (first time only)…"
  if [ ! -x "$venv/bin/python" ] || [ "$(cat "$venv/.made-for" 2>/dev/null)" != "$root" ]; then
    local python
    python=$(find_python) && make_venv "$python" && printf '%s\n' "$root" >"$venv/.made-for" || return 1
  fi
  install_house && printf '%s\n' "$wanted" >"$venv/.set-up"
}

set_up || exit 1
