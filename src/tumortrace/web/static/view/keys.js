// The list of keys and gestures.

import {el, find} from "../dom.js";

const KEYS = [
	["↑ ↓, Page Up, Page Down, Home, End", "Slice"],
	["N, Shift N", "Next, previous doubtful slice"],
	["+ − 0", "Zoom in, out, fit"],
	["Shift and arrows", "Pan"],
	["A", "Automatic window"],
	[", . < >", "Level down, up; window narrower, wider"],
	["O, H", "Outline, heat map"],
	["Drag", "Window and level"],
	["Wheel; Ctrl and wheel", "Slice; zoom at the pointer"],
	["Space and drag, middle button", "Pan"],
	["Two fingers", "Zoom and pan"],
];

// Fill the dialog: the keys of the viewer, and those of the corrections as [keys, meaning].
export function mountKeys(dialog, editKeys) {
	const line = ([keys, meaning]) => el("tr", {}, el("th", {scope: "row", text: keys}), el("td", {text: meaning}));
	const head = (text) => el("tr", {}, el("th", {colspan: 2, scope: "rowgroup", class: "quiet", text}));
	const body = (title, rows) => el("tbody", {}, head(title), ...rows.map(line));
	find("table", dialog).append(body("View", KEYS), body("Correct the mask", editKeys));
}
