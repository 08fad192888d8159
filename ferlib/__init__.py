"""Facial emotion recognition: a series of notebooks over a small, tested package."""

__version__ = "0.1.0"
