"""What is recorded about a dataset: its source and its split.

Apart from `ferlib.data`, which needs pandas, because every run folder holds such a record and prediction reads it.
"""

from dataclasses import dataclass, field
from typing import Any

from ferlib.core.crops import CropGeometry
from ferlib.core.records import Record


@dataclass(frozen=True)
class SplitInfo(Record):
    """The options of the `split_dataset` call that made a split; `scheme` is ``"official"`` or such as ``"90/10"``."""

    scheme: str = "official"
    val_fraction: float = 0.1
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DataInfo(Record):
    """Where a dataset comes from and how it was split.

    Attributes
    ----------
    title : str
        The dataset's name, such as ``"FER2013"``.
    layout : str
        How the source is organized, such as ``"csv"``, ``"folders"`` or ``"expw"``.
    path, sha256 : str
        File name of the source, without its folder, and its checksum.
    synthetic : bool
        Whether the images are drawn faces.
    notes, split_notes : tuple of str
        Sentences about choices made when the dataset was loaded and split, and those of them about the split.
    sample_size : int, optional
        Number of images if the dataset is a sample of the source.
    train_size : int, optional
        Number of training images if `limit_train` left some out.
    split : SplitInfo, optional
        How `split_dataset` split the dataset; None for the split of the source.
    label_order, split_folders, detected
        The options of `load_images` with which the source was read; `detected` if faces were cut out of photographs.
    crop : CropGeometry, optional
        How faces were cut out of photographs, by boxes of the source or of a detector; None if the images are faces.
    """

    title: str
    layout: str
    path: str
    sha256: str
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    sample_size: int | None = None
    train_size: int | None = None
    split: SplitInfo | None = None
    split_notes: tuple[str, ...] = ()
    label_order: str | None = None
    split_folders: dict[str, str] = field(default_factory=dict)
    detected: bool = False
    crop: CropGeometry | None = None

    def reading(self) -> dict[str, Any]:
        """Return the arguments with which `ferlib.data.load_images` reads the source again."""
        reading: dict[str, Any] = {"label_order": self.label_order, "split_folders": self.split_folders}
        if self.crop is not None and not self.detected:
            reading["crop_margin"] = self.crop.margin
        return reading
