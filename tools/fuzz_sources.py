"""Archives, tables, run folders and configuration files for ``tools/fuzz_readers.py`` to damage."""

import contextlib
import dataclasses
import importlib
import io
import json
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ferlib.core.option_spec import option_specs

# The folders that files are a part of, by their names; a damaged file is read in a copy.
_FOLDERS: dict[str, Path] = {}
_KEPT: list[tempfile.TemporaryDirectory] = []

Files = Iterator[tuple[str, bytes]]


def _make_faces() -> dict[str, bytes]:
    """Return small images in class folders, by name."""
    faces = {}
    for number, emotion in enumerate(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")):
        for split in ("train", "test"):
            stream = io.BytesIO()
            pixels = np.random.default_rng(number).integers(0, 256, (12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(stream, "PNG")
            faces[f"{split}/{emotion}/{number}.png"] = stream.getvalue()
    return faces


def make_archives() -> Files:
    """Yield zips, tars and a saved dataset."""
    from ferlib.data import load_images

    faces = _make_faces()
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", compression) as packed:
            for name, data in faces.items():
                packed.writestr(name, data)
        yield f"faces{compression}.zip", stream.getvalue()
    for mode, suffix in (("w", ".tar"), ("w:gz", ".tar.gz"), ("w:bz2", ".tar.bz2"), ("w:xz", ".tar.xz")):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode, format=tarfile.PAX_FORMAT) as tar:
            for name, data in faces.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.pax_headers = len(data), {"comment": "a face"}
                tar.addfile(entry, io.BytesIO(data))
        yield f"faces{suffix}", stream.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "faces.tar").write_bytes(stream.getvalue())
        load_images(Path(folder) / "faces.tar").save(Path(folder) / "saved.npz")
        yield "saved.npz", (Path(folder) / "saved.npz").read_bytes()


def read_dataset(name: str, data: bytes) -> None:
    """Load a dataset: an archive, a table, or the folder that a list of labels belongs to."""
    from ferlib.data import load_images

    with _written(name, data) as path:
        load_images(path, label_order="affectnet" if name in _FOLDERS else None)


@contextlib.contextmanager
def _written(name: str, data: bytes) -> Iterator[Path]:
    """Yield the path of a file, or of a copy of the folder that it is a part of."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if name in _FOLDERS:
            shutil.copytree(_FOLDERS[name], folder, dirs_exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        yield Path(folder) if name in _FOLDERS else path


def _new_folder() -> Path:
    """Return a folder that is removed with the process."""
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    _KEPT.append(folder)
    return Path(folder.name)


def make_tables() -> Files:
    """Yield tables and lists of labels of all layouts, next to the images that they are for."""
    pixels = " ".join(map(str, np.arange(48 * 48) % 256))
    rows = [f"{code},{pixels},{usage}" for code, usage in enumerate(("Training", "Training", "PublicTest"))]
    yield "fer2013.csv", "\n".join(["emotion,pixels,Usage", *rows]).encode()
    array = io.BytesIO()
    np.save(array, np.array("3"))
    layouts = {
        "label/label.lst": b"a.png 0 1 1 9 9 80 3\nb.png 0 2 2 9 9 70 6\n",
        "FER2013Train/label.csv": b'a.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0\n'
        b'b.png,"(0, 0, 48, 48)",0,9,0,0,0,0,0,0,1,0\n',
        "EmoLabel/list_patition_label.txt": b"train_00001.png 5\ntest_0001.png 4\n",
        "Annotation/boundingbox/train_00001_boundingbox.txt": b"1.0 1.0 9.5 9.5\n",
        "legend.csv": b"image,emotion,split\na.png,happiness,train\nb.png,3,test\nc.png,contempt,train\n",
        "training.csv": b"subDirectory_filePath,face_x,face_y,face_width,face_height,expression\n"
        b"a.png,1,1,9,9,1\nb.png,1,1,9,9,2\n",
        "Emotion/S1/S1_emotion.txt": b"   3.0000000e+00\n",
        "annotations/a_exp.npy": array.getvalue(),
    }
    images = list(_make_faces().values())
    for name, data in layouts.items():
        folder = _FOLDERS[name] = _new_folder()
        names = ("image/origin/a.png", "image/origin/b.png", "FER2013Train/a.png", "FER2013Train/b.png", "S1.png")
        if name == "label/label.lst":
            names = names[:2]
        elif name.startswith("FER2013"):
            names = names[2:4]
        elif name.startswith(("EmoLabel", "Annotation")):
            names = ("original/train_00001.png", "original/test_0001.png")
            (folder / "EmoLabel").mkdir(parents=True)
            (folder / "EmoLabel/list_patition_label.txt").write_bytes(layouts["EmoLabel/list_patition_label.txt"])
        elif name.startswith("Emotion"):
            names = ("S1.png",)
        else:
            names = ("images/a.png", "images/b.png", "images/c.png")
        for image, place in zip(images, names, strict=False):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(image)
        yield name, data


def make_parquet() -> Files:
    """Yield Parquet files of several encodings, with encoded images and with gray values."""
    import pyarrow
    import pyarrow.parquet

    faces = _make_faces()
    images = [{"bytes": data, "path": name} for name, data in faces.items()]
    features = {"label": {"names": ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]}}
    features["label"]["_type"] = "ClassLabel"
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    hub = pyarrow.table({"image": images, "label": [number % 7 for number in range(len(images))]})
    pixels = {"emotion": [0, 3, 6], "pixels": [" ".join(["8"] * 2304)] * 3, "Usage": ["Training"] * 3}
    named = {"img": list(faces.values())[:8], "emotion": ["happy", "sad", "fear", "contempt"] * 2}
    for number, (table, options) in enumerate(
        [
            (hub.replace_schema_metadata(metadata), {"row_group_size": 5}),
            (hub.replace_schema_metadata(metadata), {"compression": "gzip", "data_page_version": "2.0"}),
            (pyarrow.table(pixels), {"compression": "zstd"}),
            (pyarrow.table(named), {"compression": "none", "use_dictionary": False}),
        ]
    ):
        stream = io.BytesIO()
        pyarrow.parquet.write_table(table, stream, **options)
        yield f"{number}.parquet", stream.getvalue()


def make_runs() -> Files:
    """Yield the files of run folders with a network and with a pipeline."""
    from ferlib.runs.folder import pretrained_run_dir

    yield from _run_files(pretrained_run_dir(), ("config.json", "history.json", "metrics.json", "model.onnx"))
    yield from _run_files(_small_pipeline(_new_folder()), ("model.skops",))


def make_keras() -> Files:
    """Yield the Keras network of a run folder."""
    from ferlib.runs.folder import pretrained_run_dir

    yield from _run_files(pretrained_run_dir(), ("model.keras",))


def _run_files(source: Path, names: tuple[str, ...]) -> Files:
    folder = _new_folder()
    shutil.copytree(source, folder, dirs_exist_ok=True)
    (folder / ("model.onnx" if "model.keras" in names else "model.keras")).unlink(missing_ok=True)
    for name in names:
        _FOLDERS[name] = folder
        yield name, (folder / name).read_bytes()


def read_run(name: str, data: bytes) -> None:
    """Load the classifier of a run folder, predict, and read its records."""
    from ferlib.runs.classifier import load_classifier
    from ferlib.runs.folder import Run

    with _written(name, data) as folder:
        run = Run(folder)
        load_classifier(run, n_threads=1).predict_proba(np.zeros((2, 48, 48, 1), np.uint8))
        _ = run.history, run.metrics, run.members


def _small_pipeline(folder: Path) -> Path:
    """Return the folder of a small bag of visual words."""
    from ferlib.core.data_info import DataInfo
    from ferlib.core.emotions import EMOTIONS
    from ferlib.data import ImageDataset
    from ferlib.training import train_model

    labels = np.arange(28) % 7
    dataset = ImageDataset(
        images=np.random.default_rng(0).integers(0, 256, (28, 48, 48, 1), dtype=np.uint8),
        labels=labels,
        class_names=EMOTIONS,
        splits=np.repeat(["train", "val"], [21, 7]),
        names=labels.astype(str),
        info=DataInfo(title="noise", layout="folders", path="noise", sha256="0"),
    )
    options = {"n_words": 4, "flip_invariant": False, "classifier": "logistic"}
    return train_model("bovw", dataset, folder, model_options=options).path


def make_configurations() -> Files:
    """Yield configuration files of the commands."""
    texts = {
        "train": 'model = "compact_cnn"\nepochs = 3\nlearning_rate = 0.01\nemotions = ["happy", "sad"]\n'
        'split_scheme = "70/15/15"\nlabel_order = "affectnet"\n[augmentation]\nrotation = 20\n'
        '[model_options]\ndepth = [2, 3, 3]\n[split_folders]\none = "train"\n',
        "predict": 'inputs = ["a.jpg"]\ndetector = "mtcnn"\nmin_face_size = 20\nmin_probability = 0.5\n'
        'output_csv = "faces.csv"\n',
        "evaluate": 'data = "fer2013.zip"\nsplit = "test"\nrun = "data/runs/a"\ncompare = ["b"]\nrobustness = true\n',
        "import": 'model = ["a.onnx"]\nrun_dir = "b"\nclass_names = ["happy", "sad"]\ncolor = "gray"\nrange = [0, 1]\n',
    }
    for command, text in texts.items():
        yield f"{command}.toml", text.encode()


def read_configuration(name: str, data: bytes) -> None:
    """Parse a configuration file with the command that it is named after, and build the options."""
    from ferlib.__main__ import COMMANDS

    module = importlib.import_module(COMMANDS[Path(name).stem][0])
    with _written(name, data) as path:
        parsed = module.build_parser().parse(["--config", str(path)])
        for cls in vars(module).values():
            if dataclasses.is_dataclass(cls) and isinstance(cls, type) and option_specs(cls):
                parsed.build(cls)


#: For each kind, what yields valid files, what reads one, and how many are read in one process.
SOURCES: dict[str, tuple[Callable[[], Files], Callable[[str, bytes], None], int]] = {
    "archives": (make_archives, read_dataset, 100),
    "tables": (make_tables, read_dataset, 100),
    "parquet": (make_parquet, read_dataset, 500),
    "runs": (make_runs, read_run, 500),
    "keras": (make_keras, read_run, 500),
    "configurations": (make_configurations, read_configuration, 100),
}
