"""What a process of an engine does: read files, and turn them into records."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferlib.core.errors import FerlibError, ImageError
from ferlib.inference.batch import BatchScorer, empty_record
from ferlib.inference.processes import ProcessPool
from ferlib.inference.results import Record
from ferlib.inference.video_batch import VideoScorer, empty_video_record
from ferlib.inference.workers import chunk_size, lost_sentence
from ferlib.scoring.storage import Storage, StoreOptions, is_address
from ferlib.scoring.table import image_schema, video_schema

if TYPE_CHECKING:
    import pyarrow as pa

# Objects that are fetched side by side, because a store answers late and the processor would wait.
_N_FETCHING = 8

# Bytes of a video that are copied at once.
_COPY_BYTES = 1 << 22


@dataclass(frozen=True)
class Work:
    """How files become records: all that a process has to know.

    Attributes
    ----------
    videos : bool
        Whether the files are videos.
    scorer : dict
        Arguments of `BatchScorer` or `VideoScorer`.
    class_names : tuple of str
        Those of the classifier.
    origin : dict
        What all records have in common; see `ferlib.inference.batch.describe_origin`.
    store_options : mapping
        Options of object stores by scheme.
    root : str or None
        The folder of relative paths; the current one if None.
    """

    videos: bool
    scorer: dict[str, Any]
    class_names: tuple[str, ...]
    origin: dict[str, str]
    store_options: StoreOptions = field(default_factory=dict)
    root: str | None = None

    @property
    def schema(self) -> "pa.Schema":
        """The schema of the records' table."""
        return (video_schema if self.videos else image_schema)(self.class_names)

    def storage(self) -> Storage:
        """Return where paths lead."""
        return Storage(self.store_options, root=self.root)

    def lost_record(self, path: str) -> Record:
        """Return the record of a file that ended its process."""
        return (empty_video_record if self.videos else empty_record)(path, self.origin, lost_sentence(path))

    def make_pool(self, n_workers: int) -> "ProcessPool[str, Record]":
        """Return processes that turn paths into records."""
        return ProcessPool(_score, n_workers=n_workers, start=_start, arguments=(self,), lost=self.lost_record)

    def split(self, paths: Sequence[str], n_workers: int) -> list[Sequence[str]]:
        """Return the paths in chunks for a process each."""
        # Crops of faces are classified in batches, and a chunk of them takes no time.
        maximum = self.scorer.get("batch_size", 1) if self.scorer["detector"] == "none" else 16
        size = 1 if self.videos else chunk_size(len(paths), n_workers, maximum=maximum)
        return [paths[start : start + size] for start in range(0, len(paths), size)]


# The function of this process, if it is a worker.
_function: Callable[[Sequence[str]], list[Record]] | None = None


def _start(work: Work) -> None:
    """Load the models of this process."""
    global _function
    storage = work.storage()
    if work.videos:
        videos = VideoScorer(**work.scorer)
        _function = lambda paths: _score_videos(videos, storage, paths)  # noqa: E731
    else:
        images = BatchScorer(**work.scorer)
        _function = lambda paths: images(_read_all(storage, paths))  # noqa: E731


def _score(paths: Sequence[str]) -> list[Record]:
    """Return the records of some files."""
    assert _function is not None
    return _function(paths)


def _read_all(storage: Storage, paths: Sequence[str]) -> Iterator[tuple[str, bytes | ImageError]]:
    """Yield the content of each file, or the error that reading it gave."""

    def read(path: str) -> bytes | ImageError:
        try:
            return storage.read(path)
        except ImageError as error:
            return error

    if not any(map(is_address, paths)):
        for path in paths:
            yield path, read(path)
        return
    with ThreadPoolExecutor(_N_FETCHING, "fetch") as pool:
        yield from zip(paths, pool.map(read, paths), strict=True)


def _score_videos(scorer: VideoScorer, storage: Storage, paths: Iterable[str]) -> list[Record]:
    """Return the records of some videos, of which those of an object store are copied first."""
    records = []
    for path in paths:
        with contextlib.ExitStack() as stack:
            file: Path | ImageError = storage.local_path(path)
            if is_address(path):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ferlib-"))
                file = _fetch(storage, path, Path(folder) / f"video{Path(path).suffix}")
            records += scorer([(path, file)])
    return records


def _fetch(storage: Storage, path: str, target: Path) -> Path | ImageError:
    """Copy a file from an object store, and return the copy, or the error."""
    import shutil

    try:
        file_system, name = storage.locate(path)
        with file_system.open_input_stream(name) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, _COPY_BYTES)
    except FileNotFoundError:
        return ImageError(f"{path}: there is no such file.")
    except (OSError, ValueError, FerlibError) as error:
        return ImageError(f"{path}: the file cannot be read ({(str(error).splitlines() or [''])[0][:300]}).")
    return target
