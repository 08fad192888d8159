"""A window that shows frames as they come, where there is a display."""

import os
import subprocess
import sys
from typing import Any

import cv2
import numpy as np

# Without a display the graphics library ends the process that asks for a window, so another process asks first.
_PROBE = "import cv2; cv2.namedWindow('ferlib'); cv2.waitKey(1)"

# (width, height) in pixels that a window has at first, at most; a person may pull it larger.
_LARGEST = (1280, 720)


def has_display() -> bool:
    """Return whether a window can be opened here."""
    headless = not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if sys.platform.startswith("linux") and headless:
        return False
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False, timeout=60)  # noqa: S603
    return done.returncode == 0


class Window:
    """A window that shows frames; use as a context manager.

    Parameters
    ----------
    title : str
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._sized = False

    def __enter__(self) -> "Window":
        """Open the window."""
        cv2.namedWindow(self.title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        return self

    def show(self, image: np.ndarray) -> bool:
        """Show a frame (H, W, 3) of RGB; return False once the person has pressed q or Esc, or closed the window."""
        if not self._sized:
            scale = min(1, *(limit / side for limit, side in zip(_LARGEST, image.shape[1::-1], strict=True)))
            cv2.resizeWindow(self.title, *(round(side * scale) for side in image.shape[1::-1]))
            self._sized = True
        cv2.imshow(self.title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        pressed = cv2.waitKey(1) & 0xFF
        closed = cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1
        return pressed not in (ord("q"), 27) and not closed

    def __exit__(self, *error: Any) -> None:
        """Close the window."""
        cv2.destroyAllWindows()
