"""Scores of a model against the truth."""
