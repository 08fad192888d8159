"""Give a network that learned raters' votes a second output, for faces in photographs.

FER2013's labels come from image searches: a face found with "sad" is sad, whatever it looks like. FER+ asked ten raters
per face what they see, which is what users of photographs expect. A network that is trained on both has two linear
layers on the same features. The output ``photographs`` is their mean in log space, weighted by `VOTES_WEIGHT`, after
the labels' class shares are replaced by those of the votes: mostly the raters' answer, but with the labels' knowledge
of rare emotions such as disgust and fear, which raters seldom name. Then the class shares are moved towards equal ones
by `EVENNESS`, because with the shares of the votes rare emotions are hardly found. All of this is linear in the
features before the softmax, so the output is one dense layer and costs nothing.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ferlib.core.backend import import_keras

if TYPE_CHECKING:
    import keras

#: The weight of the votes. Chosen on the everyday faces (``references/everyday.md``): more weight gives a higher
#: accuracy, less a higher balanced accuracy; see ``docs/results.md``.
VOTES_WEIGHT = 0.8

#: How far the class shares are moved from those of the votes, 0, to equal ones, 1. Chosen in the same way.
EVENNESS = 0.35


def add_photographs_output(
    network: "keras.Model", votes: "keras.layers.Dense", *, label_shares: np.ndarray, vote_shares: np.ndarray
) -> "keras.Model":
    """Return a network with the outputs ``label`` and ``photographs``.

    Parameters
    ----------
    network : keras.Model
        Ends in a softmax layer for the labels.
    votes : keras.layers.Dense
        The trained softmax layer for the votes, on the same features.
    label_shares, vote_shares : ndarray of shape (n_classes,)
        The share of each class in the labels and in the votes that were learned, above 0.
    """
    keras = import_keras()
    label: Any = network.layers[-1]
    shares = photographs_shares(vote_shares)
    weights = zip(_numpy(votes.weights), _numpy(label.weights), strict=True)
    kernel, bias = (VOTES_WEIGHT * ours + (1 - VOTES_WEIGHT) * theirs for ours, theirs in weights)
    bias = bias + (1 - VOTES_WEIGHT) * np.log(vote_shares / label_shares) + np.log(shares / vote_shares)
    photographs = keras.layers.Dense(len(bias), activation="softmax", dtype="float32", name="photographs")
    outputs = {"label": network.output, "photographs": photographs(label.input)}
    photographs.set_weights([kernel, bias])
    return keras.Model(network.input, outputs, name=network.name)


def photographs_shares(vote_shares: np.ndarray) -> np.ndarray:
    """Return the class shares (n_classes,) of the answers for photographs, given those of the votes."""
    shares = vote_shares ** (1 - EVENNESS)
    return np.asarray(shares / shares.sum())


def _numpy(weights: Any) -> list[np.ndarray]:
    keras = import_keras()
    return [np.asarray(keras.ops.convert_to_numpy(weight), np.float64) for weight in weights]
