"""Read thousands of damaged files and check that each is read or refused with a sentence.

    python tools/fuzz_readers.py --count 10000
    python tools/fuzz_readers.py --count 500 --kind videos

Valid files of every format are truncated, and their bytes changed, removed, repeated and filled with noise; in text,
values are also replaced by extreme ones. Reading must give a result or a FerlibError: no other exception, no crash, not
over ten seconds, not over one gigabyte of memory. Files that break this rule are kept and their paths printed; the exit
status is then 1.
"""

import argparse
import importlib.util
import io
import logging
import multiprocessing
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from fuzz_sources import SOURCES
from PIL import Image

from ferlib.core.console import progress_bar
from ferlib.core.errors import FerlibError
from ferlib.core.images import decode_image
from ferlib.video import VideoWriter, open_video

SECONDS, GIGABYTES = 10, 1

# What text is replaced by: values that are too large, too small, of another type, or nested.
_EXTREMES = (
    *(
        b"-1",
        b"0",
        b"1e999",
        b"999999999999999999999",
        b"NaN",
        b"null",
        b"true",
        b'""',
        b"[]",
        b"{}",
        b"3.5",
        b"/etc/passwd",
    ),
    *(b"[[[[[[", b'{"a": {"a": 1}}', b"\xff\xfe", b"\0", b"../../x", b"9" * 5000, b"happy", b"7", b"\n", b",", b'"'),
)

# What is text, by its suffix.
_TEXT = frozenset({".csv", ".json", ".lst", ".toml", ".txt"})


def main() -> int:
    """Read damaged files; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="number of damaged files (default: 1000)")
    parser.add_argument("--kind", choices=KINDS, default="images", help="what to damage (default: images)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of the damage (default: 0)")
    args = parser.parse_args()
    keep = Path(tempfile.mkdtemp(prefix="damaged-"))
    outcomes: Counter[str] = Counter()
    peak = 0
    chunk = KINDS[args.kind].chunk
    for start in progress_bar(range(0, args.count, chunk), unit=f"{chunk} files"):
        todo = range(start, min(start + chunk, args.count))
        while todo:
            done, outcome, used = _in_a_process(args.kind, args.seed, todo, keep)
            outcomes += done
            peak = max(peak, used)
            todo = todo[done.total() :]
            if outcome:  # the file being read when the process ended is to blame
                outcomes[outcome] += 1
                todo = todo[1:]
    print(", ".join(f"{name} {count:,}" for name, count in sorted(outcomes.items())))
    print(f"peak memory {peak / 1e6:,.0f} MB", file=sys.stderr)
    bad = [path for path in sorted(keep.iterdir()) if path.name != "now"]
    if bad:
        print(f"{len(bad)} files were neither read nor refused; they are in {keep}:")
        print("\n".join(path.name for path in bad))
        return 1
    shutil.rmtree(keep)
    return 0


def _in_a_process(kind: str, seed: int, numbers: range, keep: Path) -> tuple[Counter, str, int]:
    """Read damaged files in a separate process.

    Return the outcomes, why the process ended early ("" if it did not), and its peak memory in bytes.
    """
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_read_all, args=(kind, seed, numbers, keep, queue))
    process.start()
    done: Counter[str] = Counter()
    peak = 0
    deadline = time.monotonic() + 180
    while done.total() < len(numbers):
        if not queue.empty():
            outcome, peak = queue.get()
            done[outcome] += 1
            deadline = time.monotonic() + 3 * SECONDS
        elif not process.is_alive() or time.monotonic() > deadline:
            if not queue.empty():
                continue
            cause = f"crash {process.exitcode}" if not process.is_alive() else "hang"
            process.kill()
            number = numbers[done.total()]
            (keep / "now").replace(keep / f"{number}-{cause.replace(' ', '-')}")
            return done, cause, peak
        else:
            time.sleep(0.005)
    process.join()
    return done, "", peak


def _read_all(kind: str, seed: int, numbers: range, keep: Path, queue: "multiprocessing.SimpleQueue") -> None:
    """Read damaged files and put the outcome of each into the queue."""
    logging.disable(logging.WARNING)
    originals = list(KINDS[kind].make())
    for name, data in originals:  # imports what reading needs, and shows that the files are valid
        KINDS[kind].read(name, data)
    # The limit is for what is read, not for the libraries and the originals.
    limit = _address_space() + GIGABYTES * 10**9
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    start = _peak_memory()
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        name, data = originals[number % len(originals)]
        is_text = Path(name).suffix in _TEXT and rng.random() < 0.5
        data = mutate_text(data, rng) if is_text else mutate(data, rng)
        (keep / "now").write_bytes(data)
        started = time.process_time()  # the machine may be busy
        outcome = _outcome(lambda name=name, data=data: KINDS[kind].read(name, data))
        if time.process_time() - started > SECONDS:
            outcome = "slow"
        if outcome not in ("read", "refused"):
            (keep / f"{number}-{outcome}{Path(name).suffix}").write_bytes(data)
        queue.put((outcome, _peak_memory() - start))


def _address_space() -> int:
    """Return the size of this process's address space in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak_memory() -> int:
    """Return the largest memory that this process has used, in bytes."""
    # Unlike ru_maxrss, this is not that of the process that started this one.
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


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


def _read_image(name: str, data: bytes) -> None:  # noqa: ARG001
    """Decode an image."""
    decode_image(data)


def _read_video(name: str, data: bytes) -> None:
    """Read all frames of a video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        with open_video(path) as video:
            for _ in video:
                pass


def mutate_text(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a copy of a text with one to three of its words or numbers replaced."""
    for _ in range(rng.integers(1, 4)):
        words = list(re.finditer(rb'"[^"\n]*"|[\w.+-]+|[\[\]{}:,;=\n]', data))
        if not words:
            return data
        word = words[rng.integers(len(words))]
        data = data[: word.start()] + _EXTREMES[rng.integers(len(_EXTREMES))] + data[word.end() :]
    return data


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
    image = Image.fromarray(pixels)
    for kind in (
        "AVIF",
        "BLP",
        "DDS",
        "ICNS",
        "ICO",
        "JPEG2000",
        "MPO",
        "MSP",
        "PCX",
        "PPM",
        "QOI",
        "SGI",
        "TGA",
        "XBM",
    ):
        stream = io.BytesIO()
        image.convert({"BLP": "P", "MSP": "1", "XBM": "1"}.get(kind, "RGB")).save(stream, kind)
        yield f"p.{kind.lower()}", stream.getvalue()
    for suffix in (".png", ".tiff", ".ppm"):
        # Colors of 12 bits, for which OpenCV reads the file a second time.
        yield f"q{suffix}", cv2.imencode(suffix, pixels.astype(np.uint16) * 16)[1].tobytes()
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
        stream = io.BytesIO()
        image.save(stream, "HEIF")
        yield "r.heic", stream.getvalue()


def _make_videos() -> Iterator[tuple[str, bytes]]:
    """Yield valid videos of every container that ferlib writes, and others with sound, and animations."""
    frames = [np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8) for number in range(12)]
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".mp4", ".avi", ".mkv", ".mov"):
            path = Path(folder) / f"v{suffix}"
            with VideoWriter(path, rate=10) as writer:
                for number, frame in enumerate(frames):
                    writer.write(frame, number / 10)
            yield path.name, path.read_bytes()
        if importlib.util.find_spec("av"):
            for container, codec in (("mpegts", "mpeg2video"), ("flv", "flv"), ("webm", "libvpx"), ("3gp", "mpeg4")):
                path = Path(folder) / f"w.{container}"
                _encode(path, container, codec, frames)
                yield path.name, path.read_bytes()
    images = [Image.fromarray(frame) for frame in frames[:4]]
    for suffix in ("gif", "webp", "png", "avif"):
        stream = io.BytesIO()
        images[0].save(stream, suffix.upper(), save_all=True, append_images=images[1:], duration=100)
        yield f"v.{suffix}", stream.getvalue()


def _encode(path: Path, container: str, codec: str, frames: list[np.ndarray]) -> None:
    """Write a video with PyAV."""
    import av

    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        output.mux(stream.encode(None))


@dataclass(frozen=True)
class Kind:
    """A kind of files: how valid ones are made, as names and contents, how one is read, and how many in one process.

    A crash costs the rest of a process's files; what takes long to start reads more of them.
    """

    make: Callable[[], Iterator[tuple[str, bytes]]]
    read: Callable[[str, bytes], None]
    chunk: int = 100


#: What ``--kind`` names.
KINDS = {"images": Kind(_make_images, _read_image), "videos": Kind(_make_videos, _read_video)}
KINDS |= {name: Kind(*parts) for name, parts in SOURCES.items()}


if __name__ == "__main__":
    sys.exit(main())
