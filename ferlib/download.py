"""Put a data set into data/raw: from Kaggle, from an archive or folder, or a sample of drawn faces."""

import argparse
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ferlib.core.console import EXIT_OK, progress_bar, run
from ferlib.core.errors import DataError
from ferlib.core.files import atomic_write, write_json
from ferlib.core.images import IMAGE_SUFFIXES
from ferlib.data import ImageDataset, build_manifest, compare_with_fer2013, load_images
from ferlib.data.archive import FileTree, open_tree
from ferlib.data.kaggle import DEFAULT_DATASET, fetch_dataset
from ferlib.data.locate import default_data_dir, manifest_path, synthetic_sample

_EXAMPLES = """examples:
  python -m ferlib.download                            FER2013 from Kaggle (a token in KAGGLE_API_TOKEN, for one)
  python -m ferlib.download --dataset jonathanoheix/face-expression-recognition-dataset
  python -m ferlib.download --archive ~/Downloads/archive.zip
  python -m ferlib.download --archive icml_face_data.csv
  python -m ferlib.download --synthetic                drawn faces: no account, no network
"""

# What of a folder is data: images, tables, lists of labels, and notes on them.
_PACKED_SUFFIXES = IMAGE_SUFFIXES | {".csv", ".lst", ".txt"}
_BLOCK_BYTES = 1 << 20


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m ferlib.download",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--dataset", default=DEFAULT_DATASET, metavar="SLUG", help=f"owner/name on Kaggle (default: {DEFAULT_DATASET})"
    )
    source.add_argument("--archive", type=Path, metavar="PATH", help="a zip, folder or CSV file that you already have")
    source.add_argument("--synthetic", action="store_true", help="draw a sample of synthetic faces instead")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="put it into DIR/raw (default: the project's data)"
    )
    parser.add_argument("--force", action="store_true", help="get it again, and replace what is there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Put a data set into ``raw``, write its manifest, and print its counts."""
    arguments = build_parser().parse_args(argv)
    data_dir = arguments.data_dir or default_data_dir()
    if arguments.archive:
        path, dataset = add_archive(arguments.archive, data_dir=data_dir, force=arguments.force)
    else:
        if arguments.synthetic:
            path = synthetic_sample(data_dir, force=arguments.force)
        else:
            path = fetch_dataset(arguments.dataset, data_dir=data_dir, force=arguments.force)
        dataset = load_images(path)
    with open_tree(path) as tree:
        manifest = build_manifest(dataset) | {"path": path.name, "sha256": tree.sha256()}
    write_json(manifest_path(path), manifest)
    sys.stdout.write(f"{dataset.describe()}\n\n{_counts_table(dataset)}\n\n")
    differences = compare_with_fer2013(manifest) or ["The counts of all parts that are here are those of FER2013."]
    sys.stdout.writelines(f"{sentence}\n" for sentence in differences)
    sys.stdout.write(f"\nThe data are in {path}, what was counted in {manifest_path(path)}.\n")
    return EXIT_OK


def add_archive(source: str | Path, *, data_dir: str | Path, force: bool = False) -> tuple[Path, ImageDataset]:
    """Copy a data set into ``data_dir/raw`` as one file, after all of it was read.

    A zip or CSV is copied as it is; of a folder, the images, tables and lists go into a zip. The file is named after
    the data set where that is known (``fer2013.zip``), else as the source is.

    Parameters
    ----------
    source : str or Path
        A zip, a folder or a CSV file; it stays as it is.
    data_dir : str or Path
    force : bool
        Replace another file of the same name.

    Returns
    -------
    tuple of Path and ImageDataset
        The file in ``raw``, and what it holds.

    Raises
    ------
    DataError
        The source is no data set, or damaged (`open_tree` and `load_images` tell), or ``raw`` holds other data under
        the same name and `force` is not set.
    """
    with open_tree(source) as tree:
        if tree.path.suffix.lower() == ".npz":
            raise DataError(
                f"{source} is a processed data set, not a raw one; name it where data is asked for instead."
            )
        if tree.kind == "zip":
            tree.verify()
        dataset = load_images(source)
        target = Path(data_dir) / "raw" / _file_name(tree, dataset.info.title)
        if target.exists() and target.samefile(source):
            return target, dataset
        write = _pack if tree.kind == "folder" else _copy
        with atomic_write(target) as temporary:
            write(tree, temporary)
            if target.exists() and not force and _checksum(temporary) != _checksum(target):
                raise DataError(f"{target} is there already and holds other data; replace it with --force.")
    return target, dataset


def _file_name(tree: FileTree, title: str) -> str:
    """Return the name of a data set's file in raw: lower case, without blanks."""
    stem = {"folder": tree.path.resolve().stem, "synthetic faces": "synthetic"}.get(title, title.lower())
    return re.sub(r"[^\w.-]+", "-", stem) + (".csv" if tree.kind == "file" else ".zip")


def _copy(tree: FileTree, target: Path) -> None:
    """Copy a zip or a CSV as it is, with progress."""
    size = tree.path.stat().st_size
    with (
        tree.path.open("rb") as stream,
        target.open("wb") as copy,
        progress_bar(desc=f"Copying {tree.path.name}", total=size, unit="B", unit_scale=True) as bar,
    ):
        while block := stream.read(_BLOCK_BYTES):
            copy.write(block)
            bar.update(len(block))


def _pack(tree: FileTree, target: Path) -> None:
    """Write a folder's data files into a zip, uncompressed; the same files give the same bytes."""
    names = [name for name in tree.names if Path(name).suffix.lower() in _PACKED_SUFFIXES]
    with zipfile.ZipFile(target, "w") as archive:
        for name in progress_bar(names, desc=f"Packing {tree.path.name}", unit=" files"):
            archive.writestr(zipfile.ZipInfo(name), tree.read(name))


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file in raw."""
    with open_tree(path) as tree:
        return tree.sha256()


def _counts_table(dataset: ImageDataset) -> str:
    """Return the images per class and split as text, with their sums."""
    counts = dataset.counts()
    counts.loc["all"] = counts.sum()
    counts["all"] = counts.sum(axis="columns")
    return counts.map("{:,}".format).to_string()


if __name__ == "__main__":
    run(main)
