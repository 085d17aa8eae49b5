// Label maps {labels, width, height}: labels (Uint8Array, row by row) are 0 for background and n for lesion n. Integer
// coordinates are pixel centres; a pixel belongs to a shape when its centre does, as in data/geometry.py. Spans are flat
// lists of (row, first column, column after the last). A lesion's piece is an 8-connected component of one label.

export const MOST_LESIONS = 254; // 255 stands for tumour in a plain mask

const MARGIN = 1 - 1e-12; // wider than rounding: a centre on the very outline of a disc is outside

// Pixels that a disc (or ellipse) covers between two points; of one too small to reach a centre, the pixels on its way.
export function sweepSpans(from, to, radius, {width, height}) {
	const spans = [];
	const top = Math.max(0, Math.ceil(Math.min(from.y, to.y) - radius.y));
	const bottom = Math.min(height - 1, Math.floor(Math.max(from.y, to.y) + radius.y));
	const inside = insideCapsule(from, to, radius);
	for (let y = top; y <= bottom; y++) {
		let first = Math.max(0, Math.ceil(Math.min(from.x, to.x) - radius.x));
		let last = Math.min(width - 1, Math.floor(Math.max(from.x, to.x) + radius.x));
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

function addLine(spans, from, to, {width, height}) {
	const steps = Math.max(1, Math.ceil(Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y))));
	for (let step = 0; step <= steps; step++) {
		const x = nearest(from.x + ((to.x - from.x) * step) / steps);
		const y = nearest(from.y + ((to.y - from.y) * step) / steps);
		if (x >= 0 && y >= 0 && x < width && y < height) spans.push(y, x, x + 1);
	}
}

// The pixel in whose square, from -0.5 to before +0.5, a coordinate lies.
export const nearest = (value) => Math.floor(value + 0.5);

// Pixels inside a closed polygon (the non-zero rule). A centre on the outline is inside where the polygon lies to its
// right or, on a horizontal edge, below it.
export function polygonSpans(points, {width, height}) {
	const spans = [];
	crossRows(points, height).forEach((row, y) => {
		row.sort((one, other) => one[0] - other[0]);
		let turns = 0, start = 0;
		for (const [x, turn] of row) {
			const column = Math.min(width, Math.max(0, Math.ceil(x)));
			if (turns !== 0 && column > start) spans.push(y, start, column);
			turns += turn;
			start = column;
		}
	});
	return spans;
}

function crossRows(points, height) {
	const rows = [];
	points.forEach((start, at) => {
		const end = points[(at + 1) % points.length];
		const falls = start.y <= end.y;
		const [upper, lower] = falls ? [start, end] : [end, start];
		const last = Math.min(height, Math.ceil(lower.y)); // an edge owns the rows before its lower end
		for (let y = Math.max(0, Math.ceil(upper.y)); y < last; y++) {
			const x = upper.x + ((y - upper.y) * (lower.x - upper.x)) / (lower.y - upper.y);
			(rows[y] ??= []).push([x, falls ? 1 : -1]);
		}
	});
	return rows;
}

// Change the labels under spans, in place. A lesion paints on background alone unless `over`; label 0 erases every one.
export function paint({labels, width}, spans, label, {over = false, accept = null} = {}) {
	for (let at = 0; at < spans.length; at += 3) {
		const row = spans[at] * width;
		for (let index = row + spans[at + 1], end = row + spans[at + 2]; index < end; index++) {
			if ((label === 0 || over || labels[index] === 0) && (accept === null || accept(index))) labels[index] = label;
		}
	}
}

// Visit the pixels of the 3 x 3 block around a pixel, by their indices.
export function around(at, width, height, visit) {
	const x = at % width, y = (at - x) / width;
	for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
		for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) visit(v * width + u);
	}
}

// Visit those that share an edge with it.
function beside(at, width, height, visit) {
	const x = at % width;
	if (x > 0) visit(at - 1);
	if (x < width - 1) visit(at + 1);
	if (at >= width) visit(at - width);
	if (at + width < width * height) visit(at + width);
}

// Number the pieces of a map: each pixel's piece (-1 for background), and of each piece label, size and place.
export function findPieces({labels, width, height}, neighbours = around) {
	const piece = new Int32Array(labels.length).fill(-1), pieces = [], stack = [];
	for (let first = 0; first < labels.length; first++) {
		if (!labels[first] || piece[first] >= 0) continue;
		const found = {label: labels[first], size: 0, left: width, right: -1, top: height, bottom: -1};
		const number = pieces.push(found) - 1;
		const take = (at) => {
			if (piece[at] >= 0 || labels[at] !== found.label) return;
			piece[at] = number;
			stack.push(at);
		};
		for (take(first); stack.length; ) {
			const at = stack.pop(), x = at % width, y = (at - x) / width;
			found.size++;
			found.left = Math.min(found.left, x); found.right = Math.max(found.right, x);
			found.top = Math.min(found.top, y); found.bottom = Math.max(found.bottom, y);
			neighbours(at, width, height, take);
		}
	}
	return {piece, pieces};
}

// Largest first; of equal ones the upper, then the left one first, as find_lesions orders them.
const bySize = (one, other) => other.size - one.size || one.top - other.top || one.left - other.left;

// Give each piece a number of its own, largest first; pieces beyond the 254th share the last number.
export function separateLesions(map) {
	const {piece, pieces} = findPieces(map);
	const ordered = [...pieces].sort(bySize);
	const numbers = pieces.map((found) => Math.min(MOST_LESIONS, ordered.indexOf(found) + 1));
	return map.labels.map((_, index) => numbers[piece[index]] ?? 0);
}

// Fill background that does not reach the border, by the lesion with most of the pixel edges around it.
export function fillHoles({labels, width, height}) {
	const {piece, pieces} = findPieces({labels: labels.map((label) => label === 0), width, height}, beside);
	const contacts = pieces.map(() => new Uint32Array(MOST_LESIONS + 1));
	labels.forEach((label, at) => {
		if (label) beside(at, width, height, (next) => { if (piece[next] >= 0) contacts[piece[next]][label]++; });
	});
	const filled = pieces.map(({left, right, top, bottom}, number) => {
		const open = !left || !top || right === width - 1 || bottom === height - 1;
		return open ? 0 : contacts[number].indexOf(Math.max(...contacts[number]));
	});
	return labels.map((label, at) => label || filled[piece[at]]);
}

export function keepLargest(map) {
	const {piece, pieces} = findPieces(map);
	const largest = [...pieces].sort(bySize)[0];
	return map.labels.map((label, index) => (pieces[piece[index]] === largest ? label : 0));
}

// Labels with the mask of a box (left, top, right, bottom edge) in place of the pieces that lie at least half in it. The
// largest of them gives it its number, else it is `lesion`. Other pieces keep their pixels unless `over`.
export function replacePieces(map, [left, top, right, bottom], mask, {lesion, over}) {
	const {piece, pieces} = findPieces(map), inside = new Uint32Array(pieces.length);
	piece.forEach((number, at) => {
		const x = at % map.width, y = (at - x) / map.width;
		if (number >= 0 && x + 0.5 >= left && x + 0.5 < right && y + 0.5 >= top && y + 0.5 < bottom) inside[number]++;
	});
	const gone = pieces.map(({size}, number) => 2 * inside[number] >= size);
	const [largest] = pieces.filter((_, number) => gone[number]).sort(bySize);
	return map.labels.map((label, at) => {
		const kept = gone[piece[at]] ? 0 : label;
		return mask[at] && (over || !kept) ? largest?.label ?? lesion : kept;
	});
}

const upwards = (one, other) => one - other;

export function deleteSpecks(map, from, to) {
	const [left, right] = [from.x, to.x].sort(upwards), [top, bottom] = [from.y, to.y].sort(upwards);
	const {piece, pieces} = findPieces(map);
	const within = pieces.map((p) => p.left >= left && p.right <= right && p.top >= top && p.bottom <= bottom);
	return map.labels.map((label, index) => (within[piece[index]] ? 0 : label));
}

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
