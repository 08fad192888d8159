"""Score millions of images or videos: from folders, lists and object stores to Parquet, on one machine or many."""

from ferlib.scoring.table import image_schema, to_table, video_schema

__all__ = ["image_schema", "to_table", "video_schema"]
