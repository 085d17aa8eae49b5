"""The limit of a picture, and who may raise it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tumortrace.data.pictures import read_picture_bytes
from tumortrace.data.samples import MEGAPIXELS, most_pixels
from tumortrace.errors import ConfigError, DataError


@pytest.mark.parametrize(("text", "pixels"), [("", 64_000_000), ("0.0005", 500), ("400", 400_000_000)])
def test_the_limit_is_read_from_the_environment(monkeypatch, text, pixels):
    monkeypatch.setenv(MEGAPIXELS, text)
    assert most_pixels() == pixels


@pytest.mark.parametrize("text", ["many", "0", "-3", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv(MEGAPIXELS, text)
    with pytest.raises(ConfigError, match=f"TUMORTRACE_MEGAPIXELS={text}: not a positive number; give the limit in"):
        most_pixels()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"])
def test_every_format_keeps_it(monkeypatch, tmp_path, kind):
    file = io.BytesIO()
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(file, kind)
    monkeypatch.setenv(MEGAPIXELS, "0.0006")
    assert read_picture_bytes(file.getvalue(), tmp_path / "a").colour.shape[:2] == (20, 30)
    monkeypatch.setenv(MEGAPIXELS, "0.000599")
    with pytest.raises(DataError, match="a: 30 x 20 pixels, more than the limit of 599; save a smaller picture"):
        read_picture_bytes(file.getvalue(), tmp_path / "a")
