// Uploads: from files to scans that fill slice by slice. Each upload writes only into its own scans, and into none once
// it is cancelled, so that a late reply never overwrites anything.

import {segment} from "./api.js";
import {identify} from "./files.js";
import {readMask, readSlice, Scan} from "./scan.js";

const SUFFIX = /\.nii(\.gz)?$/i; // a series goes by the name of its file without it

/** Uploads that run. Events: change (progress), message (detail: {text, kind}), begin (detail: the first scan). */
export class Uploads extends EventTarget {
  running = new Set();

  /** @param {ScanList} scans List that the scans are added to. */
  constructor(scans) {
    super();
    this.scans = scans;
  }

  /** Send files ([{file, path}]) and follow the reply to its end; `url` is where they go. */
  async start(files, {url} = {}) {
    if (!files.length) return this.#say("There is no file in what was dropped.");
    const upload = {files, scans: [], done: 0, total: 0, control: new AbortController()};
    this.running.add(upload);
    this.#changed();
    const {signal} = upload.control;
    try {
      await segment(files, {url, signal, onMessage: (message) => this.#take(upload, message)});
    } catch (error) {
      if (!signal.aborted) this.#say(error.message);
    }
    this.#settle(upload);
    this.running.delete(upload);
    this.#changed();
    return undefined;
  }

  /** Stop all that runs; slices that came stay. */
  cancel() {
    for (const upload of this.running) upload.control.abort(new DOMException("cancelled", "AbortError"));
  }

  async #take(upload, message) {
    const {signal} = upload.control;
    if (message.type === "start") return this.#begin(upload, message);
    const scan = upload.scans[message.item];
    if (message.type === "error") this.#fail(scan, message.message);
    if (message.type === "slice" && scan) {
      const slice = await readSlice(message, scan);
      if (!signal.aborted) this.#addSlice(upload, scan, slice);
    }
    if (message.type === "volume" && scan) await this.#finish(scan, message, signal);
    return undefined;
  }

  async #begin(upload, {model, items, skipped = []}) {
    for (const item of items) upload.scans[item.item] = await this.#makeScan(upload, item, model);
    if (upload.control.signal.aborted) return;
    const fresh = upload.scans.filter((scan) => scan && this.#replace(scan));
    upload.total = fresh.reduce((sum, scan) => sum + scan.slices.length, 0);
    for (const scan of fresh) this.scans.add(scan);
    for (const text of skipped) this.#say(`Skipped: ${typeof text === "string" ? text : text.reason ?? text.file}`, "note");
    if (fresh.length) this.scans.select(fresh[0], 0);
    this.#changed();
  }

  async #makeScan(upload, item, model) {
    const own = upload.files.filter(({path}) => path === item.name || path.replace(SUFFIX, "") === item.name);
    const files = own.length === 1 ? own : upload.files;
    const number = own.length === 1 ? 0 : item.item;
    return new Scan({
      id: await identify(files, number),
      name: item.name,
      kind: item.kind,
      seriesUid: item.series_uid ?? null,
      files: files.map(({file, path}) => Object.assign(file, {path})),
      item: number,
      count: item.slices ?? 1,
      sizeHw: item.size_hw ?? null,
      spacingMm: item.spacing_mm ?? null,
      stepMm: item.step_mm ?? null,
      annotated: Boolean(item.annotated),
      model,
      upload,
    });
  }

  /** Make room for a scan: the same files opened again replace what was open, unless somebody corrected it. */
  #replace(scan) {
    const same = this.scans.items.find((other) => other.id === scan.id);
    if (same?.edited) {
      this.#say(`${scan.name}: is open already, with your corrections; remove it first to segment it again.`, "note");
      scan.upload.scans[scan.upload.scans.indexOf(scan)] = null;
      return false;
    }
    if (same) {
      if (!same.complete) same.upload?.control.abort(new DOMException("replaced", "AbortError"));
      this.scans.remove(same);
    }
    return true;
  }

  #addSlice(upload, scan, slice) {
    scan.slices[slice.index] = slice;
    upload.done++;
    if (scan.kind === "picture") scan.complete = true;
    if (scan.threshold !== scan.model.threshold) scan.applyThreshold(scan.threshold, [slice]);
    this.scans.tell("slice", {scan, slice});
    if (scan.complete) this.scans.tell("complete", scan);
    this.#changed();
  }

  async #finish(scan, {record, changed = []}, signal) {
    const [height, width] = scan.sizeHw;
    const masks = await Promise.all(changed.map((one) => readMask(one.mask_png, width, height)));
    if (signal.aborted) return;
    scan.record = record;
    changed.forEach((one, i) => {
      const slice = scan.slices[one.slice_index];
      Object.assign(slice, {record: one.record, automatic: masks[i]});
      if (!slice.edited) slice.labels.set(masks[i]);
    });
    scan.complete = true;
    scan.applyThreshold(scan.threshold);
    for (const one of changed) this.scans.tell("slice", {scan, slice: scan.slices[one.slice_index]});
    this.scans.tell("relabel", scan);
    this.scans.tell("complete", scan);
  }

  #fail(scan, text) {
    this.#say(text);
    if (!scan) return;
    scan.error = text;
    this.scans.tell("complete", scan);
  }

  /** What an upload left unfinished: scans without a slice go, the others are marked. */
  #settle(upload) {
    for (const scan of upload.scans) {
      if (!scan || scan.complete) continue;
      scan.cancelled = true;
      if (scan.ready.length || scan.error) this.scans.tell("complete", scan);
      else this.scans.remove(scan);
    }
  }

  #say(text, kind = "error") {
    this.dispatchEvent(new CustomEvent("message", {detail: {text, kind}}));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
