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
	const {record, error} = scan, boxes = [];
	if (error) boxes.push({kind: "bad", title: "This scan could not be read", lines: [error]});
	if (record) boxes.push(describeSeries(scan, record));
	if (slice) boxes.push(describeSlice(scan, slice));
	return boxes;
}

function describeSeries(scan, {status, reason, review}) {
	if (status !== "ok") return {kind: "bad", title: "This series was not segmented", lines: split(reason)};
	const title = sentence(describe(scan)).slice(0, -1);
	return {kind: review ? "warn" : "calm", title: review ? `${title}: check it` : title, lines: split(reason)};
}

function describeSlice(scan, slice) {
	const {reason, confidence} = slice.record, {kind, word} = slice.state;
	const title = `${scan.count > 1 ? `Slice ${slice.index + 1}: ` : ""}${headline(scan, slice)}`;
	if (kind === "good") return {kind, title: `${title}, ${word} by you`};
	if (kind === "bad") return {kind, title: word === "rejected" ? "Not segmented" : "This slice could not be read", lines: split(reason)};
	const rating = confidence === null ? "As in the annotation." : `Confidence ${confidence.toFixed(2)}.`;
	if (kind !== "warn") return {kind: "calm", title, lines: [rating]};
	return {kind, title: `${title}: check it`, lines: [...split(reason), ...(reason.includes("confidence") ? [] : [rating])]};
}

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
