"""Accuracy on photographs of ExpW by crop margin: ``python benchmarks/expw_pipeline.py expw_sample.zip``.

Each labeled face is cropped twice: by its own box, and by the box that the detector finds there (detect, match at an
IoU of at least 0.3, crop, predict). A face that is not found counts as an error of the pipeline. ``--peer PYTHON``
is the Python of an environment with ``fer``, which then classifies the same faces, given the labeled boxes. The class
prior is that of training, because the sample's shares of emotions are not those of photographs.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ferlib.core.console import progress_bar
from ferlib.data.layouts.expw import read_labeled_photos
from ferlib.evaluation.intervals import wilson_interval
from ferlib.faces import Face, match_box
from ferlib.inference import EmotionRecognizer, write_image
from ferlib.runs.classifier import load_classifier

MARGINS = (-0.05, 0.0, 0.05, 0.1, 0.2, 0.3)

# One face per call, because fer omits faces that it cannot crop, without saying which.
_FER = """
import json, sys
from pathlib import Path
import cv2, numpy
from fer.fer import FER
folder, detector = Path(sys.argv[1]), FER(mtcnn=False)
answers = []
for photo in json.loads((folder / "photos.json").read_text()):
    image = cv2.imread(str(folder / photo["file"]))
    for box in photo["boxes"]:
        found = detector.detect_emotions(image, face_rectangles=numpy.array([box]))
        answers.append(max(found[0]["emotions"], key=found[0]["emotions"].get) if found else "none")
(folder / "answers.json").write_text(json.dumps(answers))
"""


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="zip or folder of ExpW")
    parser.add_argument("--run", metavar="DIR", help="run folder (default: the pretrained model)")
    parser.add_argument("--detector", choices=("mtcnn", "haar"), default="mtcnn", help="default: mtcnn")
    parser.add_argument("--photos", type=int, metavar="N", help="only so many photographs")
    parser.add_argument("--peer", metavar="PYTHON", help="the Python of an environment with fer")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Measure and print; the peer's photographs go through a folder."""
    classifier = load_classifier(args.run)
    finder = EmotionRecognizer(args.detector, classifier)
    recognizers = [
        EmotionRecognizer(finder.detector, classifier, crop_margin=margin, prior="training") for margin in MARGINS
    ]
    right: dict[tuple[float, str], list[bool]] = {(margin, kind): [] for margin in MARGINS for kind in ("own", "found")}
    n_faces = n_found = 0
    labels: list[int] = []
    for_peer = []
    for photo in progress_bar(read_labeled_photos(args.data, sample_size=args.photos), unit="photo"):
        image, faces = photo.image, photo.faces
        found = finder.detector.detect(image)
        matches = [match_box(found, face.box) for face in faces]
        n_faces += len(faces)
        n_found += sum(match is not None for match in matches)
        labels += [face.label for face in faces]
        if args.peer:
            for_peer.append({"file": f"{len(for_peer)}.png", "boxes": [list(map(int, face.box)) for face in faces]})
            write_image(folder / for_peer[-1]["file"], image)
        for margin, recognizer in zip(MARGINS, recognizers, strict=True):
            own = recognizer.predict_faces(image, [Face(face.box, 1.0) for face in faces]).argmax(axis=1)
            right[margin, "own"] += [bool(code == face.label) for code, face in zip(own, faces, strict=True)]
            for match, face in zip(matches, faces, strict=True):
                answer = None if match is None else int(recognizer.predict_faces(image, [match])[0].argmax())
                right[margin, "found"].append(answer == face.label)
    print(f"{n_faces:,} faces, {n_found:,} of them found by {args.detector} ({n_found / n_faces:.1%})")
    print("margin   own box (95 %)           found box, missed ones wrong   found ones alone")
    for margin in MARGINS:
        own, whole = np.array(right[margin, "own"]), np.array(right[margin, "found"])
        low, high = wilson_interval(int(own.sum()), len(own))
        alone = whole.sum() / max(1, n_found)
        print(f"{margin:+.2f}    {own.mean():.1%} ({low:.1%} to {high:.1%})   {whole.mean():.1%}   {alone:.1%}")
    if args.peer:
        (folder / "photos.json").write_text(json.dumps(for_peer))
        subprocess.run([args.peer, "-c", _FER, folder], check=True, capture_output=True)
        answers = json.loads((folder / "answers.json").read_text())
        right_ones = sum(a == classifier.class_names[label] for a, label in zip(answers, labels, strict=True))
        low, high = wilson_interval(right_ones, len(labels))
        print(f"fer, own box: {right_ones / len(labels):.1%} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
