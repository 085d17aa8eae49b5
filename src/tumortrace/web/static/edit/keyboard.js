// Keys of the corrections, and a cursor for those without a pointer.

import {on} from "../dom.js";
import {nearest} from "./labels.js";
import {OPERATIONS, TOOLS} from "./tools.js";

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
const FAR = 10; // pixels that an arrow moves the cursor with Shift

const rows = (list) => list.map(({key, label}) => [key, label]);

export const EDIT_KEYS = [
	...rows(TOOLS), ["Escape", "Cancel the stroke; deselect the tool"],
	["Arrows, Shift and arrows", "Move the cursor of the tool by a pixel, by ten"],
	["Enter", "Lower or lift the brush; set a corner"],
	["Shift+Enter", "Paint once; close the polygon"], ["Backspace", "Remove the last corner"],
	["Drag, click", "With a box: draw it, add"], ["I, Alt and click", "Clicks remove"],
	["W", "Carry the box through the series; stop"], ["[ ], Shift and wheel", "Smaller, larger brush"],
	["1 to 9, L, G", "Choose a lesion; a new one; go to the next one"],
	...rows(OPERATIONS), ["Z, Y, Ctrl+Z, Ctrl+Y", "Undo, redo"], ["Ctrl+S", "Download"],
];

// Listen for keys; `panel` is {editor, tool (its name or null), choose(name), download()}.
export function listenForKeys(panel) {
	const cursor = new Cursor(panel);
	on(document, "keydown", (event) => {
		if (!isFree(event) || !panel.editor.scan) return;
		const done = event.ctrlKey || event.metaKey ? pressWithControl(panel, event) : press(panel, cursor, event);
		if (!done) return;
		event.preventDefault();
		event.stopPropagation();
	}, {capture: true});
}

// Whether a key is not meant for a field, a button or an open dialog.
function isFree({target, key, altKey}) {
	if (altKey || document.querySelector("dialog[open]")) return false;
	if (target.closest?.("input:not([type=checkbox]), select, textarea")) return false;
	return !(target.closest?.("button, a, summary, input") && (key === "Enter" || key === " "));
}

function pressWithControl({editor, download}, {key, shiftKey}) {
	const actions = {z: () => (shiftKey ? editor.redo() : editor.undo()), y: () => editor.redo(), s: download};
	actions[key.toLowerCase()]?.();
	return key.toLowerCase() in actions;
}

function press(panel, cursor, {key, shiftKey}) {
	const {editor} = panel, tool = editor.viewer.tool;
	const name = key.length === 1 ? key.toLowerCase() : key;
	if (name in ARROWS) return Boolean(tool) && cursor.move(ARROWS[name], shiftKey ? FAR : 1);
	if (name === "Enter") return Boolean(tool) && cursor.press(tool, shiftKey);
	if (name === "Escape") return Boolean(tool) && (tool.busy ? tool.cancel() : panel.choose(null), true);
	if (name === "Backspace") return Boolean(tool?.removeLast) && (tool.removeLast(), true);
	if (/^[1-9]$/.test(name)) return editor.chooseLesion(Number(name)), true;
	const action = shiftKey ? null : findAction(name);
	action?.(panel, cursor);
	return Boolean(action);
}

function findAction(name) {
	const [tool, operation] = [TOOLS, OPERATIONS].map((list) => list.find(({key}) => key.toLowerCase() === name));
	if (tool) return (panel) => panel.choose(panel.tool === tool.name ? null : tool.name);
	return operation ? ({editor}) => editor.operate(operation.name) : ACTIONS[name];
}

const ACTIONS = {
	"[": ({editor}) => editor.resize(-1), "]": ({editor}) => editor.resize(1),
	w: ({editor}) => editor.viewer.tool?.carry?.(), i: ({editor}) => editor.set({away: !editor.settings.away}),
	l: ({editor}) => editor.newLesion(), g: (_panel, cursor) => cursor.goToLesion(),
	z: ({editor}) => editor.undo(), y: ({editor}) => editor.redo(),
};

// The pixel that arrows move. It begins on the chosen lesion, or in the middle.
class Cursor {
	point = null;
	scan = null;

	constructor({editor}) { this.editor = editor; }

	get place() {
		const {scan, viewer: {slice}} = this.editor;
		if (this.point && this.scan === scan) return this.point;
		const [first] = slice ? this.lesions() : [];
		const [height, width] = scan.sizeHw;
		return first ? {x: first.x, y: first.y} : {x: nearest(width / 2), y: nearest(height / 2)};
	}

	// The pixel of each lesion nearest to its centre, the chosen one first.
	lesions() {
		const {settings, scan, viewer: {slice}} = this.editor;
		return scan.measure(slice).map(({number, x, y}) => ({number, ...pixelNear(slice, number, x, y)}))
			.sort((one, other) => (other.number === settings.lesion) - (one.number === settings.lesion));
	}

	move([dx, dy], by) {
		const {scan} = this.editor, {x, y} = this.place, [height, width] = scan.sizeHw;
		const clamp = (value, end) => Math.min(end - 1, Math.max(0, value));
		this.set({x: clamp(x + dx * by, width), y: clamp(y + dy * by, height)});
		return true;
	}

	set(point) {
		const {viewer, scan} = this.editor;
		this.point = point;
		this.scan = scan;
		const at = viewer.toScreen(point.x, point.y), {clientWidth, clientHeight} = viewer.canvas;
		if (at.x < 0 || at.y < 0 || at.x > clientWidth || at.y > clientHeight) viewer.centre(point.x, point.y);
		if (viewer.tool?.busy) viewer.tool.move(point);
		else viewer.tool?.hover(point);
	}

	press(tool, whole) {
		this.set(this.place);
		if (tool.finish && whole) tool.finish();
		else if (tool.busy && !tool.finish) tool.up(this.point);
		else {
			tool.down(this.point);
			if (whole || tool.finish) tool.up(this.point);
		}
		return true;
	}

	goToLesion() {
		const lesions = this.editor.viewer.slice ? this.lesions() : [];
		const here = lesions.findIndex(({x, y}) => this.point?.x === x && this.point?.y === y);
		const next = lesions[(here + 1) % lesions.length];
		if (!next) return void this.editor.viewer.say("No lesion on this slice.");
		this.editor.chooseLesion(next.number);
		this.set({x: next.x, y: next.y});
		return void this.editor.viewer.say(`Lesion ${next.number}.`);
	}
}

function pixelNear({labels, width}, number, x, y) {
	let best = null, least = Infinity;
	labels.forEach((label, index) => {
		if (label !== number) return;
		const column = index % width, row = (index - column) / width, distance = (column - x) ** 2 + (row - y) ** 2;
		if (distance < least) [best, least] = [{x: column, y: row}, distance];
	});
	return best;
}
