"""Index images that are listed one by one, each with a label, a split and possibly a box."""

import dataclasses
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ferlib.core.crops import CropGeometry, cut_face
from ferlib.core.errors import DataError, ImageError
from ferlib.core.images import decode_image
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, ReadOptions, describe_tree
from ferlib.data.labels import convert_labels

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Listed:
    """An image of a list.

    Attributes
    ----------
    file : str
        The file's name in the tree.
    label : str
        As the source has it.
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    usage : str
        The source's own name of a finer split, "" for none.
    group : str
        Images of one group (of one person, say) stay in one split; "" for none.
    box : tuple of float, optional
        x, y, width and height of the face in pixels, or a function that returns it.
    """

    file: str
    label: str
    split: str = "train"
    usage: str = ""
    group: str = ""
    box: Box | Callable[[], Box] | None = None


def index_listed(
    tree: FileTree,
    listed: Sequence[Listed],
    options: ReadOptions,
    *,
    source: str,
    title: str,
    layout: str,
    proven: str | None = None,
    notes: Iterable[str] = (),
    left_out: Iterable[str] = (),
) -> ImageIndex:
    """Return the index of listed images, sorted by file; raise DataError as `convert_labels` does.

    `source` is the file that has the labels, `proven` the key of the label order that the layout implies, and
    `left_out` has sentences on images that are missing.
    """
    listed = sorted(listed, key=lambda image: image.file)
    if not listed:
        raise DataError(f"{source}: none of the images that it lists is there.")
    codes, label_notes, others = convert_labels(
        [image.label for image in listed],
        source=source,
        order=options.label_order,
        proven=proven,
        what="The label",
        skip_unknown=options.skip_unknown,
    )
    kept = [image for image, code in zip(listed, codes, strict=True) if code >= 0]
    has_boxes = any(image.box is not None for image in kept)
    geometry = CropGeometry(margin=options.crop_margin)
    info = describe_tree(tree, title=title, layout=layout)

    def read(row: int) -> np.ndarray:
        image = kept[row]
        pixels = decode_image(tree.read(image.file), name=image.file)
        if image.box is None:
            return pixels
        box = image.box() if callable(image.box) else image.box
        try:
            # A copy, because a view would keep the whole photo in memory.
            return cut_face(pixels, box, geometry).copy()
        except (ValueError, OverflowError) as error:
            raise ImageError(f"{image.file}: {error}.") from error

    usages = np.array([image.usage for image in kept], dtype=str)
    groups = np.array([image.group or image.file for image in kept], dtype=str)
    return ImageIndex(
        names=np.array([image.file for image in kept], dtype=str),
        labels=codes[codes >= 0],
        splits=np.array([image.split for image in kept], dtype=str),
        source_splits=usages if usages.any() else None,
        read=read,
        info=dataclasses.replace(info, crop=geometry) if has_boxes else info,
        groups=groups if any(image.group for image in kept) else None,
        has_boxes=has_boxes,
        notes=[*notes, *label_notes],
        left_out=[*left_out, *others],
    )


class FileFinder:
    """Finds the files that a table means by a path of which it may have only the end, or without a suffix."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in names:
            base = posixpath.basename(name).lower()
            self._by_name[base].append(name)
            if (stem := posixpath.splitext(base)[0]) != base:
                self._by_name[stem].append(name)

    def find(self, path: str, *, near: str = "", hint: Callable[[str], bool]) -> str | None:
        """Return the only file that a path means, or None if there is none or several.

        Of several, those are preferred whose path ends with all of `path`, then those for which `hint` is true, then
        those below the folder `near`.
        """
        path = posixpath.normpath(path.strip().replace("\\", "/")).lower()
        found = self._by_name.get(posixpath.basename(path), [])
        tests: tuple[Callable[[str], bool], ...] = (
            lambda name: f"/{name.lower()}".endswith((f"/{path.lstrip('/')}", f"/{path.lstrip('/')}{_suffix(name)}")),
            hint,
            lambda name: name.startswith(near),
        )
        for test in tests:
            if len(found) > 1:
                found = [name for name in found if test(name)] or found
        return found[0] if len(found) == 1 else None


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()
