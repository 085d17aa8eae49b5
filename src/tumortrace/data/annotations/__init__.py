"""Annotation files, one module a format."""
