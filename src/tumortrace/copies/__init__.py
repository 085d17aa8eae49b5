"""Copies of a slice, within a dataset and across splits."""
