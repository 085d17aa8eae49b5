// Masks as rectangles on the grid of the screen: every edge of a pixel falls on an edge of a screen pixel.

// Runs and borders of each lesion of a label map: Map number -> {runs, across}, flat arrays of triples.
// runs: row, first column, last column + 1. across (borders between rows): row edge, first, last + 1 column edge; a
// border of two lesions is the higher one's.
export function traceLabels(labels, width, height) {
	const shapes = new Map();
	const add = (kind, y) => (number, from, to) => {
		if (!shapes.has(number)) shapes.set(number, {runs: [], across: []});
		shapes.get(number)[kind].push(y, from, to);
	};
	for (let y = 0; y <= height; y++) {
		const below = y * width, above = below - width;
		if (y < height) collect(width, (x) => labels[below + x], add("runs", y));
		collect(width, (x) => border(y ? labels[above + x] : 0, y < height ? labels[below + x] : 0), add("across", y));
	}
	return shapes;
}

const border = (a, b) => (a === b ? 0 : Math.max(a, b));

// Report each run of equal numbers other than 0.
function collect(count, at, report) {
	for (let i = 0, end; i < count; i = end) {
		const number = at(i);
		for (end = i + 1; end < count && at(end) === number; ) end++;
		if (number) report(number, i, end);
	}
}

// Add the pixels of a lesion to the current path; `snapX` and `snapY` turn edges into screen pixels.
export function addRuns(context, {runs}, snapX, snapY) {
	for (let i = 0; i < runs.length; i += 3) {
		const top = snapY(runs[i]), left = snapX(runs[i + 1]);
		context.rect(left, top, snapX(runs[i + 2]) - left, snapY(runs[i] + 1) - top);
	}
}

// Add the outline of a lesion to the current path, `thick` screen pixels (an even number) wide.
export function addOutline(context, {runs, across}, snapX, snapY, thick) {
	const half = thick / 2;
	for (let i = 0; i < across.length; i += 3) {
		const left = snapX(across[i + 1]);
		context.rect(left - half, snapY(across[i]) - half, snapX(across[i + 2]) - left + thick, thick);
	}
	for (let i = 0; i < runs.length; i += 3) {
		const top = snapY(runs[i]), tall = snapY(runs[i] + 1) - top + thick;
		for (const x of [runs[i + 1], runs[i + 2]]) context.rect(snapX(x) - half, top - half, thick, tall);
	}
}
