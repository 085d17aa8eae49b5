"""Tools of the page on tiny label maps, against values worked out by hand, and random sequences of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]

EMPTY = ["......"] * 4


def test_a_fast_stroke_leaves_no_gap(run: Run) -> None:
    body = """const {editor, stroke, shown} = open([given.empty]);
        editor.set({size: 1, lesion: 2});
        stroke(m.brush(editor), [0, 0], [5, 3]);
        return shown()[0]"""
    assert run(body, empty=EMPTY) == ["2.....", ".22...", "...22.", ".....2"]


def test_a_click_paints_and_the_eraser_takes_off(run: Run) -> None:
    body = """const {editor, stroke, shown} = open([given.empty]);
        editor.set({size: 3});
        stroke(m.brush(editor), [1, 1]);
        const painted = shown()[0];
        editor.set({size: 1});
        stroke(m.brush(editor, {erase: true}), [1, 1], [2, 1]);
        return [painted, shown()[0]]"""
    assert run(body, empty=EMPTY) == [
        ["111...", "111...", "111...", "......"],
        ["111...", "1.....", "111...", "......"],
    ]


def test_the_size_in_mm_follows_the_spacing(run: Run) -> None:
    # 6 mm over pixels of 1 mm along the columns' axis and 3 mm along the rows': half axes of 3 and 1 px.
    body = """const {editor, stroke, shown} = open([given.empty], {spacingMm: [3, 1]});
        editor.set({size: 6, unit: "mm"});
        stroke(m.brush(editor), [2, 1]);
        return shown()[0]"""
    # (2, 0) and (2, 2) lie on the outline, as (-1, 1) and (5, 1) do.
    assert run(body, empty=EMPTY) == ["......", "11111.", "......", "......"]


def test_a_stroke_never_changes_another_lesion_unless_told_so(run: Run) -> None:
    grid = ["11....", "11..3.", "......", "......"]
    body = """const {editor, stroke, shown} = open([given.grid, given.grid]);
        editor.set({size: 1, lesion: 2});
        stroke(m.brush(editor), [5, 0], [0, 0]);
        const kept = shown()[0];
        editor.set({over: true});
        stroke(m.brush(editor), [5, 1], [0, 1]);
        return [kept, shown()[0]]"""
    assert run(body, grid=grid) == [["112222", "11..3.", "......", "......"], ["112222", "222222", "......", "......"]]


def test_a_stroke_that_begins_on_a_lesion_continues_it(run: Run) -> None:
    body = """const {editor, stroke, shown} = open([["3...", "...."]]);
        editor.set({size: 1, lesion: 1});
        stroke(m.brush(editor), [0, 0], [2, 0]);
        const first = [shown()[0], editor.settings.lesion];
        stroke(m.brush(editor, {erase: true}), [0, 0]);
        return [first, shown()[0], editor.settings.lesion]"""
    assert run(body) == [[["333.", "...."], 3], [".33.", "...."], 3]


def test_the_threshold_brush_paints_what_is_as_grey_as_its_start(run: Run) -> None:
    # The window is 100 wide, so 10 % are 10 grey values: 40 to 60 around the start's 50.
    pixels = [[50, 60, 61, 40], [39, 45, 99, 50]]
    body = """const {editor, stroke, shown} = open([["....", "...2"]], {pixels: given.pixels});
        editor.set({size: 10, tolerance: 10});
        stroke(m.brush(editor, {ranged: true}), [0, 0]);
        return shown()[0]"""
    assert run(body, pixels=pixels) == ["11.1", ".1.2"]


def test_the_threshold_brush_sees_colours_as_their_luma(run: Run) -> None:
    # The server sends the luma: red (255, 0, 0) has 76, green 150, blue 29; 20 % of 255 are 51 grey values around 76.
    body = """const {editor, slices, stroke, shown} = open([["...."]]);
        slices[0].grey = Uint16Array.of(76, 150, 29, 128);
        editor.set({size: 10, tolerance: 20});
        stroke(m.brush(editor, {ranged: true}), [0, 0]);
        return shown()[0]"""
    assert run(body) == ["1.1."]


def test_a_polygon_adds_and_takes_off(run: Run) -> None:
    body = """const {editor, stroke, shown} = open([given.empty]);
        editor.viewer.scale = 20;
        const tool = m.polygon(editor);
        for (const point of [[0, 0], [4, 0], [4, 3], [0, 3], [0, 0]]) stroke(tool, point); // the last click closes it
        const added = shown()[0];
        const cut = m.polygon(editor, {erase: true});
        for (const point of [[1, 1], [3, 1], [1, 3]]) stroke(cut, point);
        cut.finish();
        return [added, shown()[0], editor.history.steps.map(({name}) => name)]"""
    added, cut, names = run(body, empty=EMPTY)
    assert added == ["1111..", "1111..", "1111..", "......"]
    assert cut == ["1111..", "1..1..", "1.11..", "......"]
    assert names == ["Polygon", "Polygon off"]


def test_a_dragged_polygon_is_drawn_freehand(run: Run) -> None:
    body = """const {editor, stroke, shown} = open([given.empty]);
        editor.viewer.scale = 6;
        const tool = m.polygon(editor);
        stroke(tool, [0, 0], [3, 0], [3.5, 0], [3, 2], [0, 2]);
        tool.finish();
        return shown()[0]"""
    # (3.5, 0) is 3 screen pixels from (3, 0): too near for a corner of its own.
    assert run(body, empty=EMPTY) == ["111...", "111...", "......", "......"]


def test_corners_can_be_removed_and_the_polygon_cancelled(run: Run) -> None:
    body = """const {editor, stroke, shown} = open([given.empty]);
        editor.viewer.scale = 20;
        const tool = m.polygon(editor);
        for (const point of [[0, 0], [4, 0], [4, 3], [9, 9]]) stroke(tool, point);
        tool.removeLast();
        stroke(tool, [0, 3]);
        tool.finish();
        for (const point of [[0, 0], [5, 0], [5, 3]]) stroke(tool, point);
        tool.cancel();
        return [shown()[0], tool.busy, editor.history.steps.length]"""
    assert run(body, empty=EMPTY) == [["1111..", "1111..", "1111..", "......"], False, 1]


def test_specks_in_the_box_are_one_step(run: Run) -> None:
    body = """const {editor, stroke, shown} = open([["1.2...", "....33", "4....3"]]);
        stroke(m.specks(editor), [0, 0], [2, 1], [3, 2]);
        return [shown()[0], editor.history.steps.length]"""
    assert run(body) == [["......", "....33", ".....3"], 1]


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        ("fill", ["111.9", "111..", "111.."]),
        ("largest", ["111..", "1.1..", "111.."]),
        ("separate", ["111.2", "1.1..", "111.."]),
        ("automatic", ["11...", ".....", "....."]),
        ("before", ["....3", ".....", "3...."]),
        ("after", ["..7..", ".7...", "....."]),
    ],
)
def test_operations_change_the_whole_slice_in_one_step(run: Run, operation: str, wanted: list[str]) -> None:
    body = """const {editor, viewer, slices, shown} = open([["....3", ".....", "3...."], ["111.9", "1.1..", "111.."],
            ["..7..", ".7...", "....."]]);
        slices[1].automatic = map(["11...", ".....", "....."]).labels;
        viewer.show(1);
        editor.operate(given.operation);
        const after = shown();
        editor.undo();
        return [after, shown()[1], slices[1].edited, slices[1].fixed]"""
    (before, changed, last), undone, edited, fixed = run(body, operation=operation)
    assert changed == wanted
    assert undone == ["111.9", "1.1..", "111.."]
    assert not edited
    assert fixed  # it has a step that can be redone, so the numbering of the series leaves it alone
    assert (before, last) == (["....3", ".....", "3...."], ["..7..", ".7...", "....."])


def test_an_operation_that_changes_nothing_is_no_step(run: Run) -> None:
    body = """const {editor, viewer, slices} = open([["11", ".."]]);
        for (const name of ["fill", "largest", "separate", "automatic", "before", "after"]) editor.operate(name);
        return [editor.history.steps.length, slices[0].edited, viewer.said]"""
    steps, edited, said = run(body)
    assert steps == 0
    assert not edited
    assert said[:4] == [
        "Fill holes: nothing to change.", "Keep largest: nothing to change.", "Number lesions: nothing to change.",
        "Automatic mask: nothing to change.",
    ]  # fmt: skip
    assert said[4:] == [f"Copy {way}: there is no such slice." for way in ("previous", "next")]


def test_an_accepted_mask_is_a_step_until_it_is_painted_on(run: Run) -> None:
    body = """const {editor, slices: [slice], stroke, shown} = open([["11", ".."]]);
        const states = [];
        const note = () => states.push([editor.history.position, Boolean(slice.edited), Boolean(slice.accepted)]);
        slice.record = {status: "rejected"};
        editor.operate("accept");
        note();
        slice.record = {status: "ok"};
        for (const times of [1, 2]) editor.operate("accept");
        note();
        editor.set({size: 1});
        stroke(m.TOOLS.find(({name}) => name === "brush").make(editor), [1, 1]);
        note();
        editor.undo();
        note();
        editor.undo();
        note();
        return [states, shown()]"""
    states, shown = run(body)
    assert states == [[0, False, False], [1, True, True], [2, True, False], [1, True, True], [0, False, True]]
    assert shown == [["11", ".."]]


def test_undo_jumps_to_the_slice_and_forgets_nothing(run: Run) -> None:
    body = """const {editor, viewer, stroke, shown} = open([given.empty, given.empty, given.empty]);
        editor.set({size: 1});
        const first = shown();
        const tool = m.brush(editor);
        for (let step = 0; step < 300; step++) {
            const place = Math.floor(step / 2);
            viewer.show(place % 3);
            stroke(m.brush(editor, {erase: step % 2 === 1}), [place % 5, place % 4], [5, 3]);
        }
        stroke(m.brush(editor), [0, 3]);
        const last = shown(), count = editor.history.steps.length, seen = [];
        viewer.show(0);
        while (editor.history.canUndo) { editor.undo(); seen.push(viewer.index); }
        const undone = shown();
        while (editor.history.canRedo) editor.redo();
        const indices = editor.history.steps.map(({index}) => index);
        return [first, undone, last, shown(), count, seen, indices]"""
    first, undone, last, redone, count, seen, indices = run(body, empty=EMPTY)
    assert undone == first
    assert redone == last != first
    assert count == 301
    assert seen == indices[::-1]


def test_a_new_step_replaces_what_was_undone(run: Run) -> None:
    body = """const {editor, stroke, shown} = open([given.empty]);
        editor.set({size: 1});
        for (const x of [0, 1, 2]) stroke(m.brush(editor), [x, 0]);
        editor.undo(); editor.undo();
        stroke(m.brush(editor), [5, 0]);
        editor.redo();
        return [shown()[0][0], editor.history.steps.length, editor.history.canRedo]"""
    assert run(body, empty=EMPTY) == ["1....1", 2, False]


def test_a_cancelled_stroke_leaves_no_trace(run: Run) -> None:
    body = """const {editor, slices, shown} = open([given.empty]);
        const tool = m.brush(editor);
        tool.down({x: 1, y: 1}); tool.move({x: 3, y: 2}); tool.cancel();
        return [shown()[0], editor.history.steps.length, slices[0].edited, tool.busy]"""
    assert run(body, empty=EMPTY) == [EMPTY, 0, False, False]


def test_a_stroke_ends_where_another_slice_is_shown(run: Run) -> None:
    body = """const {editor, viewer, shown} = open([given.empty, given.empty]);
        editor.set({size: 1});
        const tool = m.brush(editor);
        tool.down({x: 0, y: 0}); tool.move({x: 1, y: 0});
        viewer.show(1);
        tool.move({x: 5, y: 3}); tool.up({x: 5, y: 3});
        editor.undo();
        return [shown(), viewer.index]"""
    assert run(body, empty=EMPTY) == [[EMPTY, EMPTY], 0]


RANDOM = """
    let seed = given.seed;
    const random = (count) => {  // mulberry32
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) % count;
    };
    const width = 9 + random(8), height = 7 + random(8);
    const row = () => Array.from({length: width}, () => ".....123"[random(8)]).join("");
    const grid = () => Array.from({length: height}, row);
    const pixels = Array.from({length: height}, () => Array.from({length: width}, () => random(100)));
    const {editor, viewer, stroke, shown, slices} = open([grid(), grid(), grid()], {pixels, spacingMm: [2, 0.7]});
    viewer.scale = 8;
    const first = shown(), faults = [];
    const place = () => [random(10 * (width + 4)) / 10 - 2, random(10 * (height + 4)) / 10 - 2];
    const adds = [m.brush(editor), m.brush(editor, {ranged: true}), m.polygon(editor)];
    const others = [m.brush(editor, {erase: true}), m.polygon(editor, {erase: true}), m.specks(editor)];
    const use = (tool) => {
        stroke(tool, ...Array.from({length: 1 + random(4)}, place));
        if (tool.finish) { for (let i = 0; i < 3; i++) stroke(tool, place()); tool.finish(); }
    };
    for (let step = 0; step < 40; step++) {
        const what = random(12);
        if (what < 2) viewer.show(random(3));
        else if (what === 2) editor.undo();
        else if (what === 3) editor.redo();
        else if (what === 4) editor.operate(m.OPERATIONS[random(6)].name);
        else if (what === 5) { others[0].down({x: 1, y: 1}); others[0].move({x: 4, y: 4}); others[0].cancel(); }
        else if (what < 8) use(others[random(3)]);
        else {
            editor.set({size: 0.5 + random(9), unit: ["px", "mm"][random(2)], lesion: 1 + random(4), over: false});
            const before = viewer.slice.labels.slice();
            use(adds[random(3)]);
            const {lesion} = editor.settings;
            const wrong = before.some((label, index) => {
                const now = viewer.slice.labels[index];
                return label !== now && (label !== 0 || now !== lesion);
            });
            if (wrong) faults.push(step);
        }
    }
    const last = shown(), {position} = editor.history;
    while (editor.history.canUndo) editor.undo();
    const undone = shown();
    while (editor.history.position < position) editor.redo();
    return [first, undone, last, shown(), faults, editor.history.steps.length]
"""


def test_random_sequences_are_undone_and_redone_exactly(run: Run) -> None:
    steps = 0
    for seed in range(60):
        first, undone, last, redone, faults, count = run(RANDOM, seed=seed)
        assert undone == first, seed
        assert redone == last, seed
        assert faults == [], (seed, "a lesion was painted over")
        steps += count
    assert steps > 60 * 10  # the sequences do something


def test_files_that_the_server_takes_for_annotations_are_sent_as_such(run: Run) -> None:
    texts = {
        "a.png": "", "scan/IM1.dcm": "", "scan.nii.gz": "", "pairs.csv": "image,mask", "report.xml": "<report/>",
        "masked.png": "", "no.zip": "masks/a.png",
        "via.json": "{}", "via.csv": "#filename,region_shape_attributes", "cvat.XML": "<?xml?><annotations>",
        "voc.xml": "<annotation>", "a_mask.png": "", "mask-7.png": "", "masks/7.tif": "", "a gt.nii": "",
        "labels/7.nii.gz": "", "a_seg.dcm": "",
        "labelsTr/7.nii.gz": "", "ground_truth/7.png": "", "GroundTruth/7.png": "",
    }  # fmt: skip
    body = """const known = [];
        for (const [path, text] of Object.entries(given.texts)) {
            if (await m.hasAnnotations([{file: new File([text], path), path}])) known.push(path);
        }
        return known"""
    assert run(body, texts=texts) == list(texts)[7:]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("study/images/a.png", "study/IM1.dcm"), False),
        (("images/a.png", "masks/a.png"), True),
        (("data/images/a.png", "data/gt/a.png"), True),
        (("imagesTr/a.nii.gz", "labelsTr/a.nii.gz"), True),
        (("a.png", "annotations.xml"), True),
        (("a.png", "via_regions.json"), True),
        ((), False),
    ],
)
def test_a_zip_is_sent_as_annotations_if_it_holds_some(run: Run, names: tuple[str, ...], *, expected: bool) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 3000)
        archive.comment = b"with a comment"
    body = """const file = new File([new Uint8Array(given.bytes)], "a.ZIP");
        return m.hasAnnotations([{file, path: "a.ZIP"}])"""
    assert run(body, bytes=list(held.getvalue())) is expected
