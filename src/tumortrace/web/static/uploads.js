// Uploads: from files to scans that fill slice by slice. Each writes only into its own scans, until it is cancelled.

import {segment} from "./api.js";
import {count, Source} from "./dom.js";
import {identify} from "./files.js";
import {readMask, readSlice, Scan} from "./scan.js";

const SUFFIX = /\.nii(\.gz)?$/i; // a series goes by the name of its file without it

// Uploads that run, into a list of scans. Events: change (progress), message (detail: {text, kind}).
export class Uploads extends Source {
	running = new Set();

	constructor(scans) {
		super();
		this.scans = scans;
	}

	// Send files ([{file, path}]) and follow the reply to its end; `url` is where they go.
	async start(files, {url} = {}) {
		if (!files.length) return this.#say("There is no file in what was dropped.");
		const control = new AbortController(), {signal} = control;
		const upload = {files, scans: [], done: 0, total: 0, signal, cancel: () => control.abort()};
		this.running.add(upload);
		this.tell("change");
		try {
			await segment(files, {url, signal, onMessage: (message) => this.#take(upload, message)});
		} catch (error) {
			if (!signal.aborted) this.#say(error.message);
		}
		this.#settle(upload);
		this.running.delete(upload);
		return this.tell("change");
	}

	async #take(upload, message) {
		const scan = upload.scans[message.item];
		if (message.type === "start") this.#begin(upload, message);
		if (message.type === "error") this.#fail(scan, message.message);
		if (message.type === "slice" && scan) this.#addSlice(upload, scan, await readSlice(message, scan));
		if (message.type === "volume" && scan) await this.#finish(upload, scan, message);
	}

	#begin(upload, {model, items, skipped = []}) {
		upload.scans = items.map((item) => this.#makeScan(upload, item, model));
		upload.scans = upload.scans.map((scan) => (this.#makeRoom(scan) ? scan : null));
		const fresh = upload.scans.filter(Boolean);
		upload.total = fresh.reduce((sum, scan) => sum + scan.count, 0);
		for (const scan of fresh) this.scans.add(scan);
		const some = skipped.slice(0, 3).join(", ") + (skipped.length > 3 ? " ..." : "");
		if (some) this.#say(`Skipped ${count(skipped.length, "file")}: ${some}`, "note");
		if (fresh.length) this.scans.select(fresh[0], 0);
		this.tell("change");
	}

	#makeScan(upload, sent, model) {
		const own = upload.files.filter(({path}) => path === sent.name || path.replace(SUFFIX, "") === sent.name);
		const [files, item] = own.length === 1 ? [own, 0] : [upload.files, sent.item];
		return new Scan({
			id: identify(files, item), files: files.map(({file, path}) => Object.assign(file, {path})), item, model, upload,
			name: sent.name, kind: sent.kind, count: sent.slices, seriesUid: sent.series_uid, sizeHw: sent.size_hw,
			spacingMm: sent.spacing_mm, stepMm: sent.step_mm, annotated: Boolean(sent.annotated),
		});
	}

	// The same files opened again replace what was open, unless somebody corrected that.
	#makeRoom(scan) {
		const same = this.scans.items.find((other) => other.id === scan.id);
		if (same?.edited) {
			this.#say(`${scan.name}: is open already, with your corrections; remove it to segment it anew.`, "note");
			return false;
		}
		if (same) this.scans.remove(same);
		return true;
	}

	#addSlice(upload, scan, slice) {
		if (upload.signal.aborted) return;
		scan.slices[slice.index] = slice;
		upload.done++;
		scan.complete = scan.kind === "picture";
		if (scan.threshold !== scan.model.threshold) scan.applyThreshold(scan.threshold, [slice]);
		this.scans.tell("slice", {scan, slice});
		if (scan.complete) this.scans.tell("complete", scan);
		this.tell("change");
	}

	async #finish({signal}, scan, {record, changed}) {
		const [height, width] = scan.sizeHw;
		const masks = await Promise.all(changed.map((one) => readMask(one.mask_png, width, height)));
		if (signal.aborted) return;
		Object.assign(scan, {record, complete: true});
		const slices = changed.map((one, i) => Object.assign(scan.slices[one.slice_index], {record: one.record, automatic: masks[i]}));
		scan.applyThreshold(scan.threshold);
		for (const slice of slices) this.scans.tell("slice", {scan, slice});
		this.scans.tell("relabel", scan);
		this.scans.tell("complete", scan);
	}

	#fail(scan, text) {
		this.#say(text);
		if (scan) scan.error = text;
	}

	// What an upload left unfinished: scans without a slice go, the others are marked.
	#settle(upload) {
		for (const scan of upload.scans.filter((one) => one && !one.complete)) {
			scan.cancelled = true;
			if (scan.ready.length || scan.error) this.scans.tell("complete", scan);
			else this.scans.remove(scan);
		}
	}

	#say(text, kind) {
		this.tell("message", {text, kind});
	}
}
