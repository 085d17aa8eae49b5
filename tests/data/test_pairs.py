"""``pairs.csv``: one format, read back as it was written, and from older or foreign tables as far as they go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.data.pairs import Pair, check_pairs, encode_pairs, match_names, read_pairs
from tumortrace.data.patients import find_patients_by_folder, patient_of_folder, read_patient
from tumortrace.errors import DataError

# Neither surrogates, which no UTF-8 file can hold, nor NUL, which no file name can hold.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
patients = st.none() | text.map(read_patient)
paths = text.filter(lambda path: "\\" not in path)
pairs = st.builds(Pair, paths, paths, patients, st.integers(-1, 10**15), prompted=st.booleans())


@given(st.lists(pairs, max_size=5))
def test_there_and_back(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    path.write_bytes(encode_pairs(written))
    table = read_pairs(path)
    assert table.pairs == tuple(written)
    assert (table.names_masks, table.fault) == (True, None)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("image,mask\na.png,b.png\n", Pair("a.png", "b.png", None, -1)),
        ("image,mask,patient\na.png,b.png,\n", Pair("a.png", "b.png", None, -1)),
        ("image,mask,size_bytes\na.png,b.png,17\n", Pair("a.png", "b.png", None, 17)),
        ("\ufeffpatient,mask,image,area\nAnn,b.png,a.png,0.5\n", Pair("a.png", "b.png", "Ann", -1)),
        ("image,mask,patient,size_bytes\na.png,b.png,Ann,many\n", Pair("a.png", "b.png", "Ann", -1)),
        (f"image,mask,patient,size_bytes\na.png,b.png,Ann,{'9' * 5000}\n", Pair("a.png", "b.png", "Ann", -1)),
        ("image,mask,patient,size_bytes\na.png\n", Pair("a.png", "", None, -1)),
        ('\ufeff"Image";"Mask";"Patient ID"\r\na.png;b.png; Ann \r\n;;\r\n', Pair("a.png", "b.png", "Ann")),
        ("sep=;\nimage;mask;PatientID\na.png;b.png;Ann\n", Pair("a.png", "b.png", "Ann")),
        ("sep=;\rimage;mask;PatientID\ra.png;b.png;Ann\r", Pair("a.png", "b.png", "Ann")),
        ("image;mask;area\ra.png;b.png;1,2,3,4,5,6\r", Pair("a.png", "b.png")),
        ("img\tmask_path\tSUBJECT\nimages\\a.png\tb.png\tAnn  Lee\n", Pair("images/a.png", "b.png", "Ann Lee")),
        ("filename,mask,participant_id\na.png,b.png,nan\n", Pair("a.png", "b.png")),
        ("\timage\tmask\tpatient\n0\ta.png\tb.png\tAnn\n", Pair("a.png", "b.png", "Ann")),  # with its index
        ("#\timage\tmask\n1\ta.png\tb.png\n", Pair("a.png", "b.png")),
        ("\n \t\n# image,mask\na.png,b.png\n", Pair("a.png", "b.png")),
    ],
)
def test_tables_that_lack_something(tmp_path, table, expected):
    (tmp_path / "pairs.csv").write_text(table, encoding="utf-8")
    assert read_pairs(tmp_path / "pairs.csv").pairs == (expected,)


@pytest.mark.parametrize(
    ("header", "patient"),
    [
        ("patient", "p1"),
        ("Patient", "p1"),
        ("patient_id", "p1"),
        ("PatientID", "p1"),
        ("PATIENT NAME", "p1"),
        ("subject", "p1"),
        ("Subject ID", "p1"),
        (" patient ", "p1"),
        ("participant-id", "p1"),
        ("outpatient", None),
        ("group", None),
    ],
)
def test_the_patients_are_found_under_every_usual_header(tmp_path, header, patient):
    (tmp_path / "pairs.csv").write_text(f"image,mask,{header}\na.png,b.png, p1 \n")
    table = read_pairs(tmp_path / "pairs.csv")
    assert table.pairs == (Pair("a.png", "b.png", patient),)
    if patient is None:
        assert table.fault is not None
        assert f"its columns: image, mask, {header}" in table.fault[0]


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("class,plane", " Glioma ,Axial", ("glioma", "axial")),
        ("Tumor Type,View", "meningioma,", ("meningioma", "")),
        ("diagnosis,orientation", "unknown,sagittal", ("", "sagittal")),
        ("note,where", "glioma,axial", ("", "")),
    ],
)
def test_class_and_plane_are_read(tmp_path, header, cells, expected):
    (tmp_path / "pairs.csv").write_text(f"image,mask,patient,{header}\na.png,b.png,p,{cells}\n")
    (pair,) = read_pairs(tmp_path / "pairs.csv").pairs
    assert (pair.tumour_class, pair.plane) == expected
    (checked,), _ = check_pairs([pair], prefix="")
    assert checked == pair


def test_columns_that_no_reader_knows_are_listed(tmp_path):
    (tmp_path / "pairs.csv").write_text("scan;truth;who\na.png;b.png;Ann\n")
    table = read_pairs(tmp_path / "pairs.csv")
    assert table.pairs == ()
    assert table.fault == (
        "no column names the images, so the table is not used; its columns: scan, truth, who",
        "call the columns image, mask and patient",
    )


@pytest.mark.parametrize(
    ("header", "names_masks", "faulty"),
    [
        ("image,mask,size_bytes", True, False),
        ("image", False, False),
        ("image,who", False, True),
        ("image,mask,", True, False),  # without a name, as that of an index
    ],
)
def test_a_table_lacks_the_patients_only_where_a_column_may_be_theirs(tmp_path, header, names_masks, faulty):
    (tmp_path / "pairs.csv").write_text(f"{header}\na.png,1,2\n")
    table = read_pairs(tmp_path / "pairs.csv")
    assert (table.names_masks, table.fault is not None) == (names_masks, faulty)


def test_long_cells_and_utf16_are_read(tmp_path):
    text = f"image,mask,patient,note\na.png,b.png,Ann,{'x' * 200_000}\n"
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-16")
    assert read_pairs(tmp_path / "pairs.csv").pairs == (Pair("a.png", "b.png", "Ann"),)


@pytest.mark.parametrize(
    ("cell", "patient"),
    [
        (" Ann ", "Ann"),
        ("\u00a0Ann\u00a0 \tLee", "Ann Lee"),
        ("\ufeffAnn", "Ann"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("0", "0"),
        ("", None),
        ("N/A", None),
        ("nan", None),
        ("-", None),
    ],
)
def test_the_name_of_a_patient(cell, patient):
    assert read_patient(cell) == patient


@pytest.mark.parametrize(
    ("image", "patient"),
    [
        ("kaggle_3m/TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_1.tif", "TCGA_CS_4941_19960909"),
        ("images/p1/s.png", "p1"),
        ("sub-07/anat/a.png", "sub-07"),
        ("Patient 12/a.png", "Patient 12"),
        ("glioma/glioma_12.png", None),
        ("T1/T1_001.png", None),
        ("t2_flair/t2_flair_001.png", None),
        ("T12/T12_001.png", "T12"),
        ("fold1/fold1_001.png", None),
        ("Batch_02/batch_02-1.png", None),
        ("12/12_1.png", "12"),
        ("brisc2025/train/brisc2025_0001.jpg", None),
        ("images/a.png", None),
        ("pictures/a.png", None),
        ("a.png", None),
    ],
)
def test_the_patient_that_a_folder_names(image, patient):
    assert patient_of_folder(image) == patient


def test_one_folder_is_no_patient():
    assert find_patients_by_folder(["p1/a.png", "p2/b.png", "c.png"]) == {"p1/a.png": "p1", "p2/b.png": "p2"}
    assert find_patients_by_folder(["p1/a.png", "p1/b.png", "c.png"]) == {}


def test_a_table_that_cannot_be_read(tmp_path):
    (tmp_path / "pairs.csv").write_bytes(b"image,mask\n\xff,a\n")
    with pytest.raises(DataError, match=r"pairs\.csv: not UTF-8 text; save it as UTF-8"):
        read_pairs(tmp_path / "pairs.csv")


def test_unsafe_and_repeated_names():
    listed = [Pair("a.png", ""), Pair("b/../../c.png", "c.png"), Pair("", "d.png"), Pair("./a.png", "late.png")]
    listed.append(Pair("e.png", "../e.png"))
    kept, findings = check_pairs(listed, prefix="TRAIN/")
    assert kept == [Pair("a.png", "")]
    assert [(finding.kind, finding.file) for finding in findings] == [
        ("unsafe-filename", "TRAIN/b/../../c.png"),
        ("unsafe-filename", "TRAIN/"),
        ("duplicate-record", "TRAIN/a.png"),
        ("unsafe-filename", "TRAIN/e.png"),
    ]
    assert findings[2].cause == "listed again, with mask 'late.png'; its first row, with mask '', is used"
    assert "'../e.png'" in findings[3].cause
    assert check_pairs([Pair("./p//a.png", "m.png")], prefix="") == ([Pair("p/a.png", "m.png")], [])


@pytest.mark.parametrize(
    ("images", "masks", "expected"),
    [
        (["a.jpg"], ["a.png"], {"a.jpg": "a.png"}),
        (["a.jpg"], ["a_mask.png"], {"a.jpg": "a_mask.png"}),
        (["a.jpg"], ["a-Seg.PNG"], {"a.jpg": "a-Seg.PNG"}),
        (["p1/A.JPG", "p2/a.jpg"], ["P1/a.png", "p2/a.png"], {"p1/A.JPG": "P1/a.png", "p2/a.jpg": "p2/a.png"}),
        (["u\u0308.jpg"], ["\u00fc.png"], {"u\u0308.jpg": "\u00fc.png"}),
        (["c0_0000.png"], ["c0.png"], {"c0_0000.png": "c0.png"}),
        (["c0_left.png"], ["c0.png"], {"c0_left.png": ""}),
        (["1.png"], ["mask_1.png"], {"1.png": "mask_1.png"}),
        (
            ["img_1.png", "Image 2.png"],
            ["mask_1.png", "2_labels.png"],
            {"img_1.png": "mask_1.png", "Image 2.png": "2_labels.png"},
        ),
        (["p/1-slice.png"], ["p/1.png"], {"p/1-slice.png": "p/1.png"}),
        (["img_1.png", "1.png"], ["mask_1.png"], {"img_1.png": "", "1.png": "mask_1.png"}),
        (["img_1.png", "img_2.png"], ["mask_1.png"], {"img_1.png": "mask_1.png", "img_2.png": ""}),
        (["img_1.png"], ["mask_1.png", "img_1.png"], {"img_1.png": "img_1.png"}),
        (["img_1.png"], ["mask_1.png", "p/img_1.png"], {"img_1.png": "mask_1.png"}),
        (["p0/s0.png", "p1/s1.png"], ["s0.png", "x/s1_seg.png"], {"p0/s0.png": "s0.png", "p1/s1.png": "x/s1_seg.png"}),
        (["a.png", "a_mask.png"], ["a.png", "a_mask.png"], {"a.png": "a.png", "a_mask.png": "a_mask.png"}),
        (["a.png"], ["b.png", "_mask.png"], {"a.png": ""}),
        (["c.bmp", "c.png"], ["c.bmp", "c.png"], {"c.bmp": "c.bmp", "c.png": "c.png"}),
        (["S.jpg", "s.jpg"], ["S.png", "s.png"], {"S.jpg": "S.png", "s.jpg": "s.png"}),
        (["S.jpg", "s.jpg"], ["s_mask.png", "S_mask.png"], {"S.jpg": "S_mask.png", "s.jpg": "s_mask.png"}),
    ],
)
def test_masks_are_matched_by_name(images, masks, expected):
    pairs, findings, claimed = match_names(images, masks)
    assert {pair.image: pair.mask for pair in pairs} == expected
    assert findings == []
    assert claimed == set(expected.values()) - {""}


@pytest.mark.parametrize("others", [["a_mask.png"], ["a_mask.png", "a_seg.png"]])
def test_of_several_masks_that_of_the_very_name_is_used(others):
    (pair,), (finding,), claimed = match_names(["a.jpg"], [*others, "a.png"])
    assert pair.mask == "a.png"
    assert (finding.kind, finding.severity) == ("duplicate-record", "warning")
    assert finding.cause == f"several masks ({', '.join(['a.png', *others])}); a.png is used"
    assert claimed == {"a.png", *others}


def test_a_mask_of_the_whole_name_comes_before_one_with_another_suffix():
    (pair,), (finding,), claimed = match_names(["a.png"], ["a.bmp", "a.png"])
    assert pair.mask == "a.png"
    assert finding.cause == "several masks (a.png, a.bmp); a.png is used"
    assert claimed == {"a.bmp", "a.png"}


def test_masks_of_other_folders_are_left_where_their_name_is_not_unique():
    pairs, findings, claimed = match_names(["p0/s.png", "p1/s.png", "p2/t.png"], ["s.png", "a/t.png", "b/t.png"])
    assert [pair.mask for pair in pairs] == ["", "", ""]
    assert findings == []
    assert claimed == set()
    pairs, _, _ = match_names(["a.png", "p1/a.png"], ["a.png", "p2/a.png"])
    assert [pair.mask for pair in pairs] == ["a.png", ""]


@pytest.mark.parametrize("mask", ["test/1.png", "p2/1.png"])
def test_a_mask_of_another_part_or_patient_is_left(mask):
    (pair,), _, _ = match_names(["train/p1/1.png"], [mask])
    assert not pair.mask
    (pair,), _, _ = match_names(["train/p1/1.png"], ["outlines/1.png"])
    assert pair.mask == "outlines/1.png"


def test_one_mask_never_serves_two_pictures():
    own, contrast = "give each image a mask of its own", "keep one contrast, or list its images"
    for images, mask, remedy in (
        (["a.jpg", "a.png"], "a.png", own),
        (["c_0000.png", "c_0001.png"], "c.png", contrast),
        (["c_0000.jpg", "c_0000.png"], "c.png", own),
    ):
        pairs, findings, claimed = match_names([*images, "b.png"], [mask, "b.png"])
        assert [pair.mask for pair in pairs] == ["", "", "b.png"]
        assert [(f.kind, f.severity, f.file) for f in findings] == [("mask-shared", "left out", i) for i in images]
        assert findings[0].cause == f"its mask {mask} would serve {images[1]} as well, so none of them uses it"
        assert remedy in findings[0].remedy
        assert claimed == {mask, "b.png"}
