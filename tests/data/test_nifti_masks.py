"""NIfTI masks on scans: voxel on voxel in any order of axes, and refused where they lie elsewhere."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.dicom.conftest import make_dataset, save

from tumortrace.data.nifti.mask import fit_nifti_mask
from tumortrace.data.nifti.reader import open_nifti
from tumortrace.data.scans import open_volumes
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError

AFFINE = np.array([[-0.5, 0, 0, 20], [0, 1.2, 0, -30], [0, 0, 3, 7], [0, 0, 0, 1]], dtype=np.float64)
LABELS = np.zeros((5, 4, 3), dtype=np.uint8)
LABELS[1:4, 2, 1] = 1, 2, 2
LABELS[0, 0, 2] = 4


def write(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE, axes: str = "") -> Path:
    """Write voxels with an affine; in another order of axes if one is named."""
    image = nibabel.Nifti1Image(voxels, affine, dtype=voxels.dtype)
    if axes:
        wanted = nibabel.orientations.axcodes2ornt(axes)
        image = image.as_reoriented(
            nibabel.orientations.ornt_transform(nibabel.orientations.io_orientation(affine), wanted)
        )
    path.write_bytes(image.to_bytes())
    return path


def open_it(path: Path) -> Volume:
    return open_nifti(path, name=path.stem, file=str(path))


def voxel_of_each(voxels: np.ndarray) -> np.ndarray:
    """A scan in which every voxel has a value of its own, by which its slices say where they come from."""
    return np.arange(voxels.size, dtype=np.int16).reshape(voxels.shape)


@given(axes=st.permutations("RAS").map("".join), flips=st.tuples(*[st.booleans()] * 3))
def test_a_mask_of_any_order_of_axes_lies_on_its_voxels(tmp_path_factory, axes: str, flips: tuple[bool, bool, bool]):
    other = dict(zip("RAS", "LPI", strict=True))
    axes = "".join(other[axis] if flip else axis for axis, flip in zip(axes, flips, strict=True))
    folder = tmp_path_factory.mktemp("axes")
    scan = open_it(write(folder / "scan.nii", voxel_of_each(LABELS)))
    mask = fit_nifti_mask(open_it(write(folder / "mask.nii", LABELS, axes=axes)), scan)
    for index in range(len(scan)):
        expected = LABELS.flat[scan.read(index).pixels.ravel()].reshape(scan.size_hw)
        assert np.array_equal(mask.read(index), expected > 0)
        assert np.array_equal(mask.choose(frozenset({2, 4})).read(index), np.isin(expected, (2, 4)))
    assert mask.count_labels() == {1: 1, 2: 2, 4: 1}


def test_a_mask_lies_on_a_dicom_series_as_converters_write_it(tmp_path: Path):
    """Converters to NIfTI turn rows upside down and count in RAS coordinates."""
    labels = np.zeros((3, 4, 5), dtype=np.uint8)  # slices, rows, columns
    labels[1, 2, 3:] = 1
    for index in range(3):
        image = make_dataset(np.full((4, 5), index, np.uint16), SeriesInstanceUID="1.2.3", PixelSpacing=[1.2, 0.5])
        image.ImagePositionPatient, image.FrameOfReferenceUID = [-20, 30, 7 + 3 * index], "1.2.4"
        save(image, tmp_path / "series" / f"{9 - index}.dcm")
    (volume,) = open_volumes(tmp_path / "series").volumes
    # x of LPS grows with columns, so x of RAS falls; rows are stored from the last one.
    affine = np.array([[-0.5, 0, 0, 20], [0, 1.2, 0, -30 - 3 * 1.2], [0, 0, 3, 7], [0, 0, 0, 1]])
    stored = np.ascontiguousarray(labels[:, ::-1].transpose(2, 1, 0))
    mask = fit_nifti_mask(open_it(write(tmp_path / "mask.nii", stored, affine)), volume)
    assert np.array_equal(np.stack([mask.read(index) for index in range(3)]), labels > 0)


def shifted(mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[2, 3] += mm
    return affine


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.eye(4), "mm away from scan"),  # a program that saved voxels without their affine
        (shifted(3), "lies up to 3 mm away from scan"),
        (shifted(0.32), "lies up to 0.32 mm away from scan"),  # slices are 3 mm apart, of which a tenth is rounding
        (np.diag([-1, -1, 1, 1]) @ AFFINE, "mm away"),
        (np.diag([0.5, 1.2, 3.1, 1]), "mm away"),
    ],
)
def test_a_mask_that_lies_elsewhere_is_refused(tmp_path: Path, affine: np.ndarray, words: str):
    scan = open_it(write(tmp_path / "scan.nii", voxel_of_each(LABELS)))
    with pytest.raises(DataError, match=words):
        fit_nifti_mask(open_it(write(tmp_path / "mask.nii", LABELS, affine)), scan)


def test_rounding_of_the_affine_does_no_harm(tmp_path: Path):
    scan = open_it(write(tmp_path / "scan.nii", voxel_of_each(LABELS)))
    assert fit_nifti_mask(open_it(write(tmp_path / "mask.nii", LABELS, shifted(0.28))), scan)


def test_another_number_of_voxels_is_refused(tmp_path: Path):
    scan = open_it(write(tmp_path / "scan.nii", voxel_of_each(LABELS)))
    with pytest.raises(DataError, match=r"5 x 4 x 2 voxels .*, and scan has 5 x 4 x 3"):
        fit_nifti_mask(open_it(write(tmp_path / "mask.nii", LABELS[:, :, :2])), scan)


def test_a_mask_of_several_volumes_is_refused(tmp_path: Path):
    scan = open_it(write(tmp_path / "scan.nii", voxel_of_each(LABELS)))
    layers = np.stack([LABELS == 0, LABELS > 0], axis=-1).astype(np.uint8)
    with pytest.raises(DataError, match="a mask of 2 volumes, of which only one could be read; save it as one volume"):
        fit_nifti_mask(open_it(write(tmp_path / "mask.nii", layers)), scan)
    assert fit_nifti_mask(open_it(write(tmp_path / "one.nii", layers[..., 1:])), scan).count_labels() == {1: 4}


def without_codes(path: Path, voxels: np.ndarray) -> Path:
    image = nibabel.Nifti1Image(voxels, None, dtype=voxels.dtype)
    path.write_bytes(image.to_bytes())
    return path


def test_without_any_place_both_lie_as_they_are_stored(tmp_path: Path):
    scan = open_it(without_codes(tmp_path / "scan.nii", voxel_of_each(LABELS)))
    mask = fit_nifti_mask(open_it(without_codes(tmp_path / "mask.nii", LABELS)), scan)
    for index in range(len(scan)):
        assert np.array_equal(mask.read(index), LABELS.flat[scan.read(index).pixels.ravel()].reshape(scan.size_hw) > 0)


def test_a_place_of_only_one_is_refused(tmp_path: Path):
    scan = open_it(write(tmp_path / "scan.nii", voxel_of_each(LABELS)))
    with pytest.raises(DataError, match="it does not say where its voxels lie"):
        fit_nifti_mask(open_it(without_codes(tmp_path / "mask.nii", LABELS)), scan)


@pytest.mark.parametrize(
    ("value", "words"), [(0.37, "values such as 0.37"), (-1, "values from -1"), (70000, "values from 0")]
)
def test_values_that_are_no_labels_are_refused(tmp_path: Path, value: float, words: str):
    voxels = np.zeros(LABELS.shape, dtype=np.float32)
    voxels[1, 1, 1] = value
    scan = open_it(write(tmp_path / "scan.nii", voxel_of_each(LABELS)))
    mask = fit_nifti_mask(open_it(write(tmp_path / "mask.nii", voxels)), scan)
    with pytest.raises(DataError, match=words):
        mask.count_labels()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mask_with_nan_or_infinity_is_refused(tmp_path: Path, value: float):
    """Of a scan NaN becomes the darkest value, and in a mask of NaN and 1 that would be tumour everywhere."""
    voxels = np.where(LABELS > 0, np.float32(1), np.float32(value))
    scan = open_it(write(tmp_path / "scan.nii", voxel_of_each(LABELS)))
    mask = fit_nifti_mask(open_it(write(tmp_path / "mask.nii", voxels)), scan)
    with pytest.raises(DataError, match=r"mask\.nii: NaN or infinity, which are no labels"):
        mask.count_labels()


def test_whole_numbers_of_floats_are_labels(tmp_path: Path):
    scan = open_it(write(tmp_path / "scan.nii", voxel_of_each(LABELS)))
    mask = fit_nifti_mask(open_it(write(tmp_path / "mask.nii", LABELS.astype(np.float64))), scan)
    assert mask.count_labels() == {1: 1, 2: 2, 4: 1}
