#!/usr/bin/env bash
# Install the packages of Pipfile.lock into .venv; do nothing if .venv is up to date.
#
#   tools/environment.sh        make or update .venv
#   tools/environment.sh lock   choose new versions and write Pipfile.lock
#
# PYTHON=/path/to/python3.12 in the environment chooses the Python.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

pipenv_version=2026.10.3
# What the notebooks, training, the tests and the commands need, by category of the Pipfile.
categories='packages dev-packages serve video scale tune book'
pipenv_home=.tools/pipenv
python=.venv/bin/python
stamp=.venv/ferlib-environment
unfinished=.tools/unfinished
lock=.tools/lock
log=.tools/install.log
ticker=''

# pipenv must use this clone and .venv, whatever is active in the shell.
export PIPENV_VENV_IN_PROJECT=1 PIPENV_IGNORE_VIRTUALENVS=1 PIPENV_NOSPIN=1 PIPENV_YES=1
export PIPENV_PIPFILE=$root/Pipfile PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0
unset PYTHONHOME PYTHONPATH

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# The environment depends on this folder (scripts contain its path), the lock and this script.
wanted_stamp() { printf '%s\n' "$root"; cksum Pipfile.lock tools/environment.sh; }

# Print the names of the installed OpenCV builds on one line.
opencv_builds() {
    local found
    for found in .venv/lib/python3.*/site-packages/opencv_python*.dist-info; do
        [ -d "$found" ] && basename "$found" | sed 's/-[0-9].*//; s/_/-/g'
    done | paste -sd ' ' -
}

is_ready() {
    [ -f "$stamp" ] && wanted_stamp | cmp -s - "$stamp" && "$python" -c '' 2>/dev/null || return 1
    # A `pipenv sync` by hand may have installed a second OpenCV over the first.
    case $(opencv_builds) in *' '* | '') return 1 ;; esac
}

# Print the Python to use: $PYTHON, or the first of a supported version that can make virtual environments.
choose_python() {
    local candidate without_venv=''
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.13 python3.12 python3.11 python3; fi
    for candidate; do
        "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
        without_venv=${without_venv:-$candidate}
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv cannot make virtual environments: install its venv module (on Debian and Ubuntu, apt install python3-venv) and try again."
    fi
    fail "none of $* is Python 3.11, 3.12 or 3.13 (TensorFlow has no build for others): install one, or name it, as in: make demo PYTHON=/path/to/python3.12"
}

make_pipenv() {
    if [ "$("$pipenv_home/bin/python" -m pipenv --version 2>/dev/null)" = "pipenv, version $pipenv_version" ]; then
        return
    fi
    local chosen
    chosen=$(choose_python)
    say "== pipenv $pipenv_version in $pipenv_home, with $chosen"
    rm -rf "$pipenv_home"
    "$chosen" -m venv "$pipenv_home"
    "$pipenv_home/bin/python" -m pip install --quiet "pipenv==$pipenv_version"
}

stop_ticker() {
    [ -z "$ticker" ] || { kill "$ticker" && wait "$ticker"; } 2>/dev/null || true
    ticker=''
}

# Run `pipenv sync` with its report in the log; show the size of .venv meanwhile, because it takes minutes.
sync_locked() {
    ( while sleep 15 >/dev/null 2>&1; do say "   $(du -sm .venv 2>/dev/null | cut -f1) MB in .venv so far"; done ) &
    ticker=$!
    if ! COLUMNS=4000 "$pipenv_home/bin/python" -m pipenv sync --verbose "$@" >> "$log" 2>&1; then
        stop_ticker
        tail -n 15 "$log" | cut -c1-300 >&2
        fail "the packages could not be installed; the full report is in $log. Run the same command again once the cause is removed."
    fi
    stop_ticker
}

# The OpenCV build with windows needs libraries of a desktop (libxcb, libGL, libgthread). Both builds use the same folder.
choose_opencv() {
    local problem
    if problem=$(LC_ALL=C "$python" -c 'import cv2' 2>&1); then
        return
    fi
    case $problem in
        *"cannot open shared object file"*) ;;
        *) fail "OpenCV cannot be imported: $(printf '%s\n' "$problem" | tail -n 1)" ;;
    esac
    say "== opencv-python needs $(printf '%s\n' "$problem" | grep -o '[^ ]*\.so[.0-9]*' | tail -n 1), which is not installed: using opencv-python-headless"
    say "   (without preview windows; to get them, install that library, remove .venv and run this again)"
    "$python" -m pip uninstall --quiet --yes opencv-python
    sync_locked --categories headless
    "$python" -c 'import cv2' || fail "OpenCV cannot be imported, not even the headless build."
}

# Move a folder away, so that an interruption leaves no half of it, then remove it.
discard() {
    [ -e "$1" ] || return 0
    mkdir -p build
    mv "$1" "$(mktemp -d build/old.XXXXXX)"
    rm -rf build/old.*
}

# Only one process at a time changes .venv and .tools.
take_lock() {
    local other
    mkdir -p .tools
    if ! (set -o noclobber && echo $$ > "$lock") 2>/dev/null; then
        other=$(cat "$lock")
        if kill -0 "$other" 2>/dev/null; then
            fail "process $other is making the environment: wait for it (if it is another program, remove $lock)."
        fi
        echo $$ > "$lock"
    fi
    trap 'stop_ticker; rm -f "$lock"' EXIT
}

make_environment() {
    local made_in
    made_in=$(head -n 1 "$stamp" 2>/dev/null || echo "$root")
    if [ "$made_in" != "$root" ] || { [ -e .venv ] && ! "$python" -c '' 2>/dev/null; }; then
        say "== this folder was moved or the Python of .venv is gone: making .venv again"
        discard .venv
        discard .tools/pipenv
    elif [ -e "$unfinished" ]; then
        # pip considers a package installed as soon as its metadata are there.
        say "== the last installation was interrupted: making .venv again"
        discard .venv
    fi
    rm -f "$stamp"
    make_pipenv
    touch "$unfinished"
    say "== installing Pipfile.lock into .venv (the first time, 1.6 GB to download and 3.4 GB on disk)"
    case $(opencv_builds) in
        *headless*) "$python" -m pip uninstall -qq --yes opencv-python opencv-python-headless ;;
    esac
    : > "$log"
    sync_locked --categories "$categories"
    choose_opencv
    # The command `ferlib`, and `import ferlib` in every folder, notebooks/ included.
    "$python" -m pip install --quiet --no-deps --no-build-isolation --editable . >> "$log" 2>&1 \
        || fail "ferlib could not be installed; the full report is in $log."
    rm "$unfinished"
    wanted_stamp > "$stamp"
    say "== the environment is ready in .venv ($("$python" --version), $(opencv_builds))"
}

# The lock must not depend on this machine: neither on its pip configuration, which is part of the lock's hash,
# nor on the address of an index.
lock_versions() {
    make_pipenv
    PIP_CONFIG_FILE=/dev/null "$pipenv_home/bin/python" -m pipenv lock
    "$pipenv_home/bin/python" - <<'END'
import json
from pathlib import Path

path = Path("Pipfile.lock")
lock = json.loads(path.read_text(encoding="utf-8"))
lock["_meta"]["sources"] = []
path.write_text(json.dumps(lock, indent=4, sort_keys=True) + "\n", encoding="utf-8")
END
}

case ${1:-} in
    lock) take_lock; lock_versions ;;
    '') is_ready || { take_lock; make_environment; } ;;
    *) fail "unknown argument $1; expected lock or nothing." ;;
esac
