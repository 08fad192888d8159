"""Ablation: from a plain network to the pretrained one, one change at a time.

``tools/ablation_experiment.py`` trains and records the variants.
"""

import pandas as pd

#: What each variant, a run, changes; numbers in the names order them.
CHANGES = {
    "01_plain": "plain network, Adam",
    "02_normalized": "batch normalization",
    "03_residual": "three residual stages, average pooling",
    "04_schedule": "AdamW, warm-up, cosine decay",
    "05_shifted": "flips and shifts",
    "06_turned": "rotation, scale, brightness and contrast",
    "07_erased": "random erasing",
    "08_smoothed": "label smoothing",
    "09_squeeze": "squeeze and excitation",
    "10_mixup": "mixup",
    "11_averaged": "averaged weights",
    "12_cropped": "random crops of 5/6",
    "13_noisy": "blur and noise",
    "14_distilled": "distillation from itself",
    "15_wider": "twice as many channels",
    "16_votes": "FER+ votes as an auxiliary output",
}

#: The baseline of the variants that follow it; the others are compared with the previous variant.
BASE = "09_squeeze"


def tabulate_ablation(table: pd.DataFrame) -> pd.DataFrame:
    """Return the variants in a table of runs from `tabulate_runs` or `read_experiments`, in their order.

    Returns
    -------
    DataFrame
        One row per variant: ``change``, ``baseline`` (the number of the variant to compare with), ``parameters``,
        ``epochs``, ``s/epoch``, ``val accuracy`` with its 95 % interval (``val low``, ``val high``), ``gain`` over the
        baseline in percentage points, ``test accuracy`` and ``test macro_f1``.
    """
    names = [name for name in CHANGES if name in table.index]
    previous = dict(zip(CHANGES, ["", *CHANGES], strict=False))
    baselines = [BASE if name > BASE else previous[name] for name in names]
    columns = ["parameters", "epochs", "s/epoch", "val accuracy", "val low", "val high"]
    rows = table.reindex(index=names, columns=[*columns, "test accuracy", "test macro_f1"])
    rows.insert(0, "change", [CHANGES[name] for name in names])
    rows.insert(1, "baseline", [baseline.split("_")[0] for baseline in baselines])
    accuracy = rows["val accuracy"].astype(float)
    rows.insert(6, "gain", 100 * (accuracy.to_numpy() - accuracy.reindex(baselines).to_numpy()))
    return rows
