"""The options of commands that read a dataset."""

from dataclasses import dataclass
from typing import Any

from ferlib.core.errors import DataError, OptionError
from ferlib.core.options import check_options, option
from ferlib.data.labels import LABEL_ORDERS, parse_label_order
from ferlib.data.load import check_split_folders


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a dataset is read; see `ferlib.data.load_images`."""

    label_order: str | None = option(
        None,
        metavar="ORDER",
        group="data",
        help=f"what numbers as labels mean: {', '.join(LABEL_ORDERS)}, or the emotions in order, as neutral,happy,...",
    )
    split_folders: dict[str, Any] = option(
        dict, flag="--split-folder", group="data", help="split of a folder: train, val, test, or none to leave it out"
    )
    strict: bool = option(False, group="data", help="refuse a dataset with unreadable images or other classes")

    def __post_init__(self) -> None:
        """Check values."""
        check_options(self)
        try:
            check_split_folders({name: str(split) for name, split in self.split_folders.items()})
            if self.label_order:
                parse_label_order(self.label_order)
        except DataError as error:
            raise OptionError(str(error)) from None

    def loading(self) -> dict[str, Any]:
        """Return the arguments of `load_images`."""
        return {"label_order": self.label_order, "split_folders": self.split_folders, "strict": self.strict}
