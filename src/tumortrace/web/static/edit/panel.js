// The toolbar of the corrections.

import {drawing, el, on, onceAFrame, put} from "../dom.js";
import {colourOf} from "../view/colours.js";
import {mountBanner} from "./banner.js";
import {FORMATS, download} from "./downloads.js";
import {Editor, SIZES} from "./editor.js";
import {listenForKeys} from "./keyboard.js";
import {OPERATIONS, TOOLS} from "./tools.js";

// Fill the section with the toolbar. Fires `open` (of saved work: its files), `dataset` (the name of a
// download) and `message` (a text).
export function mountPanel(section, viewer, scans) {
	const editor = new Editor(viewer, scans);
	const panel = {
		editor, section, tool: null, choose: (name) => chooseTool(panel, name), download: () => startDownload(panel),
		tell: (text) => put(panel.status, "textContent", text),
		fire: (type, detail) => section.dispatchEvent(new CustomEvent(type, {detail})),
	};
	section.append(buildTools(panel), buildPointing(panel), buildBrush(panel), buildLesions(panel), buildActions(panel), ...buildDownload(panel));
	listenForKeys(panel);
	on(globalThis, "beforeunload", (event) => editor.unsaved && event.preventDefault());
	on(editor, "change", onceAFrame(() => show(panel)));
	on(viewer, "labelschange", () => showLesions(panel));
	show(panel);
	mountBanner(panel);
	return panel;
}

// A small button with a key; `label` says what it does if its text does not.
const button = (text, key, click, label = text) => el("button", {class: "button small", text, title: `${label} (${key})`,
	"aria-keyshortcuts": key, on: {click}});

function buildTools(panel) {
	panel.tools = TOOLS.map(({name, label, short = label, key, icon}) => {
		const tool = button(short, key, () => chooseTool(panel, panel.tool === name ? null : name), label);
		tool.ariaLabel = label;
		tool.prepend(drawing("0 0 20 20", `<path d="${icon}"/>`));
		return tool;
	});
	return el("div", {class: "edit-tools", role: "group", "aria-label": "Tools"}, ...panel.tools);
}

function chooseTool(panel, name) {
	const {editor} = panel, {viewer} = editor;
	viewer.chosen?.cancel();
	if (!viewer.slice?.readable) name = null; // nothing to paint on
	panel.tool = name;
	viewer.chosen = TOOLS.find((each) => each.name === name)?.make(editor) ?? null;
	if (viewer.tool) viewer.tool.wheel = (event) => turnWheel(editor, event);
	editor.repaint();
	show(panel);
}

// Shift or Alt and the wheel change the size; with Shift, browsers turn it sideways.
function turnWheel(editor, event) {
	if (!event.shiftKey && !event.altKey) return false;
	editor.resize((event.deltaY || event.deltaX) < 0 ? 1 : -1);
	return true;
}

function buildBrush(panel) {
	const {editor} = panel;
	const slider = (name, range) => {
		panel[`${name}Text`] = el("output");
		panel[name] = el("input", {type: "range", ...range, on: {input: () => editor.set({[name]: Number(panel[name].value)})}});
		return [panel[`${name}Text`], panel[name]];
	};
	const size = el("label", {class: "field"}, "Size", ...slider("size", {step: 0.5}));
	panel.unit = el("select", {"aria-label": "Unit of the size", on: {change: () => changeUnit(editor, panel.unit.value)}},
		el("option", {text: "px"}), el("option", {text: "mm"}));
	panel.toleranceRow = el("label", {class: "field", title: "How far grey values may differ from the first one, as a fraction of the window"},
		"Grey range", ...slider("tolerance", {min: 1, max: 50}));
	return el("div", {class: "edit-size"}, size, panel.unit, panel.toleranceRow);
}

function changeUnit(editor, unit) {
	const [rowMm, columnMm] = editor.scan?.spacingMm ?? [1, 1], mm = Math.sqrt(rowMm * columnMm);
	const {size} = editor.settings;
	editor.set({unit, size: unit === "mm" ? size * mm : size / mm});
}

function buildPointing(panel) {
	const {editor} = panel;
	panel.carry = button("", "W", () => editor.viewer.tool.carry(), "Carry the box through the series");
	const said = el("p", {class: "quiet small", role: "status"});
	on(editor, "told", ({detail}) => put(said, "textContent", detail));
	return (panel.pointing = el("div", {class: "edit-lesions"}, checkbox(panel, "away", "Clicks remove (I, or hold Alt)"), panel.carry, said));
}

function checkbox(panel, name, text) {
	panel[name] = el("input", {type: "checkbox", on: {change: ({target}) => panel.editor.set({[name]: target.checked})}});
	return el("label", {class: "small"}, panel[name], text);
}

function buildLesions(panel) {
	panel.lesions = el("div", {class: "row", role: "group", "aria-label": "Lesion to paint"});
	return el("div", {class: "edit-lesions"}, panel.lesions, checkbox(panel, "over", "Paint over other lesions"));
}

function buildActions(panel) {
	const {editor} = panel;
	panel.undo = button("Undo", "Z", () => editor.undo());
	panel.redo = button("Redo", "Y", () => editor.redo());
	panel.actions = OPERATIONS.map(({name, label, key}) => button(label, key, () => editor.operate(name)));
	return el("div", {class: "edit-actions", role: "group", "aria-label": "Mask of this slice"}, panel.undo, panel.redo, ...panel.actions);
}

function buildDownload(panel) {
	const {editor} = panel;
	panel.format = el("select", {"aria-label": "Format"}, ...FORMATS.map(({to, name}) => el("option", {value: to, text: name})));
	panel.get = el("button", {class: "button main", "aria-keyshortcuts": "Control+S", text: "Download",
		title: "Download (Ctrl+S)", on: {click: () => startDownload(panel)}});
	panel.status = el("p", {class: "quiet small", role: "status"});
	on(editor, "saved", () => panel.tell("Saved in this browser."));
	on(editor, "unsaved", ({detail}) =>
		panel.tell(`Not saved in this browser (${detail}). Download the mask before you close the page.`));
	return [el("div", {class: "edit-download"}, panel.format, panel.get), panel.status];
}

async function startDownload(panel) {
	const {editor, editor: {scan, scans: {items}}, format: {value}} = panel;
	if (!scan || panel.get.disabled) return;
	editor.commit();
	panel.get.disabled = true;
	panel.tell("Preparing the download ...");
	try {
		const name = await download(scan, items, value);
		panel.tell(`Downloaded ${name}.`);
		for (const kept of value === "dataset" ? items : [scan]) editor.stateOf(kept).lost = false;
		if (value === "dataset") panel.fire("dataset", {name});
	} catch (error) {
		panel.tell(error.message);
	} finally {
		panel.get.disabled = false;
	}
}

function show(panel) {
	const {editor} = panel, {settings, scan, history, viewer: {host, slice, tool}} = editor, used = tool && panel.tool;
	TOOLS.forEach(({name}, at) => (panel.tools[at].ariaPressed = used === name));
	host.classList.toggle("edit-brush", /^(brush|eraser|threshold)$/.test(used));
	for (const button of [...panel.tools, ...panel.actions]) button.disabled = !slice?.readable;
	panel.get.disabled = !slice;
	OPERATIONS.forEach(({series, fits}, at) => {
		panel.actions[at].hidden = Boolean(series) && scan?.slices.length === 1;
		panel.actions[at].disabled ||= Boolean(fits) && !fits(slice);
	});
	panel.undo.disabled = !history.canUndo;
	panel.redo.disabled = !history.canRedo;
	for (const name of ["over", "away"]) panel[name].checked = settings[name];
	showPointing(panel);
	showBrush(panel);
	showLesions(panel);
	FORMATS.forEach(({volume, dicom}, at) => {
		panel.format.options[at].disabled = Boolean((volume && scan?.kind !== "volume") || (dicom && !scan?.seriesUid));
	});
	if (panel.format.selectedOptions[0].disabled) panel.format.value = FORMATS[0].to;
}

function showPointing({editor: {scan, viewer: {tool}}, pointing, carry, tool: name}) {
	pointing.hidden = name !== "box";
	carry.hidden = !(scan?.count > 1);
	carry.textContent = tool?.carrying ? "Stop" : "Carry through the series";
}

function showBrush(panel) {
	const {editor} = panel, {settings} = editor, unit = editor.millimetres ? "mm" : "px";
	[panel.size.min, panel.size.max] = SIZES[unit];
	panel.size.value = settings.size;
	panel.sizeText.value = `${settings.size} ${unit}`;
	panel.unit.value = unit;
	panel.unit.options[1].disabled = !editor.scan?.spacingMm;
	panel.tolerance.value = settings.tolerance;
	panel.toleranceText.value = `± ${settings.tolerance} %`;
	panel.toleranceRow.hidden = panel.tool !== "threshold";
}

// A button for each lesion of the slice and the chosen one; replaced only if they changed, for the focus's sake.
function showLesions(panel) {
	const {editor} = panel, {scan, settings: {lesion}, viewer: {slice}} = editor;
	const numbers = scan && slice ? scan.measure(slice).map(({number}) => number) : [];
	const shown = [...new Set([...numbers, lesion])].sort((one, other) => one - other);
	const state = `${shown} ${lesion}`;
	if (panel.shown === state) return;
	panel.shown = state;
	const focused = panel.lesions.contains(document.activeElement) ? document.activeElement.textContent : null;
	const chips = [...shown.map((number) => buildChip(editor, number, number === lesion)),
		button("New", "L", () => editor.newLesion(), "New lesion")];
	panel.lesions.replaceChildren(el("span", {class: "small", text: "Lesion"}), ...chips);
	chips.find(({textContent}) => textContent === focused)?.focus();
}

function buildChip(editor, number, chosen) {
	const swatch = el("i", {class: "swatch", "aria-hidden": "true"});
	swatch.style.background = colourOf(number);
	return el("button", {class: "button small edit-chip", "aria-label": `Lesion ${number}`,
		"aria-pressed": `${chosen}`, on: {click: () => editor.chooseLesion(number)}}, swatch, `${number}`);
}
