"""Recognize emotions in many video files: one record per file, whatever it contains."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ferlib.core.errors import FerlibError, ImageError
from ferlib.core.images import MAX_PIXELS
from ferlib.inference.batch import describe_origin
from ferlib.inference.recognizer import EmotionRecognizer
from ferlib.inference.results import Record
from ferlib.inference.stream import DEFAULT_SMOOTHING, make_video_recognizer, predict_video
from ferlib.inference.tracks import TrackSummary
from ferlib.video import open_video


class VideoScorer:
    """Turn video files into records: exactly one per file, in order, whatever the file contains.

    Parameters
    ----------
    every : float
        Seconds between two frames that are read; 0 for all frames.
    smoothing : float
        Time constant in seconds; see `ferlib.inference.stream.predict_video`.
    reid : bool
        Recognize people again by their faces; see `ferlib.inference.stream.predict_video`.
    max_pixels : int
        Videos with larger frames are not processed; their records have an error.
    recognizer : object
        Arguments of `EmotionRecognizer`, with one thread unless `n_threads` says otherwise.
    """

    def __init__(
        self,
        *,
        every: float = 0.0,
        smoothing: float = DEFAULT_SMOOTHING,
        reid: bool = False,
        max_pixels: int = MAX_PIXELS,
        **recognizer: Any,
    ) -> None:
        self.recognizer = EmotionRecognizer(**{"n_threads": 1, **recognizer})
        self.detector = recognizer.get("detector", "mtcnn")
        self.origin = describe_origin(self.recognizer, self.detector)
        self.every, self.smoothing, self.reid, self.max_pixels = every, smoothing, reid, max_pixels
        # The classifier is loaded once; each video has a detector of its own.
        self._arguments = {
            **recognizer,
            "n_threads": recognizer.get("n_threads", 1),
            "classifier": self.recognizer.classifier,
            "prior": self.recognizer.prior,
            "test_time_augmentation": None,
        }

    def __call__(self, files: Iterable[tuple[str, Path | ImageError]]) -> list[Record]:
        """Return the record of each file.

        Parameters
        ----------
        files : iterable of (str, Path or ImageError)
            The name of each file, and where it is on this machine, or the error that getting it gave.

        Returns
        -------
        list of dict
            JSON values: ``path``, ``sha256`` of the content, ``width`` and ``height`` (pixels), ``frames``, ``seconds``
            (the time of the last frame), ``error`` (a sentence), ``tracks``, and `origin`. Tracks have ``track_id``,
            ``first`` and ``last`` (seconds), ``frames``, the mean ``probabilities``, and ``timeline``, at most 500
            points with ``time`` and ``probabilities``. ``error`` is None unless the file cannot be read or is cut off;
            a file that is cut off has the tracks of the frames before.
        """
        return [self._score(name, file) for name, file in files]

    def _score(self, name: str, file: Path | ImageError) -> Record:
        """Return the record of one file."""
        record = empty_video_record(name, self.origin)
        if isinstance(file, ImageError):
            return record | {"error": str(file)}
        tracks, seconds = TrackSummary(self.recognizer.classifier.class_names), 0.0
        try:
            with file.open("rb") as stream:
                record["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
            with open_video(file, every=self.every, max_pixels=self.max_pixels) as video:
                record["height"], record["width"] = video.size
                recognizer, _ = make_video_recognizer(
                    self._make_recognizer,
                    video.size,
                    min_face_size=self._arguments.get("min_face_size"),
                    detector=self.detector,
                )
                results = predict_video(video, recognizer, path=name, smoothing=self.smoothing, reid=self.reid)
                for frame, result in results:
                    tracks.add(result)
                    seconds = frame.time
                    record["height"], record["width"] = result.image_size
            if video.truncated:
                record["error"] = f"{name}: the file is cut off; the video ends after frame {video.n_read:,}."
        except FileNotFoundError:
            return record | {"error": f"{name}: there is no such file."}
        except OSError as error:
            return record | {"error": f"{name}: the file cannot be read ({error.strerror or error})."}
        except FerlibError as error:
            # The message starts with the file's place on this machine.
            return record | {"error": str(error).replace(str(file), name)}
        # A video on which a library fails must not cost the others.
        except Exception as error:
            return record | {"error": f"{name}: the video cannot be processed ({error!r})."}
        summaries = [
            {**summary, "timeline": _timeline(*track.timeline, self.recognizer.classifier.class_names)}
            for summary, track in zip(tracks.records(), tracks, strict=True)
        ]
        return record | {"frames": video.n_read, "seconds": round(seconds, 3), "tracks": summaries}

    def _make_recognizer(self, min_face_size: int | None) -> EmotionRecognizer:
        arguments = self._arguments
        return EmotionRecognizer(**{**arguments, "min_face_size": arguments.get("min_face_size") or min_face_size})


def empty_video_record(name: str, origin: dict[str, str], error: str | None = None) -> Record:
    """Return the record of a video of which nothing is known, because of an error if one is given."""
    unknown = dict.fromkeys(("sha256", "width", "height", "frames", "seconds"))
    return {"path": name, **unknown, "error": error, "tracks": None, **origin}


def _timeline(times: Any, probabilities: Any, class_names: tuple[str, ...]) -> list[Record]:
    """Return the points of a timeline as JSON values; times (n,) in seconds, probabilities (n, n_classes)."""
    return [
        {
            "time": round(float(time), 3),
            "probabilities": {name: round(float(value), 6) for name, value in zip(class_names, row, strict=True)},
        }
        for time, row in zip(times, probabilities, strict=True)
    ]
