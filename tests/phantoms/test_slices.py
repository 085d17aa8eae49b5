from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.cases import read_case
from tumortrace.data.dataset import open_dataset
from tumortrace.data.geometry import Circle, Ellipse, Polygon, rasterize
from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError
from tumortrace.phantoms import slices as phantoms
from tumortrace.phantoms.head import brain_contour, draw_head
from tumortrace.phantoms.slices import KINDS, Phantom, draw_phantom, write_phantom_dataset

SIZE_HW = (200, 170)
COUNTS = {"TRAIN": 16, "VAL": 4, "TEST": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantom_dataset(folder, counts=COUNTS, no_tumour=3, seed=7)
    return folder


def draw(seed: int, kind: str) -> Phantom:
    return draw_phantom(np.random.default_rng(seed), size_hw=SIZE_HW, kind=kind)


def truth_of(phantom: Phantom) -> np.ndarray:
    return rasterize(phantom.regions, phantom.pixels.shape)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_same_state_of_the_generator_gives_the_same_pixels(kind: str):
    one, again, other = draw(3, kind), draw(3, kind), draw(4, kind)
    np.testing.assert_array_equal(one.pixels, again.pixels)
    np.testing.assert_array_equal(truth_of(one), truth_of(again))
    assert (one.pixels != other.pixels).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_phantom_has_the_frame_and_kind_asked_for(kind: str):
    phantom = draw(0, kind)
    assert phantom.pixels.shape == SIZE_HW
    assert phantom.pixels.dtype == np.uint8
    assert phantom.kind == kind


@pytest.mark.parametrize(("kind", "fewest", "most"), [("none", 0, 0), ("bright", 1, 1), ("multiple", 2, 3)])
def test_number_of_regions(kind: str, fewest: int, most: int):
    counts = {len(draw(seed, kind).regions) for seed in range(8)}
    assert (min(counts), max(counts)) == (fewest, most)


def test_lesions_of_a_multiple_phantom_stand_apart():
    for seed in range(8):
        phantom = draw(seed, "multiple")
        components, _ = cv2.connectedComponents(truth_of(phantom).astype(np.uint8), connectivity=8)
        assert components - 1 == len(phantom.regions)


def test_tumour_covers_one_to_twelve_percent_of_the_frame():
    shares = [truth_of(draw(seed, kind)).mean() for seed in range(10) for kind in KINDS[:4]]
    assert min(shares) > 0.01
    assert max(shares) < 0.12
    assert max(shares) > 3 * min(shares)


def test_outlines_are_close_to_the_lesion_inside_the_brain_and_of_every_shape():
    shapes = set()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        head = draw_head(rng, SIZE_HW)
        brain = rasterize([Polygon(brain_contour(head))], SIZE_HW)
        for lesion in phantoms._draw_lesions(rng, head, kind="multiple" if seed % 2 else "ring"):
            drawn = rasterize([lesion.region], SIZE_HW)
            assert 0.93 < dice(drawn, rasterize([Polygon(lesion.contour_xy)], SIZE_HW)) < 1
            assert not (drawn & ~brain).any()
            shapes.add(type(lesion.region))
    assert shapes == {Polygon, Ellipse, Circle}


def test_truth_lies_where_the_bright_mass_is():
    for seed in range(8):
        phantom = draw(seed, "bright")
        truth = truth_of(phantom)
        around = cv2.dilate(truth.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool) & ~truth
        assert phantom.pixels[truth].mean() > phantom.pixels[around].mean() + 25


@pytest.mark.parametrize(("kind", "darker_inside"), [("ring", True), ("oedema", False)])
def test_ring_has_a_dark_core_and_oedema_a_bright_one(kind: str, *, darker_inside: bool):
    for seed in range(8):
        phantom = draw(seed, kind)
        depth = cv2.distanceTransform(truth_of(phantom).astype(np.uint8), cv2.DIST_L2, 5)
        core = phantom.pixels[depth > 0.7 * depth.max()].mean()
        rim = phantom.pixels[(depth > 0.1 * depth.max()) & (depth < 0.35 * depth.max())].mean()
        assert (core < rim - 40) if darker_inside else (core > rim + 5)


def test_no_threshold_finds_the_tumour():
    best = []
    for seed in range(12):
        phantom = draw(seed, "bright")
        best.append(max(dice(phantom.pixels >= level, truth_of(phantom)) for level in range(20, 250, 10)))
    assert np.mean(best) < 0.6


def test_picture_is_not_its_own_mirror_image():
    for seed in range(8):
        smooth = cv2.GaussianBlur(draw(seed, "none").pixels.astype(np.float32), (0, 0), 3)
        assert np.abs(smooth - smooth[:, ::-1]).mean() > 4


@pytest.mark.parametrize("size_hw", [(96, 96), (96, 500), (500, 96)])
def test_extreme_frames_are_drawn(size_hw: tuple[int, int]):
    phantom = draw_phantom(np.random.default_rng(1), size_hw=size_hw, kind="multiple")
    assert phantom.pixels.shape == size_hw
    assert all(rasterize([region], size_hw).any() for region in phantom.regions)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"^unknown kind of phantom 'cyst'; choose one of bright, ring, oedema, "):
        draw(0, "cyst")


def test_too_small_a_frame_is_refused():
    with pytest.raises(ValueError, match=r"^a phantom of \(200, 95\) pixels is too small; give at least 96 a side$"):
        draw_phantom(np.random.default_rng(0), size_hw=(200, 95), kind="none")


def test_layout_on_disk(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == ["TEST", "TRAIN", "VAL", "no_tumour"]
    for part, count in COUNTS.items():
        names = {path.name for path in (folder / part).iterdir()}
        assert len(names) == count + 1
        assert f"annotations_{part.lower()}.json" in names
    assert sorted(path.stem for path in (folder / "no_tumour").iterdir()) == [f"no_tumour_00{i}" for i in range(3)]


def test_annotations_name_the_files_with_their_sizes(folder: Path):
    file = read_annotations(folder / "TRAIN" / "annotations_train.json")
    records, findings = list(file.images), list(file.findings)
    assert findings == []
    assert len(records) == COUNTS["TRAIN"]
    for record in records:
        assert record.size_bytes == (folder / "TRAIN" / record.filename).stat().st_size


def test_dataset_opens_without_findings_and_every_case_has_tumour(folder: Path):
    dataset = open_dataset(folder)
    assert [(finding.kind, finding.file) for finding in dataset.findings] == [("annotation-missing", "no_tumour/")]
    assert dataset.parts() == {part.lower(): count for part, count in COUNTS.items()}
    for record in dataset.records:
        case, findings = read_case(record)
        assert findings == []
        assert 0.01 < case.truth.mean() < 0.12


def test_written_truth_is_the_drawn_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn: list[Phantom] = []

    def build_training_index(rng: np.random.Generator, *, size_hw: tuple[int, int], kind: str) -> Phantom:
        drawn.append(draw_phantom(rng, size_hw=size_hw, kind=kind))
        return drawn[-1]

    monkeypatch.setattr(phantoms, "draw_phantom", build_training_index)
    write_phantom_dataset(tmp_path / "new", counts={"VAL": 8}, no_tumour=0, seed=1)
    assert [phantom.kind for phantom in drawn] == [*KINDS[:4]] * 2
    for record, phantom in zip(open_dataset(tmp_path / "new").records, drawn, strict=True):
        case, _ = read_case(record)
        assert dice(case.truth, truth_of(phantom)) > 0.999
        assert np.abs(case.slice.pixels.astype(int) - phantom.pixels).mean() < 4


def test_images_vary_in_size_file_type_and_channels_and_none_is_square(folder: Path):
    paths = [path for path in folder.rglob("*") if path.suffix in {".jpg", ".png"}]
    sizes = {read_slice(path).size_hw for path in paths}
    assert len(sizes) > 20
    assert all(160 <= width < height <= 320 for height, width in sizes)
    suffixes = [path.suffix for path in paths]
    assert 0 < suffixes.count(".png") < suffixes.count(".jpg")
    assert {cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ndim for path in paths} == {2, 3}


def test_same_seed_writes_the_same_bytes_and_another_seed_does_not(folder: Path, tmp_path: Path):
    write_phantom_dataset(tmp_path / "again", counts=COUNTS, no_tumour=3, seed=7)
    write_phantom_dataset(tmp_path / "other", counts={"VAL": 4}, no_tumour=0, seed=8)
    assert files_in(tmp_path / "again") == files_in(folder)
    assert not set(files_in(tmp_path / "other" / "VAL").values()) & set(files_in(folder / "VAL").values())


def test_other_counts_leave_an_image_as_it_was(folder: Path, tmp_path: Path):
    write_phantom_dataset(tmp_path / "fewer", counts={"TEST": 5, "TRAIN": 2}, no_tumour=1, seed=7)
    fewer, all_files = files_in(tmp_path / "fewer"), files_in(folder)
    fewer.pop("TRAIN/annotations_train.json")  # it names fewer images
    assert len(fewer) == 5 + 1 + 2 + 1
    assert fewer.items() <= all_files.items()


def test_no_two_images_are_alike(folder: Path):
    contents = [data for name, data in files_in(folder).items() if not name.endswith(".json")]
    assert len(set(contents)) == sum(COUNTS.values()) + 3


def test_empty_folder_is_taken_and_a_part_of_none_makes_no_folder(tmp_path: Path):
    write_phantom_dataset(tmp_path, counts={"TRAIN": 1, "TEST": 0}, no_tumour=0, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["TRAIN"]


def test_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"exists and is not an empty folder; choose a new one for the phantoms$"):
        write_phantom_dataset(tmp_path, counts={"TRAIN": 1}, no_tumour=1, seed=0)
    assert files_in(tmp_path) == {"notes.txt": b"mine"}


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match=r"taken: exists and is not an empty folder"):
        write_phantom_dataset(tmp_path / "taken", counts={"TRAIN": 1}, no_tumour=0, seed=0)
