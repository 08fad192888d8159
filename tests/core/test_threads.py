"""What several threads use at the same time although it belongs to the whole process."""

import contextlib
import os
import threading
import warnings

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.images import ignore_warnings
from ferlib.core.threads import available_cores


def test_overlapping_blocks_restore_warning_filters():
    filters = list(warnings.filters)
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(ignore_warnings())
    second.enter_context(ignore_warnings())
    first.close()
    warnings.warn("ignored until the last block ends", stacklevel=1)
    second.close()
    assert warnings.filters == filters


def test_overlapping_threads_restore_standard_error(capfd):
    first_inside, second_inside, first_done = threading.Event(), threading.Event(), threading.Event()

    def first():
        with suppress_native_stderr():
            first_inside.set()
            second_inside.wait(0.3)  # in vain, if the second thread has to wait for the first
        first_done.set()

    def second():
        first_inside.wait()
        with suppress_native_stderr():
            second_inside.set()
            first_done.wait()

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"visible\n")
    assert capfd.readouterr().err == "visible\n"


def test_quota_of_a_container_limits_the_cores(tmp_path, monkeypatch):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr("ferlib.core.threads._QUOTA_FILE", quota)
    everything = available_cores()
    for text, expected in (("max 100000", everything), ("50000 100000", 1), ("150000 100000", min(2, everything))):
        quota.write_text(text)
        assert available_cores() == expected
