"""Prediction compared with the mtcnn package, bare ONNX Runtime and a peer: ``python benchmarks/prediction.py``.

Everything is measured in turns in one run, so that ratios hold on any machine. ``--peer PYTHON`` is the Python of an
environment with ``fer`` (its Haar mode); without it the peer is omitted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np

# ferlib is imported where it is used: a child's peak memory counts what its parent had when it was started.

PHOTO = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"

_MTCNN = """
import sys
from mtcnn import MTCNN
from ferlib.core.images import read_image
print(len(MTCNN().detect_faces(read_image(sys.argv[1]))))
"""

_FER = """
import json, sys, time
import cv2
from fer.fer import FER
started = time.perf_counter()
image, detector = cv2.imread(sys.argv[1]), FER(mtcnn=False)
detector.detect_emotions(image)
seconds = []
for _ in range(5):
    begun = time.perf_counter()
    found = detector.detect_emotions(image)
    seconds.append(time.perf_counter() - begun)
print(json.dumps({"warm": sorted(seconds)[2], "faces": len(found)}))
"""


def main() -> None:
    """Measure and print one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each kind (default: 5)")
    parser.add_argument("--frames", type=int, default=20_000, help="frames of the long video (default: 20000)")
    parser.add_argument("--peer", metavar="PYTHON", help="the Python of an environment with fer")
    parser.add_argument("--album", type=Path, metavar="FOLDER", help="photographs, to measure the command on a folder")
    parser.add_argument("--make-clip", nargs=2, metavar=("FILE", "FRAMES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make_clip:
        make_clip(Path(args.make_clip[0]), int(args.make_clip[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        _make_clip_elsewhere(clip, 300)
        measure_cold(args)
        measure_memory(Path(folder), args.frames)
        if args.album:
            measure_album(args.album, args.rounds)
        measure_detection(args.rounds)
        measure_emotions(args.rounds)
        measure_video(clip, args.rounds)
    if args.peer:
        measure_peer(args.peer, args.rounds)


def measure_cold(args: argparse.Namespace) -> None:
    """Measure the whole command on one photograph, from nothing."""
    commands = {
        "ferlib.predict": [sys.executable, "-m", "ferlib.predict", str(PHOTO)],
        "mtcnn package": [sys.executable, "-c", _MTCNN, str(PHOTO)],
    }
    if args.peer:
        commands["fer, Haar"] = [args.peer, "-c", _FER, str(PHOTO)]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    peaks = dict.fromkeys(commands, 0)
    for _ in range(args.rounds):
        for name, command in commands.items():
            started = time.perf_counter()
            peaks[name] = max(peaks[name], _peak_memory(command))
            seconds[name].append(time.perf_counter() - started)
    for name, values in seconds.items():
        print(f"cold, {name:<16} {np.median(values):6.2f} s, peak memory {peaks[name] / 1e3:5.0f} MB")
    ratio = np.median(seconds["ferlib.predict"]) / np.median(seconds["mtcnn package"])
    print(f"cold, ratio to the mtcnn package {ratio:.2f}")


def _peak_memory(command: list[str]) -> int:
    """Run a command and return its largest resident memory in kB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with status {process.returncode}")
    return usage.ru_maxrss


def measure_detection(rounds: int) -> None:
    """Measure how long the faces of a photograph of 512 x 600 pixels take."""
    from ferlib.core.backend import import_keras
    from ferlib.core.images import read_image
    from ferlib.faces import make_detector

    import_keras()
    from mtcnn import MTCNN

    photo = read_image(PHOTO)
    ours, theirs = make_detector("mtcnn"), MTCNN()
    mine, other = _in_turns(lambda: ours.detect(photo), lambda: theirs.detect_faces(photo), rounds)
    box, reference = ours.detect(photo)[0].box, tuple(theirs.detect_faces(photo)[0]["box"])
    print(
        f"detection on {photo.shape[1]} x {photo.shape[0]}: {1000 * mine:.0f} ms, mtcnn package {1000 * other:.0f} ms: "
        f"{other / mine:.1f} times as fast; boxes {box} and {reference}"
    )


def measure_emotions(rounds: int) -> None:
    """Measure emotions of faces in batches of 64, compared with bare calls of ONNX Runtime for the same views."""
    from ferlib.core.backend import import_onnxruntime
    from ferlib.runs.classifier import load_classifier
    from ferlib.runs.views import make_views

    classifier = load_classifier()
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(str(classifier.run.path / "model.onnx"), options)
    faces = np.random.default_rng(0).integers(0, 256, (64, *classifier.image_size, classifier.channels), dtype=np.uint8)
    views = [view.astype(np.float32) for view in make_views(faces, classifier.config.test_time_augmentation)]
    name = session.get_inputs()[0].name
    mine, bare = _in_turns(
        lambda: classifier.predict_proba(faces),
        lambda: [session.run(None, {name: view}) for view in views],
        4 * rounds,
    )
    print(
        f"emotions, batches of 64: {64 / mine:,.0f} faces/s, bare ONNX Runtime {64 / bare:,.0f} faces/s on the same "
        f"{len(views)} views: {bare / mine:.1%}"
    )


def make_clip(path: Path, n_frames: int) -> None:
    """Write a video in which a face moves through 640 x 480 pixels, thirty frames a second."""
    from ferlib.core.images import read_image, resize
    from ferlib.video import VideoWriter

    photo = resize(read_image(PHOTO), (240, 204))
    noise = 90 + np.random.default_rng(0).normal(0, 4, (30, 480, 640, 1))
    walls = np.clip(noise, 0, 255).astype(np.uint8).repeat(3, axis=-1)
    with VideoWriter(path, rate=30) as writer:
        for number in range(n_frames):
            scene = walls[number % len(walls)].copy()
            left = round(200 + 150 * np.sin(number / 40))
            scene[120:360, left : left + 204] = photo
            writer.write(scene, number / 30)


def _make_clip_elsewhere(path: Path, n_frames: int) -> None:
    """Write the video from another process, so that this one stays small."""
    subprocess.run([sys.executable, __file__, "--make-clip", path, str(n_frames)], check=True)


def measure_video(path: Path, rounds: int) -> None:
    """Measure a tracked video, from the file to the tracks."""
    from ferlib.inference import EmotionRecognizer, predict_video
    from ferlib.video import open_video

    recognizer = EmotionRecognizer(min_face_size=40)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        with open_video(path) as video:
            results = predict_video(video, recognizer, path=path, read_ahead=True)
            n_faces = sum(len(result.faces) for _, result in results)
        seconds.append(time.perf_counter() - started)
    print(f"tracked video 640 x 480: {300 / np.median(seconds):.0f} frames/s, one face in {n_faces} of 300 frames")


def measure_memory(folder: Path, n_frames: int) -> None:
    """Measure whether the command on a long video takes more memory than on a short one."""
    peaks = {}
    for n in (200, n_frames):
        clip = folder / f"{n}.mp4"
        _make_clip_elsewhere(clip, n)
        command = [sys.executable, "-m", "ferlib.predict", str(clip), "--output-csv", str(folder / f"{n}.csv")]
        peaks[n] = _peak_memory(command)
        clip.unlink()
    print(
        f"memory, a video to a CSV: {peaks[200] / 1e3:.0f} MB for 200 frames, {peaks[n_frames] / 1e3:.0f} MB for "
        f"{n_frames:,}: {peaks[n_frames] / peaks[200] - 1:+.1%}"
    )


def measure_album(folder: Path, rounds: int) -> None:
    """Measure the command on a folder: with one thread, with one per core, and with one process per core."""
    n_cores = len(os.sched_getaffinity(0))
    ways = {"one thread": ["--threads", "1"], "threads": [], "processes": ["--workers", str(n_cores)]}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    peaks = dict.fromkeys(ways, 0)
    n_photos = sum(1 for path in folder.iterdir() if path.is_file())
    for _ in range(rounds):
        for name, options in ways.items():
            started = time.perf_counter()
            peak = _peak_memory([sys.executable, "-m", "ferlib.predict", str(folder), "--quiet", *options])
            seconds[name].append(time.perf_counter() - started)
            peaks[name] = max(peaks[name], peak)
    for name, values in seconds.items():
        speed = n_photos / np.median(values)
        print(f"album of {n_photos}, {name:<10} {speed:5.1f} photographs/s, largest process {peaks[name] / 1e3:.0f} MB")


def measure_peer(peer: str, rounds: int) -> None:
    """Measure one photograph with Haar's detector, ferlib and fer, both warm."""
    from ferlib.core.images import read_image
    from ferlib.inference import EmotionRecognizer

    theirs = json.loads(_output([peer, "-c", _FER, str(PHOTO)]).splitlines()[-1])["warm"]
    # Below this many pixels fer looks for no face either.
    image, recognizer = read_image(PHOTO), EmotionRecognizer("haar", min_face_size=50)
    ours, _ = _in_turns(lambda: recognizer.recognize(image), lambda: None, rounds)
    print(f"one photograph, warm, Haar: {1000 * ours:.0f} ms, fer {1000 * theirs:.0f} ms")


def _output(command: list[str]) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _in_turns(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the median seconds of two calls, measured in turns after one call each."""
    first(), second()
    seconds = np.empty((rounds, 2))
    for number in range(rounds):
        for column, call in enumerate((first, second)):
            time.sleep(0.05)  # threads of the other call may still spin for more work
            started = time.perf_counter()
            call()
            seconds[number, column] = time.perf_counter() - started
    mine, other = np.median(seconds, axis=0)
    return float(mine), float(other)


if __name__ == "__main__":
    main()
