"""Decide, before any long work, what is read and where results are written."""

import glob
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferlib.core.errors import FerlibError
from ferlib.core.images import IMAGE_SUFFIXES
from ferlib.inference.annotate import WRITABLE_SUFFIXES
from ferlib.video.reader import VIDEO_SUFFIXES, WRITABLE_VIDEOS, is_video

#: Stands for an image on standard input.
STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Source:
    """A image or video to read.

    Attributes
    ----------
    path : Path
        Its file, as a person named it; `STANDARD_INPUT` for an image there.
    name : Path
        Its place below the folder that it was found in; the bare file name when it was named itself.
    is_video : bool
    """

    path: Path
    name: Path
    is_video: bool = False


def find_sources(paths: Iterable[str | Path], *, skip: str | Path | None = None) -> tuple[list[Source], list[Path]]:
    """Return the images and videos that files, folders and patterns stand for, each once.

    Parameters
    ----------
    paths : iterable of path
        A file stands for itself, whatever its name; a folder for the files below it with an image's or a video's
        suffix, sorted, without hidden ones; a pattern such as ``album/**/*.jpg`` for what it matches, if there is no
        file of that name; ``-`` for standard input.
    skip : path, optional
        A folder for results: when it lies inside one of `paths`, what it holds is not read.

    Returns
    -------
    sources : list of Source
        A file that does not exist is among them: reading it is what fails.
    empty : list of Path
        The folders without an image or video.
    """
    sources: dict[Path, Source] = {}
    empty = []
    for path in itertools.chain.from_iterable(_expand(Path(path)) for path in paths):
        found = _search(path, skip) if path.is_dir() else [_source(path, Path(path.name))]
        if not found:
            empty.append(path)
        for source in found:
            sources.setdefault(source.path.resolve(), source)
    return list(sources.values()), empty


def _expand(path: Path) -> list[Path]:
    """Return what a pattern matches; what is none, or matches nothing, stands for itself."""
    if path == STANDARD_INPUT or not glob.has_magic(str(path)) or path.exists():
        return [path]
    # Path.glob wants to know the folder first; people write patterns with any.
    return sorted(map(Path, glob.glob(str(path), recursive=True))) or [path]  # noqa: PTH207


def _source(path: Path, name: Path) -> Source:
    """Return a file as a source."""
    return Source(path, name, path != STANDARD_INPUT and is_video(path))


def _search(folder: Path, skip: str | Path | None) -> list[Source]:
    """Return the images and videos below a folder, sorted."""
    skipped = Path(skip).resolve() if skip is not None else None
    inside = skipped is not None and folder.resolve() in skipped.parents
    sources = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or path.suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES or not path.is_file():
            continue
        if inside and skipped in path.resolve().parents:
            continue
        sources.append(_source(path, name))
    return sources


def plan_annotated(sources: Sequence[Source], output: Path, *, folder: bool = False) -> list[Path]:
    """Return where each annotated image or video is written.

    One goes to `output` itself, in the format of its suffix. Several go into the folder `output`, and so does one when
    `output` is a folder or has no suffix: under their names, below the same subfolders, in their own format (PNG or MP4
    where that cannot be written); a name that is taken gets a number.

    Parameters
    ----------
    sources : sequence of Source
    output : Path
    folder : bool
        `output` is a folder, whatever its name and however many sources there are.

    Raises
    ------
    FerlibError
        `output` names a single file for several sources, or a format that cannot be written.
    """
    if not sources:
        return []
    is_folder = folder or output.is_dir() or not output.suffix
    writable = output.suffix.lower() in WRITABLE_SUFFIXES | set(WRITABLE_VIDEOS)
    if len(sources) == 1 and not is_folder:
        _require_format(output, is_video=sources[0].is_video)
        return [output]
    if writable and not is_folder:
        raise FerlibError(f"{output} is one file's name, but there are {len(sources)} to write: name a folder.")
    targets: dict[str, Path] = {}
    for source in sources:
        name = Path("stdin.png") if source.path == STANDARD_INPUT else source.name
        target = _free_name(output / name, targets, is_video=source.is_video)
        targets[str(target).lower()] = target
    return list(targets.values())


def _require_format(output: Path, *, is_video: bool) -> None:
    """Raise unless an image, or a video, is written with this suffix."""
    known = set(WRITABLE_VIDEOS) if is_video else WRITABLE_SUFFIXES
    if output.suffix.lower() not in known:
        what = "videos are" if is_video else "images are"
        raise FerlibError(
            f"{output}: {what} not written as '{output.suffix}'; expected one of {', '.join(sorted(known))}."
        )


def _free_name(path: Path, taken: dict[str, Path], *, is_video: bool) -> Path:
    """Return a path with a suffix that can be written and a name that is not taken, in any case of letters."""
    known, usual = (set(WRITABLE_VIDEOS), ".mp4") if is_video else (WRITABLE_SUFFIXES, ".png")
    suffix = path.suffix if path.suffix.lower() in known else usual
    free, number = path.with_suffix(suffix), 1
    while str(free).lower() in taken:
        number += 1
        free = path.with_name(f"{path.stem}-{number}{suffix}")
    return free
