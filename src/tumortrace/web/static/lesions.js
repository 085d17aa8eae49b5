// Lesions: numbering within a slice, linking across a series, measuring.

import {around, findPieces, MOST_LESIONS} from "./edit/labels.js";

// Write the numbers of the 8-connected components of a mask into `labels`, in the order of their first pixels; more than
// 254 share the last number.
export function labelComponents(mask, width, height, labels) {
	const {piece} = findPieces({labels: mask.map((value) => value > 0), width, height});
	piece.forEach((number, at) => (labels[at] = Math.min(number + 1, MOST_LESIONS)));
}

// Number the components of a stack of label maps, largest first. What touches within a slice or between neighbouring
// slices, corners included, belongs together. Maps in `fixed` (a Set of indices) are left as they are.
export function linkLesions(maps, width, height, fixed) {
	const groups = maps.map((map, i) => (fixed.has(i) || !map.some(Boolean) ? null : new Uint32Array(map.length)));
	const sizes = [0], stack = []; // by group; none is background
	const take = (i, at) => {
		if (!maps[i]?.[at] || groups[i]?.[at] !== 0) return;
		groups[i][at] = sizes.length - 1;
		sizes[sizes.length - 1]++;
		stack.push([i, at]);
	};
	groups.forEach((group, first) => group?.forEach((known, start) => {
		if (known || !maps[first][start]) return;
		sizes.push(0);
		for (take(first, start); stack.length; ) {
			const [i, at] = stack.pop();
			around(at, width, height, (near) => { for (const step of [-1, 0, 1]) take(i + step, near); });
		}
	}));
	const order = [...sizes.keys()].slice(1).sort((a, b) => sizes[b] - sizes[a]);
	const names = new Uint8Array(sizes.length);
	order.forEach((group, i) => (names[group] = Math.min(i + 1, MOST_LESIONS)));
	groups.forEach((group, i) => group?.forEach((number, at) => (maps[i][at] = names[number])));
}

// Measure the lesions of a label map: {number, areaPx, x, y, diameter, confidence}. x, y is the mean of the pixel centres,
// the diameter the longest distance between corners of pixels (in mm if known), confidence the mean probability or null.
export function measureLesions(labels, width, spacingMm, probability) {
	const found = [];
	for (let at = 0; at < labels.length; at++) {
		const number = labels[at];
		if (!number) continue;
		const x = at % width, y = (at - x) / width;
		const one = (found[number] ??= {number, areaPx: 0, x: 0, y: 0, sum: 0, rows: []});
		one.areaPx++;
		one.x += x;
		one.y += y;
		if (probability) one.sum += probability[at];
		(one.rows[y] ??= [x])[1] = x + 1;
	}
	return found.filter(Boolean).map(({number, areaPx, x, y, sum, rows}) => ({
		number, areaPx, x: x / areaPx, y: y / areaPx, diameter: longestDistance(rows, spacingMm ?? [1, 1]),
		confidence: probability ? sum / areaPx / 255 : null,
	}));
}

// Longest distance between corners of the pixels in rows [first column, last column + 1].
function longestDistance(rows, [rowMm, columnMm]) {
	const corners = rows.flatMap((ends, y) => ends.flatMap((x) => [[x * columnMm, y * rowMm], [x * columnMm, (y + 1) * rowMm]]));
	let most = 0;
	for (const [ax, ay] of corners) {
		for (const [bx, by] of corners) most = Math.max(most, (ax - bx) ** 2 + (ay - by) ** 2);
	}
	return Math.sqrt(most);
}
