#!/usr/bin/env bash
# Makes the virtual environment: finds Python 3.12 or newer, installs the pinned requirements, fetches the recordings.
# With --only-uv before the folder it stops when uv is there, which is all that packaging needs.
set -euo pipefail
only_uv=false
if [ "$1" = --only-uv ]; then
  only_uv=true
  shift
fi
venv=$1
cd "$(dirname "$0")/../.."

newest_python() {
  local candidate
  for candidate in python3.13 python3.14 python3.12 python3 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9].*/bin/python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; raise SystemExit(not (3, 12) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "No Python 3.12 or newer was found on the PATH or under pyenv. Install one and run make again." >&2
  return 1
}

# pyenv leaves shims on the PATH that run no Python unless a version is chosen, hence the trial run above;
# of the versions below pyenv's folder the newest 3.13 is preferred, since that is what Lambda runs.
python=""
for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python3; do
  [ -x "$candidate" ] && python=$candidate
done
command -v python3.13 >/dev/null 2>&1 && python3.13 -c '' 2>/dev/null && python=$(command -v python3.13)
[ -n "$python" ] || python=$(newest_python)

echo "Setting up $venv with $("$python" --version)"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip --disable-pip-version-check install -q uv
$only_uv && exit 0
"$venv/bin/uv" pip install -q --compile-bytecode --python "$venv/bin/python" --require-hashes -r requirements.txt

# The demo's recorded human speech; everything else works without it.
"$venv/bin/python" -m infra.local.recordings --out .cache/recordings >/dev/null ||
  echo "The recorded speech could not be fetched: 'make demo' will say so; run 'make setup' again later." >&2
