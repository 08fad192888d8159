"""Show frames in a window."""

import os
import sys

import cv2
import numpy as np

# Without a display the graphics library ends the process that opens a window, so another process tries first.
_PROBE = "import cv2; cv2.namedWindow('ferlib'); cv2.waitKey(1)"

# Largest initial (width, height) of a window in pixels.
_MAX_SIZE = (1280, 720)

_ESC = 27


def has_display() -> bool:
    """Return whether a window can be opened."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import subprocess  # not needed by most calls of `ferlib predict`, whose start-up time counts

    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False, timeout=60)  # noqa: S603
    return done.returncode == 0


class Window:
    """A window that shows frames; a context manager."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._sized = False

    def __enter__(self) -> "Window":
        """Open the window."""
        cv2.namedWindow(self.title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        return self

    def show(self, image: np.ndarray) -> bool:
        """Show an RGB frame (H, W, 3); return False once the user has pressed q or Esc, or closed the window."""
        height, width = image.shape[:2]
        if not self._sized:
            scale = min(1, _MAX_SIZE[0] / width, _MAX_SIZE[1] / height)
            cv2.resizeWindow(self.title, round(width * scale), round(height * scale))
            self._sized = True
        cv2.imshow(self.title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        closed = cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1
        return key not in (ord("q"), _ESC) and not closed

    def __exit__(self, *error: object) -> None:
        """Close the window."""
        cv2.destroyAllWindows()
