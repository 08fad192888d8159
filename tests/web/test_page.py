"""The page as files: what it consists of, and what it is told about a run."""

import dataclasses
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ferlib.core.errors import ArtifactError, FerlibError, OptionError
from ferlib.export.__main__ import main as export
from ferlib.inference import EmotionRecognizer
from ferlib.runs.folder import Run, pretrained_run_dir
from ferlib.web.page import page_files, write_page

VENDOR = Path(__file__).parents[2] / "ferlib" / "web" / "static" / "vendor" / "onnxruntime-web"


def text(content: Path | bytes) -> str:
    return (content if isinstance(content, bytes) else content.read_bytes()).decode()


def test_every_file_that_the_page_names_is_there():
    files = page_files()
    assert {"index.html", "page.json", "models/emotion.onnx", "models/pnet.onnx"} <= set(files)
    own = {name: text(content) for name, content in files.items() if re.fullmatch(r"[a-z]+\.(html|js|css)", name)}
    for name, content in own.items():
        for named in re.findall(r'(?:from |src=|href=|new URL\()"(?:\./)?([^"#]+)"', content):
            assert named.rstrip("/") in files or any(other.startswith(named) for other in files), (name, named)
    assert set(json.loads(files["page.json"])["networks"].values()) <= set(files)


def test_the_page_names_no_other_host():
    for name, content in page_files().items():
        if name.endswith((".html", ".js", ".css", ".svg")) and not name.startswith("vendor/"):
            addresses = set(re.findall(r"https?://[^\s\"'<]+", text(content)))
            assert addresses <= {"http://www.w3.org/2000/svg", "http://localhost:5000."}, name


def test_the_configuration_is_that_of_the_run_and_the_command_line(tmp_path):
    config = json.loads(page_files()["page.json"])
    run, recognizer = Run(pretrained_run_dir()), EmotionRecognizer()
    assert config["class_names"] == list(run.config.class_names)
    assert config["calibrations"][0] == run.config.calibration.to_json()
    assert config["service"] is None
    assert next(iter(config["priors"])) == recognizer.prior.name == "photographs"
    # The default model has an output for photographs.
    assert recognizer.classifier.photographs
    assert config["priors"]["photographs"] == {"output": 1, "factors": None}
    assert config["calibrations"][1] == run.config.photographs.calibration.to_json()
    assert config["priors"]["training"] == {"output": 0, "factors": None}
    assert config["model_card"].startswith("# fast_cnn")
    # Another run gives another configuration and another network.
    shutil.copytree(pretrained_run_dir(), tmp_path / "run")
    other = Run(tmp_path / "run")
    other.write_config(
        dataclasses.replace(other.config, model="other", calibration=None, photographs=None, image_counts={})
    )
    files = page_files(other)
    changed = json.loads(files["page.json"])
    assert (changed["model"], changed["calibrations"]) == ("other", [None])
    assert changed["priors"] == {"training": {"output": 0, "factors": None}}
    assert files["models/emotion.onnx"] == tmp_path / "run" / "model.onnx"


def test_runs_that_a_browser_cannot_run_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="no run folder"):
        page_files(tmp_path / "missing")
    shutil.copytree(pretrained_run_dir(), tmp_path / "run")
    run = Run(tmp_path / "run")
    run.write_config(dataclasses.replace(run.config, test_time_augmentation="ten_crop"))
    with pytest.raises(ArtifactError, match="averages ten_crop views"):
        page_files(run)
    (tmp_path / "run" / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"has no model\.onnx"):
        page_files(run)


def test_export_writes_a_folder(tmp_path, capsys):
    folder = tmp_path / "public"
    assert export(["--format", "web", str(folder)]) == 0
    assert re.fullmatch(rf"wrote {folder} \(\d+\.\d\d MB\)\n", capsys.readouterr().out)
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == set(page_files())
    with pytest.raises(FerlibError, match="not an empty folder; name a new one"):
        write_page(None, folder)
    for arguments in (["--weights", "int8"], ["--calibrated"], ["--tta", "flip"]):
        with pytest.raises(OptionError, match=arguments[0]):
            export(["--format", "web", *arguments, str(tmp_path / "other")])
    assert not (tmp_path / "other").exists()


def test_the_page_s_pnet_is_the_package_s():
    files = page_files()
    image = np.random.default_rng(0).uniform(-1, 1, (1, 61, 48, 3)).astype(np.float32)
    found, expected = (
        onnxruntime.InferenceSession(path.read_bytes()).run(None, {"image": image})[0]
        for path in (files["models/pnet.onnx"], files["models/pnet.onnx"].with_name("pnet.onnx"))
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_licenses_are_beside_the_vendor_files():
    assert (VENDOR / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert "Eigen" in (VENDOR / "ThirdPartyNotices.txt").read_text(encoding="utf-8")


@pytest.mark.wheel
@pytest.mark.slow
def test_vendor_files_are_those_of_the_npm_package(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    package = json.loads((VENDOR / "package.json").read_text(encoding="utf-8"))
    name = f"{package['name']}@{package['version']}"
    done = subprocess.run(["npm", "pack", name], cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no package registry can be reached")
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as archive:
        members = {Path(member.name).name: member for member in archive if "/lib/" not in member.name}
        vendored = sorted({path.name for path in VENDOR.iterdir()} - {"LICENSE", "ThirdPartyNotices.txt"})
        assert vendored == [
            "ort-wasm-simd-threaded.mjs",
            "ort-wasm-simd-threaded.wasm",
            "ort.wasm.min.mjs",
            "package.json",
        ]
        for file in vendored:
            assert archive.extractfile(members[file]).read() == (VENDOR / file).read_bytes(), file
