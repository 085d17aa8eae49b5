// What a person must know of the scan and the slice that are shown, in plain words.

import {count, el, on} from "../dom.js";
import {describe} from "./cases.js";

export function mountNotice(section, viewer, scans) {
	let shown = "";
	const draw = () => {
		const boxes = viewer.scan ? describeAll(viewer.scan, viewer.slice) : [];
		const key = JSON.stringify(boxes);
		if (key !== shown) section.replaceChildren(...boxes.map(box)); // else a screen reader would read it again
		shown = key;
	};
	on(viewer, "slicechange labelschange", draw);
	on(scans, "complete relabel", draw);
}

// Boxes for a scan and its slice: {kind, title, lines}.
function describeAll(scan, slice) {
	const {record, error} = scan;
	return [
		error && {kind: "bad", title: "This scan could not be read", lines: [error]},
		record && describeSeries(scan, record), slice && describeSlice(scan, slice),
	].filter(Boolean);
}

// The doubtful slices are counted anew: some may be corrected by now.
function describeSeries(scan, {status, reason}) {
	if (status !== "ok") return {kind: "bad", title: "This series was not segmented", lines: split(reason)};
	const doubtful = scan.ready.filter(({state, areaPx}) => areaPx && state.kind === "warn").length;
	const lines = split(reason).filter((line) => !/reviewed\.$/.test(line));
	if (doubtful) lines.push(`${count(doubtful, "slice")} with tumour to review.`);
	return rate(describe(scan), lines, lines.length);
}

function describeSlice(scan, slice) {
	const {reason, confidence} = slice.record, {kind, word} = slice.state;
	const lines = split(reason), title = `${scan.count > 1 ? `Slice ${slice.index + 1}: ` : ""}${headline(scan, slice)}`;
	if (kind === "good") return {kind, title: `${title}, ${word} by you`};
	if (kind === "bad") return {kind, title: word === "rejected" ? "Not segmented" : "This slice could not be read", lines};
	if (confidence === null) lines.push("As in the annotation.");
	else if (!reason.includes("confidence")) lines.push(`Confidence ${confidence.toFixed(2)}.`);
	return rate(title, lines, kind);
}

const rate = (title, lines, doubt) => (doubt ? {kind: "warn", title: `${title}: check it`, lines} : {kind: "calm", title, lines});

function headline(scan, slice) {
	if (!slice.areaPx) return "no tumour found";
	return `${count(slice.counts.subarray(1).filter(Boolean).length, "lesion")}, ${scan.area(slice.areaPx)}`;
}

const split = (reason) => (reason ? reason.split("; ").map(sentence) : []);

function sentence(text) {
	const start = /^[a-z]+[ ,:;]/.test(text) ? text[0].toUpperCase() : text[0]; // a file's name stays as it is
	return `${start}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

function box({kind, title, lines = []}) {
	const heading = el("h3", {text: title[0].toUpperCase() + title.slice(1)});
	return el("div", {class: `box ${kind}`}, heading, ...lines.map((text) => el("p", {text})));
}
