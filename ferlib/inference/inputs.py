"""Determine what is read and where annotated copies are written, before any image is read."""

import glob
import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferlib.core.errors import OptionError
from ferlib.core.images import IMAGE_SUFFIXES
from ferlib.inference.annotate import WRITABLE_SUFFIXES
from ferlib.video import AMBIGUOUS_SUFFIXES, VIDEO_CODECS, VIDEO_SUFFIXES, has_known_content, is_video

logger = logging.getLogger(__name__)

#: Stands for an image on standard input.
STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class InputFile:
    """An image or video to read.

    `name` is the path relative to the folder in which the file was found; the file name if it was given itself.
    """

    path: Path
    name: Path
    is_video: bool = False


def find_inputs(
    paths: str | Path | Iterable[str | Path], *, skip: str | Path | None = None
) -> tuple[list[InputFile], list[Path]]:
    """Expand files, folders and patterns to images and videos, each once.

    Parameters
    ----------
    paths : path or iterable of path
        A file, whatever its name; a folder, for the images and videos below it, sorted, without hidden ones (by their
        suffix; by their content if they have none), while the number of others is logged; a pattern such as
        ``album/**/*.jpg``, unless a file has that name; ``-`` for standard input.
    skip : path, optional
        An output folder: if it lies inside one of `paths`, its files are not read.

    Returns
    -------
    inputs : list of InputFile
        Including files that do not exist, because reading them gives the error.
    empty : list of Path
        Folders without an image or video.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    inputs: dict[Path, InputFile] = {}
    empty = []
    for path in itertools.chain.from_iterable(expand_pattern(Path(path)) for path in paths):
        found = _search(path, skip) if path.is_dir() else [_input_file(path, Path(path.name))]
        if not found:
            empty.append(path)
        for item in found:
            inputs.setdefault(item.path.resolve(), item)
    return list(inputs.values()), empty


def expand_pattern(path: Path) -> list[Path]:
    """Return the matches of a pattern; a path that is not a pattern, or matches nothing, itself."""
    if path == STANDARD_INPUT or not glob.has_magic(str(path)) or path.exists():
        return [path]
    # Path.glob needs a folder to start from; here the pattern may be absolute.
    return sorted(map(Path, glob.glob(str(path), recursive=True))) or [path]  # noqa: PTH207


def _input_file(path: Path, name: Path) -> InputFile:
    return InputFile(path, name, path != STANDARD_INPUT and is_video(path))


def _search(folder: Path, skip: str | Path | None) -> list[InputFile]:
    """Return the images and videos below a folder, sorted."""
    skipped = None if skip is None else Path(skip).resolve()
    inside = skipped is not None and folder.resolve() in skipped.parents
    found = []
    left_out: Counter[str] = Counter()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        written = inside and skipped in path.resolve().parents
        if hidden or written or not path.is_file():
            continue
        suffix = path.suffix.lower()
        by_content = not suffix or suffix in AMBIGUOUS_SUFFIXES
        if has_known_content(path) if by_content else suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            found.append(_input_file(path, name))
        else:
            left_out[suffix or "without suffix"] += 1
    if left_out:
        kinds = ", ".join(f"{n:,} {suffix}" for suffix, n in left_out.most_common())
        number = "1 other file was" if left_out.total() == 1 else f"{left_out.total():,} other files were"
        logger.info("%s: %s left out (%s)", folder, number, kinds)
    return found


def output_paths(inputs: Sequence[InputFile], output: Path, *, is_folder: bool = False) -> dict[Path, Path]:
    """Return the path of each input's annotated copy, by the input's path.

    A single input is written to `output` itself. Several inputs, and a single one if `output` is a folder or has no
    suffix or `is_folder` is true, are written into the folder `output` with their names and subfolders. Formats that
    cannot be written become PNG or MP4; names that are taken get a number.

    Raises
    ------
    OptionError
        `output` is a single file for several inputs, or has a format that cannot be written.
    """
    if not inputs:
        return {}
    is_folder = is_folder or output.is_dir() or not output.suffix
    if len(inputs) == 1 and not is_folder:
        formats = VIDEO_CODECS.keys() if inputs[0].is_video else WRITABLE_SUFFIXES
        if output.suffix.lower() not in formats:
            raise OptionError(
                f"{output}: {'videos' if inputs[0].is_video else 'images'} cannot be written as '{output.suffix}'; "
                f"expected one of {', '.join(sorted(formats))}."
            )
        return {inputs[0].path: output}
    if not is_folder and output.suffix.lower() in WRITABLE_SUFFIXES | VIDEO_CODECS.keys():
        raise OptionError(f"{output} is a single file, but {len(inputs)} images are to be written; name a folder.")
    targets: dict[Path, Path] = {}
    taken: set[str] = set()
    for item in inputs:
        name = Path("stdin.png") if item.path == STANDARD_INPUT else item.name
        targets[item.path] = _free_path(output / name, taken, is_video=item.is_video)
        taken.add(str(targets[item.path]).lower())
    return targets


def _free_path(path: Path, taken: set[str], *, is_video: bool) -> Path:
    """Return a path with a suffix that can be written and a name that is not taken, ignoring case."""
    if path.suffix.lower() in (VIDEO_CODECS if is_video else WRITABLE_SUFFIXES):
        suffix = path.suffix
    else:
        suffix = ".mp4" if is_video else ".png"
    free, number = path.with_suffix(suffix), 1
    while str(free).lower() in taken:
        number += 1
        free = path.with_name(f"{path.stem}-{number}{suffix}")
    return free
