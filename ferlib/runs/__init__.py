"""Run folders: everything that one training writes, and the classifiers loaded from them."""
