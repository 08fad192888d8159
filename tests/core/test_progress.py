"""A bar that passes everything through and leaves a log readable."""

import time

from ferlib.core.console import progress_bar


def test_a_log_gets_a_few_lines(capsys):
    seen = []
    for item in progress_bar(range(500), desc="count"):
        seen.append(item)
        time.sleep(0.001)
    assert seen == list(range(500))
    err = capsys.readouterr().err
    assert "count: 100%" in err
    assert "500/500" in err
    # One at the start, one at the end; what comes between comes every ten seconds.
    assert err.count("\r") <= 3


def test_a_bar_without_items_is_moved_by_hand(capsys):
    with progress_bar(total=4, initial=1, unit="batch") as bar:
        bar.update(3)
    assert "4/4" in capsys.readouterr().err
