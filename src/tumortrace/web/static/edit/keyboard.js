// Keys of the corrections, and a cursor that arrows move, so that everything works without a pointer.

import {nearest} from "./labels.js";

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
const FAR = 10; // pixels that an arrow moves the cursor with Shift

// What the help shows: [keys, meaning].
export const EDIT_KEYS = [
  ["B", "Brush"], ["E", "Eraser"], ["T", "Threshold brush"], ["P", "Polygon"], ["X", "Polygon that takes off"],
  ["D", "Delete specks in a box"], ["Esc", "Cancel the stroke; put the tool away"],
  ["Arrows", "Move the cursor by a pixel (with Shift: by ten) while a tool is chosen"],
  ["Enter", "Lower or lift the brush; set a corner"],
  ["Shift+Enter", "Paint once; close the polygon"], ["Backspace", "Remove the last corner"],
  ["[ ] or Shift+wheel", "Smaller or larger brush"],
  ["1 to 9", "Choose a lesion"], ["L", "New lesion"], ["G", "Go to the next lesion"],
  ["F", "Fill holes"], ["K", "Keep the largest lesion"], ["U", "Number the lesions anew"],
  ["R", "Restore the automatic mask"], ["C, V", "Copy the mask from the slice before, after"],
  ["Z or Ctrl+Z", "Undo"], ["Y or Ctrl+Y", "Redo"], ["Ctrl+S", "Download"],
];

// Listen for keys; `panel` is {editor, tool (its name or null), choose(name), download()}.
export function listenForKeys(panel) {
  const cursor = new Cursor(panel);
  document.addEventListener("keydown", (event) => {
    if (!isFree(event) || !panel.editor.scan) return;
    const done = event.ctrlKey || event.metaKey ? pressWithControl(panel, event) : press(panel, cursor, event);
    if (!done) return;
    event.preventDefault();
    event.stopPropagation();
  }, {capture: true});
}

// Whether a key is not meant for a field, a button or an open dialog.
function isFree({target, key, altKey}) {
  if (altKey || document.querySelector("dialog[open]")) return false;
  if (target.closest?.("input:not([type=checkbox]), select, textarea")) return false;
  return !(target.closest?.("button, a, summary, input") && (key === "Enter" || key === " "));
}

function pressWithControl({editor, download}, {key, shiftKey}) {
  const actions = {z: () => (shiftKey ? editor.redo() : editor.undo()), y: () => editor.redo(), s: download};
  actions[key.toLowerCase()]?.();
  return key.toLowerCase() in actions;
}

function press(panel, cursor, {key, shiftKey}) {
  const {editor} = panel, tool = editor.viewer.tool;
  const name = key.length === 1 ? key.toLowerCase() : key;
  if (name in ARROWS) return Boolean(tool) && cursor.move(ARROWS[name], shiftKey ? FAR : 1);
  if (name === "Enter") return Boolean(tool) && cursor.press(tool, shiftKey);
  if (name === "Escape") return Boolean(tool) && (tool.busy ? tool.cancel() : panel.choose(null), true);
  if (name === "Backspace") return Boolean(tool?.removeLast) && (tool.removeLast(), true);
  if (/^[1-9]$/.test(name)) return editor.chooseLesion(Number(name)), true;
  const action = shiftKey ? null : ACTIONS[name];
  action?.(panel, cursor);
  return Boolean(action);
}

const chooses = (name) => (panel) => panel.choose(panel.tool === name ? null : name);
const operates = (name) => ({editor}) => editor.operate(name);

const ACTIONS = {
  b: chooses("brush"), e: chooses("eraser"), t: chooses("threshold"), p: chooses("polygon"), x: chooses("cut"),
  d: chooses("specks"),
  "[": ({editor}) => editor.resize(-1), "]": ({editor}) => editor.resize(1),
  l: ({editor}) => editor.newLesion(), g: (_panel, cursor) => cursor.goToLesion(),
  f: operates("fill"), k: operates("largest"), u: operates("separate"), r: operates("automatic"),
  c: operates("before"), v: operates("after"),
  z: ({editor}) => editor.undo(), y: ({editor}) => editor.redo(),
};

// The place that arrows move: a pixel of the slice. It begins on the lesion that is chosen, or in the middle.
class Cursor {
  constructor({editor}) {
    this.editor = editor;
    this.point = null;
    this.scan = null;
  }

  get place() {
    const {scan, viewer: {slice}} = this.editor;
    if (this.point && this.scan === scan) return this.point;
    const [first] = slice ? this.lesions() : [];
    const [height, width] = scan.sizeHw;
    return first ? {x: first.x, y: first.y} : {x: nearest(width / 2), y: nearest(height / 2)};
  }

  // A pixel of each lesion, the one that is chosen first: the nearest one to its centre.
  lesions() {
    const {settings, scan, viewer: {slice}} = this.editor;
    return scan.measure(slice).map(({number, x, y}) => ({number, ...pixelNear(slice, number, x, y)}))
      .sort((one, other) => (other.number === settings.lesion) - (one.number === settings.lesion));
  }

  move([dx, dy], by) {
    const {scan} = this.editor, {x, y} = this.place, [height, width] = scan.sizeHw;
    const clamp = (value, end) => Math.min(end - 1, Math.max(0, value));
    this.set({x: clamp(x + dx * by, width), y: clamp(y + dy * by, height)});
    return true;
  }

  set(point) {
    const {viewer, scan} = this.editor;
    this.point = point;
    this.scan = scan;
    const at = viewer.toScreen(point.x, point.y), {clientWidth, clientHeight} = viewer.canvas;
    if (at.x < 0 || at.y < 0 || at.x > clientWidth || at.y > clientHeight) viewer.centre(point.x, point.y);
    if (viewer.tool?.busy) viewer.tool.move(point);
    else viewer.tool?.hover(point);
  }

  press(tool, whole) {
    this.set(this.place);
    if (tool.finish && whole) tool.finish();
    else if (tool.busy && !tool.finish) tool.up(this.point);
    else {
      tool.down(this.point);
      if (whole || tool.finish) tool.up(this.point);
    }
    return true;
  }

  goToLesion() {
    const lesions = this.editor.viewer.slice ? this.lesions() : [];
    const here = lesions.findIndex(({x, y}) => this.point?.x === x && this.point?.y === y);
    const next = lesions[(here + 1) % lesions.length];
    if (!next) return void this.editor.viewer.say("No lesion on this slice.");
    this.editor.chooseLesion(next.number);
    this.set({x: next.x, y: next.y});
    return void this.editor.viewer.say(`Lesion ${next.number}.`);
  }
}

function pixelNear({labels, width}, number, x, y) {
  let best = null, least = Infinity;
  labels.forEach((label, index) => {
    if (label !== number) return;
    const column = index % width, row = (index - column) / width, distance = (column - x) ** 2 + (row - y) ** 2;
    if (distance < least) [best, least] = [{x: column, y: row}, distance];
  });
  return best;
}
