"""Kaggle's real client, each time in a new process, against a local server."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from kaggle_server import KEY, REFRESH_TOKEN, TOKEN, USER, start_python, zip_bytes

from ferlib.core.errors import DataError
from ferlib.data import kaggle
from ferlib.data.kaggle import DEFAULT_DATASET, dataset_path, fetch_dataset, has_credentials
from ferlib.synthetic.generate import write_synthetic

OTHER_DATASET = "jonathanoheix/face-expression-recognition-dataset"

_FETCH = """
import sys
from ferlib.core.errors import FerlibError
from ferlib.data import kaggle
from ferlib.data.kaggle import fetch_dataset
failed = False
for dataset in sys.argv[1].split(","):
    try:
        print(fetch_dataset(dataset, data_dir=sys.argv[2], force=len(sys.argv) > 3))
    except FerlibError as error:
        failed = True
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
sys.exit(failed)
"""


def _fetch(environment, data_dir, dataset=DEFAULT_DATASET, *options):
    """Run a download; return its standard output and standard error."""
    process = start_python(["-c", _FETCH, dataset, str(data_dir), *options], environment)
    output, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    assert process.returncode == (0 if output else 1)
    return output.strip(), errors.strip()


def _errors_of(environment, data_dir, datasets):
    """Return the errors of downloads that must fail and leave no complete file."""
    output, errors = _fetch(environment, data_dir, ",".join(datasets))
    assert not output
    assert not list(Path(data_dir).rglob("*.zip"))
    return [line for line in errors.splitlines() if line.startswith(("CredentialsError: ", "DownloadError: "))]


def _error_of(environment, data_dir, dataset=DEFAULT_DATASET):
    """Return the error of a download that must fail and leave no complete file."""
    (error,) = _errors_of(environment, data_dir, [dataset])
    return error


@pytest.mark.parametrize(("dataset", "redirect"), [(DEFAULT_DATASET, True), (OTHER_DATASET, False)])
def test_dataset_is_downloaded_once(kaggle_server, environment, tmp_path, dataset, redirect):
    kaggle_server.redirect = redirect
    kaggle_server.files[dataset] = zip_bytes()
    path = tmp_path / "data" / "raw" / f"{dataset.split('/')[1]}.zip"
    before = time.time()
    output, progress = _fetch(environment, tmp_path / "data", dataset)
    assert output == str(path), "the client's own output must not reach standard output"
    assert path.read_bytes() == kaggle_server.files[dataset]
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mtime > before - 5
    assert "100%" in progress

    asked = len(kaggle_server.requests)
    assert _fetch(environment, tmp_path / "data", dataset)[0] == str(path)
    assert len(kaggle_server.requests) == asked
    kaggle_server.files[dataset] = zip_bytes(seed=5)
    _fetch(environment, tmp_path / "data", dataset, "force")
    assert path.read_bytes() == kaggle_server.files[dataset]


def test_datasets_of_one_name_have_different_files():
    assert dataset_path("someone/fer2013", "data") != dataset_path(DEFAULT_DATASET, "data")


@pytest.mark.parametrize("slug", ["fer2013", "a/b/c", "../fer2013", "a/..", "a/../b", "", "/x", "a b/c", "a/b?c"])
def test_invalid_dataset_name_is_an_error(tmp_path, slug):
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


def _key_and_json(home, environment):
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


def _json_with_mark(encoding, name="kaggle.json"):
    def write(home, environment):
        (home / ".kaggle").mkdir()
        (home / ".kaggle" / name).write_bytes(json.dumps({"username": USER, "key": KEY}).encode(encoding))

    return write


def _token_in_utf16(home, environment):
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token.txt").write_bytes(f"{TOKEN}\r\n".encode("utf-16"))


def _token_file_with_mark(home, environment):
    (home / "token").write_bytes(TOKEN.encode("utf-8-sig"))
    environment["KAGGLE_API_TOKEN"] = str(home / "token")


_WINDOWS_FORMS = {
    "kaggle.json in UTF-16": _json_with_mark("utf-16"),
    "kaggle.json.txt": _json_with_mark("utf-8-sig", "kaggle.json.txt"),
    "token file with a mark": _token_file_with_mark,
    "token in quotes": lambda home, environment: environment.update(KAGGLE_API_TOKEN=f'"{TOKEN}"'),
}


@pytest.mark.parametrize("form", _WINDOWS_FORMS)
def test_forms_that_windows_writes_are_passed_to_the_client(monkeypatch, home, form):
    for name in [name for name in os.environ if name.startswith(("KAGGLE", "XDG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    environment = {}
    _WINDOWS_FORMS[form](home, environment)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected = {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY} if "json" in form else {"KAGGLE_API_TOKEN": TOKEN}
    assert kaggle._rewritten_credentials() == expected
    assert has_credentials()


_FORMS = {
    "kaggle.json with a mark": _json_with_mark("utf-8-sig"),
    "access_token in UTF-16": _token_in_utf16,
    "token": lambda home, environment: environment.update(KAGGLE_API_TOKEN=TOKEN),
    "token file": _token_file,
    "access_token": _home_token,
    "user and key": _user_and_key,
    "kaggle.json": _json_in(".kaggle"),
    "kaggle.json in XDG": _json_in(".config", "kaggle"),
    "kaggle.json moved": _moved_json,
    "key and kaggle.json": _key_and_json,
    "login": _login,
    "Kaggle notebook": _notebook,
}


@pytest.mark.parametrize("form", _FORMS)
def test_every_form_of_credentials_works(kaggle_server, environment, home, tmp_path, form):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes(1000)
    del environment["KAGGLE_API_TOKEN"]
    _FORMS[form](home, environment)
    output, error = _fetch(environment, tmp_path / "data")
    assert output.endswith("fer2013.zip"), error


@pytest.mark.parametrize("form", ["nothing", "empty", "half", "empty file", "damaged json"])
def test_missing_credentials_are_detected_offline(monkeypatch, home, form):
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
    assert not has_credentials()
    assert "kaggle" not in sys.modules


def test_missing_credentials_are_an_error_with_alternatives(kaggle_server, environment, home, tmp_path):
    del environment["KAGGLE_API_TOKEN"]
    error = _error_of(environment, tmp_path / "data")
    assert error.startswith("CredentialsError: No Kaggle credentials found")
    assert all(way in error for way in ("KAGGLE_API_TOKEN", "--archive", "--synthetic"))
    assert not kaggle_server.requests
    assert not list(home.iterdir())


@pytest.mark.parametrize("credentials", [{"KAGGLE_API_TOKEN": "wrong"}, {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": "no"}])
def test_wrong_credentials_are_an_error(kaggle_server, environment, tmp_path, credentials):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes(1000)
    del environment["KAGGLE_API_TOKEN"]
    error = _error_of(environment | credentials, tmp_path / "data")
    assert error.startswith("CredentialsError: Kaggle rejected your credentials")
    assert "create a token" in error


def test_http_errors_say_what_to_do(kaggle_server, environment, tmp_path):
    kaggle_server.refused = {f"someone/status-{status}": status for status in (401, 403, 429, 503)}
    datasets = [*kaggle_server.refused, "someone/unknown"]
    rejected, denied, busy, broken, unknown = _errors_of(environment, tmp_path / "data", datasets)
    assert rejected.startswith("CredentialsError: Kaggle rejected your credentials")
    assert denied.startswith("CredentialsError: Kaggle denies access to 'someone/status-403'")
    assert "open https://www.kaggle.com/datasets/someone/status-403 while signed in, accept its rules" in denied
    assert "try again in a few minutes" in busy
    assert all(part in broken for part in ("status 503", "try again later", "--archive"))
    assert "no dataset 'someone/unknown' (status 404): check the name" in unknown


def test_missing_network_is_an_error_at_once(environment, tmp_path):
    environment["http_proxy"] = "http://127.0.0.1:9"
    start = time.perf_counter()
    error = _error_of(environment, tmp_path / "data")
    assert error.startswith("DownloadError: Kaggle cannot be reached")
    assert all(part in error for part in ("check the network", "--archive", "--synthetic"))
    assert time.perf_counter() - start < 30


def test_file_larger_than_the_disk_is_not_downloaded(kaggle_server, environment, tmp_path):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes()
    kaggle_server.declared_size = 1 << 60
    error = _error_of(environment, tmp_path / "data")
    assert error.startswith("DownloadError: The disk of")
    assert "free some space" in error
    assert not list((tmp_path / "data" / "raw").iterdir())


def test_failed_write_is_an_error(kaggle_server, environment, tmp_path):
    """A limit of one megabyte per file stands in for a full disk."""
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes()
    limit = "import resource, time; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))"
    # The client waits longer before each of its retries.
    limit += "; time.sleep = lambda seconds: None"
    process = start_python(["-c", limit + _FETCH, DEFAULT_DATASET, str(tmp_path / "data")], environment)
    output, errors = process.communicate(timeout=120)
    assert not output
    assert errors.splitlines()[-1].startswith("DownloadError: ")
    assert "File too large" in errors
    assert not list((tmp_path / "data" / "raw").glob("*.zip"))


def test_unwritable_folder_is_an_error(environment, tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    error = _error_of(environment, tmp_path / "data")
    assert error.startswith("DownloadError: ")
    assert "cannot be written" in error


def test_broken_connection_is_resumed(kaggle_server, environment, tmp_path):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes(5 << 20)
    kaggle_server.cut_after = [3 << 20]
    output, _ = _fetch(environment, tmp_path / "data")
    assert Path(output).read_bytes() == kaggle_server.files[DEFAULT_DATASET]
    # The client opens the store's address itself before it asks for the rest.
    assert any(span.startswith("bytes=") and span != "bytes=0-" for span in kaggle_server.downloads())
    assert [path.name for path in Path(output).parent.iterdir()] == ["fer2013.zip"]


@pytest.mark.parametrize("change", ["none", "no ranges", "new version"])
def test_killed_download_is_finished_by_the_next_call(kaggle_server, environment, tmp_path, change):
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
    resumed = any(span.startswith("bytes=") for span in kaggle_server.downloads())
    assert resumed is (change == "none")


def test_interrupted_download_leaves_only_a_partial_file(kaggle_server, environment, tmp_path):
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


def test_invalid_or_damaged_zip_is_deleted(kaggle_server, environment, tmp_path):
    damaged = bytearray(zip_bytes())
    damaged[1 << 20] ^= 0xFF
    kaggle_server.files = {
        "someone/page": b"<html>Sign in to this network</html>",
        "someone/truncated": zip_bytes()[: 2 << 20],
        "someone/empty": b"",
        "someone/damaged": bytes(damaged),
    }
    errors = _errors_of(environment, tmp_path / "data", kaggle_server.files)
    assert len(errors) == 4
    assert all(error.startswith("DownloadError: The download is not a valid zip") for error in errors)
    assert "'train/happy/a.png' is damaged" in errors[3]
    assert not list((tmp_path / "data" / "raw").iterdir())


def test_command_downloads_into_raw(kaggle_server, environment, tmp_path):
    write_synthetic(tmp_path / "faces.zip", train_size=70, test_size=21)
    kaggle_server.files[OTHER_DATASET] = (tmp_path / "faces.zip").read_bytes()
    command = ["-m", "ferlib.download", "--dataset", OTHER_DATASET, "--data-dir", str(tmp_path / "data")]
    process = start_python(command, environment)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "91 images" in output
    names = sorted(path.name for path in (tmp_path / "data" / "raw").iterdir())
    assert names == [f"face-expression-recognition-dataset{suffix}" for suffix in (".manifest.json", ".zip")]


def test_command_without_credentials_names_alternatives(environment, tmp_path):
    del environment["KAGGLE_API_TOKEN"]
    process = start_python(["-m", "ferlib.download", "--data-dir", str(tmp_path / "data")], environment)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (1, "")
    assert errors.startswith("error: No Kaggle credentials found")
    assert errors.count("\n") == 1
    assert all(way in errors for way in ("KAGGLE_API_TOKEN", "--archive", "--synthetic"))
