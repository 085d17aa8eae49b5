// Label maps: pure functions on {labels, width, height}.
//
// `labels` is a Uint8Array, row by row: 0 is background, n is lesion n. Integer coordinates are pixel centres, and a
// pixel belongs to a shape when its centre does, as in src/tumortrace/data/geometry.py. Spans are flat lists of
// (row, first column, column after the last). A lesion's piece is an 8-connected component of one label.

export const MOST_LESIONS = 254; // 255 stands for tumour in a plain mask

const MARGIN = 1 - 1e-12; // wider than rounding: a centre on the very outline of a disc is outside
// Pixels that a disc (or ellipse) covers on its way from one point to another; at least the pixels on the way itself
// if the disc is too small to reach a centre, so that a click always paints.
export function sweepSpans(from, to, radius, {width, height}) {
	const spans = [];
	const top = Math.max(0, Math.ceil(Math.min(from.y, to.y) - radius.y));
	const bottom = Math.min(height - 1, Math.floor(Math.max(from.y, to.y) + radius.y));
	const inside = insideCapsule(from, to, radius);
	for (let y = top; y <= bottom; y++) {
		const [low, high] = boundRow(from, to, radius, y);
		let first = Math.max(0, Math.ceil(low) - 1);
		let last = Math.min(width - 1, Math.floor(high) + 1);
		while (first <= last && !inside(first, y)) first++;
		while (first <= last && !inside(last, y)) last--;
		if (first <= last) spans.push(y, first, last + 1);
	}
	if (Math.min(radius.x, radius.y) < Math.SQRT1_2) addLine(spans, from, to, {width, height});
	return spans;
}

function insideCapsule(from, to, radius) {
	const ax = from.x / radius.x, ay = from.y / radius.y;
	const dx = to.x / radius.x - ax, dy = to.y / radius.y - ay;
	const length2 = dx * dx + dy * dy;
	return (x, y) => {
		const px = x / radius.x - ax, py = y / radius.y - ay;
		const along = length2 ? Math.min(1, Math.max(0, (px * dx + py * dy) / length2)) : 0;
		return (px - along * dx) ** 2 + (py - along * dy) ** 2 < MARGIN;
	};
}

// Columns between which a row of a capsule lies: around those of its discs that reach the row.
function boundRow(from, to, radius, row) {
	const [dx, dy] = [to.x - from.x, to.y - from.y];
	const share = (y) => Math.min(1, Math.max(0, dy ? (y - from.y) / dy : Number(y > row)));
	const ends = [share(row - radius.y), share(row + radius.y)].map((at) => from.x + at * dx);
	return [Math.min(...ends) - radius.x, Math.max(...ends) + radius.x];
}

function addLine(spans, from, to, {width, height}) {
	const steps = Math.max(1, Math.ceil(Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y))));
	for (let step = 0; step <= steps; step++) {
		const x = nearest(from.x + ((to.x - from.x) * step) / steps);
		const y = nearest(from.y + ((to.y - from.y) * step) / steps);
		if (x >= 0 && y >= 0 && x < width && y < height) spans.push(y, x, x + 1);
	}
}

// The pixel in whose square a coordinate lies: its square reaches from -0.5 to before +0.5.
export const nearest = (value) => Math.floor(value + 0.5);

// Pixels inside a closed polygon of {x, y}: what its outline goes round at least once (the non-zero rule). A centre on
// the outline is inside where the polygon lies to its right or, on a horizontal edge, below it.
export function polygonSpans(points, {width, height}) {
	const crossings = crossRows(points, height);
	const spans = [];
	for (const [y, row] of crossings) {
		row.sort((one, other) => one[0] - other[0]);
		let turns = 0, start = 0;
		for (const [x, turn] of row) {
			const column = Math.min(width, Math.max(0, Math.ceil(x)));
			if (turns !== 0 && column > start) spans.push(y, start, column);
			turns += turn;
			start = column;
		}
	}
	return spans;
}

function crossRows(points, height) {
	const rows = new Map();
	points.forEach((start, at) => {
		const end = points[(at + 1) % points.length];
		const falls = start.y <= end.y;
		const [upper, lower] = falls ? [start, end] : [end, start];
		const last = Math.min(height, Math.ceil(lower.y)); // an edge owns the rows before its lower end
		for (let y = Math.max(0, Math.ceil(upper.y)); y < last; y++) {
			const x = upper.x + ((y - upper.y) * (lower.x - upper.x)) / (lower.y - upper.y);
			if (!rows.has(y)) rows.set(y, []);
			rows.get(y).push([x, falls ? 1 : -1]);
		}
	});
	return [...rows].sort((one, other) => one[0] - other[0]);
}

// Change the labels under spans, in place. A lesion paints on background alone unless `over`; label 0 erases every
// lesion. `accept(index)` may refuse a pixel.
export function paint({labels, width}, spans, label, {over = false, accept = null} = {}) {
	for (let at = 0; at < spans.length; at += 3) {
		const row = spans[at] * width;
		for (let index = row + spans[at + 1], end = row + spans[at + 2]; index < end; index++) {
			if ((label === 0 || over || labels[index] === 0) && (accept === null || accept(index))) labels[index] = label;
		}
	}
}

// Number the pieces of a map: each pixel's piece (-1 for background), and of each piece label, size and place.
export function findPieces({labels, width, height}) {
	const piece = new Int32Array(labels.length).fill(-1);
	const pieces = [];
	const stack = new Int32Array(labels.length);
	for (let first = 0; first < labels.length; first++) {
		if (labels[first] === 0 || piece[first] >= 0) continue;
		const found = {label: labels[first], first, size: 0, left: width, right: -1, top: height, bottom: -1};
		flood({labels, width, height}, piece, stack, found, pieces.length);
		pieces.push(found);
	}
	return {piece, pieces};
}

function flood({labels, width, height}, piece, stack, found, number) {
	let waiting = 1;
	stack[0] = found.first;
	piece[found.first] = number;
	while (waiting) {
		const index = stack[--waiting];
		const x = index % width, y = (index - x) / width;
		found.size++;
		found.left = Math.min(found.left, x); found.right = Math.max(found.right, x);
		found.top = Math.min(found.top, y); found.bottom = Math.max(found.bottom, y);
		for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
			for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
				const next = v * width + u;
				if (piece[next] < 0 && labels[next] === found.label) { piece[next] = number; stack[waiting++] = next; }
			}
		}
	}
}

// Largest first; of equal ones the upper, then the left one first, as find_lesions orders them.
const bySize = (one, other) => other.size - one.size || one.top - other.top || one.left - other.left;

// Give each piece a number of its own, largest first; pieces beyond the 254th share the last number. Pieces of
// different lesions that touch stay apart.
export function separateLesions(map) {
	const {piece, pieces} = findPieces(map);
	const numbers = new Uint8Array(pieces.length);
	pieces.map((found, at) => ({...found, at})).sort(bySize)
		.forEach(({at}, order) => { numbers[at] = Math.min(MOST_LESIONS, order + 1); });
	return Uint8Array.from(piece, (number) => (number < 0 ? 0 : numbers[number]));
}

// Fill holes: background that does not reach the border, seen along edges. A hole goes to the lesion with most of its
// surrounding pixel edges; the lowest number of equal ones.
export function fillHoles({labels, width, height}) {
	const filled = labels.slice();
	const seen = new Uint8Array(labels.length);
	for (let first = 0; first < labels.length; first++) {
		if (labels[first] !== 0 || seen[first]) continue;
		const {pixels, open, contacts} = floodHole({labels, width, height}, seen, first);
		if (open) continue;
		const label = contacts.indexOf(Math.max(...contacts));
		for (const index of pixels) filled[index] = label;
	}
	return filled;
}

function floodHole({labels, width, height}, seen, first) {
	const pixels = [first];
	const contacts = new Array(MOST_LESIONS + 1).fill(0);
	let open = false;
	seen[first] = 1;
	for (let at = 0; at < pixels.length; at++) {
		const x = pixels[at] % width, y = (pixels[at] - x) / width;
		for (const [u, v] of [[x - 1, y], [x + 1, y], [x, y - 1], [x, y + 1]]) {
			if (u < 0 || v < 0 || u >= width || v >= height) { open = true; continue; }
			const next = v * width + u;
			if (labels[next] !== 0) contacts[labels[next]]++;
			else if (!seen[next]) { seen[next] = 1; pixels.push(next); }
		}
	}
	return {pixels, open, contacts};
}

// Keep only the largest piece.
export function keepLargest(map) {
	const {piece, pieces} = findPieces(map);
	const largest = [...pieces].sort(bySize)[0];
	return Uint8Array.from(map.labels, (label, index) => (pieces[piece[index]] === largest ? label : 0));
}

const upwards = (one, other) => one - other;

// Delete the pieces that lie wholly within a box between two points.
export function deleteSpecks(map, from, to) {
	const [left, right] = [from.x, to.x].sort(upwards), [top, bottom] = [from.y, to.y].sort(upwards);
	const {piece, pieces} = findPieces(map);
	const within = pieces.map((p) => p.left >= left && p.right <= right && p.top >= top && p.bottom <= bottom);
	return Uint8Array.from(map.labels, (label, index) => (within[piece[index]] ? 0 : label));
}

// The lowest number that no map uses.
export function unusedLabel(maps) {
	const used = new Uint8Array(MOST_LESIONS + 1);
	for (const {labels} of maps) for (const label of labels) used[label] = 1;
	const free = used.indexOf(0, 1);
	return free < 0 ? MOST_LESIONS : free;
}

// What changed between two maps, as runs of (first pixel, length, label before, label after) in an Int32Array.
export function diffLabels(before, after) {
	const runs = [];
	for (let index = 0; index < before.length; index++) {
		const from = before[index], to = after[index];
		if (from === to) continue;
		const first = index;
		while (index + 1 < before.length && before[index + 1] === from && after[index + 1] === to) index++;
		runs.push(first, index + 1 - first, from, to);
	}
	return Int32Array.from(runs);
}

// Bring runs onto labels, in place; backwards if `undo`.
export function applyRuns(labels, runs, {undo = false} = {}) {
	for (let at = 0; at < runs.length; at += 4) {
		labels.fill(runs[at + (undo ? 2 : 3)], runs[at], runs[at] + runs[at + 1]);
	}
}
