"""The page's own arithmetic, against that of the package: PNG, components, links across slices, measures, order."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.web.page.conftest import encode_png

import tumortrace
from tumortrace.inference.lesions import find_lesions
from tumortrace.inference.volumes import link_lesions
from tumortrace.metrics.lesions import label_lesions


@pytest.fixture(scope="module")
def bare(browser, base_url):
    """A page for calls of its modules."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(base_url)
    yield page
    context.close()


def random_mask(seed, shape):
    noise = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal(shape), (0, 0), 1.2)
    return np.asarray(noise > 0.25)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_grey_png_files_are_decoded_exactly(bare, level):
    pixels = np.random.default_rng(level).integers(0, 256, (37, 53), dtype=np.uint8)
    pixels[5:20, 10:40] = np.arange(30, dtype=np.uint8)  # so that the encoder uses its filters
    data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, level])[1].tobytes()
    found = bare.evaluate(
        """async (text) => { const { bytesFromBase64, decodeGreyPng } = await import("/png.js");
        const { width, height, data } = await decodeGreyPng(bytesFromBase64(text));
        return [height, width, [...data]]; }""",
        base64.b64encode(data).decode(),
    )
    assert found[:2] == [37, 53]
    assert np.array_equal(np.array(found[2]).reshape(37, 53), pixels)


@pytest.mark.parametrize("seed", range(4))
def test_lesions_are_measured_as_by_the_package(bare, seed):
    mask = random_mask(seed, (31, 43))
    probability = np.random.default_rng(seed).integers(0, 256, mask.shape, dtype=np.uint8)
    found = bare.evaluate(
        """async ([mask, levels]) => { const { readMask } = await import("/scan.js");
        const { measureLesions } = await import("/lesions.js");
        const labels = await readMask(mask, 43, 31);
        return measureLesions(labels, 43, [0.7, 1.3], Uint8Array.from(levels)); }""",
        [encode_png(mask.astype(np.uint8) * np.uint8(255)), probability.ravel().tolist()],
    )
    expected = find_lesions(mask, probability.astype(np.float32) / np.float32(255), spacing_mm=(0.7, 1.3))
    assert len(found) == len(expected) > 3
    assert [each["areaPx"] for each in found] == [each.area_px for each in expected]  # largest first, in both
    keys = ("areaPx", "x", "y", "diameter", "confidence")
    ours = sorted(tuple(round(each[key], 5) for key in keys) for each in found)
    theirs = sorted(
        tuple(round(value, 5) for value in (each.area_px, *each.centroid_xy, each.diameter_mm, each.confidence))
        for each in expected
    )
    assert np.allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("seed", range(4))
def test_lesions_are_linked_across_slices_as_by_the_package(bare, seed):
    masks = np.stack([random_mask(10 * seed + index, (19, 23)) for index in range(5)])
    masks &= np.random.default_rng(seed).random((5, 1, 1)) < 0.8
    found = bare.evaluate(
        """async (stack) => { const { linkLesions } = await import("/lesions.js");
        const maps = stack.map((each) => Uint8Array.from(each));
        linkLesions(maps, 23, 19, new Set()); return maps.map((each) => [...each]); }""",
        masks.reshape(5, -1).astype(int).tolist(),
    )
    ours = np.array(found).reshape(masks.shape)
    numbers, count = link_lesions(masks)
    assert ours.max() == count
    pairs = set(zip(ours.ravel().tolist(), numbers.ravel().tolist(), strict=True))
    assert len(pairs) == count + 1  # one number for each number
    sizes = np.bincount(ours.ravel())[1:]
    assert (np.diff(sizes) <= 0).all()


def test_slices_that_somebody_corrected_keep_their_numbers(bare):
    found = bare.evaluate("""async () => { const { linkLesions } = await import("/lesions.js");
      const maps = [Uint8Array.of(1, 0, 1, 1), Uint8Array.of(7, 0, 0, 0)];
      linkLesions(maps, 4, 1, new Set([1])); return maps.map((each) => [...each]); }""")
    assert found == [[2, 0, 1, 1], [7, 0, 0, 0]]


def test_components_are_those_of_the_package_when_a_mask_has_many(bare):
    mask = np.zeros((40, 40), dtype=np.bool_)
    mask[::2, ::2] = True  # 400 single pixels, more than there are numbers
    found = bare.evaluate(
        """async (mask) => { const { labelComponents } = await import("/lesions.js");
        const labels = new Uint8Array(1600); labelComponents(Uint8Array.from(mask), 40, 40, labels);
        return [...labels]; }""",
        mask.ravel().astype(int).tolist(),
    )
    assert label_lesions(mask).count == 400
    assert max(found) == 254
    assert np.array_equal(np.array(found).reshape(40, 40) > 0, mask)


def test_cases_are_ordered_least_confident_first_with_every_fourth_at_random(bare):
    found = bare.evaluate("""async () => { const { orderForCorrection } = await import("/view/cases.js");
      const scans = [0.9, 0.2, 2, 0.5, 0.7, 0.8, 0.3].map((confidence) => ({ confidence }));
      return orderForCorrection(scans, () => 0.99).map(({ scan, random }) => [scan.confidence, random]); }""")
    assert found == [[0.2, False], [0.3, False], [0.5, False], [2, True], [0.7, False], [0.8, False], [0.9, False]]


def test_the_page_is_small():
    folder = Path(tumortrace.__file__).parent / "web" / "static"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 153 * 1024
