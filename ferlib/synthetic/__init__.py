"""Draw synthetic faces with a given emotion, so that everything runs without a data set."""
