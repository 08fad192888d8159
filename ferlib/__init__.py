"""Facial emotion recognition: a series of notebooks over a small, tested package."""

from typing import Any

__version__ = "0.1.0"

__all__ = ["EmotionRecognizer", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `EmotionRecognizer` when it is asked for: who trains needs none of what it brings."""
    if name != "EmotionRecognizer":
        raise AttributeError(f"module 'ferlib' has no attribute '{name}'")
    from ferlib.inference import EmotionRecognizer

    return EmotionRecognizer
