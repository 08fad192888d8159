"""Identity switches with and without ``--reid``: ``python benchmarks/reid.py videos/``.

A clip is cut together from Intel's sample videos (``please.mkv`` and ``head-pose-face-detection-female-and-male.gif``):
one person on each half of the frame, who leave, return and swap sides, with cuts and a passage in which they cross. The
true person of a face follows from where the clip places it. A switch is a frame in which a person's track ID differs
from the last one; a merge is an ID that two people had.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ferlib.core.images import resize
from ferlib.faces import make_detector
from ferlib.faces.embedding import FaceEmbedder
from ferlib.faces.tracker import FaceTracker
from ferlib.video import open_video

# Frames per second of the clip, and the (height, width) of each half of its frames.
RATE, HALF = 15, (360, 480)

# What is shown for how many seconds: a person (by number) on the left and on the right, or nobody.
SCENES = [
    *((0, 1, 3), (0, None, 3), (0, 1, 2), (None, None, 4), (1, 0, 3), (0, 1, 3), (None, 1, 3), (2, 1, 3)),
    *((2, 0, 3), (None, None, 3), (0, 2, 3), (1, None, 3), (None, 1, 3)),
]
# The two people cross in this many seconds.
CROSSING = 3


def main() -> None:
    """Measure and print one line for each way, and optionally write a CSV file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the sample videos")
    parser.add_argument("--output", type=Path, help="write the numbers to a CSV file")
    args = parser.parse_args()
    people = read_people(args.folder)
    rows = [measure(people, reid=reid) for reid in (False, True)]
    rows[1]["ms per embedding"] = round(measure_cost(people), 1)
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    if args.output:
        with args.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[1], lineterminator="\n", restval="")
            writer.writeheader()
            writer.writerows(rows)


def read_people(folder: Path) -> list[list[np.ndarray]]:
    """Return the frames of each person, with the face in the middle, as halves of the clip's frames."""
    detector = make_detector("mtcnn")
    people: list[list[np.ndarray]] = []
    for name in ("please.mkv", "head-pose-face-detection-female-and-male.gif"):
        with open_video(folder / name) as video:
            frames = [frame.image for frame in video]
        # Scenes of one sample with different people are apart in time or place.
        tracker, seen = FaceTracker(detector, embedder=FaceEmbedder()), {}
        for number, image in enumerate(frames):
            for item in tracker.update(image, number / RATE):
                seen.setdefault(item.track_id, []).append(half_frame(image, item.face.box))
        people += [halves for halves in seen.values() if len(halves) >= 10]
    print(f"{len(people)} people with {[len(halves) for halves in people]} frames")
    return people


def half_frame(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return the surroundings of a face as a half of the clip's frame."""
    x, y, width, height = box
    tall, wide = round(height * 2.2), round(height * 2.2 * HALF[1] / HALF[0])
    top, left = y + height // 2 - tall // 2, x + width // 2 - wide // 2
    padded = np.pad(image, ((tall, tall), (wide, wide), (0, 0)), mode="edge")
    return resize(padded[top + tall : top + 2 * tall, left + wide : left + 2 * wide], HALF)


def make_clip(people: list[list[np.ndarray]]) -> Iterator[tuple[np.ndarray, dict[int, float]]]:
    """Yield the frames, and the horizontal center of each person in them."""
    height, width = HALF
    number = 0
    for left, right, seconds in SCENES:
        for _ in range(seconds * RATE):
            frame = np.full((height, 2 * width, 3), 128, np.uint8)
            centers = {}
            for person, start in ((left, 0), (right, width)):
                if person is not None:
                    frame[:, start : start + width] = swing(people[person], number)
                    centers[person] = start + width / 2
            yield frame, centers
            number += 1
    for step in np.linspace(0, 1, CROSSING * RATE):
        frame = np.full((height, 2 * width, 3), 128, np.uint8)
        starts = {0: round(step * width), 1: round((1 - step) * width)}
        for person, start in starts.items():
            frame[:, start : start + width] = swing(people[person], number)
        # The second person is in front.
        hidden = abs(starts[0] - starts[1]) < 0.6 * width
        yield frame, {person: start + width / 2 for person, start in starts.items() if person or not hidden}
        number += 1


def swing(frames: list[np.ndarray], number: int) -> np.ndarray:
    """Return a frame of a sequence that runs forward and backward."""
    period = 2 * len(frames) - 2
    position = number % period
    return frames[min(position, period - position)]


def measure(people: list[list[np.ndarray]], *, reid: bool) -> dict[str, object]:
    """Return the numbers of switches and merges on the clip."""
    tracker = FaceTracker(make_detector("mtcnn", min_face_size=40), embedder=FaceEmbedder() if reid else None)
    last: dict[int, int] = {}
    owners: dict[int, set[int]] = {}
    n_switches = n_frames = 0
    started = time.process_time()
    for number, (frame, centers) in enumerate(make_clip(people)):
        n_frames += 1
        for item in tracker.update(frame, number / RATE):
            center = item.face.box[0] + item.face.box[2] / 2
            person = min(centers, key=lambda person: abs(centers[person] - center), default=None)
            if person is None or abs(centers[person] - center) > HALF[1] / 4:
                continue
            n_switches += last.get(person, item.track_id) != item.track_id
            last[person] = item.track_id
            owners.setdefault(item.track_id, set()).add(person)
    return {
        "reid": "with" if reid else "without",
        "frames": n_frames,
        "people": len(people),
        "identity switches": n_switches,
        "track IDs": len(owners),
        "IDs of two people": sum(len(people) > 1 for people in owners.values()),
        "ms per frame": round(1000 * (time.process_time() - started) / n_frames, 1),
    }


def measure_cost(people: list[list[np.ndarray]]) -> float:
    """Return the milliseconds of processor time per face."""
    image = people[0][0]
    faces, embedder, seconds = make_detector("mtcnn").detect(image), FaceEmbedder(1), []
    for _ in range(20):
        started = time.process_time()
        embedder.embed(image, faces)
        seconds.append((time.process_time() - started) / len(faces))
    return 1000 * float(np.median(seconds))


if __name__ == "__main__":
    main()
