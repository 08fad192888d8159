"""Fetch a data set with Kaggle's own client: whole, verified, and resumed where it stopped."""

import contextlib
import errno
import io
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ferlib.core.console import progress_bar
from ferlib.core.errors import CredentialsError, DataError, DownloadError
from ferlib.data.archive import open_tree

logger = logging.getLogger(__name__)

#: The data set that is fetched when none is named: FER2013 as folders of JPEG images.
DEFAULT_DATASET = "msambare/fer2013"

#: Data sets whose file is named after them alone; any other carries its owner's name too.
KNOWN_DATASETS = (DEFAULT_DATASET, "jonathanoheix/face-expression-recognition-dataset")

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
_OTHER_WAYS = (
    "or give a downloaded archive (python -m ferlib.download --archive PATH) "
    "or use drawn faces (python -m ferlib.download --synthetic)"
)
# Seconds to wait before each further try when the connection breaks in the middle.
_WAITS = (1, 2, 4, 8, 16)
# What stays free on the disk beside the download.
_SPARE_BYTES = 64 << 20


def has_credentials() -> bool:
    """Return whether Kaggle credentials are present in a form that its client takes; nothing is sent anywhere.

    The forms are an access token (``KAGGLE_API_TOKEN`` with the token or a file of it, ``~/.kaggle/access_token``), a
    user name and key (``KAGGLE_USERNAME`` and ``KAGGLE_KEY``, or ``kaggle.json``, which ``KAGGLE_CONFIG_DIR`` moves),
    what ``kaggle auth login`` left in ``~/.kaggle/credentials.json``, and the token of a Kaggle notebook.
    """
    return _has_access_token() or _has_key() or bool(_read_json(_home() / "credentials.json").get("refresh_token"))


def dataset_path(dataset: str, data_dir: str | Path) -> Path:
    """Return where `fetch_dataset` puts a data set: ``data_dir/raw/<name>.zip``.

    Raises
    ------
    DataError
        `dataset` is not of the form ``owner/name``.
    """
    if not _SLUG.fullmatch(dataset):
        raise DataError(f"'{dataset}' is no Kaggle data set; expected owner/name, such as {DEFAULT_DATASET}.")
    owner, name = dataset.split("/")
    stem = name if dataset in KNOWN_DATASETS else f"{owner}-{name}"
    return Path(data_dir) / "raw" / f"{stem}.zip"


def fetch_dataset(dataset: str = DEFAULT_DATASET, *, data_dir: str | Path, force: bool = False) -> Path:
    """Download a data set from Kaggle and return the path of its zip.

    While it comes, the file is named ``….zip.partial``; only when it is whole and every file in it could be read does
    it get its name. What an earlier call left unfinished is continued where the server allows it, else begun anew.

    Parameters
    ----------
    dataset : str
        ``owner/name`` as in the data set's address.
    data_dir : str or Path
        The zip goes into the folder ``raw`` in it.
    force : bool
        Download even where the zip is there already.

    Returns
    -------
    Path

    Raises
    ------
    CredentialsError
        There are no credentials, Kaggle does not accept them, or the data set's rules were not accepted.
    DownloadError
        Kaggle has no such data set or cannot be reached, the disk is full, or what came is damaged.
    DataError
        `dataset` is not of the form ``owner/name``.
    """
    path = dataset_path(dataset, data_dir)
    if path.is_file() and not force:
        return path
    if not has_credentials():
        raise CredentialsError(
            "There are no Kaggle credentials: make a token at https://www.kaggle.com/settings/api and set "
            f"KAGGLE_API_TOKEN to it, {_OTHER_WAYS}."
        )
    partial = path.with_name(f"{path.name}.partial")
    with _plain_errors(dataset, partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
        _download(_authenticated_client(), dataset, partial)
        _verify(partial)
        # The client dates the file as the server does; the time of arrival tells which download is the latest.
        partial.touch()
        partial.replace(path)
    return path


def _home() -> Path:
    """Return the folder of Kaggle's tokens."""
    return Path("~/.kaggle").expanduser()


def _config_dir() -> Path:
    """Return the folder in which the client looks for kaggle.json."""
    if os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(os.environ["KAGGLE_CONFIG_DIR"])
    if _home().exists() or not sys.platform.startswith("linux"):
        return _home()
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kaggle"


def _read_text(path: str | Path) -> str:
    """Return a file's text without blanks around it; nothing where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _read_json(path: Path) -> dict:
    """Return the dictionary in a JSON file; an empty one where there is none."""
    try:
        value = json.loads(_read_text(path))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _has_access_token() -> bool:
    """Return whether an access token is set, or lies in a file, as the client looks for them."""
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    # A file system refuses to look for names that are longer.
    if token and len(token) < 256 and Path(token).exists():
        return bool(_read_text(token))
    files = [_home() / "access_token", _home() / "access_token.txt"]
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ and "KAGGLE_DATA_PROXY_URL" in os.environ:
        files.append(os.environ.get("KAGGLE_API_V1_TOKEN", ""))
    return bool(token) or any(_read_text(file) for file in files)


def _has_key() -> bool:
    """Return whether a user name and a key are set, each in the environment or in kaggle.json."""
    stored = _read_json(_config_dir() / "kaggle.json")
    return all(os.environ.get(f"KAGGLE_{name.upper()}", stored.get(name)) for name in ("username", "key"))


def _authenticated_client() -> Any:
    """Return the client's `KaggleApi`, signed in, without what its import prints and the folder that it makes."""
    fresh = "kaggle" not in sys.modules
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            with _existing_config_dir():
                import kaggle
            api = kaggle.api
            # The import fixed this path, and signed in; the environment may have changed since.
            api.config = str(_config_dir() / "kaggle.json")
            if not fresh or not api.get_config_value(api.CONFIG_NAME_AUTH_METHOD):
                api.authenticate()
    except SystemExit:
        raise CredentialsError(_refused_credentials("they may be mistyped, expired or withdrawn")) from None
    return api


@contextlib.contextmanager
def _existing_config_dir() -> Iterator[None]:
    """Name an empty folder as the client's own where it would make one, for as long as the block runs."""
    if _config_dir().exists():
        yield
        return
    before = os.environ.get("KAGGLE_CONFIG_DIR")
    with tempfile.TemporaryDirectory() as empty:
        os.environ["KAGGLE_CONFIG_DIR"] = empty
        try:
            yield
        finally:
            if before is None:
                del os.environ["KAGGLE_CONFIG_DIR"]
            else:
                os.environ["KAGGLE_CONFIG_DIR"] = before


def _refused_credentials(reason: str) -> str:
    """Return the sentence for credentials that Kaggle does not take."""
    return (
        f"Kaggle does not accept your credentials ({reason}): make a new token at "
        f"https://www.kaggle.com/settings/api and set KAGGLE_API_TOKEN to it, {_OTHER_WAYS}."
    )


def _download(api: Any, dataset: str, partial: Path) -> None:
    """Download into `partial`, going on where an earlier try stopped if the server can; the client sees to that."""
    import requests
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.split("/")
    begun = False
    for wait in (*_WAITS, None):
        try:
            with contextlib.redirect_stdout(io.StringIO()), api.build_kaggle_client() as client:
                # Asked anew for each try: the address that it leads to is good for a short time only.
                response = client.datasets.dataset_api_client.download_dataset(request)
                begun, size = True, int(response.headers.get("Content-Length", 0))
                _check_space(partial, size)
                with _progress(partial, size):
                    # Its own tries would also repeat what cannot get better, such as a full disk.
                    api.download_file(response, str(partial), client.http_client(), resume=True, max_retries=0)
                return
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            if wait is None or not begun:
                raise
            logger.warning("The connection broke (%s); trying again in %d s.", type(error).__name__, wait)
            time.sleep(wait)


def _check_space(partial: Path, size: int) -> None:
    """Refuse a download of `size` bytes that does not fit on the disk."""
    there = partial.stat().st_size if partial.exists() else 0
    free = shutil.disk_usage(partial.parent).free
    if size - there + _SPARE_BYTES > free:
        raise OSError(errno.ENOSPC, f"{size:,} bytes are to come, {free:,} are free")


@contextlib.contextmanager
def _progress(path: Path, size: int) -> Iterator[None]:
    """Show a bar that follows a growing file of `size` bytes in the end (0: not known)."""
    done = threading.Event()

    def grow() -> None:
        now = path.stat().st_size if path.exists() else 0
        bar.update(now - bar.n)

    def follow() -> None:
        while not done.wait(0.2):
            grow()

    with progress_bar(desc=f"Downloading {path.stem}", total=size or None, unit="B", unit_scale=True) as bar:
        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            done.set()
            follower.join()
            grow()


def _verify(partial: Path) -> None:
    """Read all of a downloaded zip; one that is damaged is removed, so that the next call begins anew."""
    try:
        with open_tree(partial) as tree:
            tree.verify()
    except DataError as error:
        partial.unlink()
        raise DownloadError(f"What Kaggle sent is no usable zip; it was removed, so try again. ({error})") from error


@contextlib.contextmanager
def _plain_errors(dataset: str, partial: Path) -> Iterator[None]:
    """Turn what the client and the system raise into errors of one sentence that say what to do."""
    try:
        yield
    # What `requests` raises is an OSError too, and told apart by what it carries.
    except OSError as error:
        if getattr(error, "response", None) is not None:
            raise _refusal(error, dataset) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"The disk of {partial.parent} is full ({error.strerror}): free some space and try again; "
                "what has come so far is kept."
            ) from error
        if type(error).__module__.startswith("requests"):
            raise DownloadError(
                f"Kaggle cannot be reached, or the connection broke ({type(error).__name__}): check the network and "
                f"try again (what has come so far is kept), {_OTHER_WAYS}."
            ) from error
        raise DownloadError(f"{partial} cannot be written ({error.strerror or error}).") from error
    except ValueError as error:
        raise DownloadError(f"Kaggle's answer for '{dataset}' makes no sense ({error}): try again later.") from error


def _refusal(error: Any, dataset: str) -> DownloadError:
    """Return the error for an HTTP status with which Kaggle refused; the client also raises for one in a JSON body."""
    status = error.response.status_code
    if status < 400:
        status = error.response.json().get("code", status)
    page = f"https://www.kaggle.com/datasets/{dataset}"
    if status == 401:
        return CredentialsError(_refused_credentials("status 401"))
    if status == 403:
        return CredentialsError(
            f"Kaggle refuses '{dataset}' (status 403): open {page} while signed in, accept its rules, and try again; "
            "a name that is mistyped or a data set that is private is refused in the same way."
        )
    if status == 404:
        return DownloadError(f"Kaggle has no data set '{dataset}' (status 404): check the name at {page}.")
    if status == 429:
        return DownloadError("Kaggle wants fewer requests (status 429): try again in some minutes.")
    return DownloadError(f"Kaggle has trouble of its own (status {status}): try again later, {_OTHER_WAYS}.")
