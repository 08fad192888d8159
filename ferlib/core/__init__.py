"""Shared basics: emotion names, image decoding, boxes, files, errors and console output."""
