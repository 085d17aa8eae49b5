// The list of keys and gestures.

import { el, find } from "../dom.js";

const KEYS = [
  ["↑ ↓, Page Up, Page Down, Home, End", "slice"],
  ["N, Shift N", "next, previous doubtful slice"],
  ["+ − 0", "zoom in, out, fit"],
  ["Shift and arrows", "pan"],
  ["A", "automatic window"],
  [", . < >", "level down, up; window narrower, wider"],
  ["O, H", "outline, heat map"],
  ["Drag", "window and level"],
  ["Wheel; Ctrl and wheel", "slice; zoom at the pointer"],
  ["Space and drag, middle button", "pan"],
  ["Two fingers", "zoom and pan"],
];

/** Fill the dialog; other parts of the page may add rows of [keys, meaning]. */
export function mountKeys(dialog, rows = KEYS) {
  const line = ([keys, meaning]) => el("tr", {}, el("th", { scope: "row", text: keys }), el("td", { text: meaning }));
  find("tbody", dialog).append(...rows.map(line));
}
