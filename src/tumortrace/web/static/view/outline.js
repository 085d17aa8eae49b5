// Masks as rectangles on the grid of the screen: every edge of a pixel falls on an edge of a screen pixel.

/**
 * Runs and borders of each lesion of a label map: Map number -> {runs, across, down}, flat arrays of triples.
 * runs: row, first column, last column + 1. across (borders between rows): row edge, first, last + 1 column edge.
 * down (borders between columns): column edge, first, last + 1 row edge. A border of two lesions is the higher one's.
 */
export function traceLabels(labels, width, height) {
  const shapes = new Map();
  const shape = (number) => {
    if (!shapes.has(number)) shapes.set(number, {runs: [], across: [], down: []});
    return shapes.get(number);
  };
  for (let y = 0; y < height; y++) {
    collect(width, (x) => labels[y * width + x], (n, from, to) => shape(n).runs.push(y, from, to));
  }
  for (let y = 0; y <= height; y++) {
    const border = (x) => between(y ? labels[(y - 1) * width + x] : 0, y < height ? labels[y * width + x] : 0);
    collect(width, border, (n, from, to) => shape(n).across.push(y, from, to));
  }
  for (let x = 0; x <= width; x++) {
    const border = (y) => between(x ? labels[y * width + x - 1] : 0, x < width ? labels[y * width + x] : 0);
    collect(height, border, (n, from, to) => shape(n).down.push(x, from, to));
  }
  return shapes;
}

function between(a, b) {
  return a === b ? 0 : Math.max(a, b);
}

/** Report each run of equal numbers other than 0. */
function collect(count, at, report) {
  for (let i = 0; i < count; ) {
    const number = at(i);
    let end = i + 1;
    while (end < count && at(end) === number) end++;
    if (number) report(number, i, end);
    i = end;
  }
}

/** Add the pixels of a lesion to the current path; `snapX` and `snapY` turn edges into screen pixels. */
export function addRuns(ctx, {runs}, snapX, snapY) {
  for (let i = 0; i < runs.length; i += 3) {
    const [top, left] = [snapY(runs[i]), snapX(runs[i + 1])];
    ctx.rect(left, top, snapX(runs[i + 2]) - left, snapY(runs[i] + 1) - top);
  }
}

/** Add the outline of a lesion to the current path, `thick` screen pixels (an even number) wide. */
export function addOutline(ctx, {across, down}, snapX, snapY, thick) {
  const half = thick / 2;
  for (let i = 0; i < across.length; i += 3) {
    const left = snapX(across[i + 1]);
    ctx.rect(left - half, snapY(across[i]) - half, snapX(across[i + 2]) - left + thick, thick);
  }
  for (let i = 0; i < down.length; i += 3) {
    const top = snapY(down[i + 1]);
    ctx.rect(snapX(down[i]) - half, top - half, thick, snapY(down[i + 2]) - top + thick);
  }
}
