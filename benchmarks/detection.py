"""Accuracy and speed of face detection: ``python benchmarks/detection.py photos/``.

The folder contains photographs and ``boxes.csv`` with the columns file, x, y, width and height, one row per face. A
detection matches a labeled face if the IoU of their boxes is at least 0.4, or if the center of one is inside the other,
because detectors crop faces differently. MTCNN is also compared with the mtcnn package, whose weights it uses, on each
photograph in turn.

``--conditions FILE`` writes the recall of each detector on faces that are made smaller or larger, turned, cut by the
image's edge, darker, brighter or flat. Each labeled face is cut out with its surroundings and changed; all of that is
the same for all detectors. ``--yunet MODEL`` adds YuNet.
"""

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from ferlib.core.boxes import Box, iou
from ferlib.core.console import progress_bar
from ferlib.core.images import read_image, to_rgb
from ferlib.faces import make_detector
from ferlib.faces.base import rescale
from ferlib.faces.mtcnn import MtcnnDetector

# Takes an image and a face's box; returns them changed.
Change = Callable[[np.ndarray, Box], tuple[np.ndarray, Box]]


def main() -> None:
    """Measure and print one line per detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photographs and boxes.csv")
    parser.add_argument("--conditions", type=Path, metavar="FILE", help="write recall by condition to a CSV file")
    parser.add_argument("--yunet", type=Path, metavar="MODEL", help="a YuNet network")
    parser.add_argument("--no-package", action="store_true", help="do not compare with the mtcnn package")
    args = parser.parse_args()
    labeled = defaultdict(list)
    with (args.folder / "boxes.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            labeled[row["file"]].append(tuple(int(row[name]) for name in ("x", "y", "width", "height")))
    photos = {path.name: read_image(path) for path in sorted(args.folder.iterdir()) if path.suffix != ".csv"}
    known = {name: image for name, image in photos.items() if name in labeled or name.startswith("no-faces")}
    print(f"{len(known)} photographs, {sum(map(len, labeled.values()))} labeled faces")
    for name in ("mtcnn", "haar"):
        measure_against_labels(name, known, labeled)
    if args.conditions:
        measure_conditions(args.conditions, known, labeled, args.yunet)
    if not args.no_package:
        compare_with_package(photos)


def measure_conditions(
    path: Path, photos: dict[str, np.ndarray], labeled: dict[str, list[Box]], yunet: Path | None
) -> None:
    """Write the recall of each detector under each condition."""
    detectors = {"mtcnn": make_detector("mtcnn"), "haar": make_detector("haar")}
    if yunet:
        detectors["yunet"] = make_detector("yunet", model=yunet)
    scenes = [surroundings(image, box) for name, image in photos.items() for box in labeled[name]]
    rows = []
    for condition, change in CONDITIONS.items():
        changed = [change(scene, box) for scene, box in progress_bar(scenes, desc=condition, unit="face")]
        row = {"condition": condition, "faces": len(changed)}
        for name, detector in detectors.items():
            found = [[face.box for face in detector.detect(image)] for image, _ in changed]
            hits = [bool(match(boxes, [box], match_score)) for boxes, (_, box) in zip(found, changed, strict=True)]
            row[name] = round(sum(hits) / len(hits), 3)
        rows.append(row)
        print(", ".join(f"{key} {value}" for key, value in row.items()))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def surroundings(image: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
    """Return a face with as much around it as its size on each side, 160 pixels high, and its box."""
    x, y, width, height = box
    margin = max(width, height)
    left, top = max(0, x - margin), max(0, y - margin)
    part = image[top : y + height + margin, left : x + width + margin]
    scale = 160 / height
    return to_rgb(rescale(part, scale)), ((x - left) * scale, (y - top) * scale, width * scale, height * scale)


def with_size(size: int) -> Change:
    """Return a change to a height in pixels."""

    def change(image: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
        scale = size / box[3]
        return rescale(image, scale), tuple(value * scale for value in box)

    return change


def turned(degrees: float) -> Change:
    """Return a rotation around the face's center; the corners are filled by the mirror image."""

    def change(image: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
        center = box[0] + box[2] / 2, box[1] + box[3] / 2
        matrix = cv2.getRotationMatrix2D(center, degrees, 1)
        return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT), box

    return change


def cut(share: float, side: str) -> Change:
    """Return a crop that removes a share of the face at a side of the image."""

    def change(image: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
        x, y, width, height = box
        if side == "left":
            start = round(x + share * width)
            return image[:, start:].copy(), (0, y, x + width - start, height)
        end = round(y + (1 - share) * height)
        return image[:end].copy(), (x, y, width, end - y)

    return change


def lit(contrast: float, brightness: float) -> Change:
    """Return a change of contrast around mid gray and of brightness."""

    def change(image: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
        values = (image.astype(np.float32) - 127.5) * contrast + 127.5
        return np.clip(values * brightness, 0, 255).astype(np.uint8), box

    return change


CONDITIONS: dict[str, Change] = {
    **{f"{size} pixels high": with_size(size) for size in (20, 30, 40, 80, 160, 320)},
    **{f"turned by {degrees} degrees": turned(degrees) for degrees in (15, 30, 45, 90)},
    **{
        f"{share:.0%} cut off at the {side}": cut(share, side)
        for side in ("left", "bottom")
        for share in (0.2, 0.35, 0.5)
    },
    "a quarter of the light": lit(1, 0.25),
    "twice the light": lit(1, 2),
    "a quarter of the contrast": lit(0.25, 1),
}


def measure_against_labels(name: str, photos: dict[str, np.ndarray], labeled: dict[str, list[Box]]) -> None:
    """Print a detector's recall and precision."""
    detector = make_detector(name)
    matched = n_found = 0
    for file, image in photos.items():
        found = [face.box for face in detector.detect(image)]
        n_found += len(found)
        matched += len(match(found, labeled[file], match_score))
    recall, precision = matched / sum(map(len, labeled.values())), matched / max(1, n_found)
    print(f"{name:<6} found {n_found}: recall {recall:.1%}, precision {precision:.1%}")


def compare_with_package(photos: dict[str, np.ndarray]) -> None:
    """Print how the boxes and the time compare with those of the mtcnn package."""
    from ferlib.core.backend import import_keras

    import_keras()
    from mtcnn import MTCNN

    ours, theirs = MtcnnDetector(min_confidence=0.8), MTCNN()
    ours.detect(next(iter(photos.values())))
    theirs.detect_faces(next(iter(photos.values())))
    seconds, ious, differ = np.zeros(2), [], []
    for name, image in progress_bar(photos.items(), desc="mtcnn and the package", unit="photo"):
        started = time.perf_counter()
        corners = ours.detect_candidates(to_rgb(image)).corners
        mine = [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in corners]
        between = time.perf_counter()
        reference = [tuple(face["box"]) for face in theirs.detect_faces(image)]
        seconds += between - started, time.perf_counter() - between
        ious += [iou(mine[i], reference[j]) for i, j in match(mine, reference, iou)]
        if len(mine) != len(reference):
            differ.append(f"{name} ({len(mine)} and {len(reference)})")
    print(
        f"the mtcnn package on {len(photos)} photographs: equal number of faces in "
        f"{f'all but {differ}' if differ else 'all'}, {len(ious)} pairs, smallest IoU "
        f"{min(ious):.3f}; {seconds[0]:.1f} s against {seconds[1]:.1f} s"
    )


def match_score(first: Box, second: Box) -> float:
    """Return how well two boxes of different detectors agree, 0 if they are of different faces."""
    score = iou(first, second)
    return score + 0.01 if score >= 0.4 or contains_center(first, second) or contains_center(second, first) else 0.0


def contains_center(box: Box, other: Box) -> bool:
    """Return whether the center of another box is inside a box."""
    center = other[0] + other[2] / 2, other[1] + other[3] / 2
    return all(box[axis] <= center[axis] < box[axis] + box[axis + 2] for axis in (0, 1))


def match(first: list[Box], second: list[Box], score: Callable[[Box, Box], float]) -> list[tuple[int, int]]:
    """Return the best pairs of boxes, with each box in at most one pair."""
    if not first or not second:
        return []
    scores = np.array([[score(a, b) for b in second] for a in first])
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return [(i, j) for i, j in zip(rows, columns, strict=True) if scores[i, j] > 0]


if __name__ == "__main__":
    main()
