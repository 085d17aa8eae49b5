// Tables of lesions and of slices. A row brings its lesion or slice into view.

import {el, find, on, onceAFrame, onceStill, short} from "../dom.js";
import {colourOf} from "./colours.js";

export function mountLesions(section, viewer, scans) {
	const series = table("Lesions of the series", ["Lesion", "Volume", "Slices"]);
	const slice = table("Lesions on this slice", ["Lesion", "Area", "Diameter", "Confidence"]);
	const none = el("p", {class: "quiet", text: "None."});
	section.append(series.element, slice.element, none);
	const drawSlice = () => {
		const found = viewer.slice ? viewer.scan.measure(viewer.slice) : [];
		fill(slice, found.map((one) => sliceRow(one, viewer)));
		none.hidden = found.length > 0 || !series.element.hidden;
		none.textContent = viewer.slice?.state.kind === "bad" ? "Unknown: not segmented." : "None.";
	};
	const drawAll = onceAFrame(() => {
		const {scan} = viewer;
		fill(series, (scan?.record ? scan.measureSeries() : []).map((one) => seriesRow(one, viewer)));
		drawSlice();
	});
	on(viewer, "slicechange", onceStill(drawSlice));
	on(viewer, "labelschange", drawAll);
	on(scans, "select complete relabel", drawAll);
}

function seriesRow({number, voxels, first, last, largest}, viewer) {
	const range = first === last ? `${first + 1}` : `${first + 1}-${last + 1}`;
	return row(number, [viewer.scan.volume(voxels), range], () => viewer.show(largest));
}

function sliceRow({number, areaPx, x, y, diameter, confidence}, viewer) {
	const unit = viewer.scan.spacingMm ? "mm" : "px";
	const cells = [viewer.scan.area(areaPx), `${short(diameter)} ${unit}`, confidence?.toFixed(2) ?? ""];
	return row(number, cells, () => viewer.centre(x, y));
}

function row(number, cells, click) {
	const swatch = el("i", {class: "swatch"});
	swatch.style.background = colourOf(number);
	const button = el("button", {class: "link", "aria-label": `Show lesion ${number}`}, swatch, `${number}`);
	return el("tr", {on: {click}}, el("td", {}, button), ...cells.map((text) => el("td", {text})));
}

function table(title, heads) {
	const body = el("tbody");
	const head = el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", {text, scope: "col"}))));
	return {element: el("table", {}, el("caption", {text: title}), head, body), body, key: ""};
}

// Replace the rows, unless they say what is there already: the focus stays where it is.
function fill(target, rows) {
	const key = rows.map((each) => each.textContent).join("|");
	target.element.hidden = !rows.length;
	if (key !== target.key) target.body.replaceChildren(...rows);
	target.key = key;
}

export function mountSlices(section, viewer, scans) {
	const scroll = find(".scroll", section), {element, body} = table("", ["Slice", "Tumour", "Confidence", "Note"]);
	scroll.append(element);
	let rows = [];
	const write = (slice) => slice && rows[slice.index] && writeRow(rows[slice.index], viewer.scan, slice);
	const mark = () => markRow(rows, viewer.index, scroll);
	const writeAll = onceAFrame(() => viewer.scan?.slices.forEach(write));
	on(scroll, "keydown", (event) => walk(event, viewer, rows));
	on(scans, "select", () => {
		section.hidden = viewer.scan?.kind !== "volume";
		rows = section.hidden ? [] : viewer.scan.slices.map((_, index) => indexRow(index, viewer));
		body.replaceChildren(...rows);
		writeAll();
		mark();
	});
	on(scans, "slice", ({detail: {scan, slice}}) => scan === viewer.scan && write(slice));
	on(scans, "complete relabel", writeAll);
	on(viewer, "labelschange", () => write(viewer.slice));
	on(viewer, "slicechange", onceStill(mark));
}

function indexRow(index, viewer) {
	const button = el("button", {class: "link", "aria-label": `Show slice ${index + 1}`, text: `${index + 1}`});
	const cells = [el("td", {}, button), el("td"), el("td"), el("td", {class: "note"})];
	return el("tr", {on: {click: () => viewer.show(index)}}, ...cells);
}

function writeRow(element, scan, {record, state, areaPx, edited}) {
	const [, area, confidence, note] = element.children;
	area.textContent = areaPx ? scan.area(areaPx) : "";
	confidence.textContent = edited ? "" : record.confidence?.toFixed(2) ?? ""; // it was that of the automatic mask
	note.textContent = state.word;
	note.title = record.reason;
	element.className = state.kind;
}

// Mark the row of the slice that is shown, the only one that Tab reaches, and bring it into the middle.
function markRow(rows, current, scroll) {
	rows.forEach((element, index) => {
		element.ariaCurrent = index === current ? "true" : null;
		find("button", element).tabIndex = index === current ? 0 : -1;
	});
	if (rows[current]) scroll.scrollTop = rows[current].offsetTop - scroll.clientHeight / 2;
}

function walk(event, viewer, rows) {
	const step = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10}[event.key];
	if (!step) return;
	event.preventDefault();
	viewer.show(viewer.index + step);
	find("button", rows[viewer.index])?.focus({preventScroll: true});
}
