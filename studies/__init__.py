"""Accuracy, measured: one file a study, ``python -m studies.NAME``."""
