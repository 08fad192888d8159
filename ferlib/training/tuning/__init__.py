"""Tune a model's settings with Optuna, and confirm the best of them with several seeds."""
