// Mouse, pen, touch and keys on the viewer.

import { dragWindow } from "./window.js";

const WHEEL_STEP = 60; // of deltaY in pixels: a notch of a mouse's wheel is one slice
const KEY_PAN = 40; // CSS pixels

/** Hand pointer, wheel and key events to a viewer, or to its tool. */
export function listen(viewer) {
  const { canvas, host } = viewer;
  const state = { pointers: new Map(), drag: null, space: false, wheel: 0 };
  canvas.addEventListener("pointerdown", (event) => start(viewer, state, event));
  canvas.addEventListener("pointermove", (event) => move(viewer, state, event));
  canvas.addEventListener("pointerup", (event) => end(viewer, state, event, "up"));
  canvas.addEventListener("pointercancel", (event) => end(viewer, state, event, "cancel"));
  canvas.addEventListener("pointerleave", (event) => viewer.tool?.hover?.(null, event));
  canvas.addEventListener("wheel", (event) => turnWheel(viewer, state, event), { passive: false });
  canvas.addEventListener("auxclick", (event) => event.preventDefault());
  host.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      state.space = true;
      event.preventDefault();
    }
  });
  globalThis.addEventListener("keyup", (event) => event.key === " " && (state.space = false));
  globalThis.addEventListener("blur", () => (state.space = false));
}

function start(viewer, state, event) {
  viewer.host.focus({ preventScroll: true });
  if (event.button > 1) return;
  event.preventDefault();
  viewer.canvas.setPointerCapture(event.pointerId);
  state.pointers.set(event.pointerId, place(event));
  if (state.pointers.size === 2) {
    if (state.drag === "tool") viewer.tool?.cancel?.(event);
    state.drag = "pinch";
  } else if (state.pointers.size === 1) {
    state.drag = event.button === 1 || state.space ? "pan" : viewer.tool ? "tool" : "window";
    if (state.drag === "tool") viewer.tool.down?.(viewer.toImage(event), event);
  }
}

function move(viewer, state, event) {
  const before = state.pointers.get(event.pointerId);
  if (!before) {
    viewer.dispatchEvent(new CustomEvent("point", { detail: viewer.toImage(event) }));
    viewer.tool?.hover?.(viewer.toImage(event), event);
    return;
  }
  const now = place(event);
  if (state.drag === "pinch") pinch(viewer, state, event.pointerId, now);
  else if (state.drag === "pan") viewer.pan(now.x - before.x, now.y - before.y);
  else if (state.drag === "window") turnWindow(viewer, now.x - before.x, now.y - before.y);
  else if (state.drag === "tool") {
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) viewer.tool?.move?.(viewer.toImage(one), one);
  }
  state.pointers.set(event.pointerId, now);
}

function end(viewer, state, event, how) {
  if (!state.pointers.delete(event.pointerId)) return;
  if (state.drag === "tool") viewer.tool?.[how]?.(viewer.toImage(event), event);
  if (!state.pointers.size || state.drag !== "pinch") state.drag = null;
}

function turnWindow(viewer, dx, dy) {
  if (!viewer.slice?.pixels) return;
  const { centre, width } = dragWindow(viewer.window, dx, dy, viewer.scan.autoWidth);
  viewer.setWindow(centre, width);
}

function pinch(viewer, state, id, now) {
  const [otherId] = [...state.pointers.keys()].filter((key) => key !== id);
  const other = state.pointers.get(otherId);
  const before = state.pointers.get(id);
  if (!other) return;
  const box = viewer.canvas.getBoundingClientRect();
  const middle = (a) => ({ x: (a.x + other.x) / 2 - box.left, y: (a.y + other.y) / 2 - box.top });
  const [from, to] = [middle(before), middle(now)];
  viewer.pan(to.x - from.x, to.y - from.y);
  const apart = (a) => Math.max(1, Math.hypot(a.x - other.x, a.y - other.y));
  viewer.zoom(apart(now) / apart(before), to);
}

function turnWheel(viewer, state, event) {
  if (!viewer.scan || viewer.tool?.wheel?.(event)) return event.preventDefault();
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === 1 ? WHEEL_STEP : event.deltaMode === 2 ? 600 : 1);
  if (event.ctrlKey || event.metaKey || viewer.count === 1) {
    const box = viewer.canvas.getBoundingClientRect();
    return viewer.zoom(Math.exp(-pixels / 400), { x: event.clientX - box.left, y: event.clientY - box.top });
  }
  if (Math.sign(pixels) !== Math.sign(state.wheel)) state.wheel = 0;
  state.wheel += Math.max(-WHEEL_STEP, Math.min(pixels, WHEEL_STEP)); // a notch is 60 to 120 pixels
  const steps = Math.trunc(state.wheel / WHEEL_STEP);
  state.wheel -= steps * WHEEL_STEP;
  if (steps) viewer.show(viewer.index + steps);
  return undefined;
}

function place(event) {
  return { x: event.clientX, y: event.clientY };
}

/** Keys of the viewer by name; each is a function of the viewer. */
const KEYS = {
  ArrowUp: (viewer) => viewer.show(viewer.index - 1),
  ArrowDown: (viewer) => viewer.show(viewer.index + 1),
  ArrowLeft: (viewer) => viewer.show(viewer.index - 1),
  ArrowRight: (viewer) => viewer.show(viewer.index + 1),
  PageUp: (viewer) => viewer.show(viewer.index - 10),
  PageDown: (viewer) => viewer.show(viewer.index + 10),
  Home: (viewer) => viewer.show(0),
  End: (viewer) => viewer.show(viewer.count - 1),
  "shift+ArrowUp": (viewer) => viewer.pan(0, KEY_PAN),
  "shift+ArrowDown": (viewer) => viewer.pan(0, -KEY_PAN),
  "shift+ArrowLeft": (viewer) => viewer.pan(KEY_PAN, 0),
  "shift+ArrowRight": (viewer) => viewer.pan(-KEY_PAN, 0),
  "+": (viewer) => viewer.zoom(1.25),
  "=": (viewer) => viewer.zoom(1.25),
  "-": (viewer) => viewer.zoom(0.8),
  0: (viewer) => viewer.fit(),
  a: (viewer) => viewer.resetWindow(),
  ",": (viewer) => turnWindow(viewer, 0, -10),
  ".": (viewer) => turnWindow(viewer, 0, 10),
  "<": (viewer) => turnWindow(viewer, -10, 0),
  ">": (viewer) => turnWindow(viewer, 10, 0),
  h: (viewer) => viewer.set({ heat: !viewer.options.heat }),
  o: (viewer) => viewer.set({ outline: !viewer.options.outline }),
};

/** Run the key of an event; the tool is asked first. Returns whether it meant anything. */
export function pressKey(viewer, event) {
  if (viewer.tool?.key?.(event)) return true;
  if (event.ctrlKey || event.metaKey || event.altKey || !viewer.scan) return false;
  const arrow = event.shiftKey && event.key.startsWith("Arrow");
  const action = KEYS[arrow ? `shift+${event.key}` : event.key];
  action?.(viewer);
  return Boolean(action);
}
