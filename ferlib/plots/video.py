"""The figure of a video: each person's emotions over time."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ferlib.core.emotions import EMOTION_COLORS


def plot_timeline(
    people: Mapping[str, tuple[np.ndarray, np.ndarray]], class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draw each person's emotions over the time of a video, as bands that fill the height by their probabilities.

    Parameters
    ----------
    people : mapping
        Names to times (n,) in seconds and probabilities (n, n_classes); a gap of over a second stays empty.
    class_names : sequence of str
    title : str
    """
    rows = max(1, len(people))
    figure, axes = plt.subplots(
        rows, 1, figsize=(9, 0.9 + 1.25 * rows), sharex=True, squeeze=False, layout="constrained"
    )
    colors = [EMOTION_COLORS[name] for name in class_names]
    for ax, (name, (times, probabilities)) in zip(axes[:, 0], people.items(), strict=False):
        # One point more, so that a single frame has a width, and a break wherever the person was away.
        step = np.median(np.diff(times)) if len(times) > 1 else 0.1
        for piece in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > max(1.0, 3 * step)) + 1):
            ends = np.append(times[piece], times[piece[-1]] + step)
            ax.stackplot(
                ends, np.vstack([probabilities[piece], probabilities[piece[-1]]]).T, colors=colors, step="post"
            )
        ax.set(ylim=(0, 1), yticks=[0, 1], ylabel=name)
    if not people:
        axes[0, 0].set(ylim=(0, 1), yticks=[])
        axes[0, 0].text(0.5, 0.5, "no face was found", ha="center", transform=axes[0, 0].transAxes)
    axes[0, 0].set_title(title)
    axes[-1, 0].set_xlabel("seconds")
    patches = [plt.Rectangle((0, 0), 1, 1, color=color) for color in colors]
    figure.legend(patches, class_names, loc="outside right upper", frameon=False, fontsize=9)
    return figure
