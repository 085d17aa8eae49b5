"""Regions drawn by pixel centres, beside scikit-image and OpenCV."""

from __future__ import annotations

import numpy as np
from rich.table import Table
from skimage.draw import ellipse, polygon2mask

from benchmarks.common import make_table, paint_with_opencv, some_data
from tumortrace.data.cases import Case, read_cases
from tumortrace.data.dataset import open_dataset
from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region, mask_to_polygons, rasterize


def measure() -> Table:
    """Compare the masks of all regions; a column for each part of the dataset."""
    with some_data() as (name, data):
        dataset = open_dataset(data)
        columns = {
            part: _measure([case for _, case, _ in read_cases(dataset.select(part)) if case is not None])
            for part in ("train", "val")
        }
    table = make_table(f"Drawing the regions of {name}", "what", *(part.upper() for part in columns))
    for row in columns["train"]:
        table.add_row(row, *(values[row] for values in columns.values()))
    return table


def _measure(cases: list[Case]) -> dict[str, str]:
    ious, ours_area, painted_area = [], 0, 0
    for case in cases:
        for region in case.record.truth if isinstance(case.record.truth, tuple) else ():
            ours, theirs = rasterize([region], case.slice.size_hw), _draw_with_skimage(region, case.slice.size_hw)
            ious.append(np.count_nonzero(ours & theirs) / np.count_nonzero(ours | theirs))
            painted = np.zeros(case.slice.size_hw, np.uint8)
            paint_with_opencv(painted, region)
            ours_area += int(np.count_nonzero(ours))
            painted_area += int(np.count_nonzero(painted))
    back = sum(np.array_equal(rasterize(mask_to_polygons(c.truth), c.slice.size_hw), c.truth) for c in cases)
    return {
        "mean IoU with scikit-image": f"{np.mean(ious):.3f}",
        "lowest IoU with scikit-image": f"{np.min(ious):.3f}",
        "area painted by OpenCV, to ours": f"{100 * (painted_area / ours_area - 1):+.1f} %",
        "masks that their outlines give back": f"{back} of {len(cases)}",
    }


def _draw_with_skimage(region: Region, size_hw: tuple[int, int]) -> np.ndarray:
    if isinstance(region, Polygon):
        return np.asarray(polygon2mask(size_hw, region.points_xy[:, ::-1]))
    if isinstance(region, Circle):
        region = Ellipse(region.center_xy, (region.radius, region.radius))
    assert isinstance(region, Ellipse), "VIA has no bitmaps"
    (x, y), (radius_x, radius_y) = region.center_xy, region.radii_xy
    mask = np.zeros(size_hw, dtype=np.bool_)
    # scikit-image turns from +x towards -y.
    mask[ellipse(y, x, radius_y, radius_x, shape=size_hw, rotation=-region.theta_rad)] = True
    return mask
