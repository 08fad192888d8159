"""Train the trials of a study, each into a run folder, and tell the progress."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferlib.core.backend import import_keras
from ferlib.core.errors import DivergedError, OptionError
from ferlib.data import ImageDataset
from ferlib.evaluation.studies import DEFAULTS_NOTE
from ferlib.models import get_model
from ferlib.runs.folder import CONFIG, Run
from ferlib.training.fit import train_model
from ferlib.training.options import TrainingOptions
from ferlib.training.tuning.plan import TuningPlan
from ferlib.training.tuning.queue import TrialQueue
from ferlib.training.tuning.storage import quiet_optuna

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

_TAKEN_OVER = "trial %d showed no sign of life for so long that another worker has taken it over"


class OutOfTimeError(Exception):
    """The time of a study is over; the same call continues it."""


@dataclass(frozen=True)
class TrialTrainer:
    """Trains the trials of a study and its confirmation, each into a run folder."""

    plan: TuningPlan
    study_dir: Path
    data: str | Path | None
    deadline: float | None

    def train(
        self,
        queue: TrialQueue,
        trial: "optuna.Trial",
        dataset: ImageDataset,
        folder: str,
        training: TrainingOptions,
        model_options: Mapping[str, Any],
        *,
        final: bool = False,
    ) -> None:
        """Train one trial, or continue it, and record its result; if it is `final`, it is exported and not pruned."""
        import optuna
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        # A trial that another machine lost keeps the name of its folder.
        folder = trial.user_attrs.get("folder", folder)
        trial.set_user_attr("folder", folder)
        run = Run(self.study_dir / folder)
        reported = set(queue.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

        def on_epoch(history: list[dict[str, float]]) -> None:
            for row in history:
                if (epoch := int(row["epoch"])) not in reported:
                    trial.report(row["val_accuracy"], epoch)
                    reported.add(epoch)
            if len(history) >= training.epochs:
                return
            if self.plan.prune and not final and trial.should_prune():
                raise optuna.TrialPruned
            self._check_time()

        started = time.monotonic()
        state = TrialState.COMPLETE
        note = DEFAULTS_NOTE if trial.user_attrs.get("key") == DEFAULTS_NOTE else ""
        try:
            self._check_time()
            with queue.alive(trial):
                train_model(
                    self.plan.model,
                    dataset,
                    run,
                    training,
                    model_options=model_options,
                    resume=True,
                    export=final,
                    data=self.data,
                    on_epoch=on_epoch,
                )
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except (DivergedError, OptionError) as error:
            # The sampler learns from a trial that is pruned, not from one that failed.
            state, note = TrialState.PRUNED, str(error)
            logger.warning("trial %d: %s", trial.number, error)
        except UpdateFinishedTrialError:
            logger.warning(_TAKEN_OVER, trial.number)
            return
        except BaseException:
            queue.release(trial)
            raise
        finally:
            if get_model(self.plan.model).kind == "cnn":
                import_keras().utils.clear_session()
        self._record(queue, trial, run, state, note, time.monotonic() - started)

    def _check_time(self) -> None:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise OutOfTimeError

    def _record(
        self, queue: TrialQueue, trial: "optuna.Trial", run: Run, state: Any, note: str, seconds: float
    ) -> None:
        """Write a trial's result to the study."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        value = None
        history = run.history if (run.path / CONFIG).exists() else []
        attributes: dict[str, Any] = {
            "note": note,
            "epochs": len(history) or None,
            "seconds": round(sum(row["seconds"] for row in history) or seconds, 1),
        }
        if state == TrialState.COMPLETE:
            for split, metrics in run.metrics.items():
                attributes |= {f"{split}_accuracy": metrics.accuracy, f"{split}_macro_f1": metrics.macro_f1}
            value = attributes[f"val_{self.plan.metric}"]
            attributes["train_images"] = sum(run.config.image_counts["train"].values())
        else:
            run.remove_checkpoint()
            if history:
                attributes["val_accuracy"] = max(row["val_accuracy"] for row in history)
        with quiet_optuna():
            try:
                for name, attribute in attributes.items():
                    trial.set_user_attr(name, attribute)
                queue.study.tell(trial, value, state=state)
            except UpdateFinishedTrialError:
                logger.warning(_TAKEN_OVER, trial.number)


class Clock:
    """Tells the progress and the time left."""

    def __init__(self) -> None:
        self._started, self._done = time.monotonic(), 0

    def tell(self, queue: TrialQueue, number: int, total: int, name: str) -> None:
        """Write a line about a trial that ended."""
        from optuna.trial import TrialState

        self._done += 1
        trials = queue.trials()
        ended = [each for each in trials if each.state.is_finished()]
        running = sum(each.state == TrialState.RUNNING for each in trials)
        left = (time.monotonic() - self._started) / self._done * max(0, total - len(ended)) / (1 + running)
        values = [each.value for each in ended if each.state == TrialState.COMPLETE and each.value is not None]
        trial = next((each for each in ended if each.number == number), None)
        if trial is None:
            return
        result = "pruned" if trial.state == TrialState.PRUNED else f"{trial.value:.2%}"
        best = f", best {max(values):.2%}" if values else ""
        rest = f", about {describe_seconds(left)} left" if total > len(ended) else ""
        logger.info("%s: %s%s (%d of %d%s)", name, result, best, len(ended), total, rest)


def describe_seconds(seconds: float) -> str:
    """Return a duration in words, such as ``1 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest} s"
