// Lesions of masks: numbering within a slice, linking across the slices of a series, measuring.

const MOST_LESIONS = 254;

/**
 * Number the 8-connected components of a mask, in the order of their first pixels.
 * Writes 1, 2, ... into `labels` (0 outside) and returns how many there are; more than 254 share the last number.
 */
export function labelComponents(mask, width, height, labels) {
  labels.fill(0);
  const stack = new Int32Array(width * height);
  let count = 0;
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || labels[start]) continue;
    const number = Math.min(++count, MOST_LESIONS);
    flood(mask, width, height, labels, start, number, stack);
  }
  return Math.min(count, MOST_LESIONS);
}

function flood(mask, width, height, labels, start, number, stack) {
  let top = 0;
  stack[top++] = start;
  labels[start] = number;
  while (top) {
    const at = stack[--top];
    const x = at % width;
    const y = (at - x) / width;
    for (let ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++) {
      for (let nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) {
        const next = ny * width + nx;
        if (mask[next] && !labels[next]) {
          labels[next] = number;
          stack[top++] = next;
        }
      }
    }
  }
}

/**
 * Give the components of a stack of label maps numbers that hold for the whole series, largest first.
 * Components belong together when they touch, corners included, within a slice or between neighbouring slices.
 * Maps in `fixed` (a Set of indices) are left as they are. Returns the indices of the maps that changed.
 */
export function linkLesions(maps, width, height, fixed) {
  const { numbered, total } = numberAll(maps, width, height, fixed);
  const parents = Array.from({ length: total + 1 }, (_, i) => i);
  for (let i = 1; i < maps.length; i++) {
    if (numbered[i] && numbered[i - 1]) join(numbered[i - 1], numbered[i], width, height, parents);
  }
  const names = nameBySize(numbered, parents, total);
  return maps.map((map, i) => (rename(map, numbered[i], names) ? i : -1)).filter((i) => i >= 0);
}

/** Components of each map, as numbers that are unique in the stack; null for maps that are empty or fixed. */
function numberAll(maps, width, height, fixed) {
  let total = 0;
  const scratch = new Uint8Array(width * height);
  const numbered = maps.map((map, i) => {
    if (fixed.has(i) || !map.some((value) => value)) return null;
    const count = labelComponents(map, width, height, scratch);
    const numbers = Uint32Array.from(scratch, (value) => (value ? value + total : 0));
    total += count;
    return numbers;
  });
  return { numbered, total };
}

function join(before, after, width, height, parents) {
  for (let at = 0; at < after.length; at++) {
    if (!after[at]) continue;
    const x = at % width;
    const y = (at - x) / width;
    for (let ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++) {
      for (let nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) {
        const other = before[ny * width + nx];
        if (other) parents[root(parents, after[at])] = root(parents, other);
      }
    }
  }
}

function root(parents, number) {
  while (parents[number] !== number) {
    parents[number] = parents[parents[number]];
    number = parents[number];
  }
  return number;
}

/** New number of each component: its group's rank by size; groups of one size in the order of their first slices. */
function nameBySize(numbered, parents, total) {
  const sizes = new Map();
  for (const numbers of numbered) {
    if (!numbers) continue;
    for (const number of numbers) {
      if (!number) continue;
      const group = root(parents, number);
      sizes.set(group, (sizes.get(group) ?? 0) + 1);
    }
  }
  const order = [...sizes.keys()].sort((a, b) => sizes.get(b) - sizes.get(a)); // stable
  const rank = new Map(order.map((group, i) => [group, Math.min(i + 1, MOST_LESIONS)]));
  return Uint8Array.from({ length: total + 1 }, (_, number) => (number ? rank.get(root(parents, number)) ?? 0 : 0));
}

function rename(map, numbers, names) {
  if (!numbers) return false;
  let changed = false;
  for (let at = 0; at < map.length; at++) {
    const name = names[numbers[at]];
    if (map[at] !== name) {
      map[at] = name;
      changed = true;
    }
  }
  return changed;
}

/**
 * Measure the lesions of one label map, by number.
 * Each: {number, areaPx, areaMm2, x, y, diameterPx, diameterMm, confidence}; x, y is the mean of the pixel centres,
 * the diameter the longest distance between two corners of its pixels, mm values null without spacing, confidence the
 * mean probability (null without a map).
 */
export function measureLesions(labels, width, height, spacingMm, probability) {
  const found = new Map();
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const number = labels[at];
      if (!number) continue;
      let one = found.get(number);
      if (!one) found.set(number, (one = { number, areaPx: 0, sumX: 0, sumY: 0, sumP: 0, rows: new Map() }));
      one.areaPx++;
      one.sumX += x;
      one.sumY += y;
      if (probability) one.sumP += probability[at];
      const ends = one.rows.get(y);
      if (ends) ends[1] = x;
      else one.rows.set(y, [x, x]);
    }
  }
  return [...found.values()].sort((a, b) => a.number - b.number).map((one) => finish(one, spacingMm, probability));
}

function finish({ number, areaPx, sumX, sumY, sumP, rows }, spacingMm, probability) {
  return {
    number,
    areaPx,
    areaMm2: spacingMm ? areaPx * spacingMm[0] * spacingMm[1] : null,
    x: sumX / areaPx,
    y: sumY / areaPx,
    diameterPx: longestDistance(rows, [1, 1]),
    diameterMm: spacingMm ? longestDistance(rows, spacingMm) : null,
    confidence: probability ? sumP / areaPx / 255 : null,
  };
}

/** Longest distance between corners of the pixels in rows {y: [first x, last x]}: both lie on the convex hull. */
function longestDistance(rows, [rowMm, columnMm]) {
  const corners = [];
  for (const [y, [first, last]] of rows) {
    for (const edge of [y, y + 1]) corners.push([first, edge], [last + 1, edge]);
  }
  const hull = convexHull(corners);
  let most = 0;
  for (const [ax, ay] of hull) {
    for (const [bx, by] of hull) most = Math.max(most, ((ax - bx) * columnMm) ** 2 + ((ay - by) * rowMm) ** 2);
  }
  return Math.sqrt(most);
}

/** Corners of the convex hull, by Andrew's monotone chain. */
function convexHull(points) {
  const sorted = points.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (list) => {
    const chain = [];
    for (const p of list) {
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1), p) <= 0) chain.pop();
      chain.push(p);
    }
    return chain;
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

function turn(a, b, c) {
  return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
}
