"""Decide, before any long work, which pictures are read and where results are written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferlib.errors import FerlibError
from ferlib.images import PICTURE_SUFFIXES
from ferlib.inference.draw import WRITABLE_SUFFIXES


@dataclass(frozen=True)
class Photo:
    """A picture to read.

    Attributes
    ----------
    path : Path
        Its file, as a person named it.
    name : Path
        Its place below the folder that it was found in; the bare file name when it was named itself.
    """

    path: Path
    name: Path


def find_photos(paths: Iterable[str | Path], *, skip: str | Path | None = None) -> tuple[list[Photo], list[Path]]:
    """Return the pictures that files and folders stand for, each once.

    Parameters
    ----------
    paths : iterable of path
        A file stands for itself, whatever its name; a folder for the files below it with a picture's suffix, sorted,
        without hidden ones.
    skip : path, optional
        A folder for results: when it lies inside one of `paths`, what it holds is not read.

    Returns
    -------
    photos : list of Photo
        A file that does not exist is among them: reading it is what fails.
    empty : list of Path
        The folders without a picture.
    """
    photos: dict[Path, Photo] = {}
    empty = []
    for path in map(Path, paths):
        found = _search(path, skip) if path.is_dir() else [Photo(path, Path(path.name))]
        if not found:
            empty.append(path)
        for photo in found:
            photos.setdefault(photo.path.resolve(), photo)
    return list(photos.values()), empty


def _search(folder: Path, skip: str | Path | None) -> list[Photo]:
    """Return the pictures below a folder, sorted."""
    skipped = Path(skip).resolve() if skip is not None else None
    inside = skipped is not None and folder.resolve() in skipped.parents
    photos = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or path.suffix.lower() not in PICTURE_SUFFIXES or not path.is_file():
            continue
        if inside and skipped in path.resolve().parents:
            continue
        photos.append(Photo(path, name))
    return photos


def plan_annotated(photos: Sequence[Photo], output: Path) -> list[Path]:
    """Return where each annotated picture is written.

    One picture goes to `output` itself, in the format of its suffix. Several go into the folder `output`, and so does
    one when `output` is a folder or has no suffix: under their names, below the same subfolders, in their own format
    (PNG where that cannot be written); a name that is taken gets a number.

    Raises
    ------
    FerlibError
        `output` names a single file for several pictures, or a format that cannot be written.
    """
    if not photos:
        return []
    is_folder = output.is_dir() or not output.suffix
    writable = output.suffix.lower() in WRITABLE_SUFFIXES
    if len(photos) == 1 and not is_folder:
        if not writable:
            known = ", ".join(sorted(WRITABLE_SUFFIXES))
            raise FerlibError(f"{output}: pictures are not written as '{output.suffix}'; expected one of {known}.")
        return [output]
    if writable and not output.is_dir():
        raise FerlibError(f"{output} is one picture's name, but there are {len(photos)} pictures: name a folder.")
    targets: dict[str, Path] = {}
    for photo in photos:
        target = _free_name(output / photo.name, targets)
        targets[str(target).lower()] = target
    return list(targets.values())


def _free_name(path: Path, taken: dict[str, Path]) -> Path:
    """Return a path with a suffix that can be written and a name that is not taken, in any case of letters."""
    suffix = path.suffix if path.suffix.lower() in WRITABLE_SUFFIXES else ".png"
    free, number = path.with_suffix(suffix), 1
    while str(free).lower() in taken:
        number += 1
        free = path.with_name(f"{path.stem}-{number}{suffix}")
    return free
