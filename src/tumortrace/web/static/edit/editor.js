// The state of the corrections: settings, strokes, and the history of each scan, with a copy in the browser's store.

import {on, onceAFrame, Source} from "../dom.js";
import {History} from "./history.js";
import {MOST_LESIONS, diffLabels, unusedLabel} from "./labels.js";
import {packLabels, unpackLabels} from "./store.js";
import {OPERATIONS} from "./tools.js";

const SAVE_EVERY_MS = 400; // while a stroke is being drawn
export const SIZES = {px: [1, 200], mm: [0.5, 100]};

const newWork = ({id, name}) => ({key: `${id} ${Date.now()} ${Math.floor(performance.now() * 1000)}`, scan: id, name});

// Events: change (settings, history or scan), saved, unsaved (detail: why), told (detail: a sentence).
export class Editor extends Source {
	settings = {size: 10, unit: "px", lesion: 1, over: false, tolerance: 10, away: false};
	stroke = null;
	states = new WeakMap(); // scan -> {history, bases: Map of slice to packed labels, work, stored, lost, applied}

	constructor(viewer, scans) {
		super();
		Object.assign(this, {viewer, scans, store: null});
		this.repaint = onceAFrame(() => viewer.draw()); // where no label changed
		on(viewer, "slicechange", () => this.sliceChanged());
		on(scans, "slice", ({detail}) => this.bringBack(detail.scan, detail.slice));
		on(scans, "complete", ({detail}) => detail.ready.forEach((slice) => this.bringBack(detail, slice)));
	}

	get scan() { return this.viewer.scan; }
	get history() { return this.scan ? this.stateOf(this.scan).history : new History(); }
	get lastStep() { return this.history.steps[this.history.position - 1]; }
	// Whether strokes are neither saved in the browser nor downloaded.
	get unsaved() { return this.scans.items.some((scan) => this.stateOf(scan).lost); }
	get millimetres() { return this.settings.unit === "mm" && Boolean(this.scan?.spacingMm); }

	stateOf(scan) {
		if (!this.states.has(scan)) {
			const work = newWork(scan);
			this.states.set(scan, {history: new History(), bases: new Map(), work, stored: false, applied: new WeakSet()});
		}
		return this.states.get(scan);
	}

	set(settings) {
		Object.assign(this.settings, settings);
		const [least, most] = SIZES[this.settings.unit];
		this.settings.size = Math.min(most, Math.max(least, Math.round(this.settings.size * 2) / 2));
		this.changed();
		this.repaint();
	}

	resize(steps) {
		const {size} = this.settings;
		this.set({size: size + steps * Math.max(1, Math.round(size / 10))});
	}

	chooseLesion(lesion) {
		if (lesion >= 1 && lesion <= MOST_LESIONS) this.set({lesion});
	}

	newLesion() {
		if (this.scan) this.chooseLesion(unusedLabel(this.scan.ready));
	}

	// Half axes of the brush in pixels.
	radius() {
		const half = this.settings.size / 2;
		return this.millimetres ? {x: half / this.scan.spacingMm[1], y: half / this.scan.spacingMm[0]} : {x: half, y: half};
	}

	// Grey values of a slice, and the range that a tolerance is a share of.
	greyOf({pixels, grey, slope}) {
		return {values: pixels ?? grey, range: pixels ? this.viewer.window.width / Math.abs(slope || 1) : 255};
	}

	// A stroke: begin, touched after each change of the labels, then commit or rollback.
	begin(name) {
		this.commit();
		const {scan} = this, {slice} = this.viewer;
		if (!slice) return null;
		this.stroke = {scan, slice, name, before: slice.labels.slice(), timer: 0, partial: false};
		slice.edited = slice.fixed = true;
		return slice;
	}

	touched() {
		this.viewer.redraw();
		this.stroke.timer ||= setTimeout(() => this.savePartial(), SAVE_EVERY_MS);
	}

	commit() {
		const {stroke} = this;
		if (!stroke) return;
		this.stroke = null;
		const {scan, slice, name, before, timer} = stroke, {history, bases} = this.stateOf(scan);
		clearTimeout(timer);
		const step = history.add(slice.index, name, before, slice.labels);
		if (step) this.save(scan, history.position - 1, step, before);
		else if (stroke.partial && this.store) this.saveWhole(scan); // what it saved replaced steps that can be redone
		history.mark(slice);
		if (!slice.fixed) bases.delete(slice.index); // its labels may change before they are drawn on again
		this.viewer.redraw();
		this.changed();
	}

	rollback() {
		this.stroke?.slice.labels.set(this.stroke.before);
		this.commit(); // nothing changed, so that it is no step
	}

	savePartial() {
		const {stroke} = this;
		if (!stroke) return;
		Object.assign(stroke, {timer: 0, partial: true});
		const {scan, slice, name, before} = stroke, runs = diffLabels(before, slice.labels);
		this.save(scan, this.stateOf(scan).history.position, {index: slice.index, name, runs}, before);
	}

	operate(key) {
		const {label, change, fits} = OPERATIONS.find(({name}) => name === key);
		this.commit();
		const {scan} = this, {slice, index} = this.viewer;
		if (!slice) return;
		if (fits && !fits(slice)) return void this.viewer.say(`${label}: nothing to change.`);
		const labels = change({slice, before: scan.slices[index - 1], after: scan.slices[index + 1]});
		if (!labels) return void this.viewer.say(`${label}: there is no such slice.`);
		this.begin(label);
		slice.labels.set(labels);
		const {position} = this.history;
		this.commit();
		this.viewer.say(this.history.position > position ? `${label}: done.` : `${label}: nothing to change.`);
	}

	undo() { this.move("undo"); }
	redo() { this.move("redo"); }

	move(way) {
		this.commit();
		const {scan} = this;
		if (!scan) return;
		const {history, work, stored} = this.stateOf(scan);
		const next = history.steps[way === "undo" ? history.position - 1 : history.position];
		if (!next) return void this.viewer.say(`Nothing to ${way}.`);
		if (!scan.slices[next.index]) return void this.viewer.say(`Slice ${next.index + 1} is still loading.`);
		history[way]((index) => scan.slices[index].labels);
		history.mark(scan.slices[next.index]);
		this.viewer.show(next.index);
		this.viewer.redraw();
		if (stored) this.guard(this.store.savePosition(work, history.position));
		this.viewer.say(`${way === "undo" ? "Undone" : "Redone"}: ${next.name}${scan.slices.length > 1 ? `, slice ${next.index + 1}` : ""}.`);
		this.changed();
	}

	// Write a step; the first time, all steps and the files.
	save(scan, place, step, before) {
		const state = this.stateOf(scan), {bases, history, work} = state;
		const first = !bases.has(step.index);
		if (first) bases.set(step.index, packLabels(before));
		state.lost = !this.store;
		if (state.lost) return;
		if (state.stored) {
			const writing = this.store.saveStep(work, place, step, first ? bases.get(step.index) : null);
			// Steps that were written behind a failed one would be brought back without it.
			this.guard(writing.then((known) => (known && state.stored) || this.saveWhole(scan)), state);
		} else this.saveAll(scan, [...history.steps.slice(0, place), step]);
	}

	saveAll(scan, steps) {
		const state = this.stateOf(scan), {bases, work} = state, {store} = this;
		state.stored = true;
		store.claim(work.key);
		this.guard(Promise.all(steps.map((each, at) => store.saveStep(work, at, each, bases.get(each.index)))), state);
		this.guard(store.saveFiles(work.key, scan.files.map((file) => ({file, path: file.path}))));
	}

	// Take the store, once it is open, and save in it what was drawn before.
	attach(store) {
		this.store = store;
		for (const scan of store ? this.scans.items : []) if (this.stateOf(scan).history.canUndo) this.saveWhole(scan);
	}

	saveWhole(scan) {
		const {history, work} = this.stateOf(scan);
		this.saveAll(scan, history.steps);
		this.guard(this.store.savePosition(work, history.position));
	}

	// Tell what became of a write. After one of steps (`state`: their scan's) failed, the next step saves all of them.
	guard(writing, state = {}) {
		writing.then(() => {
			state.lost = false;
			this.tell("saved");
		}, (error) => {
			Object.assign(state, {stored: false, lost: true});
			this.tell("unsaved", error?.name ?? "unknown");
		});
	}

	// Take up saved work on an open scan, slice by slice as they come, in place of what was drawn since. Of work that is
	// open in another tab, take a copy, which is saved with its next change.
	async restore(scan, key) {
		const own = await this.store.claim(key);
		const {work, steps, bases} = await this.store.load(key);
		if (!work) return;
		this.commit();
		for (const [index, base] of this.stateOf(scan).bases) {
			const slice = scan.slices[index];
			if (slice?.fixed) Object.assign(slice, {edited: false, fixed: false, prompted: false}).labels.set(unpackLabels(base));
		}
		this.states.set(scan, {history: new History(steps, Math.min(work.done, steps.length)), bases,
			work: own ? work : newWork(scan), stored: own, applied: new WeakSet()});
		for (const slice of scan.ready) this.bringBack(scan, slice);
		this.viewer.forget(scan.ready);
		const last = steps[work.done - 1];
		if (last && scan === this.scan) this.viewer.show(last.index);
		this.changed();
	}

	bringBack(scan, slice) {
		const state = this.states.get(scan), base = state?.bases.get(slice?.index);
		if (!base || state.applied.has(slice) || slice.fixed || base.length !== slice.labels.length) return;
		state.applied.add(slice);
		slice.labels.set(unpackLabels(base));
		state.history.replay(slice.index, slice.labels);
		state.history.mark(slice);
		this.viewer.forget([slice]);
		this.changed();
	}

	// Delete saved work; what is open is saved anew with its next change.
	async forget(keys) {
		for (const key of keys) await this.store.forget(key);
		for (const scan of this.scans.items) {
			const state = this.states.get(scan);
			if (state && keys.includes(state.work.key)) state.stored = false;
		}
		this.changed();
	}

	sliceChanged() {
		if (this.stroke && this.stroke.slice !== this.viewer.slice) this.commit();
		this.bringBack(this.scan, this.viewer.slice);
		this.changed();
	}

	changed() { this.tell("change"); }
}
