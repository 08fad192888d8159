"""Datasets: load any layout, split without leaks, audit, record counts, and cache."""

from ferlib.core.data_info import DataInfo, SplitInfo
from ferlib.data.audit import audit_dataset
from ferlib.data.cache import prepare_dataset
from ferlib.data.dataset import SPLITS, ImageDataset
from ferlib.data.load import load_images
from ferlib.data.manifest import build_manifest, compare_with_fer2013
from ferlib.data.splits import limit_train, split_dataset

__all__ = [
    "SPLITS",
    "DataInfo",
    "ImageDataset",
    "SplitInfo",
    "audit_dataset",
    "build_manifest",
    "compare_with_fer2013",
    "limit_train",
    "load_images",
    "prepare_dataset",
    "split_dataset",
]
