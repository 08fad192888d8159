"""Compare ways to cut out faces: ``python tools/crop_experiment.py --everyday faces.zip --expw expw.zip``.

MTCNN finds the faces of both development sets. Each way cuts out the same faces, and one model classifies them in one
view: everyday faces with the output and the prior for photographs, and ExpW's sample, whose shares of emotions are not
natural, under the training prior. McNemar's test compares each way with the default of prediction on all faces of both
sets.

"stretched" is the box with 5 % margin, resized to a square. "edge" is the default with repeated instead of mirrored
pixels outside of the image.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ferlib.core.console import progress_bar, run
from ferlib.core.crops import DEFAULT_CROP, CropGeometry, cut_face
from ferlib.core.files import write_text
from ferlib.core.images import crop, fit_to_model, resize
from ferlib.data import load_images
from ferlib.data.layouts.expw import read_labeled_photos
from ferlib.evaluation import evaluate_predictions
from ferlib.evaluation.intervals import compare_predictions
from ferlib.faces import Detector, Face, make_detector, match_box
from ferlib.runs.classifier import Classifier, load_classifier
from ferlib.runs.prior import ClassPrior, apply_prior

#: The table that the documentation shows.
TABLE = Path(__file__).parents[1] / "reports" / "crop.csv"

SQUARE_MARGINS = (0.0, 0.05, 0.075, 0.1, 0.15)
LANDMARK_MARGINS = (0.0, 0.05, 0.1, 0.15)

#: Cuts a face out of an image.
Cut = Callable[[np.ndarray, Face], np.ndarray]


@dataclass(frozen=True)
class FaceSet:
    """Faces of one development set: images, detected faces, their codes in `EMOTIONS`, and who classifies them."""

    name: str
    images: list[np.ndarray]
    faces: list[Face]
    labels: np.ndarray
    classifier: Classifier
    prior: ClassPrior


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and write it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--everyday", required=True, help="everyday faces, a dataset in class folders")
    parser.add_argument("--expw", required=True, help="zip or folder of ExpW")
    parser.add_argument("--run", type=Path, metavar="DIR", help="run folder (default: the pretrained model)")
    parser.add_argument("--output-csv", type=Path, metavar="FILE", default=TABLE, help="table to write")
    args = parser.parse_args(argv)
    classifier, detector = load_classifier(args.run, test_time_augmentation="none"), make_detector()
    sets = [
        read_everyday(args.everyday, detector, *apply_prior(classifier, "photographs")),
        read_expw(args.expw, detector, *apply_prior(classifier, "training")),
    ]
    table = compare_crops(sets, make_variants())
    print(table.to_string(float_format="{:.4f}".format))
    write_text(args.output_csv, table.to_csv(float_format="%.4f", lineterminator="\n"))
    return 0


def make_variants() -> dict[str, Cut]:
    """Return the ways to cut out a face by name; "METHOD MARGIN" for a `CropGeometry`."""
    variants: dict[str, Cut] = {"stretched": _stretch, "edge": _repeat_edge}
    geometries = [CropGeometry(method="square", margin=margin) for margin in SQUARE_MARGINS]
    geometries += [CropGeometry(method="landmarks", margin=margin) for margin in LANDMARK_MARGINS]
    for geometry in geometries:
        variants[name_geometry(geometry)] = lambda image, face, geometry=geometry: cut_face(
            image, face.box, geometry, landmarks=face.landmarks
        )
    return variants


def name_geometry(geometry: CropGeometry) -> str:
    """Return the name of a geometry in the table."""
    return f"{geometry.method} {geometry.margin:g}"


def read_everyday(path: str, detector: Detector, classifier: Classifier, prior: ClassPrior) -> FaceSet:
    """Return the most confident face of each image of a dataset."""
    images, faces = [], []

    def find_face(image: np.ndarray) -> np.ndarray | None:
        found = max(detector.detect(image), key=lambda face: face.confidence, default=None)
        if found is None:
            return None
        images.append(image)
        faces.append(found)
        return image

    dataset = load_images(path, process=find_face)
    return FaceSet("everyday", images, faces, dataset.labels, classifier, prior)


def read_expw(path: str, detector: Detector, classifier: Classifier, prior: ClassPrior) -> FaceSet:
    """Return the labeled faces of ExpW that are found."""
    images, faces, labels = [], [], []
    for photo in progress_bar(read_labeled_photos(path), desc="ExpW", unit=" photos"):
        found = detector.detect(photo.image)
        for labeled in photo.faces:
            match = match_box(found, labeled.box)
            if match is not None:
                images.append(photo.image)
                faces.append(match)
                labels.append(labeled.label)
    return FaceSet("expw", images, faces, np.array(labels), classifier, prior)


def compare_crops(sets: Sequence[FaceSet], variants: dict[str, Cut]) -> pd.DataFrame:
    """Return one row per variant: metrics on each set, and the paired test on all faces against the default."""
    y_true = np.concatenate([faces.labels for faces in sets])
    rows, predictions = {}, {}
    for name, cut in progress_bar(variants.items(), desc="ways to cut", unit=" ways"):
        row, y_pred = {}, []
        for faces in sets:
            y_proba = faces.prior.apply(_classify(faces, cut))
            metrics = evaluate_predictions(faces.labels, y_proba, faces.classifier.class_names)
            row[f"{faces.name}_n"] = metrics.n
            for measure in ("accuracy", "balanced_accuracy", "log_loss"):
                row[f"{faces.name}_{measure}"] = getattr(metrics, measure)
            y_pred.append(y_proba.argmax(axis=1))
        rows[name], predictions[name] = row, np.concatenate(y_pred)
    default = predictions[name_geometry(DEFAULT_CROP)]
    for name, y_pred in predictions.items():
        test = compare_predictions(y_true, y_pred, default)
        rows[name] |= {
            "accuracy": (y_pred == y_true).mean(),
            **{key: test[f"accuracy_{key}"] for key in ("difference", "low", "high")},
            "p_value": test["p_value"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("crop")


def _classify(faces: FaceSet, cut: Cut) -> np.ndarray:
    """Return probabilities (n, n_classes) of the faces."""
    classifier = faces.classifier
    size, channels = classifier.image_size, classifier.channels
    inputs = [
        fit_to_model(cut(image, face)[np.newaxis], image_size=size, channels=channels)
        for image, face in zip(faces.images, faces.faces, strict=True)
    ]
    return classifier.predict_proba(np.concatenate(inputs))


def _stretch(image: np.ndarray, face: Face) -> np.ndarray:
    part = crop(image, face.box, margin=0.05)
    side = max(part.shape[:2])
    return resize(part, (side, side))


def _repeat_edge(image: np.ndarray, face: Face) -> np.ndarray:
    pad = 2 * max(face.box[2:])
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE).reshape(
        image.shape[0] + 2 * pad, image.shape[1] + 2 * pad, image.shape[2]
    )
    x, y, width, height = face.box
    return cut_face(padded, (x + pad, y + pad, width, height))


if __name__ == "__main__":
    run(main)
