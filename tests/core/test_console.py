"""Exit statuses, log messages and progress bars of the commands."""

import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ferlib.core.console import logger, progress_bar, run, set_verbosity, write_line
from ferlib.core.errors import DataError, OptionError


def _python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_the_status_of_a_command_is_that_of_the_process():
    with pytest.raises(SystemExit) as ended:
        run(lambda argv: 3)
    assert ended.value.code == 3


@pytest.mark.parametrize(("kind", "status"), [(DataError, 1), (OptionError, 2)])
def test_package_errors_are_one_line(kind, status, capsys):
    def fail(argv):
        raise kind("There is no dataset.")

    with pytest.raises(SystemExit) as ended:
        run(fail)
    assert ended.value.code == status
    assert capsys.readouterr().err == "error: There is no dataset.\n"


@pytest.mark.parametrize("time", ["first", "second"])
def test_commands_leave_no_state_to_the_next_test(time):
    assert logger.level < logging.WARNING
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with pytest.raises(SystemExit):
        run(lambda argv: set_verbosity(quiet=True) or 0)
    assert logger.level == logging.WARNING
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL


def test_unexpected_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run(lambda argv: 1 // 0)


def test_ctrl_c_ends_at_once_without_traceback():
    done = _python(
        "import threading, time; from ferlib.core.console import run\n"
        "def interrupt(argv):\n"
        "    threading.Thread(target=time.sleep, args=(100,)).start()\n"
        "    print('half', end='')\n"
        "    raise KeyboardInterrupt\n"
        "run(interrupt)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "half", "\nstopped\n")


def test_closed_pipe_is_not_an_error_message():
    code = (
        "import sys; from ferlib.core.console import run;"
        "run(lambda argv: max(sys.stdout.write(f'line {i}\\n') for i in range(100_000)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout.readline() == "line 0\n"
        command.stdout.close()
        assert command.stderr.read() == ""
    assert command.returncode == 1


@pytest.mark.parametrize(
    ("options", "shown"),
    [("", "info\nwarning\n"), ("verbose=True", "debug\ninfo\nwarning\n"), ("quiet=True", "warning\n")],
)
def test_verbosity_selects_messages_of_the_package_only(options, shown):
    done = _python(
        "import logging; from ferlib.core.console import logger, progress_bar, set_verbosity\n"
        f"set_verbosity({options})\n"
        "logging.getLogger('other').info('of another package')\n"
        "log = logging.getLogger('ferlib.data')\n"
        "log.debug('debug'); log.info('info'); log.warning('warning')"
    )
    assert done.stderr == shown


def test_quiet_hides_progress_bars(capsys):
    set_verbosity(quiet=True)
    assert list(progress_bar(range(3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    assert logger.level == logging.WARNING


def test_results_and_notes_go_to_different_streams(capsys):
    write_line("result")
    write_line("note", error=True)
    assert capsys.readouterr() == ("result\n", "note\n")


def test_a_log_file_gets_no_progress_bar(capsys):
    pytest.importorskip("ipykernel")  # a program that executes notebooks imports it, and is not in one
    assert list(progress_bar(range(5), desc="count")) == list(range(5))
    write_line("first")
    with progress_bar(total=3) as bar:
        bar.update(3)
    assert capsys.readouterr() == ("first\n", "")


def test_a_progress_bar_can_be_moved_by_hand(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(total=4, initial=1, unit="batch") as bar:
        bar.update(3)
    assert "4/4" in terminal.getvalue()


def _shell(command: str, **variables) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **variables}
    command = command.replace("PYTHON", sys.executable)
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=environment)


SAY = "from ferlib.core.console import run, write_line; run(lambda argv: write_line('\u0444\u0430\u0439\u043b') or 0)"


def test_names_that_the_terminal_lacks_are_escaped():
    done = _shell(f'PYTHON -c "{SAY}"', PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stdout, done.stderr) == (0, r"\u0444\u0430\u0439\u043b" + "\n", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_do_not_matter(closed, tmp_path):
    code = (
        "from ferlib.core.console import run, write_line\n"
        "def main(argv):\n"
        f"    file = open({str(tmp_path / 'f')!r}, 'w')\n"
        "    write_line('result'); write_line('note', error=True)\n"
        "    file.write('content'); file.close()\n"
        "    return 0\n"
        "run(main)\n"
    )
    (tmp_path / "script.py").write_text(code)
    done = _shell(f"PYTHON {tmp_path / 'script.py'} {closed}")
    assert done.returncode == 0
    assert done.stdout == ("" if ">&-" in closed.split() else "result\n")
    # No output goes into a file that was opened later.
    assert (tmp_path / "f").read_text() == "content"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_sentence():
    done = _shell(f'PYTHON -c "{SAY}" > /dev/full')
    assert (done.returncode, done.stderr) == (
        1,
        "error: standard output cannot be written (No space left on device).\n",
    )
    assert _shell("PYTHON -m ferlib.predict missing.jpg 2> /dev/full").returncode == 1


def test_control_characters_in_names_are_escaped(capsys):
    write_line("\x1b[31mred\x9b.jpg\u202egpj.exe\tnext\nline")
    assert capsys.readouterr().out == "\\x1b[31mred\\x9b.jpg\\u202egpj.exe\tnext\nline\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_signals_end_as_ctrl_c_does(name):
    code = (
        "import os, signal, sys; from ferlib.core.console import run\n"
        "def main(argv):\n"
        "    try:\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "    finally:\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "        print('completed')\n"
        "run(main)"
    )
    done = _python(code)
    assert (done.stdout, done.stderr) == ("completed\n", "\nstopped\n")
    assert done.returncode == 128 + getattr(signal, name)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signals_wait_until_all_files_have_a_row(name, status):
    code = (
        "import os, signal; from ferlib.core.console import hold_signals, run\n"
        "def main(argv):\n"
        "    with hold_signals():\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "        print('written')\n"
        "    print('not reached')\n"
        "run(main)"
    )
    done = _python(code)
    assert (done.stdout, done.stderr, done.returncode) == ("written\n", "\nstopped\n", status)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_nohup_stays_in_force():
    code = (
        "import os, signal; from ferlib.core.console import run\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "run(lambda argv: os.kill(os.getpid(), signal.SIGHUP) or 0)"
    )
    assert _python(code).returncode == 0
