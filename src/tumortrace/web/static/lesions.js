// Lesions of masks: numbering within a slice, linking across the slices of a series, measuring.

const MOST_LESIONS = 254;

// Call `visit` with the index of each pixel of the 3 x 3 block around a pixel, as far as it lies in the slice.
function around(at, width, height, visit) {
	const x = at % width, y = (at - x) / width;
	for (let ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++) {
		for (let nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) visit(ny * width + nx);
	}
}

// Number the 8-connected components of a mask, in the order of their first pixels.
// Writes 1, 2, ... into `labels` (0 outside) and returns how many there are; more than 254 share the last number.
export function labelComponents(mask, width, height, labels) {
	labels.fill(0);
	const stack = [];
	let count = 0;
	for (let start = 0; start < mask.length; start++) {
		if (!mask[start] || labels[start]) continue;
		const number = (count = Math.min(count + 1, MOST_LESIONS));
		const take = (at) => {
			if (!mask[at] || labels[at]) return;
			labels[at] = number;
			stack.push(at);
		};
		for (take(start); stack.length; ) around(stack.pop(), width, height, take);
	}
	return count;
}

// Give the components of a stack of label maps numbers that hold for the whole series, largest first.
// Components belong together when they touch, corners included, within a slice or between neighbouring slices.
// Maps in `fixed` (a Set of indices) are left as they are.
export function linkLesions(maps, width, height, fixed) {
	const parents = [0];
	const numbered = maps.map((map, i) => (fixed.has(i) ? null : numberOn(map, width, height, parents)));
	numbered.forEach((numbers, i) => {
		if (numbers && numbered[i - 1]) join(numbered[i - 1], numbers, width, height, parents);
	});
	const names = nameBySize(numbered, parents);
	numbered.forEach((numbers, i) => numbers?.forEach((number, at) => (maps[i][at] = names[number])));
}

// Components of a map, as numbers that go on from those in `parents`; null for an empty map.
function numberOn(map, width, height, parents) {
	if (!map.some((value) => value)) return null;
	const labels = new Uint8Array(map.length), before = parents.length - 1;
	for (let i = labelComponents(map, width, height, labels); i; i--) parents.push(parents.length);
	return Uint32Array.from(labels, (value) => value && value + before);
}

function join(before, after, width, height, parents) {
	after.forEach((number, at) => {
		if (number) around(at, width, height, (other) => {
			if (before[other]) parents[root(parents, number)] = root(parents, before[other]);
		});
	});
}

function root(parents, number) {
	while (parents[number] !== number) number = parents[number] = parents[parents[number]];
	return number;
}

// New number of each component: its group's rank by size; groups of one size in the order of their first slices.
function nameBySize(numbered, parents) {
	const sizes = new Map();
	for (const numbers of numbered) {
		for (const number of numbers ?? []) {
			const group = root(parents, number);
			if (number) sizes.set(group, (sizes.get(group) ?? 0) + 1);
		}
	}
	const order = [...sizes.keys()].sort((a, b) => sizes.get(b) - sizes.get(a)); // stable
	const rank = new Map(order.map((group, i) => [group, Math.min(i + 1, MOST_LESIONS)]));
	return parents.map((_, number) => rank.get(root(parents, number)) ?? 0);
}

// Measure the lesions of one label map, by number: {number, areaPx, x, y, diameter, confidence}. x, y is the mean of the
// pixel centres, the diameter the longest distance between two corners of its pixels (in mm, without spacing in pixels),
// confidence the mean probability (null without a map).
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
