"""Put a dataset into data/raw: from Kaggle, from an archive or folder, or drawn faces."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ferlib.core.console import EXIT_OK, run
from ferlib.core.errors import OptionError
from ferlib.core.files import write_json
from ferlib.core.options import OptionParser, check_options, option
from ferlib.data import ImageDataset, build_manifest, compare_with_fer2013, load_images
from ferlib.data.archive import open_tree
from ferlib.data.kaggle import DEFAULT_DATASET, fetch_dataset, is_dataset_name
from ferlib.data.locate import default_data_dir, manifest_path, synthetic_sample
from ferlib.data.options import DataOptions
from ferlib.data.raw import add_archive

_EXAMPLES = """examples:
  ferlib download                            FER2013 from Kaggle (needs a token, such as KAGGLE_API_TOKEN)
  ferlib download --dataset jonathanoheix/face-expression-recognition-dataset
  ferlib download --archive ~/Downloads/archive.zip
  ferlib download --archive icml_face_data.csv
  ferlib download --synthetic                drawn faces: no account, no network
"""


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """The options of ``ferlib download``."""

    dataset: str | None = option(None, metavar="OWNER/NAME", help="a dataset on Kaggle", default_text=DEFAULT_DATASET)
    archive: Path | None = option(None, help="a zip, tar, folder or CSV file that you already have")
    synthetic: bool = option(False, help="draw synthetic faces instead")
    data_dir: Path | None = option(
        None, metavar="DIR", help="put the dataset into DIR/raw", default_text="the project's data"
    )
    force: bool = option(False, help="replace an existing file")

    def __post_init__(self) -> None:
        """Check the options."""
        check_options(self)
        if sum((self.dataset is not None, self.archive is not None, self.synthetic)) > 1:
            raise OptionError("Only one of --dataset, --archive and --synthetic can be used.")
        if self.dataset is not None and not is_dataset_name(self.dataset):
            raise OptionError(f"--dataset: expected owner/name, such as {DEFAULT_DATASET}, got '{self.dataset}'.")


def build_parser() -> OptionParser:
    """Return the parser of this command's options."""
    return OptionParser("download", (DownloadOptions, DataOptions), description=__doc__ or "", examples=_EXAMPLES)


def main(argv: Sequence[str] | None = None) -> int:
    """Put a dataset into ``raw``, write its manifest, and print its counts."""
    parsed = build_parser().parse(argv)
    options = parsed.build(DownloadOptions)
    loading = {**parsed.build(DataOptions).loading(), "test_usage": "all"}
    data_dir = options.data_dir or default_data_dir()
    if options.archive:
        path, dataset = add_archive(options.archive, data_dir=data_dir, force=options.force, **loading)
    else:
        if options.synthetic:
            path = synthetic_sample(data_dir, force=options.force)
        else:
            path = fetch_dataset(options.dataset or DEFAULT_DATASET, data_dir=data_dir, force=options.force)
        dataset = load_images(path, **loading)
    with open_tree(path) as tree:
        manifest = build_manifest(dataset) | {"path": path.name, "sha256": tree.sha256()}
    write_json(manifest_path(path), manifest)
    sys.stdout.write(f"{dataset.describe()}\n\n{_counts_table(dataset)}\n\n")
    differences = compare_with_fer2013(manifest) or ["All counts are those that FER2013 was published with."]
    sys.stdout.writelines(f"{sentence}\n" for sentence in differences)
    sys.stdout.write(f"\nWrote the data to {path} and their counts to {manifest_path(path)}.\n")
    return EXIT_OK


def _counts_table(dataset: ImageDataset) -> str:
    """Return the images per class and split as text, with totals."""
    counts = dataset.counts()
    counts.loc["all"] = counts.sum()
    counts["all"] = counts.sum(axis="columns")
    return counts.map("{:,}".format).to_string()


if __name__ == "__main__":
    run(main)
