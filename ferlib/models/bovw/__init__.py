"""Bags of visual words: local features, a visual vocabulary, encodings and classifiers."""
