"""Services that tests share, and requests to them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from running_service import Service, run_service

HOPPER = Path(__file__).parents[2] / "docs" / "images" / "grace_hopper.jpg"


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Return a service with the default options."""
    with run_service() as running:
        yield running


@pytest.fixture
def client(service) -> Iterator[httpx.Client]:
    with service.client() as connection:
        yield connection


@pytest.fixture(scope="session")
def photo() -> bytes:
    return HOPPER.read_bytes()
