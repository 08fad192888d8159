"""Accuracy on ExpW's photographs by crop: ``python benchmarks/expw_pipeline.py expw_sample.zip``.

Each labelled face is cut out twice: by its own box, and by the box that the detector finds there (detect, match at an
IoU of 0.3 or more, cut, predict). A face that is not found counts as an error of the whole pipeline.
"""

import argparse

import numpy as np

from ferlib.artifacts import load_classifier
from ferlib.datasets.expw import read_labelled_photos
from ferlib.evaluation.intervals import wilson_interval
from ferlib.faces import DETECTORS, Face, find_match
from ferlib.inference import EmotionRecognizer
from ferlib.progress import track

MARGINS = (-0.05, 0.0, 0.05, 0.1, 0.2, 0.3)


def main() -> None:
    """Measure and print a line a margin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="zip or folder of ExpW")
    parser.add_argument("--run", metavar="DIR", help="run folder (default: the delivered model)")
    parser.add_argument("--detector", choices=DETECTORS[:2], default="mtcnn", help="default: mtcnn")
    parser.add_argument("--photos", type=int, metavar="N", help="only so many photographs")
    args = parser.parse_args()
    classifier = load_classifier(args.run)
    finder = EmotionRecognizer(args.detector, classifier)
    recognizers = [EmotionRecognizer(finder.detector, classifier, margin=margin) for margin in MARGINS]
    right: dict[tuple[float, str], list[bool]] = {(margin, kind): [] for margin in MARGINS for kind in ("own", "found")}
    n_faces = n_found = 0
    for photo, faces in track(read_labelled_photos(args.data, sample_size=args.photos), unit="photo"):
        found = finder.detector.detect(photo)
        matches = [find_match(found, box) for box, _ in faces]
        n_faces += len(faces)
        n_found += sum(match is not None for match in matches)
        for margin, recognizer in zip(MARGINS, recognizers, strict=True):
            own = recognizer.predict_faces(photo, [Face(box, 1.0) for box, _ in faces]).argmax(axis=1)
            right[margin, "own"] += [bool(code == label) for code, (_, label) in zip(own, faces, strict=True)]
            for match, (_, label) in zip(matches, faces, strict=True):
                answer = None if match is None else int(recognizer.predict_faces(photo, [match])[0].argmax())
                right[margin, "found"].append(answer == label)
    print(f"{n_faces:,} faces, {n_found:,} of them found by {args.detector} ({n_found / n_faces:.1%})")
    print("margin   own box (95 %)           found box, missed ones wrong   found ones alone")
    for margin in MARGINS:
        own, whole = np.array(right[margin, "own"]), np.array(right[margin, "found"])
        low, high = wilson_interval(int(own.sum()), len(own))
        alone = whole.sum() / max(1, n_found)
        print(f"{margin:+.2f}    {own.mean():.1%} ({low:.1%} to {high:.1%})   {whole.mean():.1%}   {alone:.1%}")


if __name__ == "__main__":
    main()
