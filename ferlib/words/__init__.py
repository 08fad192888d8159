"""Visual words: local features of pictures, a vocabulary of them, and what a picture says in it."""

from ferlib.words.kmeans import KMeans

__all__ = ["KMeans"]
