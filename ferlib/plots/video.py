"""The figure of a video: the emotions of each track over time."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ferlib.core.emotions import class_colors
from ferlib.plots.style import styled


@styled
def plot_timeline(
    tracks: Mapping[str, tuple[np.ndarray, np.ndarray]], class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draw the emotion probabilities of each track over time, as stacked bands.

    Parameters
    ----------
    tracks : mapping
        Names to times (n,) in seconds and probabilities (n, n_classes); gaps of over a second stay empty.
    class_names : sequence of str
    title : str
    """
    rows = max(1, len(tracks))
    figure, axes = plt.subplots(rows, 1, figsize=(9, 0.9 + 1.25 * rows), sharex=True, squeeze=False)
    colors = list(class_colors(class_names).values())
    for ax, (name, (times, probabilities)) in zip(axes[:, 0], tracks.items(), strict=False):
        # One extra point gives a single frame a width; tracks break where no face was seen.
        step = np.median(np.diff(times)) if len(times) > 1 else 0.1
        for piece in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > max(1.0, 3 * step)) + 1):
            ends = np.append(times[piece], times[piece[-1]] + step)
            bands = np.vstack([probabilities[piece], probabilities[piece[-1]]]).T
            ax.stackplot(ends, bands, colors=colors, step="post")
        ax.set(ylim=(0, 1), yticks=[0, 1], ylabel=name)
    if not tracks:
        axes[0, 0].set(ylim=(0, 1), yticks=[])
        axes[0, 0].text(0.5, 0.5, "no face was found", ha="center", transform=axes[0, 0].transAxes)
    axes[0, 0].set_title(title)
    axes[-1, 0].set_xlabel("seconds")
    patches = [plt.Rectangle((0, 0), 1, 1, color=color) for color in colors]
    figure.legend(patches, class_names, loc="outside right upper", frameon=False, fontsize=9)
    return figure
