// The model of the page: scans, their slices, and the list of what is open.

import {short, Source} from "./dom.js";
import {labelComponents, linkLesions, measureLesions} from "./lesions.js";
import {bytesFromBase64, decodeGreyPng, inflate} from "./png.js";

// One slice: index, width, height, pixels (Uint16Array; null if it has rgb, an ImageBitmap, and grey), slope, intercept,
// record, labels and automatic (Uint8Array, n for lesion n: as a person corrects it, and as the server gave it),
// probability (Uint8Array, 255 = 1, or null), edited (whether a stroke is done), fixed (or was undone: threshold and
// numbering leave it alone), prompted (whether its mask began with a box), accepted (or
// was found right as it was).
export class Slice {
	constructor(index, fields) {
		Object.assign(this, {index, edited: false, ...fields});
	}

	// What became of it, as {word, kind}: both empty for a mask without doubt.
	get state() {
		if (this.edited) return {word: this.prompted ? "prompted" : this.accepted ? "accepted" : "corrected", kind: "good"};
		if (this.record.status === "rejected") return {word: "rejected", kind: "bad"};
		if (this.record.status === "error") return {word: "failed", kind: "bad"};
		return this.record.review ? {word: "check", kind: "warn"} : {word: "", kind: ""};
	}

	// Whether there is a picture to look at and to paint on.
	get readable() {
		return Boolean(this.pixels ?? this.rgb);
	}

	get counts() {
		if (!this.kept) {
			this.kept = new Uint32Array(256);
			for (const value of this.labels) this.kept[value]++;
		}
		return this.kept;
	}

	get areaPx() {
		return this.labels.length - this.counts[0];
	}

	touch() {
		this.kept = this.lesions = this.shapes = null;
	}
}

// One case: id, name, kind ("picture" or "volume"), seriesUid, files (File[], each with its path), item (its number in a
// request with these files), count (slices), sizeHw (null until the first slice comes), spacingMm, stepMm, annotated
// (whether the masks are a person's), model ({name, threshold}), slices (null where one has not come), record (of the
// whole), error, complete, cancelled, threshold.
export class Scan {
	constructor(fields) {
		Object.assign(this, {record: null, error: null, complete: false, cancelled: false, ...fields});
		this.slices = new Array(this.count).fill(null);
		this.threshold = this.model.threshold;
	}

	get ready() {
		return this.slices.filter(Boolean);
	}

	get edited() {
		return this.ready.some((slice) => slice.edited);
	}

	// An area in words: in mm2 where the spacing is known.
	area(px) {
		return this.spacingMm ? `${short(px * this.spacingMm[0] * this.spacingMm[1])} mm²` : `${short(px)} px`;
	}

	// A number of voxels in words: in mm3 where spacing and step are known.
	volume(voxels) {
		if (!this.spacingMm || !this.stepMm) return `${short(voxels)} px`;
		return `${short(voxels * this.spacingMm[0] * this.spacingMm[1] * this.stepMm)} mm³`;
	}

	// Lowest confidence of a slice that has a mask or needs a review; 2 where nothing was segmented.
	get confidence() {
		const rated = this.ready.filter(({record}) => record.status === "ok");
		const asked = rated.filter(({record}) => record.tumour || record.review);
		return Math.min(2, ...(asked.length ? asked : rated).map(({record}) => record.confidence ?? 2));
	}

	// Index of the slice with the largest mask; without any, of the middle one.
	get largest() {
		return this.slices.reduce((best, slice, i) => (slice?.areaPx > (this.slices[best]?.areaPx ?? 0) ? i : best), this.count >> 1);
	}

	// Cut the probability at a threshold, on slices that are not fixed; at the model's own, take its mask.
	applyThreshold(threshold, slices = this.ready) {
		this.threshold = threshold;
		for (const slice of slices) if (!slice.fixed) cut(slice, threshold, this.model.threshold);
		if (slices.length === this.ready.length) this.link();
	}

	// Number the lesions over the whole series, largest first; those of an annotation stay as they are.
	link() {
		const {ready} = this;
		if (this.annotated || !ready.length) return;
		const fixed = new Set(ready.keys().filter((i) => ready[i].fixed));
		linkLesions(ready.map((slice) => slice.labels), this.sizeHw[1], this.sizeHw[0], fixed);
		for (const slice of ready) slice.touch();
	}

	measure(slice) {
		const {labels, width, probability, edited} = slice;
		return (slice.lesions ??= measureLesions(labels, width, this.spacingMm, edited ? null : probability));
	}

	// Lesions of the series by number: {number, voxels, first, last, largest}, the last three numbers of slices.
	measureSeries() {
		const found = [];
		for (const {counts, index} of this.ready) {
			counts.forEach((px, number) => {
				if (!px || !number) return;
				const one = (found[number] ??= {number, voxels: 0, first: index, most: 0});
				one.voxels += px;
				one.last = index;
				if (px > one.most) Object.assign(one, {most: px, largest: index});
			});
		}
		return found.filter(Boolean);
	}
}

function cut(slice, threshold, own) {
	const {labels, width, height, probability} = slice;
	if (threshold === own || !probability) labels.set(slice.automatic);
	else labelComponents(probability.map((value) => value >= threshold * 255), width, height, labels);
	slice.touch();
}

// What is open, and which of it is shown. Events: change, complete, relabel (detail: the scan), slice ({scan, slice}, of
// one that came or was replaced), select ({scan, index}).
export class ScanList extends Source {
	items = [];
	current = null;

	add(scan) {
		this.items.push(scan);
		this.#nameAll();
		this.tell("change", scan);
	}

	remove(scan) {
		const at = this.items.indexOf(scan);
		if (at < 0) return;
		this.items.splice(at, 1);
		const awaited = ({upload, complete}) => upload === scan.upload && !complete;
		if (awaited(scan) && !this.items.some(awaited)) scan.upload.cancel(); // else it goes on for the others
		this.#nameAll();
		if (this.current === scan) this.select(this.items[at] ?? this.items.at(-1) ?? null);
		this.tell("change", scan);
	}

	// Titles: the end of the name; where several end alike, the name below the opened folder.
	#nameAll() {
		const ends = this.items.map(({name}) => name.split("/").pop()), met = new Set();
		const again = new Set(ends.filter((end) => met.has(end) || !met.add(end)));
		this.items.forEach((scan, at) => {
			scan.title = again.has(ends[at]) ? scan.name.slice(scan.name.indexOf("/") + 1) : ends[at];
		});
	}

	// Show a slice of a scan, or its largest mask; with null, nothing.
	select(scan, index = scan?.largest ?? 0) {
		this.current = scan;
		this.tell("select", {scan, index});
	}
}

export async function readSlice(message, scan) {
	const chances = message.probability_png ? await decodeGreyPng(bytesFromBase64(message.probability_png)) : null;
	scan.sizeHw ??= chances ? [chances.height, chances.width] : [1, 1]; // a picture whose header does not say it
	const [height, width] = scan.sizeHw;
	const automatic = await readMask(message.mask_png, width, height);
	return new Slice(message.slice_index, {
		width, height, ...(await readPixels(message.pixels)), automatic, labels: automatic.slice(),
		probability: chances?.data ?? null, record: message.record,
	});
}

async function readPixels(sent) {
	const pixels = {pixels: null, rgb: null, slope: 1, intercept: 0};
	if (sent?.rgb_png) pixels.rgb = await createImageBitmap(new Blob([bytesFromBase64(sent.rgb_png)], {type: "image/png"}));
	if (!sent?.data) return pixels;
	const {buffer} = await inflate(bytesFromBase64(sent.data)), grey = new Uint16Array(buffer);
	return pixels.rgb ? {...pixels, grey} : {...pixels, pixels: grey, slope: sent.slope, intercept: sent.intercept};
}

// Label map of a mask: lesion numbers as they are; a plain mask of 0 and 255 is numbered, largest lesion first.
export async function readMask(text, width, height) {
	const labels = new Uint8Array(width * height);
	if (!text) return labels;
	labels.set((await decodeGreyPng(bytesFromBase64(text))).data);
	if (labels.every((value) => value === 0 || value === 255)) linkLesions([labels], width, height, new Set());
	return labels;
}
