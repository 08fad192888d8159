"""The model card of a run, generated from its records."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ferlib.evaluation.markdown import DESCRIBE_VIEWS, markdown_table, per_class_table, robustness_table
from ferlib.evaluation.metrics import best_epoch
from ferlib.runs.prior import PHOTOGRAPH_COUNTS
from ferlib.runs.records import Metrics, RunConfig

_INTENDED_USE = """## Intended use and limits

For teaching, for research, and for counting expressions in images that one may process. The classes are
expressions as raters perceived them, not what a person feels. Not for judging persons: hiring, policing,
education, health, credit. Accuracy differs between groups of people in ways that the data, which record none,
cannot measure.
"""


def write_model_card(config: RunConfig, metrics: Mapping[str, Metrics], history: Sequence[Mapping[str, float]]) -> str:
    """Return a run's model card as Markdown, from its metrics by split and its history with one row per epoch.

    References
    ----------
    M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
    """
    height, width = config.image_size
    sections = [
        f"# {config.model}",
        f"Classes: {', '.join(config.class_names)}. Input: faces, {height} x {width} pixels, "
        f"{'gray' if config.channels == 1 else 'RGB'}.",
        "## Data",
        _describe_data(config),
        "## Training and selection",
        "\n".join(_describe_training(config, history)),
        "## Results",
        *(section for split, values in metrics.items() for section in _describe_results(config, split, values)),
        *_describe_prior(config),
        _INTENDED_USE,
    ]
    return "\n\n".join(sections)


def _describe_data(config: RunConfig) -> str:
    """Return the source of the data, the number of images per split, and notes."""
    if config.data is None:
        return "Not recorded."
    title = "SYNTHETIC faces" if config.data.synthetic else config.data.title
    counts = ", ".join(f"{split} {sum(counts.values()):,}" for split, counts in config.image_counts.items())
    source = f"{title} from `{config.data.path}` (sha256 `{config.data.sha256}`). Images: {counts}."
    return "\n".join([source, *(f"- {note}" for note in config.data.notes)])


def _describe_training(config: RunConfig, history: Sequence[Mapping[str, float]]) -> list[str]:
    """Return how a model was trained and its weights chosen, one line per fact."""
    if config.kind == "ensemble":
        return [f"The mean of {config.n_members} models; `members/` contains the configuration of each."]
    if config.imported is not None:
        return [f"Imported from {config.imported}, a network of another program. Its training is not recorded."]
    training = config.training
    lines = ["Fitted once on the train split; nothing was selected on the test split."]
    if history:
        best = best_epoch(history)
        accuracy = next(row["val_accuracy"] for row in history if row["epoch"] == best)
        why = "which had the best validation accuracy"
        if any("kept" in row for row in history):
            why = "a moving average over the last epochs, with the validation accuracy"
        lines = [
            f"{history[-1]['epoch']:.0f} epochs; the weights are those of epoch {best}, {why} "
            f"({accuracy:.2%}, without test-time augmentation). The test split was not used."
        ]
    lines.append(
        f"Seed {training['seed']}, resampling {training['resample']}, class weights {training['class_weight']}"
        f"{', random augmentation' if training['augmentation'] and history else ''}."
    )
    if training.get("init_from"):
        lines.append(f"Fine-tuned from the weights of an earlier run, {Path(training['init_from']).name}.")
    if config.teacher is not None:
        weight = training["distillation_weight"]
        lines.append(
            f"Distillation: targets are the labels ({1 - weight:.0%}) and the probabilities of a trained "
            f"{config.teacher.model} for the same images ({weight:.0%})."
        )
    if config.votes is not None:
        lines.append(
            f"An auxiliary output learned the FER+ votes for the training images, with loss weight "
            f"{training['aux_loss_weight']:g}. With the labels' output it makes the answers for photographs."
        )
    return lines


def _describe_prior(config: RunConfig) -> list[str]:
    """Return what the class prior of prediction is, with a table; nothing for classes without a photographs prior."""
    shares = config.training_shares
    if config.photographs is not None and shares is not None:
        rows = [
            (name, f"{label:.1%}", f"{other:.1%}")
            for name, label, other in zip(config.class_names, shares, config.photographs.shares, strict=True)
        ]
        return [
            "## Class prior",
            "The results above are those of the labels' output, under the training prior: the class shares of the "
            "training images. For photographs, prediction uses a second output by default (`--prior`). It mostly "
            "follows the raters' votes of FER+, and assumes other class shares. Fewer neutral faces are then called "
            "sad or angry, and fewer sad, angry or afraid faces are found.",
            "\n".join(markdown_table(("emotion", "training prior", "assumed for photographs"), rows)),
        ]
    if shares is None or not set(config.class_names) <= PHOTOGRAPH_COUNTS.keys():
        return []
    counts = {name: PHOTOGRAPH_COUNTS[name] for name in config.class_names}
    rows = [
        (name, f"{share:.1%}", f"{count / sum(counts.values()):.1%}")
        for (name, count), share in zip(counts.items(), shares, strict=True)
    ]
    return [
        "## Class prior",
        "The results above are measured under the training prior: the class shares of the training images. Prediction "
        "on photographs re-weights the probabilities to the class shares of photographs, by default those of ExpW as "
        "published (`--prior`). Fewer neutral faces are then called sad or angry, and fewer sad, angry or afraid faces "
        "are found.",
        "\n".join(markdown_table(("emotion", "training prior", "photographs prior"), rows)),
    ]


def _describe_results(config: RunConfig, split: str, metrics: Metrics) -> list[str]:
    """Return the results on one split: a sentence and tables."""
    intervals = {name: f"95 %: {low:.1%} to {high:.1%}" for name, (low, high) in metrics.intervals.items()}
    calibration = ""
    if config.calibration is not None:
        what = "a scale and a bias per class" if config.calibration.per_class else "one temperature"
        calibration = f" (calibrated by {what}, fitted on val)"
    sections = [
        f"On {split} ({metrics.n:,} images{DESCRIBE_VIEWS[config.test_time_augmentation]}): "
        f"accuracy {metrics.accuracy:.2%} ({intervals['accuracy']}), "
        f"macro-F1 {metrics.macro_f1:.2%} ({intervals['macro_f1']}), "
        f"balanced accuracy {metrics.balanced_accuracy:.2%}, top-2 accuracy {metrics.top2_accuracy:.2%}. "
        f"Expected calibration error {metrics.ece:.3f}, Brier score {metrics.brier:.3f}, "
        f"log loss {metrics.log_loss:.3f}{calibration}.",
        "\n".join(per_class_table(metrics)),
    ]
    if metrics.robustness is not None:
        table = "\n".join(robustness_table(metrics.robustness))
        sections += [f"Transformed {split} images, borders filled with the edge pixels:", table]
    return sections
