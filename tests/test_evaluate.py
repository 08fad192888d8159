"""The command `ferlib evaluate`: it measures what the training recorded, for every form of data."""

import csv
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ferlib.core.emotions import EMOTIONS, FOUR_EMOTIONS
from ferlib.core.errors import ArtifactError, DataError, FerlibError, OptionError
from ferlib.data import load_images, split_dataset
from ferlib.evaluate import main
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run, pretrained_run_dir
from ferlib.synthetic.generate import write_synthetic
from ferlib.training import TrainingOptions, train_model

NUMBERS = (
    *("n", "accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "top2_accuracy", "log_loss", "ece", "brier"),
    *("intervals", "per_class", "confusion_matrix", "class_names", "schema_version"),
)

REPORTS = Path(__file__).parent.parent / "reports"


def train_bovw(data, run_dir, seed):
    """Train a small bag of visual words."""
    options = {"n_words": 20, "flip_invariant": False, "classifier": "logistic"}
    return train_model("bovw", data, run_dir, TrainingOptions(seed=seed), model_options=options).path


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("data") / "faces.zip", train_size=350, test_size=70)


@pytest.fixture(scope="module")
def run_dir(faces, tmp_path_factory) -> Path:
    """Return a run with all seven emotions on the official split."""
    data = split_dataset(load_images(faces), val_fraction=0.2, seed=4)
    return train_bovw(data, tmp_path_factory.mktemp("runs") / "bovw", seed=4)


@pytest.fixture(scope="module")
def sampled_run(faces, tmp_path_factory) -> Path:
    """Return a run with four emotions on a sample with a split of its own."""
    data = split_dataset(load_images(faces, emotions=FOUR_EMOTIONS, sample_size=150, seed=9), "70/15/15", seed=9)
    return train_bovw(data, tmp_path_factory.mktemp("runs") / "sampled", seed=9)


@pytest.fixture
def evaluate(tmp_path):
    """Return a function that runs the command and returns the JSON that it wrote."""

    def evaluate(run_dir, data, split="test"):
        output = tmp_path / "new" / "e.json"
        arguments = ["--run", run_dir, "--data", data, "--split", split, "--output-json", output]
        assert main(list(map(str, arguments))) == 0
        return json.loads(output.read_text())

    return evaluate


def test_metrics_are_written_and_printed(evaluate, run_dir, faces, capsys):
    result = evaluate(run_dir, faces)
    assert {*NUMBERS, "model", "data", "split"} <= set(result)
    assert (result["model"], result["data"], result["split"]) == ("bovw", "faces.zip", "test")
    assert tuple(result["class_names"]) == tuple(result["per_class"]) == EMOTIONS
    assert all(set(row) == {"precision", "recall", "f1", "support"} for row in result["per_class"].values())
    matrix = np.array(result["confusion_matrix"])
    assert result["n"] == matrix.sum() == 70
    assert result["accuracy"] == pytest.approx(np.trace(matrix) / 70)
    assert [row["support"] for row in result["per_class"].values()] == matrix.sum(axis=1).tolist()
    out = capsys.readouterr().out
    assert "bovw on faces.zip, split test (SYNTHETIC faces)" in out
    assert re.search(rf"^accuracy +{result['accuracy']:.2%}  \d", out, flags=re.MULTILINE)
    assert [line.split()[0] for line in out.splitlines()[-7:]] == list(EMOTIONS)


def test_metrics_are_written_despite_a_closed_pipe(run_dir, faces, tmp_path):
    command = [sys.executable, "-m", "ferlib.evaluate", "--run", str(run_dir), "--data", str(faces)]
    with subprocess.Popen([*command, "--output-json", str(tmp_path / "e.json")], stdout=subprocess.PIPE) as evaluation:
        evaluation.stdout.close()
    assert json.loads((tmp_path / "e.json").read_text())["n"] == 70


def test_a_prior_changes_what_is_measured(run_dir, faces, tmp_path, capsys):
    rows = {}
    for prior in ("training", "photographs", "0,0,0,1,0,0,0"):
        arguments = ["--run", run_dir, "--data", faces, "--prior", prior, "--output-json", tmp_path / "e.json"]
        assert main(list(map(str, arguments))) == 0
        assert f", {prior} prior\n" in capsys.readouterr().out
        rows[prior] = json.loads((tmp_path / "e.json").read_text())
        assert rows[prior]["prior"] == prior
    # The drawn faces are balanced, and the training prior fits them best.
    assert rows["training"]["log_loss"] < rows["photographs"]["log_loss"]
    predicted = {prior: np.sum(row["confusion_matrix"], axis=0) for prior, row in rows.items()}
    neutral = EMOTIONS.index("neutral")
    assert predicted["photographs"][neutral] > predicted["training"][neutral]
    assert predicted["0,0,0,1,0,0,0"].tolist() == [0, 0, 0, 70, 0, 0, 0]


def test_compared_runs_have_the_same_prior(run_dir, faces, tmp_path):
    arguments = ["--run", run_dir, "--data", faces, "--compare", run_dir, "--prior", "photographs"]
    assert main([*map(str, arguments), "--output-json", str(tmp_path / "e.json")]) == 0
    (first, again) = json.loads((tmp_path / "e.json").read_text())["compare"]["models"].values()
    assert first == again


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_matches_recorded_metrics(evaluate, run_dir, faces, split):
    result = evaluate(run_dir, faces, split)
    assert {name: result[name] for name in NUMBERS} == Run(run_dir).metrics[split].to_json()


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_repeats_the_runs_own_split(evaluate, sampled_run, faces, split):
    result = evaluate(sampled_run, faces, split)
    assert {name: result[name] for name in NUMBERS} == Run(sampled_run).metrics[split].to_json()


def test_train_and_val_partition_the_rest(evaluate, run_dir, faces, caplog):
    assert evaluate(run_dir, faces, "train")["n"] + evaluate(run_dir, faces, "val")["n"] == 350
    assert "re-splitting" not in caplog.text


def test_run_with_four_emotions_on_other_data(evaluate, sampled_run, tmp_path, caplog):
    other = write_synthetic(tmp_path / "other.zip", train_size=70, test_size=70, seed=1)
    result = evaluate(sampled_run, other)
    assert tuple(result["class_names"]) == FOUR_EMOTIONS
    assert result["n"] == len(load_images(other, emotions=FOUR_EMOTIONS).split("test"))
    # Other data: their own test split, but a new val.
    assert "re-splitting" not in caplog.text
    evaluate(sampled_run, other, "val")
    assert "re-splitting val, because this is not the dataset that bovw was trained on" in caplog.text


def test_folder_with_only_test_is_enough(evaluate, run_dir, faces, tmp_path):
    with zipfile.ZipFile(faces) as archive:
        archive.extractall(tmp_path / "faces", [name for name in archive.namelist() if name.startswith("test/")])
    from_folder, from_zip = evaluate(run_dir, tmp_path / "faces"), evaluate(run_dir, faces)
    assert {name: from_folder[name] for name in NUMBERS} == {name: from_zip[name] for name in NUMBERS}
    assert from_folder["data"] == "faces"
    with pytest.raises(DataError, match="no images for 'val'"):
        evaluate(run_dir, tmp_path / "faces", "val")


def test_csv_has_public_and_private_test(evaluate, run_dir, faces, tmp_path):
    test = load_images(faces).split("test")
    usages = np.where(np.arange(70) < 50, "PublicTest", "PrivateTest")
    with (tmp_path / "fer2013.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "Usage", "pixels"])
        for label, usage, image in zip(test.labels, usages, test.images, strict=True):
            writer.writerow([label, usage, " ".join(map(str, image.ravel()))])
    public, private = (evaluate(run_dir, tmp_path / "fer2013.csv", part) for part in ("PublicTest", "PrivateTest"))
    assert (public["n"], private["n"]) == (50, 20)
    both = np.add(public["confusion_matrix"], private["confusion_matrix"])
    np.testing.assert_array_equal(both, Run(run_dir).metrics["test"].confusion_matrix)


def test_impossible_requests_are_refused(evaluate, run_dir, faces, tmp_path):
    with pytest.raises(DataError, match="has no images for 'PrivateTest'; it has train, test"):
        evaluate(run_dir, faces, "PrivateTest")
    with pytest.raises(DataError, match="no such file"):
        evaluate(run_dir, tmp_path / "missing.zip")
    with pytest.raises(ArtifactError, match="no run folder"):
        evaluate(tmp_path / "missing", faces)
    with pytest.raises(OptionError, match=r"--split: expected one of train, val, test, .*, got 'dev'"):
        evaluate(run_dir, faces, "dev")
    with pytest.raises(OptionError, match="--prior: expected 7 shares"):
        main(["--run", str(run_dir), "--data", str(faces), "--prior", "1,1"])
    assert not (tmp_path / "new").exists()


def test_data_are_not_overwritten(run_dir, faces):
    before = faces.read_bytes()
    with pytest.raises(FerlibError, match="not overwritten"):
        main(["--run", str(run_dir), "--data", str(faces), "--output-json", str(faces)])
    assert faces.read_bytes() == before


def test_error_is_one_sentence_and_status_1(run_dir, tmp_path):
    command = [sys.executable, "-m", "ferlib.evaluate", "--run", str(run_dir), "--data", "missing.zip"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: missing.zip: no such file or folder.\n"


@pytest.mark.real_data
def test_pretrained_model_reaches_recorded_accuracy(fer2013_archive, tmp_path):
    output = tmp_path / "e.json"
    command = [sys.executable, "-m", "ferlib.evaluate", "--data", str(fer2013_archive), "--split", "test"]
    done = subprocess.run([*command, "--output-json", str(output)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result, recorded = json.loads(output.read_text()), Run(pretrained_run_dir()).metrics["test"]
    assert result["n"] == 3589
    assert result["accuracy"] >= 0.66
    # Processors round differently, which can change predictions that are nearly ties.
    assert result["accuracy"] == pytest.approx(recorded.accuracy, abs=2 / 3589)
    assert np.abs(np.subtract(result["confusion_matrix"], recorded.confusion_matrix)).sum() <= 8


@pytest.mark.real_data
@pytest.mark.parametrize("prior", ["training", "photographs"])
def test_everyday_faces_give_the_recorded_metrics(everyday_faces, prior, tmp_path):
    output = tmp_path / "e.json"
    assert main(["--data", str(everyday_faces), "--prior", prior, "--output-json", str(output)]) == 0
    result, recorded = (json.loads(path.read_text()) for path in (output, REPORTS / f"everyday_{prior}.json"))
    assert (result["n"], result["prior"]) == (recorded["n"], recorded["prior"]) == (2000, prior)
    for name in ("accuracy", "balanced_accuracy", "ece"):
        assert result[name] == pytest.approx(recorded[name], abs=0.005), name
    if prior == "photographs":
        # What prediction uses by default, and what README claims.
        assert result["accuracy"] >= 0.82
        assert result["balanced_accuracy"] >= 0.59


def test_runs_are_compared(run_dir, faces, tmp_path, capsys):
    data = split_dataset(load_images(faces), val_fraction=0.2, seed=4)
    other = train_bovw(data, tmp_path / "other", seed=5)
    output = tmp_path / "e.json"
    assert (
        main(["--run", str(run_dir), "--data", str(faces), "--compare", str(other), "--output-json", str(output)]) == 0
    )
    compared = json.loads(output.read_text())["compare"]
    assert set(compared["models"]) == {"bovw", "other"}
    assert compared["models"]["other"]["accuracy"] == Run(other).metrics["test"].accuracy
    (test,) = compared["tests"]
    difference = compared["models"][test["better"]]["accuracy"] - compared["models"][test["worse"]]["accuracy"]
    assert test["accuracy_difference"] == pytest.approx(difference)
    out = capsys.readouterr().out
    assert f"{test['better']} against {test['worse']}" in out
    assert "McNemar p =" in out


def test_runs_with_other_classes_are_not_compared(run_dir, sampled_run, faces):
    with pytest.raises(FerlibError, match="has other classes: angry, happy, sad, neutral"):
        main(["--run", str(run_dir), "--data", str(faces), "--compare", str(sampled_run)])


def test_a_model_file_is_evaluated_with_its_size_and_speed(network_run, faces, tmp_path, capsys):
    path, output = network_run / "model.onnx", tmp_path / "e.json"
    arguments = ["--run", network_run, "--data", faces, "--model-file", path, "--output-json", output]
    assert main(list(map(str, arguments))) == 0
    found = json.loads(output.read_text())
    test = load_images(faces).split("test")
    # Neither the run's calibration nor its test-time augmentation is part of the file.
    plain = load_classifier(network_run, calibrated=False, test_time_augmentation="none")
    assert found["accuracy"] == (plain.predict_proba(test.images).argmax(axis=1) == test.labels).mean()
    assert found["model_file"] == "model.onnx"
    assert found["speed"]["megabytes"] == path.stat().st_size / 1e6
    assert min(found["speed"].values()) > 0
    assert "faces per second" in capsys.readouterr().out


def test_report_has_tables_and_figures(network_run, faces, tmp_path, capsys):
    folder, output = tmp_path / "report", tmp_path / "e.json"
    arguments = ["--run", network_run, "--data", faces, "--robustness", "--corruptions"]
    arguments += ["--output-report", folder, "--output-json", output]
    assert main(list(map(str, arguments))) == 0
    text, result = (folder / "report.md").read_text(), json.loads(output.read_text())
    assert text.startswith("# compact_cnn on faces.zip\n")
    assert "SYNTHETIC" in text
    assert f"| accuracy | {result['accuracy']:.2%} |" in text
    assert f"| happy | {result['per_class']['happy']['precision']:.3f} |" in text
    assert f"| scale 0.85 | {result['robustness']['scale 0.85']:.2%} |" in text
    figures = set(re.findall(r"\]\((\w+\.png)\)", text))
    assert figures == {path.name for path in folder.glob("*.png")}
    assert {"confusion_matrix.png", "curves.png", "reliability.png", "corruptions.png", "history.png"} <= figures
    out = capsys.readouterr().out
    assert re.search(r"^rotate 12° left +\d+\.\d\d%  [+-]\d+\.\d\d points$", out, flags=re.MULTILINE)
    assert re.search(r"^blur +0\.\d{3}", out, flags=re.MULTILINE)
