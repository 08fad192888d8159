"""Read and write videos, and show frames in a window."""
