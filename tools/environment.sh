#!/usr/bin/env bash
# Make the environment that Pipfile.lock describes, in .venv, and leave it alone when it is already there.
#
#   tools/environment.sh        make or renew .venv
#   tools/environment.sh lock   choose versions anew and write Pipfile.lock
#
# PYTHON=/path/to/python3.12 in the environment chooses the Python.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

pipenv_version=2026.10.3
pipenv_home=.tools/pipenv
python=.venv/bin/python
stamp=.venv/ferlib-environment
lock=.tools/lock
unfinished=.tools/unfinished
ticker=''
log=.tools/install.log

# pipenv is to look at this clone and nothing else, whatever is active in the shell.
export PIPENV_VENV_IN_PROJECT=1 PIPENV_IGNORE_VIRTUALENVS=1 PIPENV_NOSPIN=1 PIPENV_YES=1
export PIPENV_PIPFILE=$root/Pipfile PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0
unset PYTHONHOME PYTHONPATH

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# What the environment depends on: the place (scripts hold it), the lock and this script.
wanted_stamp() { printf '%s\n' "$root"; cksum Pipfile.lock tools/environment.sh; }

# The names of the OpenCV builds that are installed, on one line.
opencv_builds() {
    local found
    for found in .venv/lib/python3.*/site-packages/opencv_python*.dist-info; do
        [ -d "$found" ] && basename "$found" | sed 's/-[0-9].*//; s/_/-/g'
    done | paste -sd ' ' -
}

is_ready() {
    [ -f "$stamp" ] && wanted_stamp | cmp -s - "$stamp" && "$python" -c '' 2>/dev/null || return 1
    # A `pipenv sync` by hand may have put a second OpenCV over the one that works here.
    case $(opencv_builds) in *' '* | '') return 1 ;; esac
}

# Print the Python to use: $PYTHON, or the first that is new enough, not too new, and can make environments.
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
    fail "none of $* is a Python of version 3.11, 3.12 or 3.13 (TensorFlow has no build for others): install one, or name it, as in: make demo PYTHON=/path/to/python3.12"
}

make_pipenv() {
    if [ "$("$pipenv_home/bin/python" -m pipenv --version 2>/dev/null)" = "pipenv, version $pipenv_version" ]; then
        return
    fi
    local chosen
    chosen=$(choose_python)
    say "== pipenv $pipenv_version in $pipenv_home, on $chosen"
    rm -rf "$pipenv_home"
    "$chosen" -m venv "$pipenv_home"
    "$pipenv_home/bin/python" -m pip install --quiet "pipenv==$pipenv_version"
}

stop_ticker() {
    if [ -n "$ticker" ]; then
        kill "$ticker" 2>/dev/null || true
        wait "$ticker" 2>/dev/null || true
        ticker=''
    fi
}

# Run pipenv with its full report going to the log; show the line of each package as it comes.
sync_locked() {
    local total status=0
    total=$(grep -c '"version": "==' Pipfile.lock)
    # Unpacking takes minutes without a word from pip: say how far .venv has grown.
    ( while sleep 20 > /dev/null 2>&1; do say "   $(du -sm .venv 2>/dev/null | cut -f1) MB in .venv so far"; done ) &
    ticker=$!
    COLUMNS=4000 "$pipenv_home/bin/python" -m pipenv sync --verbose "$@" 2>&1 | tee -a "$log" | awk -v total="$total" '
        /^Collecting /           { if (++n % 20 == 0) { printf "   %d packages of at most %d\n", n, total; fflush() } }
        /^ *Downloading .*MB\)/  { size = $NF == "MB)" ? substr($(NF - 1), 2) + 0 : 0
                                   if (size > 20) { print "   downloading " $2 " " $(NF - 1) " " $NF; fflush() } }
        /^Installing collected/  { print "   unpacking"; fflush() }' >&2 || status=$?
    stop_ticker
    if [ "$status" -ne 0 ]; then
        tail -n 15 "$log" | cut -c1-300 >&2
        fail "the packages could not be installed; $log has the whole report. Once the cause is gone, run the same command again."
    fi
}

# The GUI build of OpenCV needs libraries of a desktop (libxcb, libGL, libgthread); both builds fill the same folder.
choose_opencv() {
    local problem
    if problem=$(LC_ALL=C "$python" -c 'import cv2' 2>&1); then
        return
    fi
    case $problem in
        *"cannot open shared object file"*) ;;
        *) fail "OpenCV cannot be imported: $(printf '%s\n' "$problem" | tail -n 1)" ;;
    esac
    say "== OpenCV with windows needs $(printf '%s\n' "$problem" | grep -o '[^ ]*\.so[.0-9]*' | tail -n 1), which this machine lacks: taking opencv-python-headless instead"
    say "   (everything works but the camera window; with that library installed, remove .venv and make it again)"
    "$python" -m pip uninstall --quiet --yes opencv-python
    sync_locked --categories headless
    "$python" -c 'import cv2' || fail "OpenCV cannot be imported, not even its headless build."
}

# Take a folder away at once, so that an interruption leaves no half of it, then remove it.
discard() {
    [ -e "$1" ] || return 0
    mkdir -p build
    mv "$1" "$(mktemp -d build/old.XXXXXX)"
    rm -rf build/old.*
}

# Hold others off while this process works on .venv and .tools.
take_lock() {
    local other
    mkdir -p .tools
    if ! (set -o noclobber && echo $$ > "$lock") 2>/dev/null; then
        other=$(cat "$lock")
        if kill -0 "$other" 2>/dev/null; then
            fail "process $other is making the environment: wait for it (if it is something else, remove $lock)."
        fi
        echo $$ > "$lock"
    fi
    trap 'stop_ticker; rm -f "$lock"' EXIT
}

make_environment() {
    local made_in
    made_in=$(head -n 1 "$stamp" 2>/dev/null || echo "$root")
    if [ "$made_in" != "$root" ]; then
        say "== this folder was moved: making the environment again"
        discard .venv
        discard .tools/pipenv
    elif [ -e .venv ] && ! "$python" -c '' 2>/dev/null; then
        say "== the Python of .venv is gone: making it again"
        discard .venv
        discard .tools/pipenv
    elif [ -e "$unfinished" ]; then
        # pip takes a package for whole once its description is there.
        say "== the last installation was interrupted: making .venv again"
        discard .venv
    fi
    rm -f "$stamp"
    make_pipenv
    touch "$unfinished"
    say "== packages of Pipfile.lock into .venv (the first time, 1.5 GB to download and 3 GB on the disk)"
    case $(opencv_builds) in
        *headless*) "$python" -m pip uninstall -qq --yes opencv-python opencv-python-headless ;;
    esac
    : > "$log"
    sync_locked --dev
    choose_opencv
    # `import ferlib` works from every folder, notebooks/ among them.
    printf '%s\n' "$root" > "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ferlib.pth"
    rm "$unfinished"
    wanted_stamp > "$stamp"
    say "== the environment is ready in .venv ($("$python" --version), $(opencv_builds))"
}

# The lock must not depend on this machine: neither its pip configuration, which is part of the lock's hash,
# nor the address of an index.
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
    *) fail "unknown argument $1; see the head of this script." ;;
esac
