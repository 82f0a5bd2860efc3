# Sourced by the scripts beside it: makes `.venv` with everything installed, once.
#
# Needs Python 3.11 or newer with pip; PYTHON names another interpreter, FLAN_VENV another
# folder. The environment is made anew when pyproject.toml or requirements.lock changes.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${FLAN_VENV:-$root/.venv}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "flan: no Python 3.11 or newer found; install one, or set PYTHON" >&2
  return 1
}

make_environment() {
  local python stamp tools
  python=$(find_python) || return 1
  stamp=$("$python" -c '
import hashlib, pathlib, sys
files = [pathlib.Path(p).read_bytes() for p in sys.argv[1:]]
print(hashlib.sha256(repr((sys.version, files)).encode()).hexdigest())
' "$root/pyproject.toml" "$root/requirements.lock") || return 1
  if [ "$(cat "$venv/flan-stamp" 2>/dev/null)" = "$stamp" ]; then
    return
  fi
  echo "flan: installing into $venv (a few minutes, once)" >&2
  if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
    echo "flan: $venv is there and is no virtual environment; remove it or set FLAN_VENV" >&2
    return 1
  fi
  rm -rf "$venv"
  # Some distributions ship Python without the venv module's pip: virtualenv brings its own.
  if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
    rm -rf "$venv"
    tools=$(mktemp -d)
    "$python" -m pip install --quiet --target "$tools" virtualenv &&
      PYTHONPATH="$tools" "$python" -m virtualenv --quiet "$venv"
    local made=$?
    rm -rf "$tools"
    [ "$made" = 0 ] || return 1
  fi
  # The lock was made on Python 3.11; other versions resolve pyproject.toml's ranges.
  local constraints=()
  if "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    constraints=(--constraint "$root/requirements.lock")
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "${constraints[@]}" --editable "$root[dev]" || return 1
  echo "$stamp" >"$venv/flan-stamp"
}

make_environment
