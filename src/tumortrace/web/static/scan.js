// The model of the page: scans, their slices, and the list of what is open.

import { labelComponents, linkLesions, measureLesions } from "./lesions.js";
import { bytesFromBase64, decodeGreyPng, inflate } from "./png.js";

/** One slice: pixels as stored, the server's record and mask, and the label map that a person corrects. */
export class Slice {
  /**
   * @param {number} index Number of the slice, from 0.
   * @param {object} fields width, height, pixels (Uint16Array or null), rgb (ImageBitmap or null), slope, intercept,
   *   window ({centre, width} in stored * slope + intercept), record, labels and automatic (Uint8Array, 0 background,
   *   n lesion n, row by row), probability (Uint8Array, 255 = 1, or null).
   */
  constructor(index, fields) {
    this.index = index;
    this.edited = false;
    Object.assign(this, fields);
  }

  /** Whether the server asks a person to look at its mask. */
  get doubtful() {
    return this.record.status === "ok" && this.record.review;
  }

  /** Number of pixels that belong to a lesion. */
  get areaPx() {
    let count = 0;
    for (const value of this.labels) if (value) count++;
    return count;
  }
}

/** One case: a picture or a series of slices that belong together. */
export class Scan {
  /**
   * @param {object} fields id, name, kind ("picture" or "volume"), seriesUid, files (File[], each with its path), item (its number in a
   *   request with exactly these files), count (slices), sizeHw (null until the first
   *   slice tells it), spacingMm, stepMm, annotated (whether masks are a person's), model ({name, threshold}).
   */
  constructor(fields) {
    this.slices = new Array(fields.count).fill(null);
    this.record = null;
    this.error = null;
    this.complete = false;
    this.cancelled = false;
    this.threshold = fields.model.threshold;
    Object.assign(this, fields);
  }

  /** Slices that came, in order. */
  get ready() {
    return this.slices.filter((slice) => slice);
  }

  /** Volume of a voxel in mm3; null where spacing or step is unknown. */
  get voxelMm3() {
    return this.spacingMm && this.stepMm ? this.spacingMm[0] * this.spacingMm[1] * this.stepMm : null;
  }

  get edited() {
    return this.slices.some((slice) => slice?.edited);
  }

  /** Lowest confidence of a slice that has a mask or needs a review; 2 where nothing was segmented. */
  get confidence() {
    const rated = this.ready.filter(({ record }) => record.status === "ok" && (record.tumour || record.review));
    const all = rated.length ? rated : this.ready.filter(({ record }) => record.status === "ok");
    return all.reduce((least, { record }) => Math.min(least, record.confidence ?? 2), 2);
  }

  /** Cut the probability at a threshold, on all slices that nobody edited; at the model's own, take its mask. */
  applyThreshold(threshold, slices = this.ready) {
    this.threshold = threshold;
    for (const slice of slices) if (!slice.edited) cut(slice, threshold, this.model.threshold);
    if (slices.length === this.ready.length) this.link();
  }

  /** Number the lesions over the whole series, largest first. */
  link() {
    const { ready } = this;
    if (this.annotated) return; // lesions that touch would become one
    const fixed = new Set(ready.flatMap((slice, i) => (slice.edited ? [i] : [])));
    linkLesions(ready.map((slice) => slice.labels), this.sizeHw[1], this.sizeHw[0], fixed);
  }

  /** Lesions of one slice by number, measured on the label map as it is now. */
  measure(slice) {
    return measureLesions(slice.labels, slice.width, slice.height, this.spacingMm, slice.probability);
  }

  /** Lesions of the series by number: {number, voxels, mm3, first, last}. */
  measureSeries() {
    const found = new Map();
    for (const slice of this.ready) {
      const counts = new Uint32Array(256);
      for (const value of slice.labels) counts[value]++;
      counts.forEach((voxels, number) => {
        if (!number || !voxels) return;
        const one = found.get(number) ?? { number, voxels: 0, first: slice.index, last: slice.index };
        found.set(number, { ...one, voxels: one.voxels + voxels, last: slice.index });
      });
    }
    return [...found.values()]
      .sort((a, b) => a.number - b.number)
      .map((one) => ({ ...one, mm3: this.voxelMm3 === null ? null : one.voxels * this.voxelMm3 }));
  }
}

function cut(slice, threshold, own) {
  if (threshold === own || !slice.probability) {
    slice.labels.set(slice.automatic);
    return;
  }
  const least = threshold * 255;
  labelComponents(slice.probability.map((value) => (value >= least ? 1 : 0)), slice.width, slice.height, slice.labels);
}

/** What is open, in order, and which slice is shown. Events: change, select, complete and relabel (detail: the scan). */
export class ScanList extends EventTarget {
  items = [];
  current = null;

  add(scan) {
    this.items.push(scan);
    this.tell("change", scan);
  }

  remove(scan) {
    const at = this.items.indexOf(scan);
    if (at < 0) return;
    this.items.splice(at, 1);
    if (this.current === scan) this.select(this.items[Math.min(at, this.items.length - 1)] ?? null, 0);
    this.tell("change", scan);
  }

  /** Show a slice of a scan; with null, nothing. */
  select(scan, index = null) {
    this.current = scan;
    this.dispatchEvent(new CustomEvent("select", { detail: { scan, index } }));
  }

  tell(type, scan) {
    this.dispatchEvent(new CustomEvent(type, { detail: scan }));
  }
}

/** Build a slice from a `slice` message of the stream. */
export async function readSlice(message, scan) {
  const chances = message.probability_png ? await decodeGreyPng(bytesFromBase64(message.probability_png)) : null;
  scan.sizeHw ??= chances ? [chances.height, chances.width] : [1, 1]; // a picture whose header does not say it
  const [height, width] = scan.sizeHw;
  const { pixels, ...grey } = await readPixels(message.pixels, width * height);
  const automatic = await readMask(message.mask_png, width, height);
  const probability = chances?.data ?? null;
  const fields = { width, height, pixels, ...grey, automatic, labels: automatic.slice(), probability };
  return new Slice(message.slice_index ?? 0, { ...fields, record: message.record });
}

async function readPixels(pixels, count) {
  const plain = { pixels: null, rgb: null, slope: 1, intercept: 0, window: { centre: 128, width: 256 } };
  if (!pixels) return plain;
  if (pixels.rgb_png) {
    const blob = new Blob([bytesFromBase64(pixels.rgb_png)], { type: "image/png" });
    return { ...plain, rgb: await createImageBitmap(blob) };
  }
  const bytes = await inflate(bytesFromBase64(pixels.data));
  if (bytes.length !== 2 * count) throw new Error("The server sent pixels of another size than it announced.");
  const [centre, width] = pixels.window;
  const { slope, intercept } = pixels;
  return { ...plain, pixels: new Uint16Array(bytes.buffer), slope, intercept, window: { centre, width } };
}

/** Label map of a mask: lesion numbers as they are; a plain mask of 0 and 255 is numbered, largest lesion first. */
export async function readMask(text, width, height) {
  const labels = new Uint8Array(width * height);
  if (!text) return labels;
  const { data } = await decodeGreyPng(bytesFromBase64(text));
  if (data.every((value) => value === 0 || value === 255)) {
    labels.set(data);
    linkLesions([labels], width, height, new Set());
    return labels;
  }
  labels.set(data);
  return labels;
}
