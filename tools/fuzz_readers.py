"""Read thousands of damaged images and videos and check that each is read or refused with a sentence.

    python tools/fuzz_readers.py --count 10000
    python tools/fuzz_readers.py --count 500 --videos

Valid files of every format are truncated, and their bytes changed, removed, repeated and filled with noise. Reading
must give an image or a FerlibError: no other exception, no crash, not over ten seconds, not over four gigabytes of
address space. Files that break this rule are kept and their paths printed; the exit status is then 1.
"""

import argparse
import io
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ferlib.core.console import progress_bar
from ferlib.core.errors import FerlibError
from ferlib.core.images import decode_image
from ferlib.video import VideoWriter, open_video

SECONDS, GIGABYTES = 10, 4

# Files per process, so that a crash costs little.
_CHUNK = 100


def main() -> int:
    """Read damaged files; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="number of damaged files (default: 1000)")
    parser.add_argument("--videos", action="store_true", help="videos instead of images")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of the damage (default: 0)")
    args = parser.parse_args()
    keep = Path(tempfile.mkdtemp(prefix="damaged-"))
    outcomes: Counter[str] = Counter()
    for start in progress_bar(range(0, args.count, _CHUNK), unit="hundred"):
        todo = range(start, min(start + _CHUNK, args.count))
        while todo:
            done, outcome = _in_a_process(args.videos, args.seed, todo, keep)
            outcomes += done
            todo = todo[done.total() :]
            if outcome:  # the file being read when the process ended is to blame
                outcomes[outcome] += 1
                todo = todo[1:]
    print(", ".join(f"{name} {count:,}" for name, count in sorted(outcomes.items())))
    bad = [path for path in sorted(keep.iterdir()) if path.name != "now"]
    if bad:
        print(f"{len(bad)} files were neither read nor refused; they are in {keep}:")
        print("\n".join(path.name for path in bad))
        return 1
    shutil.rmtree(keep)
    return 0


def _in_a_process(videos: bool, seed: int, numbers: range, keep: Path) -> tuple[Counter, str]:
    """Read damaged files in a separate process; return the outcomes, and why it ended early ("" if it did not)."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_read_all, args=(videos, seed, numbers, keep, queue))
    process.start()
    done: Counter[str] = Counter()
    deadline = time.monotonic() + 60
    while done.total() < len(numbers):
        if not queue.empty():
            done[queue.get()] += 1
            deadline = time.monotonic() + 3 * SECONDS
        elif not process.is_alive() or time.monotonic() > deadline:
            if not queue.empty():
                continue
            cause = f"crash {process.exitcode}" if not process.is_alive() else "hang"
            process.kill()
            number = numbers[done.total()]
            (keep / "now").replace(keep / f"{number}-{cause.replace(' ', '-')}")
            return done, cause
        else:
            time.sleep(0.005)
    process.join()
    return done, ""


def _read_all(videos: bool, seed: int, numbers: range, keep: Path, queue: "multiprocessing.SimpleQueue") -> None:
    """Read damaged files and put the outcome of each into the queue."""
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES * 10**9, GIGABYTES * 10**9))
    originals = list(_make_videos() if videos else _make_images())
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        name, data = originals[number % len(originals)]
        data = mutate(data, rng)
        (keep / "now").write_bytes(data)
        started = time.perf_counter()
        outcome = _outcome(lambda name=name, data=data: _read_video(name, data) if videos else decode_image(data))
        if time.perf_counter() - started > SECONDS:
            outcome = "slow"
        if outcome not in ("read", "refused"):
            (keep / f"{number}-{outcome}{Path(name).suffix}").write_bytes(data)
        queue.put(outcome)


def _outcome(read: Callable[[], object]) -> str:
    """Return ``read``, ``refused``, or the name of an exception that is not a FerlibError."""
    try:
        read()
    except FerlibError as error:
        return "refused" if "\n" not in str(error) else "long-sentence"
    except BaseException as error:
        traceback.print_exc(limit=3)
        return type(error).__name__
    return "read"


def _read_video(name: str, data: bytes) -> None:
    """Read all frames of a video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        with open_video(path) as video:
            for _ in video:
                pass


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a damaged copy of a file's bytes: one to four changes, mostly near the start, where the headers are."""
    values = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not values:
            break
        place = int(len(values) * rng.random() ** rng.choice([1, 4]))
        length = int(min(len(values) - place, 1 + rng.exponential(20)))
        kind = rng.integers(6)
        if kind == 0:
            del values[place:]
        elif kind == 1:
            del values[place : place + length]
        elif kind == 2:
            values[place:place] = values[place : place + length] * int(rng.integers(1, 9))
        elif kind == 3:
            values[place : place + length] = rng.bytes(length)
        elif kind == 4:
            values[place : place + length] = bytes([rng.choice([0, 127, 128, 255])]) * length
        else:
            values[place] ^= 1 << int(rng.integers(8))
    return bytes(values)


def _make_images() -> Iterator[tuple[str, bytes]]:
    """Yield valid images of common formats and modes."""
    rng = np.random.default_rng(1)
    smooth = np.add.outer(np.arange(60), np.arange(80))
    pixels = np.stack([smooth, smooth[::-1], 255 - smooth], axis=-1)
    pixels = np.clip(pixels + rng.normal(0, 9, pixels.shape), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    animation = {"save_all": True, "append_images": [image.rotate(90)]}
    variants = [
        ("a.jpg", image, {"exif": exif}),
        ("b.jpg", image, {"progressive": True}),
        ("c.jpg", image.convert("CMYK"), {}),
        ("d.jpg", image.convert("L"), {}),
        ("e.png", image, {}),
        ("f.png", image.convert("P"), {"transparency": 3}),
        ("g.png", Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), {}),
        ("h.png", image.convert("RGBA"), {}),
        ("i.png", image.convert("1"), {}),
        ("j.gif", image.convert("P"), animation),
        ("k.webp", image, animation),
        ("l.webp", image, {"lossless": True}),
        ("m.tif", image, {"compression": "tiff_lzw", **animation}),
        ("n.tif", image, {"compression": "jpeg"}),
        ("o.bmp", image, {}),
    ]
    for name, image, options in variants:
        stream = io.BytesIO()
        suffix = Path(name).suffix[1:]
        image.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()), **options)
        yield name, stream.getvalue()


def _make_videos() -> Iterator[tuple[str, bytes]]:
    """Yield valid videos of every container that ferlib writes, and animations."""
    frames = [np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8) for number in range(12)]
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".mp4", ".avi", ".mkv", ".mov"):
            path = Path(folder) / f"v{suffix}"
            with VideoWriter(path, rate=10) as writer:
                for number, frame in enumerate(frames):
                    writer.write(frame, number / 10)
            yield path.name, path.read_bytes()
    images = [Image.fromarray(frame) for frame in frames[:4]]
    for suffix in ("gif", "webp"):
        stream = io.BytesIO()
        images[0].save(stream, suffix.upper(), save_all=True, append_images=images[1:], duration=100)
        yield f"v.{suffix}", stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())
