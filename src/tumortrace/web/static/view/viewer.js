// The canvas that shows one slice with its mask: windowing, zoom, pan and scrolling.

import {onceAFrame, put} from "../dom.js";
import {colourOf, HEAT} from "./colours.js";
import {listen} from "./gestures.js";
import {addOutline, addRuns, traceLabels} from "./outline.js";
import {Raster} from "./raster.js";
import {automaticWindow, fillTable} from "./window.js";

const LARGEST_SCALE = 64;
const SMOOTH_BELOW = 5; // screen pixels per image pixel; from there single pixels are shown
const MARGIN = 12;

// Shows a slice of a scan. Events: slicechange (another slice, or its pixels came), viewchange (zoom, pan, window,
// options) and labelschange (some time after `redraw`, for what is costly to follow).
//
// Screen coordinates are CSS pixels relative to the canvas; in image coordinates integers are pixel centres.
export class Viewer extends EventTarget {
	scan = null;
	index = 0;
	chosen = null; // a tool
	options = {outline: true, opacity: 0.2, heat: false};
	scale = 1; // CSS pixels per image pixel
	ratio = 1; // device pixels per CSS pixel

	#raster = new Raster();
	#heat = new Raster();
	#table = new Uint32Array(65536);
	#origin = {x: 0, y: 0}; // left and top edge of the image, in device pixels
	#fitted = true;
	#schedule = onceAFrame(() => this.draw());
	#timer = 0;

	// `host` is the focusable element that holds the canvas; `say` tells a screen reader a sentence.
	constructor(host, say) {
		super();
		Object.assign(this, {host, say, canvas: host.querySelector("canvas")});
		this.context = this.canvas.getContext("2d", {alpha: false});
		listen(this);
		new ResizeObserver(() => this.#resize()).observe(host);
	}

	// The slice that is shown; null while its pixels have not come.
	get slice() {
		return this.scan?.slices[this.index] ?? null;
	}

	// The tool that was chosen; it rests where there is nothing to paint on.
	get tool() {
		return this.slice?.readable ? this.chosen : null;
	}

	get count() {
		return this.scan?.count ?? 0;
	}

	// Window of the scan that is shown: {centre, width, automatic}.
	get window() {
		return this.scan?.shownWindow ?? {centre: 0, width: 1, automatic: true};
	}

	// Show a scan from one of its slices on; null empties the canvas.
	open(scan, index = 0) {
		const sameSize = String(scan?.sizeHw) === String(this.scan?.sizeHw);
		Object.assign(this, {scan, index});
		if (!sameSize || this.#fitted) this.fit();
		this.#changed("slicechange");
	}

	// Show a slice by its number; numbers beyond the ends show the first or last one.
	show(index) {
		const next = Math.max(0, Math.min(index, this.count - 1));
		if (next === this.index) return;
		this.index = next;
		this.#changed("slicechange");
	}

	receive(scan, index) {
		if (scan !== this.scan || index !== this.index) return;
		if (this.#fitted) this.fit();
		this.#changed("slicechange");
	}

	redraw() {
		this.forget([this.slice]);
	}

	// The labels of slices changed, of those that are not shown, too.
	forget(slices) {
		for (const slice of slices) slice?.touch();
		this.#schedule();
		this.#timer ||= setTimeout(() => {
			this.#timer = 0;
			this.dispatchEvent(new Event("labelschange"));
		}, 120);
	}

	set(options) {
		Object.assign(this.options, options);
		this.#changed("viewchange");
	}

	setWindow(centre, width) {
		if (!this.scan || !(width > 0) || !Number.isFinite(centre)) return;
		this.scan.shownWindow = {centre, width, automatic: false};
		this.#changed("viewchange");
	}

	// Window by the grey values: of the whole scan once it is complete, until then of the slice that is shown.
	resetWindow() {
		const {scan, slice} = this;
		if (!slice) return;
		scan.shownWindow = {...automaticWindow(scan.complete ? scan.ready : [slice]), automatic: true};
		scan.autoWidth = scan.shownWindow.width;
		this.#changed("viewchange");
	}

	// Enlarge by a factor about a point of the screen (by default its middle).
	zoom(factor, at = this.#middle) {
		if (!this.scan?.sizeHw) return;
		const fixed = this.fromScreen(at.x, at.y);
		this.scale = Math.max(Math.min(this.#fitScale() / 4, 1), Math.min(this.scale * factor, LARGEST_SCALE));
		const moved = this.toScreen(fixed.x, fixed.y);
		this.pan(at.x - moved.x, at.y - moved.y);
	}

	pan(dx, dy) {
		this.#fitted = false;
		this.#origin = {x: this.#origin.x + dx * this.ratio, y: this.#origin.y + dy * this.ratio};
		this.#changed("viewchange");
	}

	fit() {
		this.#fitted = true;
		if (!this.scan?.sizeHw) return this.#schedule();
		const [height, width] = this.scan.sizeHw;
		this.scale = this.#fitScale();
		const s = this.scale * this.ratio;
		this.#origin = {x: (this.canvas.width - width * s) / 2, y: (this.canvas.height - height * s) / 2};
		this.#changed("viewchange");
	}

	centre(x, y) {
		const at = this.toScreen(x, y), middle = this.#middle;
		this.pan(middle.x - at.x, middle.y - at.y);
	}

	get #middle() {
		return {x: this.host.clientWidth / 2, y: this.host.clientHeight / 2};
	}

	toImage(event) {
		const {x, y} = this.locate(event);
		return this.fromScreen(x, y);
	}

	locate({clientX, clientY}) {
		const {left, top} = this.canvas.getBoundingClientRect();
		return {x: clientX - left, y: clientY - top};
	}

	fromScreen(x, y) {
		const {left, top, step} = this.#grid;
		return {x: (x * this.ratio - left) / step - 0.5, y: (y * this.ratio - top) / step - 0.5};
	}

	toScreen(x, y) {
		const {left, top, step} = this.#grid;
		return {x: (left + (x + 0.5) * step) / this.ratio, y: (top + (y + 0.5) * step) / this.ratio};
	}

	// First edges of the image and size of its pixels, in device pixels.
	get #grid() {
		return {left: Math.round(this.#origin.x), top: Math.round(this.#origin.y), step: this.scale * this.ratio};
	}

	#fitScale() {
		const [height, width] = this.scan.sizeHw;
		const {clientWidth, clientHeight} = this.host;
		return Math.max(0.01, Math.min((clientWidth - MARGIN) / width, (clientHeight - MARGIN) / height));
	}

	// Give the canvas a whole number of device pixels, so that nothing is resampled.
	#resize() {
		const {canvas, host} = this;
		this.ratio = globalThis.devicePixelRatio;
		for (const [side, size] of [["width", host.clientWidth], ["height", host.clientHeight]]) {
			canvas[side] = Math.floor(size * this.ratio);
			canvas.style[side] = `${canvas[side] / this.ratio}px`;
		}
		if (this.#fitted) this.fit();
		this.draw();
	}

	// Put the canvas onto the grid of device pixels, wherever the layout has put its host.
	#snap() {
		const box = this.host.getBoundingClientRect();
		for (const side of ["left", "top"]) {
			const at = box[side] * this.ratio;
			put(this.canvas.style, side, `${(Math.round(at) - at) / this.ratio}px`);
		}
	}

	#changed(event) {
		this.#schedule();
		this.dispatchEvent(new Event(event));
	}

	draw() {
		if (this.ratio !== globalThis.devicePixelRatio) return void this.#resize();
		this.#snap();
		const {context, canvas, slice} = this;
		context.setTransform(1, 0, 0, 1, 0, 0);
		context.fillStyle = "#0b0d10";
		context.fillRect(0, 0, canvas.width, canvas.height);
		if (!slice) return;
		if (!this.scan.shownWindow) this.resetWindow();
		if (slice.pixels) fillTable(this.#table, slice, this.window);
		this.#drawScaled(slice.rgb ?? (slice.pixels && this.#raster.paint(slice.pixels, this.#table, slice)));
		this.#drawScaled(this.options.heat && slice.probability && this.#heat.paint(slice.probability, HEAT, slice));
		this.#drawLabels(slice);
		context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
		this.tool?.draw?.(context, this);
	}

	#drawScaled(image) {
		const {context} = this, {left, top, step} = this.#grid;
		context.imageSmoothingEnabled = step < SMOOTH_BELOW;
		context.imageSmoothingQuality = step < 1 ? "high" : "low";
		if (image) context.drawImage(image, left, top, image.width * step, image.height * step);
	}

	#drawLabels(slice) {
		const {context, options} = this, {left, top, step} = this.#grid;
		// A screen pixel belongs to the image pixel that its centre lies in, as when a picture is drawn unsmoothed.
		const snapX = (edge) => Math.ceil(left + edge * step - 0.5), snapY = (edge) => Math.ceil(top + edge * step - 0.5);
		const thick = 2 * Math.max(1, Math.round(this.ratio * 0.75));
		slice.shapes ??= traceLabels(slice.labels, slice.width, slice.height);
		for (const [number, shape] of slice.shapes) {
			context.fillStyle = colourOf(number);
			this.#fill(options.opacity, () => addRuns(context, shape, snapX, snapY));
			if (options.outline) this.#fill(1, () => addOutline(context, shape, snapX, snapY, thick));
		}
		context.globalAlpha = 1;
	}

	#fill(opacity, addPath) {
		this.context.globalAlpha = opacity;
		this.context.beginPath();
		addPath();
		this.context.fill();
	}
}
