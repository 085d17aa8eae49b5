// Mouse, pen, touch and keys on the viewer.

import {on} from "../dom.js";
import {dragWindow} from "./window.js";

const WHEEL_STEP = 60; // of deltaY in pixels: a notch of a mouse's wheel is one slice
const KEY_PAN = 40; // CSS pixels

// Hand pointer, wheel and key events to a viewer, or to its tool.
export function listen(viewer) {
	const {canvas, host} = viewer;
	const state = {pointers: new Map(), drag: null, space: false, wheel: 0};
	on(canvas, "pointerdown", (event) => start(viewer, state, event));
	on(canvas, "pointermove", (event) => move(viewer, state, event));
	on(canvas, "pointerup pointercancel", (event) => end(viewer, state, event));
	on(canvas, "pointerleave", (event) => viewer.tool?.hover?.(null, event));
	on(canvas, "wheel", (event) => turnWheel(viewer, state, event), {passive: false});
	on(host, "keydown", (event) => {
		if (event.key !== " ") return;
		state.space = true;
		event.preventDefault();
	});
	on(globalThis, "keyup blur", ({type, key}) => (state.space &&= type === "keyup" && key !== " "));
}

function start(viewer, state, event) {
	viewer.host.focus({preventScroll: true});
	if (event.button > 1) return;
	event.preventDefault();
	viewer.canvas.setPointerCapture(event.pointerId);
	state.pointers.set(event.pointerId, place(event));
	if (state.pointers.size > 1) {
		if (state.drag === "tool") viewer.tool?.cancel?.(event);
		state.drag = "pinch";
		return;
	}
	state.drag = event.button === 1 || state.space ? "pan" : viewer.tool ? "tool" : "window";
	if (state.drag === "tool") viewer.tool.down?.(viewer.toImage(event), event);
}

function move(viewer, state, event) {
	const before = state.pointers.get(event.pointerId);
	if (!before) return void viewer.tool?.hover?.(viewer.toImage(event), event);
	const now = place(event), dx = now.x - before.x, dy = now.y - before.y;
	if (state.drag === "pinch") pinch(viewer, state, event.pointerId, now);
	if (state.drag === "pan") viewer.pan(dx, dy);
	if (state.drag === "window") turnWindow(viewer, dx, dy);
	if (state.drag === "tool") {
		const events = event.getCoalescedEvents?.() ?? [];
		for (const one of events.length ? events : [event]) viewer.tool?.move?.(viewer.toImage(one), one);
	}
	state.pointers.set(event.pointerId, now);
}

function end(viewer, state, event) {
	if (!state.pointers.delete(event.pointerId)) return;
	if (state.drag === "tool") viewer.tool?.[event.type.slice("pointer".length)]?.(viewer.toImage(event), event);
	if (!state.pointers.size || state.drag !== "pinch") state.drag = null;
}

function turnWindow(viewer, dx, dy) {
	if (!viewer.slice?.pixels) return;
	const {centre, width} = dragWindow(viewer.window, dx, dy, viewer.scan.autoWidth);
	viewer.setWindow(centre, width);
}

function pinch(viewer, state, id, now) {
	const before = state.pointers.get(id);
	const other = [...state.pointers].find(([key]) => key !== id)?.[1];
	if (!other) return;
	const apart = (a) => Math.max(1, Math.hypot(a.x - other.x, a.y - other.y));
	viewer.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
	const middle = {clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2};
	viewer.zoom(apart(now) / apart(before), viewer.locate(middle));
}

function turnWheel(viewer, state, event) {
	event.preventDefault();
	if (!viewer.scan || viewer.tool?.wheel?.(event)) return;
	const pixels = event.deltaY * [1, WHEEL_STEP, 600][event.deltaMode];
	if (event.ctrlKey || event.metaKey || viewer.count === 1) return viewer.zoom(Math.exp(-pixels / 400), viewer.locate(event));
	if (pixels * state.wheel < 0) state.wheel = 0;
	state.wheel += Math.max(-WHEEL_STEP, Math.min(pixels, WHEEL_STEP)); // a notch is 60 to 120 pixels
	const steps = Math.trunc(state.wheel / WHEEL_STEP);
	state.wheel -= steps * WHEEL_STEP;
	if (steps) viewer.show(viewer.index + steps);
}

const place = ({clientX, clientY}) => ({x: clientX, y: clientY});

const step = (slices) => (viewer) => viewer.show(viewer.index + slices);
const pan = (dx, dy) => (viewer) => viewer.pan(dx * KEY_PAN, dy * KEY_PAN);
const turn = (dx, dy) => (viewer) => turnWindow(viewer, dx, dy);
const zoom = (factor) => (viewer) => viewer.zoom(factor);

const KEYS = {
	ArrowUp: step(-1), ArrowDown: step(1), ArrowLeft: step(-1), ArrowRight: step(1), PageUp: step(-10), PageDown: step(10),
	Home: step(-Infinity), End: step(Infinity),
	"shift+ArrowUp": pan(0, 1), "shift+ArrowDown": pan(0, -1), "shift+ArrowLeft": pan(1, 0), "shift+ArrowRight": pan(-1, 0),
	"+": zoom(1.25), "=": zoom(1.25), "-": zoom(0.8), 0: (viewer) => viewer.fit(),
	a: (viewer) => viewer.resetWindow(), ",": turn(0, -10), ".": turn(0, 10), "<": turn(-10, 0), ">": turn(10, 0),
	h: (viewer) => viewer.set({heat: !viewer.options.heat}),
	o: (viewer) => viewer.set({outline: !viewer.options.outline}),
};

// Run the key of an event. Returns whether it meant anything.
export function pressKey(viewer, event) {
	if (event.ctrlKey || event.metaKey || event.altKey || !viewer.scan) return false;
	const arrow = event.shiftKey && event.key.startsWith("Arrow");
	const action = KEYS[arrow ? `shift+${event.key}` : event.key];
	action?.(viewer);
	return Boolean(action);
}
