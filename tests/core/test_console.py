"""Exit statuses, log messages and progress bars of the commands."""

import logging
import subprocess
import sys
import time

import pytest

from ferlib.core.console import logger, progress_bar, run, set_verbosity, write_line
from ferlib.core.errors import DataError, OptionError


@pytest.fixture(autouse=True)
def _default_verbosity():
    yield
    set_verbosity()


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


def test_a_log_file_gets_few_progress_lines(capsys):
    seen = []
    for item in progress_bar(range(500), desc="count"):
        seen.append(item)
        time.sleep(0.001)
    assert seen == list(range(500))
    err = capsys.readouterr().err
    assert "count: 100%" in err
    assert "500/500" in err
    # One update at the start and one at the end; those between come every ten seconds.
    assert err.count("\r") <= 3


def test_a_progress_bar_can_be_moved_by_hand(capsys):
    with progress_bar(total=4, initial=1, unit="batch") as bar:
        bar.update(3)
    assert "4/4" in capsys.readouterr().err
