"""Facial emotion recognition: detect faces in images and videos and classify their expressions."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferlib.inference import EmotionRecognizer

__version__ = "0.1.0"

__all__ = ["EmotionRecognizer", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `EmotionRecognizer` with its first use, because training does not need its dependencies."""
    if name != "EmotionRecognizer":
        raise AttributeError(f"module 'ferlib' has no attribute '{name}'")
    from ferlib.inference import EmotionRecognizer

    return EmotionRecognizer
