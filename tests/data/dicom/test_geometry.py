"""Geometry of stacks, against positions worked out by hand and against highdicom."""

from __future__ import annotations

import highdicom
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.data.dicom.geometry import measure_depths, measure_stack, name_plane, read_directions

AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        ((1, 0, 0, 0, 1, 0), "axial"),
        ((-1, 0, 0, 0, -1, 0), "axial"),
        ((0, 1, 0, 0, 0, -1), "sagittal"),
        ((1, 0, 0, 0, 0, -1), "coronal"),
        ((0.8, 0.6, 0, -0.36, 0.48, 0.8), "coronal"),  # normal (0.48, -0.64, 0.6)
    ],
)
def test_planes(orientation, plane):
    directions = read_directions(orientation)
    assert directions is not None
    assert name_plane(directions) == plane


@pytest.mark.parametrize(
    "orientation",
    [None, (1, 0, 0), (0, 0, 0, 0, 0, 0), (1, 0, 0, 1, 0, 0), (2, 0, 0, 0, 1, 0), (1, 0, 0, 0, 1, float("nan"))],
)
def test_directions_that_span_no_plane_are_unknown(orientation):
    assert read_directions(orientation) is None


def test_rows_and_columns_keep_their_spacing_in_the_matrix():
    stack = measure_stack(AXIAL, np.array([[5.0, 6, 7], [5, 6, 10]]), (0.5, 1.2), None)
    assert stack.step_mm == pytest.approx(3)
    # Column 2, row 3, slice 1: two columns of 1.2 mm to the left, three rows of 0.5 mm to the back.
    assert (stack.affine @ [2, 3, 1, 1]).tolist() == pytest.approx([5 + 2.4, 6 + 1.5, 10, 1])


def test_a_tilted_gantry_steps_less_than_its_positions():
    """Positions 5 mm apart along z; planes turned about x by the angle whose cosine is 0.8: 4 mm apart."""
    directions = np.array([[1.0, 0, 0], [0, 0.8, 0.6]])  # normal (0, -0.6, 0.8)
    stack = measure_stack(directions, np.array([[0.0, 0, 0], [0, 0, 5], [0, 0, 10]]), (1, 1), None)
    assert stack.step_mm == pytest.approx(4)
    assert stack.tilt_degrees == pytest.approx(np.degrees(np.arccos(0.8)))
    assert (stack.affine @ [0, 0, 2, 1])[:3].tolist() == pytest.approx([0, 0, 10])


def test_a_gap_leaves_no_step_and_no_matrix():
    depths = [0, 3, 6, 12, 15]
    stack = measure_stack(AXIAL, np.array([[0.0, 0, z] for z in depths]), (1, 1), None)
    assert (stack.step_mm, stack.affine, stack.odd, stack.usual_mm) == (None, None, (2,), 3)


def test_rounded_positions_are_even_enough():
    stack = measure_stack(AXIAL, np.array([[0.0, 0, z] for z in (0, 6.95, 14.02, 21.0)]), (1, 1), None)
    assert stack.odd == ()
    assert stack.step_mm == pytest.approx(7)


def test_slices_shifted_within_their_planes_have_no_matrix():
    stack = measure_stack(AXIAL, np.array([[0.0, 0, 0], [4, 0, 3], [0, 0, 6]]), (1, 1), None)
    assert stack.step_mm == pytest.approx(3)
    assert (stack.affine, stack.shift_mm) == (None, pytest.approx(4))


def test_a_single_slice_has_its_thickness_as_step():
    stack = measure_stack(AXIAL, np.array([[0.0, 0, 2]]), (1, 1), 5)
    assert (stack.step_mm, stack.tilt_degrees) == (5, 0)
    assert stack.affine[:3, 2].tolist() == [0, 0, 5]
    assert measure_stack(AXIAL, np.zeros((1, 3)), None, None).affine is None


@given(
    st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1),
    st.tuples(st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0.2, 9)),
    st.integers(2, 6),
)
def test_any_rotation_agrees_with_highdicom(quaternion, sides, count):
    w, x, y, z = np.array(quaternion) / np.linalg.norm(quaternion)
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    directions, normal = rotation[:, :2].T, rotation[:, 2]
    positions = np.array([3.0, -4, 5]) + np.arange(count)[:, None] * normal * sides[2]
    assert np.allclose(np.diff(measure_depths(directions, positions)), sides[2])
    stack = measure_stack(directions, positions, sides[:2], None)
    theirs = highdicom.VolumeGeometry.from_attributes(
        image_position=positions[0].tolist(),
        image_orientation=directions.ravel().tolist(),
        rows=4,
        columns=6,
        pixel_spacing=list(sides[:2]),
        spacing_between_slices=sides[2],
        number_of_frames=count,
        coordinate_system="PATIENT",
    )
    # highdicom counts slices, rows, columns, and numbers slices along its own normal.
    mine = stack.affine @ [5, 3, 0, 1]
    assert np.allclose(theirs.affine @ [0, 3, 5, 1], mine)
    assert np.allclose((stack.affine @ [0, 0, count - 1, 1])[:3], positions[-1])
