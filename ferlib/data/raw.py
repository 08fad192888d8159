"""Copy a dataset into the folder ``raw``, where notebooks and commands find it."""

import filecmp
import re
import shutil
from pathlib import Path
from typing import Any

from ferlib.core.console import progress_bar
from ferlib.core.errors import DataError
from ferlib.core.files import atomic_write, write_zip
from ferlib.data.archive import FileTree, open_tree
from ferlib.data.dataset import ImageDataset
from ferlib.data.layouts.folders import is_image
from ferlib.data.layouts.parquet import matches as is_parquet
from ferlib.data.load import load_images

# The files of a folder that are data besides images: tables, lists of labels, and notes on them.
_DATA_SUFFIXES = frozenset({".csv", ".tsv", ".lst", ".txt", ".npy", ".parquet", ".pq"})


def add_archive(
    source: str | Path, *, data_dir: str | Path, force: bool = False, **loading: Any
) -> tuple[Path, ImageDataset]:
    """Copy a dataset into ``data_dir/raw`` as one file, after reading all of it; return its path and contents.

    A zip, CSV or Parquet file is copied unchanged, but decompressed; the images, tables and lists of a folder or a tar
    are packed into a zip. `loading` are arguments of `load_images`. The file is named
    after the dataset if it is a known one (``fer2013.zip``), otherwise after the source. Raises DataError if the source
    is not a dataset or is damaged, or if ``raw`` has another dataset of the same file name and `force` is not set.
    """
    with open_tree(source) as tree:
        if tree.path.suffix.lower() == ".npz":
            raise DataError(f"{source} is a processed dataset, not a raw one; use it with --data instead.")
        if tree.kind == "zip":
            tree.verify()
        dataset = load_images(source, **loading)
        target = Path(data_dir) / "raw" / _file_name(tree, dataset.info.title)
        if target.exists() and target.samefile(source):
            return target, dataset
        with atomic_write(target) as temporary:
            if tree.kind in ("folder", "tar"):
                names = [
                    name
                    for name in tree.names
                    if is_image(tree, name) or Path(name).suffix.lower() in _DATA_SUFFIXES or name in dataset.names
                ]
                bar = progress_bar(names, desc=f"Packing {tree.path.name}", unit=" files")
                write_zip(temporary, ((name, tree.read(name)) for name in bar))
            elif tree.kind == "file":
                with tree.open(tree.names[0]) as packed, temporary.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
            else:
                shutil.copyfile(tree.path, temporary)
            if target.exists() and not force and not filecmp.cmp(temporary, target, shallow=False):
                raise DataError(f"{target} already exists with other data; use --force to replace it.")
    return target, dataset


def _file_name(tree: FileTree, title: str) -> str:
    """Return the name of a dataset's file in raw: lower case, without spaces."""
    own = re.sub(
        r"(\.tar)?\.(zip|tar|gz|bz2|xz|tgz|tbz2|txz|csv|parquet)$", "", tree.path.resolve().name, flags=re.IGNORECASE
    )
    names = {"synthetic faces": "synthetic", **dict.fromkeys(("folder", "table", "names"), own)}
    suffix = ".zip" if tree.kind != "file" else ".parquet" if is_parquet(tree) else ".csv"
    return re.sub(r"[^\w.-]+", "-", names.get(title, title.lower())) + suffix
