"""Visual words: local features of images, a vocabulary of them, and what an image says in it."""

from ferlib.models.bovw.kmeans import KMeans

__all__ = ["KMeans"]
