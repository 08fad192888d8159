"""Recorded results are read from the project's folder."""

import pytest

from ferlib.core.errors import DataError
from ferlib.runs.reports import read_report


def test_recorded_results_are_found_from_the_notebooks(monkeypatch):
    monkeypatch.chdir("notebooks")
    assert read_report("measurements.csv").loc["duplicate_groups", "value"] == 1271


def test_missing_results_are_explained(tmp_path):
    with pytest.raises(DataError, match="reports of the project's repository"):
        read_report("measurements.csv", tmp_path)
