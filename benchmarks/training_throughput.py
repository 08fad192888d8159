"""Compare a whole training with its bare train step: ``python benchmarks/training_throughput.py``.

Both are measured in turns in one process, with the same network and batch size. The bare step is ``train_on_batch`` on
one fixed batch. The pipeline is what `ferlib.training` adds: shuffling, augmentation, progress and metrics. The memory
is the peak of this process, with all images of the dataset loaded.
"""

import argparse
import itertools
import resource
import time

import numpy as np

from ferlib.core.backend import import_keras
from ferlib.data import load_images, split_dataset
from ferlib.data.locate import locate_data
from ferlib.models import get_model
from ferlib.runs.folder import Run
from ferlib.training.recipes import default_options


def rounds(speeds: list[float]) -> str:
    """Return the speeds of all rounds as text."""
    return ", ".join(f"{speed:.0f}" for speed in speeds)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="PATH", help="zip, folder or CSV (default: what ferlib.download made)")
    parser.add_argument("--model", default="compact_cnn", help="which network (default: compact_cnn)")
    parser.add_argument("--steps", type=int, default=60, help="steps of each measurement (default: 60)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind (default: 3)")
    args = parser.parse_args()

    dataset = split_dataset(load_images(locate_data(args.data, allow_download=False)))
    keras = import_keras()
    from ferlib.training.batches import TrainingBatches
    from ferlib.training.callbacks import RunRecorder
    from ferlib.training.keras_trainer import build_for_training, compile_network, name_outputs

    spec = get_model(args.model)
    options = default_options(args.model)
    train = dataset.split("train")
    from ferlib.core.images import fit_to_model

    images = fit_to_model(train.images, image_size=spec.image_size, channels=spec.channels)
    sizes = {"n_classes": dataset.n_classes, "image_size": spec.image_size, "channels": spec.channels}
    model = name_outputs(build_for_training(spec, options, sizes), dataset.n_classes, options)
    compile_network(model, options, 1000, options.learning_rate)
    batches = TrainingBatches(
        images,
        {"label": np.eye(dataset.n_classes, dtype=np.float32)[train.labels]},
        np.ones(len(images), np.float32),
        options,
    )
    fixed = keras.tree.map_structure(keras.ops.convert_to_tensor, batches[0])

    class Progress(RunRecorder):
        """What a training does for each batch, without its files."""

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            """Do nothing."""

    class Head(keras.utils.PyDataset):
        """The first steps of an epoch."""

        def __len__(self) -> int:
            return args.steps

        def __getitem__(self, index: int) -> tuple:
            return batches[index % len(batches)]

    def bare() -> None:
        for _ in itertools.repeat(None, args.steps):
            model.train_on_batch(*fixed)

    def pipeline() -> None:
        model.fit(Head(), epochs=1, shuffle=False, callbacks=[Progress(Run("unused"), [], options)], verbose=0)

    speeds: dict[str, list[float]] = {"bare": [], "pipeline": []}
    for measure in (bare, pipeline):
        measure()  # compiles
    for _ in range(args.rounds):
        for measure in (bare, pipeline):
            started = time.perf_counter()
            measure()
            speeds[measure.__name__].append(args.steps * options.batch_size / (time.perf_counter() - started))
    bare_speed, pipeline_speed = (float(np.median(values)) for values in speeds.values())
    print(f"{args.model}, batches of {options.batch_size}, {len(images):,} training images")
    print(f"bare train step  {bare_speed:7.0f} images/s   (rounds: {rounds(speeds['bare'])})")
    print(f"whole pipeline   {pipeline_speed:7.0f} images/s   (rounds: {rounds(speeds['pipeline'])})")
    print(f"ratio            {pipeline_speed / bare_speed:7.1%}")
    print(f"peak memory      {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:7.2f} GB")


if __name__ == "__main__":
    main()
