"""The real client of Kaggle, each time in a process of its own, against a server on this machine."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from kaggle_server import KEY, REFRESH_TOKEN, TOKEN, USER, start_python, zip_bytes

from ferlib.core.errors import DataError
from ferlib.data.kaggle import DEFAULT_DATASET, dataset_path, fetch_dataset, has_credentials
from ferlib.synthetic.generate import write_synthetic

OTHER_DATASET = "jonathanoheix/face-expression-recognition-dataset"

_FETCH = """
import sys
from ferlib.core.errors import FerlibError
from ferlib.data.kaggle import fetch_dataset
try:
    print(fetch_dataset(sys.argv[1], data_dir=sys.argv[2], force=len(sys.argv) > 3))
except FerlibError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def _fetch(environment, data_dir, dataset=DEFAULT_DATASET, *options):
    """Run a download to its end; return its standard output and its standard error."""
    process = start_python(["-c", _FETCH, dataset, str(data_dir), *options], environment)
    output, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    assert process.returncode == (0 if output else 1)
    return output.strip(), errors.strip()


def _refused(environment, data_dir, dataset=DEFAULT_DATASET):
    """Return the error of a download that must fail, and must leave nothing that looks whole."""
    output, errors = _fetch(environment, data_dir, dataset)
    assert not output
    assert not list(Path(data_dir).rglob("*.zip"))
    return errors.splitlines()[-1]


@pytest.mark.parametrize("redirect", [True, False])
@pytest.mark.parametrize("dataset", [DEFAULT_DATASET, OTHER_DATASET])
def test_data_set_comes_whole_and_is_not_fetched_twice(kaggle_server, environment, home, tmp_path, dataset, redirect):
    kaggle_server.redirect = redirect
    kaggle_server.files[dataset] = zip_bytes()
    path = tmp_path / "data" / "raw" / f"{dataset.split('/')[1]}.zip"
    before = time.time()
    output, progress = _fetch(environment, tmp_path / "data", dataset)
    assert output == str(path), "the client's own chatter must not reach standard output"
    assert path.read_bytes() == kaggle_server.files[dataset]
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mtime > before - 5
    assert f"Downloading {path.name}: 100%" in progress
    assert not list(home.iterdir()), "the client made a folder for its configuration"

    asked = len(kaggle_server.requests)
    assert _fetch(environment, tmp_path / "data", dataset)[0] == str(path)
    assert len(kaggle_server.requests) == asked
    kaggle_server.files[dataset] = zip_bytes(seed=5)
    _fetch(environment, tmp_path / "data", dataset, "force")
    assert path.read_bytes() == kaggle_server.files[dataset]


def test_data_sets_of_equal_name_do_not_share_a_file():
    assert dataset_path("someone/fer2013", "data") != dataset_path(DEFAULT_DATASET, "data")


@pytest.mark.parametrize("slug", ["fer2013", "a/b/c", "../fer2013", "a/..", "a/../b", "", "/x", "a b/c", "a/b?c"])
def test_what_is_no_slug_is_refused(tmp_path, slug):
    with pytest.raises(DataError, match="expected owner/name"):
        fetch_dataset(slug, data_dir=tmp_path)


def _token_file(home, environment):
    (home / "token").write_text(TOKEN + "\n")
    environment["KAGGLE_API_TOKEN"] = str(home / "token")


def _home_token(home, environment):
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text(TOKEN + "\n")


def _user_and_key(home, environment):
    environment |= {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY}


def _json_in(*place):
    def write(home, environment):
        folder = home.joinpath(*place)
        folder.mkdir(parents=True)
        (folder / "kaggle.json").write_text(json.dumps({"username": USER, "key": KEY}))
        (folder / "kaggle.json").chmod(0o644)

    return write


def _moved_json(home, environment):
    _json_in("elsewhere")(home, environment)
    environment["KAGGLE_CONFIG_DIR"] = str(home / "elsewhere")


def _key_beside_json(home, environment):
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text(json.dumps({"username": USER}))
    environment["KAGGLE_KEY"] = KEY


def _login(home, environment):
    (home / ".kaggle").mkdir()
    value = {"refresh_token": REFRESH_TOKEN, "username": USER, "access_token": "", "access_token_expiration": ""}
    (home / ".kaggle" / "credentials.json").write_text(json.dumps(value))


def _notebook(home, environment):
    (home / "token").write_text(TOKEN)
    environment |= {
        "KAGGLE_KERNEL_RUN_TYPE": "Interactive",
        "KAGGLE_DATA_PROXY_URL": "http://localhost/proxy",
        "KAGGLE_API_V1_TOKEN": str(home / "token"),
    }


_FORMS = {
    "token": lambda home, environment: environment.update(KAGGLE_API_TOKEN=TOKEN),
    "token file": _token_file,
    "access_token": _home_token,
    "user and key": _user_and_key,
    "kaggle.json": _json_in(".kaggle"),
    "kaggle.json in XDG": _json_in(".config", "kaggle"),
    "kaggle.json moved": _moved_json,
    "key beside kaggle.json": _key_beside_json,
    "login": _login,
    "Kaggle notebook": _notebook,
}


@pytest.mark.parametrize("form", _FORMS)
def test_every_form_of_credentials_is_seen_and_works(kaggle_server, environment, home, tmp_path, form):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes(1000)
    del environment["KAGGLE_API_TOKEN"]
    _FORMS[form](home, environment)
    output, error = _fetch(environment, tmp_path / "data")
    assert output.endswith("fer2013.zip"), error


@pytest.mark.parametrize("form", ["nothing", "empty", "half", "empty file", "damaged json", "very long token"])
def test_credentials_are_looked_for_without_the_client_or_the_network(monkeypatch, home, form):
    for name in [name for name in os.environ if name.startswith(("KAGGLE", "XDG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    (home / ".kaggle").mkdir()
    if form == "empty":
        monkeypatch.setenv("KAGGLE_API_TOKEN", "")
        monkeypatch.setenv("KAGGLE_USERNAME", "")
        monkeypatch.setenv("KAGGLE_KEY", "")
    elif form == "half":
        monkeypatch.setenv("KAGGLE_USERNAME", USER)
    elif form == "empty file":
        monkeypatch.setenv("KAGGLE_API_TOKEN", str(home / "token"))
        (home / "token").write_text("\n")
    elif form == "damaged json":
        (home / ".kaggle" / "kaggle.json").write_text('{"username": ')
        (home / ".kaggle" / "credentials.json").write_text("[]")
    elif form == "very long token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", "x" * 2000)
    assert has_credentials() is (form == "very long token")
    assert "kaggle" not in sys.modules


def test_no_credentials_are_an_error_with_three_ways_out(kaggle_server, environment, home, tmp_path):
    del environment["KAGGLE_API_TOKEN"]
    error = _refused(environment, tmp_path / "data")
    assert error.startswith("CredentialsError: There are no Kaggle credentials")
    assert all(way in error for way in ("KAGGLE_API_TOKEN", "--archive", "--synthetic"))
    assert not kaggle_server.requests
    assert not list(home.iterdir())


@pytest.mark.parametrize("credentials", [{"KAGGLE_API_TOKEN": "wrong"}, {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": "no"}])
def test_wrong_credentials_are_told(kaggle_server, environment, tmp_path, credentials):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes(1000)
    del environment["KAGGLE_API_TOKEN"]
    error = _refused(environment | credentials, tmp_path / "data")
    assert error.startswith("CredentialsError: Kaggle does not accept your credentials")
    assert "make a new token" in error


@pytest.mark.parametrize(
    ("status", "kind", "parts"),
    [
        (401, "CredentialsError", ("does not accept your credentials",)),
        (403, "CredentialsError", (f"https://www.kaggle.com/datasets/{DEFAULT_DATASET}", "accept its rules")),
        (404, "DownloadError", (f"no data set '{DEFAULT_DATASET}'", "check the name")),
        (429, "DownloadError", ("try again in some minutes",)),
        (503, "DownloadError", ("status 503", "try again later", "--archive")),
    ],
)
def test_refusals_say_what_to_do(kaggle_server, environment, tmp_path, status, kind, parts):
    kaggle_server.refused[DEFAULT_DATASET] = status
    error = _refused(environment, tmp_path / "data")
    assert error.startswith(f"{kind}: ")
    assert all(part in error for part in parts)


def test_unknown_data_set_is_told(environment, tmp_path):
    assert "no data set 'msambare/fer2014'" in _refused(environment, tmp_path / "data", "msambare/fer2014")


def test_no_network_is_told_at_once(environment, tmp_path):
    environment["http_proxy"] = "http://127.0.0.1:9"
    start = time.perf_counter()
    error = _refused(environment, tmp_path / "data")
    assert error.startswith("DownloadError: Kaggle cannot be reached")
    assert all(part in error for part in ("check the network", "--archive", "--synthetic"))
    assert time.perf_counter() - start < 30


def test_file_larger_than_the_disk_is_refused_before_it_comes(kaggle_server, environment, tmp_path):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes()
    kaggle_server.declared_size = 1 << 60
    error = _refused(environment, tmp_path / "data")
    assert error.startswith("DownloadError: The disk of")
    assert "free some space" in error
    assert not list((tmp_path / "data" / "raw").iterdir())


def test_write_that_fails_midway_is_told_at_once(kaggle_server, environment, tmp_path):
    """The system lets no file grow over a megabyte, as it would not on a disk that has become full."""
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))"
    start = time.perf_counter()
    process = start_python(["-c", limit + _FETCH, DEFAULT_DATASET, str(tmp_path / "data")], environment)
    output, errors = process.communicate(timeout=120)
    assert not output
    assert errors.splitlines()[-1].startswith("DownloadError: ")
    assert "File too large" in errors
    assert len(kaggle_server.downloads()) == 1
    assert time.perf_counter() - start < 30
    assert not list((tmp_path / "data" / "raw").glob("*.zip"))


def test_folder_that_cannot_be_written_is_told(environment, tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    error = _refused(environment, tmp_path / "data")
    assert error.startswith("DownloadError: ")
    assert "cannot be written" in error


def test_broken_connection_is_continued_where_it_broke(kaggle_server, environment, tmp_path):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes(5 << 20)
    kaggle_server.cut_after = [3 << 20]
    output, _ = _fetch(environment, tmp_path / "data")
    assert Path(output).read_bytes() == kaggle_server.files[DEFAULT_DATASET]
    # The client opens the store's address itself before it asks for the rest.
    assert any(span.startswith("bytes=") and span != "bytes=0-" for span in kaggle_server.downloads())
    assert [path.name for path in Path(output).parent.iterdir()] == ["fer2013.zip"]


@pytest.mark.parametrize("change", ["none", "no ranges", "new version"])
def test_killed_download_is_never_taken_for_whole_and_then_finished(kaggle_server, environment, tmp_path, change):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes(5 << 20)
    kaggle_server.hold_after = 3 << 20
    raw = tmp_path / "data" / "raw"
    process = start_python(["-c", _FETCH, DEFAULT_DATASET, str(tmp_path / "data")], environment)
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size >= 2 << 20 for file in raw.glob("*.partial")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (raw / "fer2013.zip").exists()

    kaggle_server.hold_after = None
    kaggle_server.ranges = change != "no ranges"
    if change == "new version":
        kaggle_server.version = 2
        kaggle_server.files[DEFAULT_DATASET] = zip_bytes(4 << 20, seed=7)
    output, _ = _fetch(environment, tmp_path / "data")
    assert Path(output).read_bytes() == kaggle_server.files[DEFAULT_DATASET]
    assert [path.name for path in raw.iterdir()] == ["fer2013.zip"]
    continued = any(span.startswith("bytes=") for span in kaggle_server.downloads())
    assert continued is (change == "none")


def test_interrupt_leaves_a_partial_file_only(kaggle_server, environment, tmp_path):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes(5 << 20)
    kaggle_server.hold_after = 3 << 20
    raw = tmp_path / "data" / "raw"
    process = start_python(["-m", "ferlib.download", "--data-dir", str(tmp_path / "data")], environment)
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size >= 2 << 20 for file in raw.glob("*.partial")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not list(raw.glob("*.zip"))


@pytest.mark.parametrize(
    "data",
    [b"<html>Sign in to this network</html>", zip_bytes()[: 2 << 20], b""],
)
def test_what_is_no_whole_zip_is_removed(kaggle_server, environment, tmp_path, data):
    kaggle_server.files[DEFAULT_DATASET] = data
    error = _refused(environment, tmp_path / "data")
    assert error.startswith("DownloadError: What Kaggle sent is no usable zip")
    assert not list((tmp_path / "data" / "raw").iterdir())


def test_damaged_zip_is_removed(kaggle_server, environment, tmp_path):
    data = bytearray(zip_bytes())
    data[1 << 20] ^= 0xFF
    kaggle_server.files[DEFAULT_DATASET] = bytes(data)
    error = _refused(environment, tmp_path / "data")
    assert "'train/happy/a.png' is damaged" in error
    assert not list((tmp_path / "data" / "raw").iterdir())


def test_command_puts_kaggles_data_into_raw(kaggle_server, environment, tmp_path):
    write_synthetic(tmp_path / "faces.zip", train_size=70, test_size=21)
    kaggle_server.files[OTHER_DATASET] = (tmp_path / "faces.zip").read_bytes()
    command = ["-m", "ferlib.download", "--dataset", OTHER_DATASET, "--data-dir", str(tmp_path / "data")]
    process = start_python(command, environment)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "91 images" in output
    names = sorted(path.name for path in (tmp_path / "data" / "raw").iterdir())
    assert names == [f"face-expression-recognition-dataset{suffix}" for suffix in (".manifest.json", ".zip")]


def test_command_without_credentials_names_three_ways(environment, tmp_path):
    del environment["KAGGLE_API_TOKEN"]
    process = start_python(["-m", "ferlib.download", "--data-dir", str(tmp_path / "data")], environment)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (1, "")
    assert errors.startswith("error: There are no Kaggle credentials")
    assert errors.count("\n") == 1
    assert all(way in errors for way in ("KAGGLE_API_TOKEN", "--archive", "--synthetic"))
