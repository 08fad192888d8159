r"""Train networks with all images in the memory of an accelerator, a hundred times as fast as on two CPU cores.

    python tools/train_on_accelerator.py prepare DATA --votes ferplus_votes.csv --bag data/runs/bovw_fisher \
        --output FOLDER
    python tools/train_on_accelerator.py train FOLDER --plan reports/accelerator.json
    python tools/train_on_accelerator.py finish FOLDER NAME --plan reports/accelerator.json --run-dir data/runs/NAME \
        --data DATA --votes ferplus_votes.csv

`prepare` writes the images as lossless WebP, 45 MB, which can be copied to a machine that has Keras, JAX, OpenCV and
Pillow, but neither TensorFlow nor the dataset. `train` augments, distills and optimizes on the accelerator: an epoch is
one compiled program. `finish` makes an ordinary run folder from the weights: calibrated, measured and exported.

The plan lists the runs in their order. Each has ``name``, ``model``, ``model_options``, ``epochs`` and, if they differ
from the defaults of `Training`, its other fields. A run's ``teachers`` are earlier runs, which answer for the augmented
images, or, with ``static_teachers``, answered once for the original ones.
"""

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ferlib.core.console import progress_bar, run
from ferlib.core.errors import FerlibError
from ferlib.preprocessing import Augmentation

# Images per sheet of WebP, 64 in a row: WebP is limited to 16,383 pixels per side.
_PER_SHEET, _PER_ROW, _SIDE = 2048, 64, 48

_CLASSES = 7
_MOMENTS = 0.9, 0.999


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """One run of a plan; the fields are those of `ferlib.training.TrainingOptions` where the names are the same.

    Attributes
    ----------
    teachers : tuple of str
        Earlier runs, or ``"bag"`` for the probabilities of the bag of visual words.
    static_teachers : bool
        Use the teachers' answers for the original images, averaged with those for their mirror images. Otherwise they
        answer for the augmented images; the bag's answers are then a fifth of the teacher.
    votes_weight : float
        Share of the teachers in the target of the votes.
    slow_layers : dict
        Prefixes of layer names to factors of the learning rate.
    start : str or None
        The earlier run to start from.
    """

    name: str
    model: str
    epochs: int
    model_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    mixup: float = 0.0
    ema: float = 0.998
    seed: int = 0
    teachers: tuple[str, ...] = ()
    static_teachers: bool = False
    distillation_weight: float = 0.5
    votes_weight: float = 0.5
    slow_layers: dict[str, float] = dataclasses.field(default_factory=dict)
    start: str | None = None
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)


def read_plan(path: Path) -> dict[str, Training]:
    """Return the runs of a plan by their names, in order."""
    plan = json.loads(path.read_text(encoding="utf-8"))
    trainings = {}
    for entry in plan["runs"]:
        augmentation = Augmentation(**(plan["augmentation"] | entry.get("augmentation", {})))
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
        trainings[entry["name"]] = Training(**options | {"augmentation": augmentation})
    return trainings


def prepare(data: str, votes: str, bag: str | None, output: Path) -> None:
    """Write images, labels, votes and the bag's leave-one-out probabilities of train and val into a folder."""
    from PIL import Image

    from ferlib.data import load_images, split_dataset
    from ferlib.runs.classifier import load_classifier
    from ferlib.training.out_of_fold import predict_out_of_fold
    from ferlib.training.targets import vote_targets

    dataset, arrays = split_dataset(load_images(data)), {}
    output.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        part = dataset.split(split)
        arrays[f"{split}_labels"] = part.labels.astype(np.int8)
        arrays[f"{split}_votes"] = vote_targets(votes, part.names, dataset.class_names).astype(np.float16)
        for number, start in enumerate(range(0, len(part), _PER_SHEET)):
            images = part.images[start : start + _PER_SHEET, ..., 0]
            padded = np.zeros((-(-len(images) // _PER_ROW) * _PER_ROW, _SIDE, _SIDE), np.uint8)
            padded[: len(images)] = images
            tiles = padded.reshape(-1, _PER_ROW, _SIDE, _SIDE).swapaxes(1, 2)
            sheet = Image.fromarray(tiles.reshape(-1, _PER_ROW * _SIDE)).convert("RGB")
            sheet.save(output / f"{split}-{number:02d}.webp", lossless=True, quality=80, method=4)
    if bag is not None:
        train = dataset.split("train").images
        arrays["train_bag"] = predict_out_of_fold(load_classifier(bag), train).astype(np.float16)
    np.savez_compressed(output / "targets.npz", **arrays)


def _read_images(folder: Path, split: str, n: int) -> np.ndarray:
    """Return images (n, 48, 48), uint8."""
    from PIL import Image

    parts = []
    for path in sorted(folder.glob(f"{split}-*.webp")):
        sheet = np.asarray(Image.open(path).convert("L"))
        tiles = sheet.reshape(-1, _SIDE, _PER_ROW, _SIDE).swapaxes(1, 2)
        parts.append(tiles.reshape(-1, _SIDE, _SIDE)[:_PER_SHEET])
    return np.concatenate(parts)[:n]


class Network:
    """A network with the outputs ``label`` and ``votes``, and its weights as arrays."""

    def __init__(self, training: Training, *, dtype: str = "mixed_bfloat16") -> None:
        import keras

        from ferlib.models import get_model

        size = {"image_size": (_SIDE, _SIDE), "channels": 1}
        self.label = get_model(training.model).build(
            _CLASSES, **size, dtype=dtype, seed=training.seed, **training.model_options
        )
        initializer = keras.initializers.GlorotUniform(training.seed)
        votes = keras.layers.Dense(
            _CLASSES, activation="softmax", dtype="float32", name="votes", kernel_initializer=initializer
        )
        outputs = {"label": self.label.output, "votes": votes(self.label.layers[-1].input)}
        self.model = keras.Model(self.label.input, outputs)
        paths = [variable.path for variable in self.model.trainable_variables]
        self.decays = [float(path.endswith("kernel")) for path in paths]
        layers = [path.split("/")[-2] for path in paths]
        slow = training.slow_layers
        self.rates = [min((slow[p] for p in slow if layer.startswith(p)), default=1.0) for layer in layers]

    def arrays(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the weights, and the state such as statistics of normalization."""
        model = self.model
        return tuple(
            [np.asarray(variable.value) for variable in part]
            for part in (model.trainable_variables, model.non_trainable_variables)
        )

    def load(self, path: Path) -> None:
        """Set the weights from a file of `save`."""
        with np.load(path) as stored:
            for kind, variables in (("w", self.model.trainable_variables), ("s", self.model.non_trainable_variables)):
                for number, variable in enumerate(variables):
                    if f"{kind}{number}" in stored:
                        variable.assign(stored[f"{kind}{number}"].astype(np.float32))


def save(path: Path, weights: Sequence[Any], state: Sequence[Any]) -> None:
    """Write weights as float16 and statistics as float32."""
    arrays = {f"w{i}": np.asarray(v).astype(np.float16 if v.ndim > 1 else np.float32) for i, v in enumerate(weights)}
    floats = {f"s{i}": np.asarray(v) for i, v in enumerate(state) if np.issubdtype(v.dtype, np.floating)}
    np.savez(path, **arrays, **floats)


def train(folder: Path, plan: Path, names: Sequence[str]) -> None:
    """Train the runs of a plan that the folder lacks; those that are interrupted start again."""
    trainings = read_plan(plan)
    targets = dict(np.load(folder / "targets.npz"))
    images = {split: _read_images(folder, split, len(targets[f"{split}_labels"])) for split in ("train", "val")}
    for training in trainings.values():
        if (folder / f"{training.name}.npz").exists() or (names and training.name not in names):
            continue
        rows = []
        for row in train_one(folder, training, trainings, images, targets):
            rows.append(row)
            (folder / f"{training.name}.json").write_text(json.dumps(rows), encoding="utf-8")


def train_one(
    folder: Path,
    training: Training,
    trainings: dict[str, Training],
    images: dict[str, np.ndarray],
    targets: dict[str, np.ndarray],
) -> Iterator[dict[str, float]]:
    """Train one network, yield a row of its history about every tenth epoch, and write the averaged weights."""
    import jax
    import jax.numpy as jnp
    from device_augmentation import amounts, low_resolutions

    network = Network(training)
    if training.start is not None:
        network.load(folder / f"{training.start}.npz")
    others = []
    for name in training.teachers:
        if name != "bag":
            others.append(Network(trainings[name]))
            others[-1].load(folder / f"{name}.npz")
    predict = jax.jit(_predict, static_argnums=0)
    data = _training_targets(training, targets, others, images["train"], predict)
    device = {name: jnp.asarray(values) for name, values in {**data, "images": images["train"]}.items()}
    live = [] if training.static_teachers else others
    epoch = jax.jit(_make_epoch(training, network, [other.model for other in live]), donate_argnums=0)
    weights, state = network.arrays()
    carry = {"weights": weights, "state": state, "first": _zeros(weights), "second": _zeros(weights)}
    carry |= {"mean_weights": weights, "mean_state": state, "step": np.zeros((), np.int32)}
    carry = jax.tree.map(lambda value: jnp.array(value), carry)
    teacher_arrays = [other.arrays() for other in live]
    augmentation, resolutions = amounts(training.augmentation), low_resolutions(_SIDE)
    started, every = time.perf_counter(), max(1, training.epochs // 12)
    for number in progress_bar(range(1, training.epochs + 1), desc=training.name, unit="epoch"):
        key = jax.random.fold_in(jax.random.key(training.seed + 100), number - 1)
        carry, loss, accuracy = epoch(carry, device, key, augmentation, resolutions, teacher_arrays)
        if number % every == 0 or number == training.epochs:
            answers = _predict_all(predict, network.model, carry["mean_weights"], carry["mean_state"], images["val"])
            row = {"epoch": number, "loss": float(loss), "accuracy": float(accuracy)}
            row["val_accuracy"] = float((answers[0].argmax(axis=1) == targets["val_labels"]).mean())
            row["seconds"], started = time.perf_counter() - started, time.perf_counter()
            yield row
    save(folder / f"{training.name}.npz", carry["mean_weights"], carry["mean_state"])


def _training_targets(
    training: Training,
    targets: dict[str, np.ndarray],
    others: Sequence[Network],
    images: np.ndarray,
    predict: Any,
) -> dict[str, np.ndarray]:
    """Return labels, votes and the bag's answers, float32 (n, 7), and whether there are votes (n,)."""
    label = np.eye(_CLASSES, dtype=np.float32)[targets["train_labels"]]
    votes = targets["train_votes"].astype(np.float32)
    bag = targets["train_bag"].astype(np.float32) if "bag" in training.teachers else np.zeros_like(label)
    if training.static_teachers:
        answers = [_predict_all(predict, other.model, *other.arrays(), images, flip=True) for other in others]
        labels = [answer[0] for answer in answers] + ([bag] if "bag" in training.teachers else [])
        weight = training.distillation_weight
        label = weight * np.mean(labels, axis=0) + (1 - weight) * label
        if answers:
            rated, weight = np.mean([answer[1] for answer in answers], axis=0), training.votes_weight
            votes = np.where(votes.any(axis=1, keepdims=True), weight * rated + (1 - weight) * votes, rated)
    return {"label": label, "votes": votes, "rated": votes.any(axis=1).astype(np.float32), "bag": bag}


def _make_epoch(training: Training, network: Network, teachers: Sequence[Any]) -> Any:
    """Return the function of one epoch: AdamW with a cosine schedule, and moving averages of weights and state."""
    import jax
    import jax.numpy as jnp
    from device_augmentation import augment

    model, rates, decays = network.model, network.rates, network.decays
    bag_share = 0.2 if "bag" in training.teachers else 0.0

    def loss_of(weights: Any, state: Any, x: Any, label: Any, votes: Any, rated: Any) -> Any:
        outputs, state = model.stateless_call(weights, state, x, training=True)
        logs = {name: jnp.log(jnp.clip(values, 1e-7, 1)) for name, values in outputs.items()}
        smooth = label * (1 - training.label_smoothing) + training.label_smoothing / _CLASSES
        label_loss = -(smooth * logs["label"]).sum(-1).mean()
        votes_loss = (-(votes * logs["votes"]).sum(-1) * rated).sum() / jnp.maximum(rated.sum(), 1)
        accuracy = (outputs["label"].argmax(-1) == label.argmax(-1)).mean()
        return label_loss + votes_loss, (state, accuracy)

    def make_batch(data: Any, rows: Any, key: Any, share: Any, amounts: Any, resolutions: Any, arrays: Any) -> Any:
        x = augment(data["images"][rows], key, amounts, resolutions)

        def mix(values: Any) -> Any:
            return share * values + (1 - share) * jnp.roll(values, 1, axis=0)

        label, votes, bag = (mix(data[name][rows]) for name in ("label", "votes", "bag"))
        rated = data["rated"][rows]
        rated = rated * jnp.where(share < 1, jnp.roll(rated, 1), 1)
        x = jnp.round(mix(x))[..., None]
        if teachers:
            answers = [m.stateless_call(*a, x, training=False)[0] for m, a in zip(teachers, arrays, strict=True)]
            taught = {name: sum(answer[name] for answer in answers) / len(answers) for name in ("label", "votes")}
            taught["label"] = (1 - bag_share) * taught["label"] + bag_share * bag
            weight = training.distillation_weight
            label = weight * taught["label"] + (1 - weight) * label
            weight = jnp.where(rated[:, None] > 0, training.votes_weight, 1.0)
            votes, rated = weight * taught["votes"] + (1 - weight) * votes, jnp.ones_like(rated)
        return x, label, votes, rated

    def update(carry: Any, gradients: Any, state: Any, steps: int) -> Any:
        step = carry["step"] + 1
        t, total, warmup = step.astype(jnp.float32), steps * training.epochs, steps
        progress = jnp.clip((t - warmup) / max(total - warmup, 1), 0, 1)
        rate = training.learning_rate * jnp.where(
            t < warmup, 0.01 + 0.99 * t / warmup, 0.5 * (1 + jnp.cos(jnp.pi * progress))
        )
        norm = jnp.sqrt(sum((g**2).sum() for g in gradients))
        gradients = [g * jnp.minimum(1.0, 5 / (norm + 1e-6)) for g in gradients]
        first = [_MOMENTS[0] * m + (1 - _MOMENTS[0]) * g for m, g in zip(carry["first"], gradients, strict=True)]
        second = [_MOMENTS[1] * v + (1 - _MOMENTS[1]) * g * g for v, g in zip(carry["second"], gradients, strict=True)]
        weights = []
        for w, m, v, factor, decay in zip(carry["weights"], first, second, rates, decays, strict=True):
            change = (m / (1 - _MOMENTS[0] ** t)) / (jnp.sqrt(v / (1 - _MOMENTS[1] ** t)) + 1e-7)
            weights.append(w - rate * factor * (change + training.weight_decay * decay * w))
        momentum = jnp.minimum(training.ema, (1 + t) / (10 + t))

        def average(old: Any, new: Any) -> Any:
            return old * momentum + new * (1 - momentum) if jnp.issubdtype(new.dtype, jnp.floating) else new

        means = {
            f"mean_{name}": [average(old, new) for old, new in zip(carry[f"mean_{name}"], values, strict=True)]
            for name, values in (("weights", weights), ("state", state))
        }
        return {"weights": weights, "state": list(state), "first": first, "second": second, "step": step, **means}

    def epoch(carry: Any, data: Any, key: Any, amounts: Any, resolutions: Any, arrays: Any) -> Any:
        n, size = len(data["images"]), training.batch_size
        steps = n // size
        keys = jax.random.split(key, 3)
        order = jax.random.permutation(keys[0], n)[: steps * size].reshape(steps, size)
        shares = jnp.ones(steps)
        if training.mixup:
            shares = jax.random.beta(keys[2], training.mixup, training.mixup, (steps,))
            shares = jnp.maximum(shares, 1 - shares)

        def step(carry: Any, drawn: Any) -> Any:
            rows, batch_key, share = drawn
            batch = make_batch(data, rows, batch_key, share, amounts, resolutions, arrays)
            gradient = jax.value_and_grad(loss_of, has_aux=True)
            (loss, (state, accuracy)), gradients = gradient(carry["weights"], carry["state"], *batch)
            return update(carry, gradients, state, steps), (loss, accuracy)

        carry, (loss, accuracy) = jax.lax.scan(step, carry, (order, jax.random.split(keys[1], steps), shares))
        return carry, loss.mean(), accuracy.mean()

    return epoch


def _predict(model: Any, weights: Any, state: Any, images: Any) -> Any:
    """Return the probabilities of labels and votes (2, n, 7) for uint8 images (n, S, S)."""
    import jax.numpy as jnp

    outputs, _ = model.stateless_call(weights, state, images.astype(jnp.float32)[..., None], training=False)
    return jnp.stack([outputs["label"], outputs["votes"]])


def _predict_all(
    predict: Any, model: Any, weights: Any, state: Any, images: np.ndarray, *, flip: bool = False, size: int = 1024
) -> np.ndarray:
    """Return the answers of `_predict` for any number of images, with `flip` averaged with the mirror image's."""
    padded = np.concatenate([images, np.zeros((-len(images) % size, *images.shape[1:]), np.uint8)])
    if flip:
        views = (padded, padded[:, :, ::-1])
        return np.mean([_predict_all(predict, model, weights, state, view) for view in views], axis=0)[:, : len(images)]
    parts = [predict(model, weights, state, padded[start : start + size]) for start in range(0, len(padded), size)]
    return np.concatenate([np.asarray(part) for part in parts], axis=1)[:, : len(images)]


def _zeros(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [np.zeros_like(value) for value in weights]


def finish(folder: Path, name: str, plan: Path, run_dir: Path, data: str, votes: str) -> None:
    """Make a run folder from the weights of a finished training."""
    from ferlib.data import load_images, split_dataset
    from ferlib.export.onnx import save_network
    from ferlib.models import get_model
    from ferlib.runs.folder import Run
    from ferlib.runs.records import RunReference
    from ferlib.training import TrainingOptions, measure_run
    from ferlib.training.keras_trainer import KerasTrainer
    from ferlib.training.run_config import describe_run
    from ferlib.training.targets import vote_targets

    training, run_folder = read_plan(plan)[name], Run(run_dir)
    if run_dir.exists() and any(run_dir.iterdir()):
        raise FerlibError(f"{run_dir} is not empty; name a new folder.")
    run_dir.mkdir(parents=True, exist_ok=True)
    shared = {field.name for field in dataclasses.fields(TrainingOptions)}
    values = {key: value for key, value in vars(training).items() if key in shared}
    options = TrainingOptions(**values, patience=training.epochs, warmup_epochs=1.0, votes=votes)
    dataset, spec = split_dataset(load_images(data)), get_model(training.model)
    trainer = KerasTrainer(spec, options, training.model_options, test_time_augmentation="none")
    network = Network(training, dtype="float32")
    network.load(folder / f"{name}.npz")
    part = dataset.split("train")
    learned = vote_targets(votes, part.names, dataset.class_names)
    trained, photographs = trainer.add_photographs(network.label, network.model, dataset, part.labels, learned)
    config = describe_run(spec, dataset, options, training.model_options, trainer)
    teacher = None if set(training.teachers) <= {"bag"} else RunReference(model="ensemble")
    config = dataclasses.replace(
        config,
        status="finished",
        backend="jax",
        parameters=int(trained.count_params()),
        photographs=photographs,
        teacher=teacher,
    )
    history = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    history[-1]["kept"] = 1.0
    run_folder.write_history(history)
    run_folder.write_config(config)
    save_network(trained, run_dir, part.images[:8])
    metrics = measure_run(run_folder, config, dataset)
    print(", ".join(f"{split} {values.accuracy:.2%}" for split, values in metrics.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the three steps; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("prepare", help="write images and targets into a folder")
    step.add_argument("data")
    step.add_argument("--votes", required=True)
    step.add_argument("--bag", help="a finished run of bovw_fisher, for teachers")
    step.add_argument("--output", type=Path, required=True)
    step = steps.add_parser("train", help="train the runs of a plan")
    step.add_argument("folder", type=Path)
    step.add_argument("names", nargs="*", help="only these runs")
    step.add_argument("--plan", type=Path, required=True)
    step = steps.add_parser("finish", help="make a run folder")
    step.add_argument("folder", type=Path)
    step.add_argument("name")
    for option in ("--plan", "--run-dir"):
        step.add_argument(option, type=Path, required=True)
    for option in ("--data", "--votes"):
        step.add_argument(option, required=True)
    args = parser.parse_args(argv)
    if args.step == "prepare":
        prepare(args.data, args.votes, args.bag, args.output)
    elif args.step == "train":
        os.environ["KERAS_BACKEND"] = "jax"
        train(args.folder, args.plan, args.names)
    else:
        finish(args.folder, args.name, args.plan, args.run_dir, args.data, args.votes)
    return 0


if __name__ == "__main__":
    run(main)
