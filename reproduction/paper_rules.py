"""The student paper's labels and metric, rebuilt to be measured.

The chain, each step a function: ``misread_theta``, ``paint``, ``through_jpeg``, ``resize_bilinear`` make the truth
that the student paper scored against (``soft_truth``, values from 0 to 1), ``truncate`` turns it into the labels that
its network was trained on (``label``); ``count`` is its metric.

Known are the steps: masks were painted by OpenCV, an ellipse's ``theta`` (radians in VIA) was taken as a fraction of
360 degrees, masks were stored as JPEG, resized bilinearly to 512 x 512 and truncated to integers for training; the
metric divides the prediction by a truth that was not truncated. Known is what came out: about 25 % of the tumour
pixels of TRAIN vanish from the labels, ``theta`` displaces 22 masks of VAL to a Dice below 0.9, and on TEST a perfect
mask scores Dice 0.789 and recall 0.673.

Assumed are the details: coordinates were cut to whole pixels before they were painted; JPEG has OpenCV's quality 95;
values were divided by 255 before the resize; the resize is torch's with ``antialias=True``, torchvision's default for
tensors since 0.17. The last is what fits. Its weights add up to 1 only within rounding: on some grids (those of 40 of
VAL's 201 images, in 21 of them for over half of the pixels) white becomes 0.99999994, which truncation makes 0, or
1.0000001; the metric counts neither as a hit. It is rounding, so another processor may give other grids.

A perfect mask is the true one, drawn by the pixel-centre rule and brought to 512 x 512 by the nearest pixel. With the
share of TRAIN's tumour pixels that vanish, its recall and Dice on VAL (measured on Br35H):

| JPEG | resize | vanish | recall | Dice |
|---|---|---|---|---|
| 95 | antialias (taken) | 0.253 | 0.687 | 0.801 |
| 95 | torch, no antialias | 0.204 | 0.721 | 0.825 |
| 95 | OpenCV, uint8 | 0.141 | 0.811 | 0.886 |
| 75 | antialias | 0.273 | 0.665 | 0.786 |
| 75 | torch, no antialias | 0.225 | 0.699 | 0.810 |
| 75 | OpenCV, uint8 | 0.202 | 0.730 | 0.832 |
| known (recall and Dice of TEST) | | 0.25 | 0.673 | 0.789 |

Quality 75 with antialias fits the perfect mask's score slightly better and the vanished pixels worse, so these two
cannot be distinguished; all others are further off in the three numbers together.

What remains, 0.014 of recall and 0.012 of Dice, is no more than another sample makes: VAL's 95 % intervals over groups
of copies are 0.652 to 0.713 and 0.770 to 0.823. The kind of region explains some of it. The 74 images of VAL without a
polygon have the smaller tumours (median 2.5 % of the frame; 6.1 % in the others) and the ellipses that ``theta``
turns; they give 0.626 and 0.745, the others 0.723 and 0.834. They are 37 % of VAL and 43 % of TEST, which with VAL's
numbers makes 0.681 and 0.796. ``theta`` displaces 23 masks of VAL here, not 22: one lies at Dice 0.899.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region
from tumortrace.metrics.overlap import PixelCounts

SIZE_HW = (512, 512)
"""The student paper's grid."""

JPEG_QUALITY = 95
"""What ``cv2.imwrite`` takes if nothing is said."""


def misread_theta(region: Region) -> Region:
    """Turn an ellipse by ``theta * 360`` degrees, where its ``theta`` means radians.

    Returns:
        A region that, read rightly, lies where the student paper's did; anything but an ellipse stays what it is.
    """
    if not isinstance(region, Ellipse):
        return region
    return replace(region, theta_rad=float(np.radians(360.0 * region.theta_rad)))


def paint(regions: Iterable[Region], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Paint regions with OpenCV: coordinates cut to whole pixels, and every pixel that the outline touches as well.

    Args:
        regions: Regions with ``theta_rad`` in radians.
        size_hw: Height and width of the image in pixels.

    Returns:
        Shape (H, W), uint8: 255 in a region, 0 elsewhere; all 0 without regions.
    """
    mask = np.zeros(size_hw, dtype=np.uint8)
    for region in regions:
        match region:
            case Polygon(points_xy):
                cv2.fillPoly(mask, [points_xy.astype(np.int32)], 255)
            case Ellipse((x, y), (rx, ry), theta_rad):
                cv2.ellipse(mask, (int(x), int(y)), (int(rx), int(ry)), float(np.degrees(theta_rad)), 0, 360, 255, -1)
            case Circle((x, y), radius):
                cv2.circle(mask, (int(x), int(y)), int(radius), 255, -1)
    return mask


def through_jpeg(mask: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> NDArray[np.uint8]:
    """Store a mask as JPEG and read it again: near its outline values are no longer 0 and 255.

    Args:
        mask: Shape (H, W), uint8.
        quality: JPEG quality, 0 to 100.

    Returns:
        Of the same shape, uint8.
    """
    _, data = cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def resize_bilinear(grey: NDArray[np.uint8], size_hw: tuple[int, int] = SIZE_HW) -> NDArray[np.float32]:
    """Divide by 255 and resize as torchvision does with a tensor: bilinear, averaged over areas where it shrinks.

    Args:
        grey: Shape (H, W), uint8.
        size_hw: Height and width to come to, in pixels.

    Returns:
        Shape ``size_hw``, float32 in [0, 1] within rounding: even of a white picture some pixels may miss 1 by 1e-7.
    """
    values = torch.from_numpy(np.array(grey, dtype=np.float32) / np.float32(255))[None, None]
    resized = torch.nn.functional.interpolate(values, size=size_hw, mode="bilinear", antialias=True)
    return np.asarray(resized[0, 0].numpy(), dtype=np.float32)


def truncate(soft: NDArray[np.float32], forgiven: float = 0.0) -> NDArray[np.bool_]:
    """Cut values off at the decimal point, as ``.long()`` does: only a full 1 stays tumour.

    Args:
        soft: Shape (H, W), float32 in [0, 1].
        forgiven: Tolerance below 1 that still counts as 1; the student paper had none.

    Returns:
        Of the same shape, bool.
    """
    return np.asarray((soft + np.float32(forgiven)).astype(np.int64) >= 1)


def soft_truth(regions: Iterable[Region], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """What the student paper scored against.

    Args:
        regions: Regions as the annotator drew them.
        size_hw: Height and width of the image in pixels.

    Returns:
        Shape ``SIZE_HW``, float32 in [0, 1] within rounding; not a mask.
    """
    return resize_bilinear(through_jpeg(paint(map(misread_theta, regions), size_hw)))


def label(regions: Iterable[Region], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """What the student paper's network learnt: ``truncate`` of ``soft_truth``; shape ``SIZE_HW``, bool."""
    return truncate(soft_truth(regions, size_hw))


def count(prediction: NDArray[np.bool_], truth: NDArray[np.float32]) -> PixelCounts:
    """Count pixels as the student paper did, by dividing the prediction p by the truth t.

    p / t = 1 counts as TP, infinity (1 / 0) as FP, NaN (0 / 0) as TN, and 0 (0 / t, however small t is) as FN. Where p
    is 1 and t is neither 0 nor exactly 1 the ratio is none of these, and the pixel is not counted at all. With a truth
    of 0 and 1 alone this is ``tumortrace.metrics.overlap.count_pixels``.

    Args:
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), float32 in [0, 1].

    Returns:
        The four counts; they add up to all pixels but those that were dropped.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = prediction.astype(np.float32) / truth
    return PixelCounts(
        tp=int((ratio == 1).sum()),
        fp=int(np.isposinf(ratio).sum()),
        fn=int((ratio == 0).sum()),
        tn=int(np.isnan(ratio).sum()),
    )
