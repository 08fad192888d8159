"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest


def _archive(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: this test needs the real data")
    path = Path(value)
    assert path.exists(), f"{variable} names {value}, which does not exist"
    return path


@pytest.fixture(scope="session")
def fer2013_archive() -> Path:
    """The real FER2013 archive that FER2013_ARCHIVE names."""
    return _archive("FER2013_ARCHIVE")


@pytest.fixture(scope="session")
def expw_archive() -> Path:
    """The real ExpW sample that EXPW_ARCHIVE names."""
    return _archive("EXPW_ARCHIVE")
