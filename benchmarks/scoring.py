"""``ferlib score`` compared with the bare recognizer, and its memory: ``python benchmarks/scoring.py``.

Both score the same images in turns, with one thread each. The costs of an image are those of many images less those of
few, so that starting does not count. Processor time is that of all processes of the command; on a busy machine it is
more reliable than the images per second. ``--record reports/scoring.json`` writes the result.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "docs" / "images" / "grace_hopper.jpg"

# Different images; more are links to the same files, which are read and decoded like others. One part has no two rows
# that are the same, which would be stored once.
_N_DISTINCT = _PART_SIZE = 256


@dataclass(frozen=True)
class Workload:
    """Images of a size, the options that they are scored with, and the numbers of images that are compared."""

    title: str
    size: tuple[int, int]  # width, height in pixels
    options: tuple[str, ...]
    few: int
    many: int


WORKLOADS = {
    "crops": Workload("face crops of 48 x 48 pixels, `--detector none`", (48, 48), ("--detector", "none"), 1000, 5000),
    "small": Workload("photographs of 320 x 240 pixels", (320, 240), (), 64, 512),
    "photographs": Workload("photographs of 640 x 480 pixels", (640, 480), (), 32, 256),
    "larger_faces": Workload(
        "the same, faces of at least 40 pixels: `--min-face-size 40`", (640, 480), ("--min-face-size", "40"), 64, 512
    ),
    "large": Workload("photographs of 1600 x 1200 pixels", (1600, 1200), (), 16, 96),
}


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each workload (default: 3)")
    parser.add_argument("--workloads", nargs="*", choices=WORKLOADS, default=list(WORKLOADS), help="default: all")
    parser.add_argument(
        "--memory", nargs="*", type=int, default=[10_000, 100_000], help="numbers of images (default: 10000 100000)"
    )
    parser.add_argument("--record", type=Path, metavar="FILE", help="JSON file to write")
    parser.add_argument("--bare", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        score_bare(*args.bare)
        return
    with tempfile.TemporaryDirectory() as folder:
        record = {
            "machine": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "load_average": round(os.getloadavg()[0], 1),
            "rounds": args.rounds,
            "workloads": {name: measure_workload(Path(folder), name, args.rounds) for name in args.workloads},
            "memory": {str(n): measure_memory(Path(folder), n) for n in args.memory},
        }
    if args.record:
        args.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def make_images(folder: Path, size: tuple[int, int], n: int) -> int:
    """Write `n` images of a face on a wall, and return the mean number of bytes."""
    folder.mkdir(parents=True)
    photo = Image.open(PHOTO).convert("RGB")
    rng = np.random.default_rng(0)
    width, height = size
    for number in range(n):
        path = folder / f"{number:07d}.jpg"
        if number >= _N_DISTINCT:
            os.link(folder / f"{number % _N_DISTINCT:07d}.jpg", path)
            continue
        wall = Image.fromarray(np.clip(rng.normal(150, 8, (height, width, 3)), 0, 255).astype(np.uint8))
        scale = rng.uniform(0.5, 0.9) * height / photo.height
        shown = photo.resize((round(photo.width * scale), round(photo.height * scale)))
        left, top = rng.integers(0, (max(1, width - shown.width), max(1, height - shown.height)))
        wall.paste(shown, (int(left), int(top)))
        wall.save(path, quality=90)
    return sum(path.stat().st_size for path in folder.iterdir()) // n


def measure_workload(folder: Path, name: str, rounds: int) -> dict[str, object]:
    """Measure one workload with one core."""
    workload = WORKLOADS[name]
    few, many = (folder / f"{name}-{n}" for n in (workload.few, workload.many))
    n_bytes = make_images(many, workload.size, workload.many)
    make_images(few, workload.size, workload.few)
    costs: dict[str, list[np.ndarray]] = {"bare": [], "score": []}
    for number in range(rounds):
        for kind in costs:
            measured = []
            for images in (few, many):
                output = folder / f"{images.name}-{number}.scores"
                if kind == "bare":
                    command = [sys.executable, __file__, "--bare", images, *workload.options]
                else:
                    command = [sys.executable, "-m", "ferlib", "score", images, "--output", output, "--workers", "1"]
                    command += ["--part-size", _PART_SIZE, "--quiet", *workload.options]
                measured.append(np.array(run(command)))
            # Seconds, and seconds of the processor, per image.
            costs[kind].append((measured[1] - measured[0]) / (workload.many - workload.few))
    seconds, processor = (
        {kind: statistics.median(float(cost[place]) for cost in values) for kind, values in costs.items()}
        for place in (0, 1)
    )
    result = {
        "title": workload.title,
        "bare_per_second": round(1 / seconds["bare"], 1),
        "score_per_second": round(1 / seconds["score"], 1),
        "ratio": round(seconds["bare"] / seconds["score"], 3),
        "bare_processor_ms": round(1000 * processor["bare"], 2),
        "score_processor_ms": round(1000 * processor["score"], 2),
        "processor_ratio": round(processor["bare"] / processor["score"], 3),
        "per_core_second": round(1 / processor["score"], 1),
        "image_bytes": n_bytes,
        "row_bytes": measure_row(folder / f"{many.name}-0.scores" / "part-000000.parquet"),
    }
    print(
        f"{workload.title}: {result['score_per_second']} of {result['bare_per_second']} images/s "
        f"({result['ratio']:.0%}), {result['score_processor_ms']} of {result['bare_processor_ms']} ms of the processor "
        f"({result['processor_ratio']:.0%}), {result['row_bytes']} bytes per row",
        flush=True,
    )
    return result


def measure_row(part: Path) -> int:
    """Return the mean number of bytes of a row, without the footer of the file, which large parts share."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(part)
    return round((part.stat().st_size - metadata.serialized_size) / metadata.num_rows)


def score_bare(images: str, *options: str) -> None:
    """Score the images of a folder with one thread, without writing anything."""
    from ferlib.inference import EmotionRecognizer, predict_images
    from ferlib.score import build_parser
    from ferlib.scoring.options import ScoreOptions

    parsed = build_parser().parse([images, "--output", "none", *options]).build(ScoreOptions)
    cv2.setNumThreads(1)
    recognizer = EmotionRecognizer(**parsed.recognizer_arguments(), n_threads=1)
    paths = sorted(Path(images).iterdir())
    print(sum(len(result.faces) for _, result in predict_images(paths, recognizer)))


def run(command: Sequence[object]) -> tuple[float, float]:
    """Run a command, and return its seconds and those of the processor in it and its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, env=environment)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_memory(folder: Path, n: int) -> dict[str, float]:
    """Measure the largest memory of the main process and of its largest worker, for `n` face crops."""
    images, output = folder / f"memory-{n}", folder / f"memory-{n}.scores"
    make_images(images, (48, 48), n)
    command = [sys.executable, "-m", "ferlib", "score", str(images), "--output", str(output), "--detector", "none"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL, env=environment)
    peaks = {"main": 0, "worker": 0}
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, lambda: process.poll() is None))
    watcher.start()
    process.wait()
    seconds = time.perf_counter() - started
    watcher.join()
    started = time.perf_counter()
    subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL, env=environment)
    result = {
        "main_mb": round(peaks["main"] / 1e3, 1),
        "worker_mb": round(peaks["worker"] / 1e3, 1),
        "per_second": round(n / seconds, 1),
        "resume_seconds": round(time.perf_counter() - started, 2),
    }
    print(f"memory, {n:,} images: {result}", flush=True)
    return result


def _watch(pid: int, peaks: dict[str, int], runs: Callable[[], bool]) -> None:
    """Keep the largest peak, in kilobytes, of a process and of those that it starts."""
    while runs():
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            peaks["main"] = max(peaks["main"], _peak(pid))
            peaks["worker"] = max([peaks["worker"], *(_peak(int(child)) for child in children)])
        except OSError:  # it has ended
            pass
        time.sleep(0.2)


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    # A process that has ended has no such line.
    return max((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), default=0)


if __name__ == "__main__":
    main()
