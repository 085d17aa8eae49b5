"""Saved work: what the store keeps, and what is left of it when a tab is killed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from playwright.sync_api import Browser, Error, Page

Run = Callable[..., Any]

MOMENTS = 20
MOST_LOST_SECONDS = 1.0


def test_steps_come_back_with_their_place_in_the_history(run: Run) -> None:
    body = """const store = await m.openStore();
        const first = open([["....", "...."], ["11..", "...."]], {id: "one"});
        first.editor.store = store;
        first.editor.set({size: 1});
        const saved = () => new Promise((go) => first.editor.addEventListener("saved", go, {once: true}));
        first.stroke(m.brush(first.editor), [0, 0]);
        first.viewer.show(1);
        first.stroke(m.brush(first.editor), [3, 1]);
        first.stroke(m.brush(first.editor, {erase: true}), [0, 0]);
        first.editor.undo();
        await saved(); await saved();
        const [work] = (await store.list()).filter(({scan}) => scan === "one");
        const again = open([["....", "...."], ["22..", "...."]], {id: "one"}); // another mask
        again.editor.store = store;
        await again.editor.restore(again.scan, work.key);
        const restored = again.shown();
        again.editor.redo();
        const redone = again.shown();
        while (again.editor.history.canUndo) again.editor.undo();
        const undone = again.shown();
        await store.forget(work.key);
        const left = (await store.list()).filter(({scan}) => scan === "one");
        return [restored, redone, undone, [work.name, work.done], left]"""
    restored, redone, undone, work, left = run(body)
    assert restored == [["1...", "...."], ["11..", "...1"]]
    assert redone == [["1...", "...."], [".1..", "...1"]]
    assert undone == [["....", "...."], ["11..", "...."]]  # as it was when it was first changed
    assert work == ["one.png", 2]
    assert left == []


def test_restored_work_takes_the_place_of_what_was_drawn_since(run: Run) -> None:
    body = """const store = await m.openStore();
        const wait = () => new Promise((go) => setTimeout(go, 50));
        const first = open([["....", "...."], ["11..", "...."]], {id: "since"});
        first.editor.store = store;
        first.editor.set({size: 1});
        first.stroke(m.brush(first.editor), [0, 0]);
        await wait();
        const again = open([["....", "...."], ["11..", "...."]], {id: "since"});
        again.editor.store = store;
        again.editor.set({size: 1});
        again.stroke(m.brush(again.editor), [3, 0]); // before the banner is seen
        again.viewer.show(1);
        again.stroke(m.brush(again.editor), [3, 1]);
        await wait();
        const drawn = again.editor.stateOf(again.scan).work.key;
        await again.editor.restore(again.scan, first.editor.stateOf(first.scan).work.key);
        const restored = again.shown(), edited = again.slices.map(({edited, fixed}) => [edited, fixed]);
        again.editor.undo();
        const undone = again.shown();
        await again.editor.restore(again.scan, drawn); // it is kept
        const back = again.shown();
        await store.forget(drawn);
        await store.forget(first.editor.stateOf(first.scan).work.key);
        return [restored, edited, undone, back]"""
    restored, edited, undone, back = run(body)
    assert restored == [["1...", "...."], ["11..", "...."]]
    assert edited == [[True, True], [False, False]]
    assert undone == [["....", "...."], ["11..", "...."]]
    assert back == [["...1", "...."], ["11..", "...1"]]


def test_a_step_after_an_undo_replaces_what_was_undone(run: Run) -> None:
    body = """const store = await m.openStore();
        const one = open([["...."]], {id: "two"});
        one.editor.store = store;
        one.editor.set({size: 1});
        for (const x of [0, 1, 2]) one.stroke(m.brush(one.editor), [x, 0]);
        one.editor.undo(); one.editor.undo();
        one.stroke(m.brush(one.editor), [3, 0]);
        await new Promise((go) => setTimeout(go, 100));
        const [{key}] = (await store.list()).filter(({scan}) => scan === "two");
        const {steps, work} = await store.load(key);
        await store.forget(key);
        return [steps.map(({runs}) => [...runs]), work.done]"""
    assert run(body) == [[[0, 1, 0, 1], [3, 1, 0, 1]], 2]


def test_forgotten_work_is_saved_whole_with_the_next_step(run: Run) -> None:
    body = """const store = await m.openStore();
        const {editor, stroke, scan} = open([["...."]], {id: "three"});
        editor.store = store;
        editor.set({size: 1});
        stroke(m.brush(editor), [0, 0]);
        await new Promise((go) => setTimeout(go, 50));
        await editor.forget([editor.stateOf(scan).work.key]);
        const none = (await store.list()).filter(({scan}) => scan === "three").length;
        stroke(m.brush(editor), [2, 0]);
        await new Promise((go) => setTimeout(go, 50));
        const {steps, bases} = await store.load(editor.stateOf(scan).work.key);
        await store.forget(editor.stateOf(scan).work.key);
        return [none, steps.length, [...m.unpackLabels(bases.get(0))]]"""
    assert run(body) == [0, 2, [0, 0, 0, 0]]


def test_strokes_drawn_before_the_store_is_open_are_saved(run: Run) -> None:
    body = """const {editor, stroke} = open([["...."]], {id: "early"});
        editor.set({size: 1});
        stroke(m.brush(editor), [1, 0]);
        stroke(m.brush(editor), [2, 0]);
        editor.undo();
        const store = await m.openStore();
        editor.attach(store);
        await new Promise((go) => setTimeout(go, 100));
        const [{key, done}] = (await store.list()).filter(({scan}) => scan === "early");
        const {steps} = await store.load(key);
        await store.forget(key);
        return [done, steps.length]"""
    assert run(body) == [1, 2]


def test_a_long_stroke_that_is_cancelled_costs_no_step_that_can_be_redone(run: Run) -> None:
    body = """const {editor, stroke, scan} = open([["...."]], {id: "long"});
        const store = await m.openStore();
        editor.attach(store);
        editor.set({size: 1});
        stroke(m.brush(editor), [1, 0]);
        stroke(m.brush(editor), [2, 0]);
        editor.undo();
        const tool = m.brush(editor);
        tool.down({x: 3, y: 0});
        await new Promise((go) => setTimeout(go, 700)); // saved while it is drawn
        tool.cancel();
        await new Promise((go) => setTimeout(go, 100));
        const {key} = editor.stateOf(scan).work;
        const {steps, work} = await store.load(key);
        await store.forget(key);
        return [work.done, steps.map(({runs}) => runs[0])]"""
    assert run(body) == [1, [1, 2]]


def test_work_after_a_cancelled_stroke_begins_with_the_labels_of_then(run: Run) -> None:
    body = """const store = await m.openStore();
        const wait = (ms) => new Promise((go) => setTimeout(go, ms));
        const one = open([["...."]], {id: "cancelled"});
        one.editor.attach(store);
        one.editor.set({size: 1});
        const tool = m.brush(one.editor);
        tool.down({x: 3, y: 0});
        await wait(600); // saved while it is drawn
        tool.cancel();
        const {fixed, labels} = one.slices[0];
        labels.set([1, 1, 0, 0]); // another threshold, which leaves alone what is fixed
        one.stroke(m.brush(one.editor), [2, 0]);
        await wait(100);
        const again = open([["...."]], {id: "cancelled"});
        again.editor.store = store;
        const {key} = one.editor.stateOf(one.scan).work;
        await again.editor.restore(again.scan, key);
        await store.forget(key);
        return [fixed, one.shown()[0], again.shown()[0]]"""
    assert run(body) == [False, ["111."], ["111."]]


def test_two_tabs_with_the_same_work_do_not_overwrite_each_other(run: Run) -> None:
    body = """const wait = () => new Promise((go) => setTimeout(go, 100));
        const tabs = [];
        for (const _ of [0, 1]) {
            const tab = open([["....."]], {id: "tabs"});
            tab.editor.attach(await m.openStore());
            tab.editor.set({size: 1});
            tabs.push(tab);
        }
        const [one, other] = tabs;
        const {store} = one.editor, keyOf = ({editor, scan}) => editor.stateOf(scan).work.key;
        one.stroke(m.brush(one.editor), [0, 0]);
        await wait();
        await other.editor.restore(other.scan, keyOf(one));
        other.stroke(m.brush(other.editor), [1, 0]);
        one.stroke(m.brush(one.editor), [4, 0]);
        other.stroke(m.brush(other.editor), [2, 0]);
        await wait();
        const saved = [];
        for (const tab of tabs) {
            const again = open([["....."]], {id: "tabs"});
            again.editor.attach(store);
            await again.editor.restore(again.scan, keyOf(tab));
            saved.push(again.shown()[0][0]);
        }
        for (const tab of tabs) await store.forget(keyOf(tab));
        return [tabs.map(({shown}) => shown()[0][0]), saved]"""
    shown, saved = run(body)
    assert shown == ["1...1", "111.."]
    assert saved == shown


def test_work_that_another_tab_forgot_is_saved_whole_with_the_next_step(run: Run) -> None:
    body = """const store = await m.openStore();
        const wait = () => new Promise((go) => setTimeout(go, 100));
        const one = open([["....."]], {id: "gone"});
        one.editor.attach(store);
        one.editor.set({size: 1});
        for (const x of [0, 1]) one.stroke(m.brush(one.editor), [x, 0]);
        await wait();
        const {key} = one.editor.stateOf(one.scan).work;
        await (await m.openStore()).forget(key);
        one.editor.undo();
        await wait();
        const none = (await store.list()).filter(({scan}) => scan === "gone").length;
        for (const x of [3, 4]) one.stroke(m.brush(one.editor), [x, 0]);
        await wait();
        const again = open([["....."]], {id: "gone"});
        again.editor.store = store;
        await again.editor.restore(again.scan, key);
        await store.forget(key);
        return [none, again.shown()[0][0]]"""
    assert run(body) == [0, "1..11"]


REFUSING = """const store = await m.openStore(), told = [];
    const wait = () => new Promise((go) => setTimeout(go, 100));
    const one = open(given.slices, {id: "full"});
    const note = ({type, detail}) => told.push(detail ?? type);
    for (const type of ["saved", "unsaved"]) one.editor.addEventListener(type, note);
    one.editor.attach(store);
    one.editor.set({size: 1});
    one.stroke(m.brush(one.editor), [0, 0]);
    await wait();
    const {saveStep} = store;
    store.saveStep = () => Promise.reject(new DOMException("", "QuotaExceededError"));
"""
"""A stroke that is saved; what follows is refused until ``saveStep`` is back."""


def test_a_step_that_could_not_be_written_is_saved_with_the_next_one(run: Run) -> None:
    body = """one.viewer.show(1);
        one.stroke(m.brush(one.editor), [1, 0]); // the first step of its slice
        await wait();
        const failed = told.at(-1);
        store.saveStep = saveStep;
        one.stroke(m.brush(one.editor), [3, 0]);
        await wait();
        const {key} = one.editor.stateOf(one.scan).work;
        const again = open(given.slices, {id: "full"});
        again.editor.attach(store);
        await again.editor.restore(again.scan, key);
        await store.forget(key);
        return [failed, told.at(-1), again.shown()]"""
    failed, last, restored = run(REFUSING + body, slices=[["....."], ["....."]])
    assert [failed, last] == ["QuotaExceededError", "saved"]
    assert restored == [["1...."], [".1.1."]]


def test_a_step_behind_a_failed_one_saves_both(run: Run) -> None:
    body = """one.stroke(m.brush(one.editor), [1, 0]);
        store.saveStep = saveStep;
        one.stroke(m.brush(one.editor), [3, 0]); // before the failure is known
        await wait();
        const {key} = one.editor.stateOf(one.scan).work;
        const {steps} = await store.load(key);
        await store.forget(key);
        return steps.map(({runs}) => runs[0])"""
    assert run(REFUSING + body, slices=[["....."]]) == [0, 1, 3]


def test_strokes_that_were_not_saved_are_known_until_they_are(run: Run) -> None:
    body = """const known = [one.editor.unsaved];
        one.stroke(m.brush(one.editor), [1, 0]);
        await wait();
        known.push(one.editor.unsaved);
        store.saveStep = saveStep;
        one.stroke(m.brush(one.editor), [3, 0]);
        await wait();
        await store.forget(one.editor.stateOf(one.scan).work.key);
        const bare = open(given.slices); // without a store
        bare.stroke(m.brush(bare.editor), [1, 0]);
        return [...known, one.editor.unsaved, bare.editor.unsaved]"""
    assert run(REFUSING + body, slices=[["....."]]) == [False, True, False, True]


def test_labels_are_packed_without_loss(run: Run) -> None:
    body = """const {labels} = map(["1.2", "222", "..."]);
        return [...m.unpackLabels(m.packLabels(labels))].join("")"""
    assert run(body) == "102222000"


SCENE = """
    const names = ["editor", "store", "tools", "labels"];
    const m = Object.assign({}, ...await Promise.all(names.map((name) => import(`/edit/${name}.js`))));
    class Viewer extends EventTarget { index = 0; scale = 1; show() {} say() {} redraw() {} draw() {} forget() {}
        get slice() { return this.scan.slices[0]; } toScreen(x, y) { return {x, y}; } }
    const labels = new Uint8Array(32 * 24), id = given.id;
    const slices = [{index: 0, labels, automatic: labels.slice(), width: 32, height: 24, edited: false}];
    const scan = {id, name: id, slices, spacingMm: null, files: [new File(["x"], "x.png")], ready: slices};
    const viewer = Object.assign(new Viewer(), {scan});
    const editor = new m.Editor(viewer, Object.assign(new EventTarget(), {items: [scan]}));
    editor.store = await m.openStore();
"""

DRAW = """
    const wait = (ms) => new Promise((go) => setTimeout(go, ms));
    const note = () => globalThis.note(Date.now(), labels.join(""));
    const place = () => ({x: Math.random() * 32, y: Math.random() * 24});
    note();
    (async () => {
        for (let stroke = 0; ; stroke++) {
            editor.set({size: 1 + Math.random() * 4});
            const tool = m.brush(editor, {erase: stroke % 3 === 2});
            tool.down(place()); note();
            const end = Date.now() + Math.random() * (stroke % 2 ? 100 : 2000);
            while (Date.now() < end) { await wait(20); tool.move(place()); note(); }
            tool.up(place()); note();
            if (stroke % 5 === 4) { editor.undo(); note(); }
            await wait(10);
        }
    })();
"""

READ = """
    const all = await editor.store.list();
    const work = all.find((each) => each.scan === id);
    if (!work) return labels.join("");
    await editor.restore(scan, work.key);
    return labels.join("");
"""


def test_a_tab_killed_at_any_moment_loses_nothing_older_than_a_second(browser: Browser, static_url: str) -> None:
    chance = random.Random(1)  # noqa: S311 - moments of a test
    context = browser.new_context()
    blank = f"{static_url}/blank.html"
    reader = context.new_page()
    reader.goto(blank)
    kept, ages = 0, []
    for moment in range(MOMENTS):
        page = context.new_page()
        page.goto(blank)
        notes: list[tuple[float, str]] = []
        page.expose_function("note", lambda when, labels, notes=notes: notes.append((when / 1000, labels)))
        page.evaluate(f"async (given) => {{{SCENE}{DRAW}}}", {"id": f"killed {moment}"})
        page.wait_for_timeout(chance.uniform(150, 1400))
        killed = time.time()
        kill(page)
        restored = reader.evaluate(f"async (given) => {{{SCENE}{READ}}}", {"id": f"killed {moment}"})
        places = [at for at, (_, labels) in enumerate(notes) if labels == restored]
        assert places, f"moment {moment}: a state that never was"
        lost = [when for when, _ in notes[places[-1] + 1 :]]
        ages.append(max(0.0, killed - lost[0]) if lost else 0.0)
        kept += places[-1] > 0
        page.close()
    context.close()
    assert max(ages) < MOST_LOST_SECONDS, ages
    assert kept > MOMENTS / 2


def kill(page: Page) -> None:
    """Kill the process of a tab without warning, as the system does when memory runs out."""
    with page.expect_event("crash"), suppress(Error):
        page.goto("chrome://crash")
