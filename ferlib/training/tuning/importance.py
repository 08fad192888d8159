"""How much each parameter of a study matters."""

from typing import Any

import numpy as np
import pandas as pd

from ferlib.evaluation.studies import is_logarithmic, is_numeric, parameters_of
from ferlib.training.tuning.storage import quiet_optuna

# The fewest complete trials, and values of a parameter, that say something about importance.
_FEWEST = 8


def measure_importance(table: pd.DataFrame) -> pd.Series:
    """Return how much each parameter decides whether a trial is among the best, as shares that sum to 1, largest first.

    Complete trials count. With fewer than eight of them, or without differences, the series is empty.

    Parameters
    ----------
    table : DataFrame
        That of one study.

    References
    ----------
    S. Watanabe, A. Bansal, F. Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
    Subspaces", IJCAI 2023.
    """
    complete = table[(table["stage"] == "trial") & (table["state"] == "complete")]
    names = [name for name in parameters_of(complete) if complete[name].notna().sum() >= _FEWEST]
    # The defaults may lack parameters, and were not drawn.
    complete = complete.dropna(subset=[name for name in names if not name.startswith("augmentation.")])
    if len(complete) < _FEWEST or complete["value"].nunique() < 2:
        return pd.Series(dtype=float)
    with quiet_optuna():
        import optuna

        distributions = {name: _distribution(complete[name].dropna()) for name in names}
        study = optuna.create_study(direction="maximize")
        for row in complete[[*names, "value"]].to_dict("records"):
            params = {name: _plain(row[name]) for name in names if not pd.isna(row[name]) and distributions[name]}
            study.add_trial(
                optuna.trial.create_trial(
                    params=params,
                    distributions={name: distributions[name] for name in params},
                    value=float(row["value"]),
                )
            )
        # A tenth of the trials, but at least five.
        quantile = min(0.5, max(0.1, 5 / len(complete)))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return pd.Series(found, dtype=float).sort_values(ascending=False)


def _distribution(values: pd.Series) -> Any:
    """Return a distribution that contains the values of a parameter; None if they are all the same."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if values.nunique() < 2:
        return None
    if not is_numeric(values):
        return CategoricalDistribution(sorted({_plain(value) for value in values}, key=str))
    numbers = pd.to_numeric(values)
    return FloatDistribution(float(numbers.min()), float(numbers.max()), log=is_logarithmic(values))


def _plain(value: Any) -> Any:
    """Return a value of a table as Python has it."""
    return value.item() if isinstance(value, np.generic) else value
