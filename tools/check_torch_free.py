"""A check that the installed package works without torch and its like."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np

import tumortrace

HEAVY = ("torch", "onnx", "safetensors", "matplotlib", "scipy", "pydicom", "fastapi", "pydantic")


def main() -> int:
    """Segment a blank picture, which must be rejected, and return the exit status."""
    there = [name for name in HEAVY if importlib.util.find_spec(name)]
    if there:
        print(f"installed without extras, and yet there: {', '.join(there)}", file=sys.stderr)
        return 1
    prediction = tumortrace.Segmenter().predict(np.zeros((64, 48), np.uint8))
    return 0 if prediction.rejected else 1


if __name__ == "__main__":
    sys.exit(main())
