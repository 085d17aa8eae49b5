"""A server whose segmenter takes its time: run as a program, with its settings as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tumortrace.data.slice import Slice
from tumortrace.inference.predict import Prediction
from tumortrace.web.engine import Engine
from tumortrace.web.limits import Limits
from tumortrace.web.protocol import DeadlineProtocol, Deadlines
from tumortrace.web.server import serve


class SlowEngine(Engine):
    """An engine that sleeps before each slice, and writes a line for each that it begins."""

    def __init__(self, log: Path, seconds: float, **options: Any) -> None:  # noqa: ANN401 - those of the engine
        super().__init__("fast", **options)
        segmenter = self.segmenter()
        predict = segmenter.predict

        def predict_slowly(image: Slice) -> Prediction:
            with log.open("a") as file:
                file.write(f"{image.case_id}\n")
            time.sleep(seconds)
            return predict(image)

        segmenter.predict = predict_slowly  # type: ignore[method-assign,assignment]


def announce(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


def main() -> None:
    settings = json.loads(sys.argv[1])
    DeadlineProtocol.deadlines = Deadlines(**settings.get("deadlines", {}))
    engine = SlowEngine(
        Path(settings["log"]), settings.get("seconds", 0.0), limits=Limits(**settings.get("limits", {}))
    )
    serve(engine, host="127.0.0.1", port=0, announce=announce)
    os._exit(0)


if __name__ == "__main__":
    main()
