"""The model card of a run, written from what the run recorded."""

from pathlib import Path
from typing import Any

from ferlib.evaluation.metrics import best_epoch, tabulate_per_class
from ferlib.evaluation.robustness import describe_robustness


def write_model_card(config: dict[str, Any], metrics: dict[str, dict[str, Any]], history: list[dict]) -> str:
    """Return a run's model card as Markdown.

    Parameters
    ----------
    config : dict
        The run's configuration.
    metrics : dict
        Split names to metrics, as `evaluate_predictions` returns them.
    history : list of dict
        One row an epoch; empty for a model without epochs.

    References
    ----------
    M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
    """
    data = config["data"]
    height, width = config["image_size"]
    lines = [
        f"# {config['model']}",
        "",
        f"Classes: {', '.join(config['class_names'])}. Input: faces, {height} x {width} pixels, "
        f"{'gray' if config['channels'] == 1 else 'RGB'}.",
        "",
        "## Data",
        "",
        f"{'SYNTHETIC faces' if data['synthetic'] else data['title']} from `{data['path']}` "
        f"(sha256 `{data['sha256']}`). Images: "
        + ", ".join(f"{split} {sum(counts.values()):,}" for split, counts in data["pictures"].items())
        + ".",
        *(f"- {note}" for note in data["notes"]),
        "",
        "## Training and selection",
        "",
        *_describe_training(config, history),
        "",
        "## Results",
        "",
    ]
    for split, values in metrics.items():
        lines += [
            f"On {split} ({values['n']:,} images"
            f"{_VIEWS[config.get('test_time_augmentation', 'none')]}): "
            f"accuracy {values['accuracy']:.2%}{_interval(values, 'accuracy')}, "
            f"macro-F1 {values['macro_f1']:.2%}{_interval(values, 'macro_f1')}, "
            f"balanced accuracy {values['balanced_accuracy']:.2%}, top-2 accuracy {values['top2_accuracy']:.2%}. "
            f"Expected calibration error {values['ece']:.3f}, Brier score {values['brier']:.3f}, "
            f"log loss {values['log_loss']:.3f}"
            f"{_describe_calibration(config)}.",
            "",
            *_markdown_table(values),
            "",
        ]
        if "robustness" in values:
            lines += [
                f"The {split} images shifted, scaled and turned, the uncovered space filled with the edge:",
                "",
                "| change | accuracy | difference |",
                "| --- | --- | --- |",
                *(f"| {' | '.join(row)} |" for row in describe_robustness(values["robustness"])),
                "",
            ]
    return "\n".join([*lines, *_INTENDED_USE])


def _interval(values: dict[str, Any], name: str) -> str:
    """Return a metric's interval in brackets."""
    low, high = values["intervals"][name]
    return f" (95 %: {low:.1%} to {high:.1%})"


def _describe_calibration(config: dict[str, Any]) -> str:
    """Say how the probabilities were calibrated."""
    if "calibration" not in config:
        return ""
    per_class = any(config["calibration"]["biases"])
    return f" (calibrated by {'a scale and a bias a class' if per_class else 'a temperature'}, fitted on val)"


def _describe_training(config: dict[str, Any], history: list[dict]) -> list[str]:
    """Say how a model was trained and its weights chosen."""
    if config.get("kind") == "ensemble":
        return [
            f"The mean of {config['n_members']} models, whose own cards and configurations say how each was trained."
        ]
    training = config["training"]
    lines = [
        _describe_selection(history),
        f"Seed {training['seed']}, resampling {training['resample']}, class weights {training['class_weight']}"
        f"{', random augmentation' if training['augmentation'] and history else ''}.",
    ]
    if training.get("init_from"):
        lines.append(f"It began with the weights of an earlier run, {Path(training['init_from']).name} (fine-tuning).")
    if training.get("teacher"):
        lines.append(
            f"Beside the labels ({1 - training['distillation_weight']:.0%}) it learned what a trained "
            f"{config['teacher']['model']} says about the same images "
            f"({training['distillation_weight']:.0%}: distillation)."
        )
    if training.get("votes"):
        lines.append(
            f"Beside the labels it learned how the raters of FER+ voted on the same training images, by a second "
            f"output of weight {training['aux_loss_weight']:g} that is no longer there."
        )
    return lines


def _describe_selection(history: list[dict]) -> str:
    """Say how the weights were chosen."""
    if not history:
        return "Fitted once on the train split; nothing was chosen on the test split."
    best = best_epoch(history)
    accuracy = next(row["val_accuracy"] for row in history if row["epoch"] == best)
    return (
        f"{len(history)} epochs; the weights are those of epoch {best}, chosen by its validation accuracy of "
        f"{accuracy:.2%} (one view, no averaging). The test split played no part in it."
    )


def _markdown_table(metrics: dict[str, Any]) -> list[str]:
    """Return the per-class table as lines of Markdown."""
    table = tabulate_per_class(metrics)
    rows = [
        f"| {name} | {row.precision:.2f} | {row.recall:.2f} | {row.f1:.2f} | {row.support:,.0f} |"
        for name, row in table.iterrows()
    ]
    return ["| class | precision | recall | F1 | images |", "| --- | --- | --- | --- | --- |", *rows]


_VIEWS = {
    "none": "",
    "flip": ", probabilities averaged with those of the mirror image",
    "ten_crop": ", probabilities averaged over ten crops",
}

_INTENDED_USE = (
    "## Intended use and limits",
    "",
    "For teaching, for research, and for counting expressions in images that one may process. The classes are",
    "expressions as raters perceived them, not what a person feels. Not for judging persons: hiring, policing,",
    "education, health, credit. Accuracy differs between groups of people in ways that the data, which record none,",
    "cannot measure.",
    "",
)
