"""Fixtures of the tests of sources."""

import os

import pytest
from kaggle_server import TOKEN, KaggleServer, serve


@pytest.fixture
def home(tmp_path):
    """An empty home folder."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def kaggle_server():
    """A running server that speaks Kaggle's API."""
    kaggle = KaggleServer()
    server = serve(kaggle)
    yield kaggle
    server.shutdown()
    server.server_close()


@pytest.fixture
def environment(home, kaggle_server):
    """The environment of a process that takes the server for Kaggle and has an access token.

    ``KAGGLE_API_ENVIRONMENT=LOCALHOST`` sends the client to port 80 of this machine, which only an administrator may
    serve; named as the client's HTTP proxy, a server on any port gets the same requests.
    """
    foreign = ("KAGGLE", "FER2013", "XDG", "NO_PROXY", "ALL_PROXY")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
    return kept | {
        "HOME": str(home),
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "KAGGLE_API_TOKEN": TOKEN,
        "http_proxy": kaggle_server.url,
    }
