"""Download a dataset with Kaggle's own client: resumed after an interruption, and verified."""

import codecs
import contextlib
import errno
import io
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ferlib.core.errors import CredentialsError, DataError, DownloadError
from ferlib.data.archive import open_tree

#: The default dataset: FER2013 as folders of JPEG images.
DEFAULT_DATASET = "msambare/fer2013"

# Datasets whose file is named after them alone; other files carry the owner's name too.
_KNOWN_DATASETS = (DEFAULT_DATASET, "jonathanoheix/face-expression-recognition-dataset")

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
_ALTERNATIVES = (
    "or use an archive that you have (ferlib download --archive PATH) or drawn faces (ferlib download --synthetic)"
)
_HOW_TO_SIGN_IN = "create a token at https://www.kaggle.com/settings/api and set KAGGLE_API_TOKEN to it"
_REJECTED = "Kaggle rejected your credentials, which may be mistyped, expired or revoked"

# Byte-order marks of UTF-8 and UTF-16.
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# Disk space that stays free.
_RESERVED_BYTES = 64 << 20


def has_credentials() -> bool:
    """Return whether Kaggle credentials are present in a form that its client accepts; nothing is sent anywhere.

    The forms are an access token (``KAGGLE_API_TOKEN`` with the token or a file of it, ``~/.kaggle/access_token``, the
    token of a Kaggle notebook), a user name and key (``KAGGLE_USERNAME`` and ``KAGGLE_KEY``, or ``kaggle.json``), and
    the login of ``kaggle auth login``.
    """
    try:
        # The client itself makes network calls when it is imported; its SDK does not.
        from kagglesdk.kaggle_env import get_access_token_from_env
    except ImportError:
        return False
    rewritten = _rewritten_credentials()
    if "KAGGLE_API_TOKEN" in rewritten or get_access_token_from_env()[0]:
        return True
    stored = _read_json(_config_folder() / "kaggle.json")
    given = {**os.environ, **rewritten}
    has_key = all(given.get(f"KAGGLE_{name.upper()}", stored.get(name)) for name in ("username", "key"))
    return has_key or bool(_read_json(_home() / "credentials.json").get("refresh_token"))


def _home() -> Path:
    return Path("~/.kaggle").expanduser()


def _config_folder() -> Path:
    """Return the folder in which the client looks for ``kaggle.json``."""
    xdg = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kaggle"
    return Path(os.environ.get("KAGGLE_CONFIG_DIR") or (_home() if _home().exists() else xdg))


def _rewritten_credentials() -> dict[str, str]:
    """Return credentials that are in a form which the client cannot read, as environment variables for it.

    Windows' Notepad and PowerShell write a byte-order mark and UTF-16, and hide the ending of ``kaggle.json.txt``.
    """
    rewritten: dict[str, str] = {}
    named = os.environ.get("KAGGLE_API_TOKEN")
    cleaned = (named or "").strip("\ufeff\"' \t\r\n")
    files = [Path(cleaned)] if named else [_home() / "access_token", _home() / "access_token.txt"]
    file = next(filter(Path.is_file, files), None)
    if file is not None:
        token = (_read_text(file) or "").strip()
        if token and (not token.isascii() or token.encode() != file.read_bytes().strip()):
            rewritten["KAGGLE_API_TOKEN"] = token
    elif cleaned and cleaned != named:
        rewritten["KAGGLE_API_TOKEN"] = cleaned
    for path in (_config_folder() / "kaggle.json", _config_folder() / "kaggle.json.txt"):
        if path.is_file() and (path.suffix == ".txt" or path.read_bytes().startswith(_MARKS)):
            stored = _read_json(path)
            keys = {f"KAGGLE_{name.upper()}": stored.get(name) for name in ("username", "key")}
            rewritten |= {name: str(value) for name, value in keys.items() if value and name not in os.environ}
    return rewritten


def is_dataset_name(name: str) -> bool:
    """Return whether a text has the form of Kaggle's dataset names, ``owner/name``."""
    return _SLUG.fullmatch(name) is not None


def dataset_path(dataset: str, data_dir: str | Path) -> Path:
    """Return where `fetch_dataset` puts a dataset: ``data_dir/raw/<name>.zip``; raise DataError for a bad name."""
    if not is_dataset_name(dataset):
        raise DataError(f"'{dataset}' is not a Kaggle dataset; expected owner/name, such as {DEFAULT_DATASET}.")
    owner, name = dataset.split("/")
    stem = name if dataset in _KNOWN_DATASETS else f"{owner}-{name}"
    return Path(data_dir) / "raw" / f"{stem}.zip"


def fetch_dataset(dataset: str = DEFAULT_DATASET, *, data_dir: str | Path, force: bool = False) -> Path:
    """Download a dataset from Kaggle and return the path of its zip.

    During the download the file is named ``….zip.partial``. It gets its name once it is complete and every file in it
    could be read. An unfinished download of an earlier call is resumed if the server allows it. An existing zip is
    kept unless `force` is set.

    Raises
    ------
    CredentialsError
        There are no credentials, Kaggle rejects them, or the dataset's rules were not accepted.
    DownloadError
        Kaggle has no such dataset or cannot be reached, the disk is full, or the download is damaged.
    DataError
        `dataset` is not of the form ``owner/name``.
    """
    path = dataset_path(dataset, data_dir)
    if path.is_file() and not force:
        return path
    if not has_credentials():
        path = _config_folder() / "kaggle.json"
        damaged = f" ({path} is not JSON with a username and a key)" if path.is_file() else ""
        raise CredentialsError(f"No Kaggle credentials found{damaged}: {_HOW_TO_SIGN_IN}, {_ALTERNATIVES}.")
    partial = path.with_name(f"{path.name}.partial")
    with _readable_errors(dataset, partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
        _download(_sign_in(), dataset, partial)
        _verify(partial)
        # The client sets the server's date; the time of arrival tells which download is the latest.
        partial.touch()
        partial.replace(path)
    return path


def _read_json(path: Path) -> dict[str, Any]:
    """Return the dictionary in a JSON file, or an empty one."""
    with contextlib.suppress(ValueError):
        value = json.loads(_read_text(path) or "")
        return value if isinstance(value, dict) else {}
    return {}


def _read_text(path: Path) -> str | None:
    """Return the text of a small file in UTF-8 or UTF-16, with or without a byte-order mark; None if it is none."""
    try:
        data = path.read_bytes()
        return data.decode("utf-16" if data.startswith(_MARKS[1:]) else "utf-8-sig")
    except (OSError, UnicodeError):
        return None


def _sign_in() -> Any:
    """Return the client's authenticated `KaggleApi`; what it prints is discarded."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            # The client reads the environment when it signs in.
            os.environ.update(_rewritten_credentials())
            import kaggle  # which signs in

            if not kaggle.api.get_config_value(kaggle.api.CONFIG_NAME_AUTH_METHOD):
                kaggle.api.authenticate()
    except SystemExit:
        raise CredentialsError(f"{_REJECTED}: {_HOW_TO_SIGN_IN}, {_ALTERNATIVES}.") from None
    return kaggle.api


def _download(api: Any, dataset: str, partial: Path) -> None:
    """Download into `partial`; the client retries, shows its progress, and resumes an earlier attempt if possible."""
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.split("/")
    quiet = logging.getLogger("ferlib").level >= logging.WARNING
    with contextlib.redirect_stdout(io.StringIO()), api.build_kaggle_client() as client:
        response = client.datasets.dataset_api_client.download_dataset(request)
        size = int(response.headers.get("Content-Length", 0))
        present = partial.stat().st_size if partial.exists() else 0
        free = shutil.disk_usage(partial.parent).free
        if size - present + _RESERVED_BYTES > free:
            raise OSError(errno.ENOSPC, f"the download has {size:,} bytes, {free:,} are free")
        api.download_file(response, str(partial), client.http_client(), quiet=quiet, resume=True)


def _verify(partial: Path) -> None:
    """Read all of a downloaded zip; delete it if it is damaged, so that the next call starts again."""
    try:
        with open_tree(partial) as tree:
            tree.verify()
    except DataError as error:
        partial.unlink()
        raise DownloadError(f"The download is not a valid zip and was deleted; try again. ({error})") from error


@contextlib.contextmanager
def _readable_errors(dataset: str, partial: Path) -> Iterator[None]:
    """Turn errors of the client and the system into one sentence that says what to do."""
    try:
        yield
    # Errors of `requests` are OSErrors too.
    except OSError as error:
        if getattr(error, "response", None) is not None:
            raise _explain_status(error, dataset) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"The disk of {partial.parent} is full ({error.strerror}): free some space and try again to resume."
            ) from error
        if type(error).__module__.startswith("requests"):
            raise DownloadError(
                f"Kaggle cannot be reached, or the connection broke ({type(error).__name__}): check the network and "
                f"try again to resume, {_ALTERNATIVES}."
            ) from error
        raise DownloadError(f"{partial} cannot be written ({error.strerror or error}).") from error
    except ValueError as error:
        raise DownloadError(f"Kaggle's response for '{dataset}' is invalid ({error}): try again later.") from error


def _explain_status(error: Any, dataset: str) -> DownloadError:
    """Return the error for an HTTP status; the client also raises for an error status in a JSON body."""
    status = error.response.status_code
    if status < 400:
        status = error.response.json().get("code", status)
    page = f"https://www.kaggle.com/datasets/{dataset}"
    if status == 401:
        return CredentialsError(f"{_REJECTED} (status 401): {_HOW_TO_SIGN_IN}, {_ALTERNATIVES}.")
    if status == 403:
        return CredentialsError(
            f"Kaggle denies access to '{dataset}' (status 403): open {page} while signed in, accept its rules, and "
            "try again; the name may also be mistyped, or the dataset private."
        )
    if status == 404:
        return DownloadError(f"Kaggle has no dataset '{dataset}' (status 404): check the name at {page}.")
    if status == 429:
        return DownloadError("Too many requests to Kaggle (status 429): try again in a few minutes.")
    return DownloadError(f"Kaggle failed with status {status}: try again later, {_ALTERNATIVES}.")
