// The list of what is open, and the order in which it is best corrected.

import {count, el, find, on, onceAFrame} from "../dom.js";
import {Raster} from "./raster.js";
import {automaticWindow, fillTable} from "./window.js";

const EVERY_NTH_AT_RANDOM = 4;
const THUMBNAIL_PX = 88; // shown at half that size

// Order cases for correction: least confident first, and every fourth one drawn at random from the rest.
// Returns [{scan, random}]. Cases without a mask (rejected, unreadable) come last.
export function orderForCorrection(scans, random = Math.random) {
	const rest = [...scans].sort((a, b) => a.confidence - b.confidence); // stable
	const ordered = [];
	while (rest.length) {
		const drawn = ordered.length % EVERY_NTH_AT_RANDOM === EVERY_NTH_AT_RANDOM - 1 && rest.length > 1;
		const at = drawn ? Math.floor(random() * rest.length) : 0;
		ordered.push({scan: rest.splice(at, 1)[0], random: drawn});
	}
	return ordered;
}

// Show the list of cases; selecting one opens it. Returns a function that gives the scans in the order shown.
export function mountCases(section, viewer, scans) {
	const list = find("ol", section), select = find("select", section), note = find("p", section);
	let order = [], selected = null;
	const draw = onceAFrame(() => {
		const kept = note.hidden ? [] : order.filter(({scan}) => scans.items.includes(scan));
		const fresh = scans.items.filter((scan) => !kept.some((one) => one.scan === scan));
		order = [...kept, ...fresh.map((scan) => ({scan, random: false}))];
		list.replaceChildren(...order.map((one) => item(one, scans)));
		section.classList.toggle("single", order.length < 2);
		if (selected !== scans.current) reveal(list);
		selected = scans.current;
	});
	on(select, "change", () => {
		note.hidden = select.value !== "doubt";
		order = orderForCorrection(scans.items);
		draw();
	});
	on(scans, "change select complete slice relabel", draw);
	on(viewer, "labelschange", draw);
	return () => order.map(({scan}) => scan);
}

// Bring the current case into the list's own view; the page itself stays where it is.
function reveal(list) {
	const current = find("[aria-current]", list);
	if (!current) return;
	const [shown, {left, right, top, bottom}] = [list, current].map((element) => element.getBoundingClientRect());
	list.scrollLeft += Math.min(left - shown.left, 0) || Math.max(right - shown.right, 0);
	list.scrollTop += Math.min(top - shown.top, 0) || Math.max(bottom - shown.bottom, 0);
}

function item({scan, random}, scans) {
	const current = scan === scans.current && "true";
	const name = el("span", {}, el("b", {text: scan.title, title: scan.name}), el("span", {class: "quiet", text: describe(scan)}));
	const open = {class: "case", "aria-current": current, on: {click: () => scans.select(scan)}};
	const remove = {class: "remove", "aria-label": `Remove ${scan.title}`, text: "×", on: {click: () => close(scan, scans)}};
	return el("li", {}, el("button", open, thumbnail(scan), name, ...badges(scan, random)), el("button", remove));
}

function close(scan, scans) {
	if (scan.edited && !confirm(`Remove ${scan.name} with your corrections?`)) return;
	scans.remove(scan);
}

export function describe(scan) {
	const {ready, kind, cancelled} = scan;
	if (!ready.length) return scan.error ? "not readable" : "waiting";
	if (kind === "volume" && !scan.complete) return `${ready.length} of ${count(scan.count, "slice")}${cancelled ? ", stopped" : ""}`;
	const shown = ready.filter((slice) => slice.areaPx).length, {status = "ok"} = (kind === "volume" ? scan : ready[0]).record ?? {};
	if (status !== "ok" && !scan.edited) return status === "rejected" ? "not segmented" : "not readable";
	if (kind === "volume") return `${shown ? `tumour on ${shown} of` : "no tumour on"} ${count(ready.length, "slice")}`;
	return shown ? `tumour, ${scan.area(ready[0].areaPx)}` : "no tumour found";
}

// The most pressing state of a picture or a series, in which single rejected slices are usual.
function badges(scan, random) {
	const whole = scan.kind === "picture" || ["rejected", "error"].includes(scan.record?.status);
	const states = scan.ready.map((slice) => slice.state);
	const found = ["warn", "good", whole && "bad"].map((kind) => states.find((state) => state.kind === kind));
	const shown = [found.find(Boolean), random && {kind: "", word: "random"}].filter(Boolean);
	return shown.map(({kind, word}) => el("span", {class: `badge ${kind}`, text: word}));
}

const pictures = new WeakMap(); // by the mask, which the vote of the neighbours replaces

function thumbnail(scan) {
	const slice = scan.slices[scan.largest] ?? scan.ready[0];
	if (!slice) return el("canvas");
	if (!pictures.has(slice.automatic)) pictures.set(slice.automatic, drawSmall(slice));
	return pictures.get(slice.automatic);
}

function drawSmall(slice) {
	const canvas = el("canvas", {width: THUMBNAIL_PX, height: THUMBNAIL_PX, "aria-hidden": "true"});
	const scale = THUMBNAIL_PX / Math.max(slice.width, slice.height), width = slice.width * scale, height = slice.height * scale;
	const picture = slice.rgb ?? (slice.pixels && paint(slice));
	if (picture) canvas.getContext("2d").drawImage(picture, (THUMBNAIL_PX - width) / 2, (THUMBNAIL_PX - height) / 2, width, height);
	return canvas;
}

function paint(slice) {
	const table = new Uint32Array(65537);
	fillTable(table, slice, automaticWindow([slice]));
	table[65536] = 0xff00b0ff; // the tumour, amber
	const values = Uint32Array.from(slice.pixels, (value, i) => (slice.automatic[i] ? 65536 : value));
	return new Raster().paint(values, table, slice);
}
