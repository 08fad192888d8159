"""Training on an accelerator, in all its steps, on the CPU."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferlib.data.votes import FERPLUS_EMOTIONS, FERPLUS_OTHERS
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run
from ferlib.synthetic.generate import write_synthetic

TOOL = Path(__file__).parents[2] / "tools" / "train_on_accelerator.py"
SMALL = {"stem": 4, "widths": [4], "depths": [1]}
PLAN = {
    "augmentation": {"rotation": 5, "resolution": 0.5, "gamma": 0.2},
    "runs": [
        {"name": "teacher", "model": "fast_cnn", "model_options": SMALL, "epochs": 2, "batch_size": 16},
        {
            "name": "student",
            "model": "fast_cnn",
            "model_options": SMALL,
            "epochs": 1,
            "batch_size": 16,
            "mixup": 0.2,
            "teachers": ["teacher"],
        },
    ],
}


def call(*arguments):
    """Run the tool in a process of its own, because it chooses the Keras backend."""
    done = subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_a_plan_becomes_run_folders(tmp_path):
    data, folder, plan = tmp_path / "faces.zip", tmp_path / "folder", tmp_path / "plan.json"
    write_synthetic(data, train_size=70, test_size=14)
    plan.write_text(json.dumps(PLAN))
    votes = tmp_path / "votes.csv"
    row = dict.fromkeys([*FERPLUS_EMOTIONS, *FERPLUS_OTHERS], 0) | {"neutral": 4, "sadness": 3, "fear": 1}
    from ferlib.data import load_images

    names = [Path(name).stem for name in load_images(data).names]
    pd.DataFrame([{"file_stem": name, **row} for name in names]).to_csv(votes, index=False)
    call("prepare", data, "--votes", votes, "--output", folder)
    call("train", folder, "--plan", plan)
    options = ("--plan", plan, "--run-dir", tmp_path / "run", "--data", data, "--votes", votes)
    printed = call("finish", folder, "student", *options)
    assert printed.startswith("val ") and "test " in printed
    run = Run(tmp_path / "run")
    assert run.config.training["mixup"] == 0.2
    assert run.config.teacher.model == "ensemble"
    assert [row["epoch"] for row in run.history] == [1]
    images = np.full((2, 48, 48, 1), 128, np.uint8)
    classifier = load_classifier(run)
    assert classifier.for_photographs().predict_proba(images).shape == (2, 7)
