"""However a command ends, a person reads one sentence and a script reads the exit status."""

import subprocess
import sys

import pytest

from ferlib.core.console import run
from ferlib.core.errors import DataError


def test_the_status_of_a_command_is_that_of_the_process():
    with pytest.raises(SystemExit) as ended:
        run(lambda argv: 3)
    assert ended.value.code == 3


def test_an_error_of_ours_is_one_line(capsys):
    def fail(argv):
        raise DataError("There is no data set.")

    with pytest.raises(SystemExit) as ended:
        run(fail)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: There is no data set.\n"


def test_an_error_that_nobody_foresaw_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(lambda argv: 1 // 0)


def test_ctrl_c_ends_without_a_traceback_and_waits_for_no_thread():
    code = (
        "import threading, time; from ferlib.core.console import run\n"
        "def interrupt(argv):\n"
        "    threading.Thread(target=time.sleep, args=(100,)).start()\n"
        "    print('half', end='')\n"
        "    raise KeyboardInterrupt\n"
        "run(interrupt)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "half", "\nstopped\n")


def test_a_reader_that_leaves_early_is_no_news():
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
