// Tables of lesions and of slices. A row brings its lesion or slice into view.

import {colourOf} from "./colours.js";
import {el, find, onceAFrame, onceStill, short} from "../dom.js";

/** Show the lesions of the current scan, and of the current slice. */
export function mountLesions(section, viewer, scans) {
  const series = table("Lesions of the series", ["Lesion", "Volume", "Slices"]);
  const slice = table("Lesions on this slice", ["Lesion", "Area", "Diameter", "Confidence"]);
  const none = el("p", {class: "quiet", text: "None."});
  section.append(series.element, slice.element, none);
  const drawSeries = () => {
    const {scan} = viewer;
    const shown = scan?.kind === "volume" && scan.complete ? scan.measureSeries() : [];
    fill(series, shown.map((one) => seriesRow(one, viewer)));
  };
  const drawSlice = () => {
    const found = viewer.slice ? viewer.scan.measure(viewer.slice) : [];
    fill(slice, found.map((one) => sliceRow(one, viewer)));
    none.hidden = found.length > 0 || !series.element.hidden;
  };
  const drawAll = onceAFrame(() => (drawSeries(), drawSlice()));
  viewer.addEventListener("slicechange", onceStill(drawSlice));
  viewer.addEventListener("labelschange", drawAll);
  for (const type of ["select", "complete", "relabel"]) scans.addEventListener(type, drawAll);
}

function seriesRow({number, voxels, first, last, largest}, viewer) {
  const range = first === last ? `${first + 1}` : `${first + 1}-${last + 1}`;
  return row(number, [viewer.scan.volume(voxels), range], viewer, () => viewer.show(largest));
}

function sliceRow({number, areaPx, x, y, diameterPx, diameterMm, confidence}, viewer) {
  const diameter = diameterMm === null ? `${short(diameterPx)} px` : `${short(diameterMm)} mm`;
  const cells = [viewer.scan.area(areaPx), diameter, confidence?.toFixed(2) ?? ""];
  return row(number, cells, viewer, () => viewer.centre(x, y));
}

function row(number, cells, viewer, go) {
  const swatch = el("i", {class: "swatch", "aria-hidden": "true"});
  swatch.style.background = colourOf(number);
  const mark = (on) => () => {
    viewer.highlight = on ? number : 0;
    viewer.redraw();
  };
  const marks = {focus: mark(true), blur: mark(false)};
  const button = el("button", {type: "button", class: "link", "aria-label": `Show lesion ${number}`, on: marks}, swatch, `${number}`);
  const on = {click: go, pointerenter: mark(true), pointerleave: mark(false)};
  return el("tr", {on}, el("td", {}, button), ...cells.map((text) => el("td", {text})));
}

function table(title, heads) {
  const body = el("tbody");
  const head = el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", {text, scope: "col"}))));
  return {element: el("table", {}, el("caption", {text: title}), head, body), body, key: ""};
}

/** Replace the rows, unless they say what is there already: focus and pointer stay where they are. */
function fill(target, rows) {
  const key = rows.map((each) => each.textContent).join("|");
  target.element.hidden = !rows.length;
  if (key === target.key) return;
  target.key = key;
  target.body.replaceChildren(...rows);
}

/** Show a row for each slice of a series; arrow keys walk through them. */
export function mountSlices(section, viewer, scans) {
  const scroll = find(".scroll", section);
  const {element, body} = table("", ["Slice", "Tumour", "Confidence", "Note"]);
  let rows = [];
  scroll.append(element);
  const build = () => {
    const {scan} = viewer;
    section.hidden = !scan || scan.kind !== "volume";
    rows = section.hidden ? [] : scan.slices.map((_, index) => indexRow(index, viewer));
    body.replaceChildren(...rows);
    rows.forEach((_, index) => write(index));
    mark();
  };
  const write = (index) => rows[index] && writeRow(rows[index], viewer.scan, viewer.scan.slices[index]);
  const mark = () => markRow(rows, viewer.index, scroll);
  const rewrite = onceAFrame(() => rows.forEach((_, index) => write(index)));
  scroll.addEventListener("keydown", (event) => walk(event, viewer, rows));
  scans.addEventListener("select", build);
  scans.addEventListener("slice", ({detail: {scan, slice}}) => scan === viewer.scan && write(slice.index));
  for (const type of ["complete", "relabel"]) scans.addEventListener(type, rewrite);
  viewer.addEventListener("labelschange", () => write(viewer.index));
  viewer.addEventListener("slicechange", onceStill(mark));
}

function indexRow(index, viewer) {
  const label = `Show slice ${index + 1}`;
  const button = el("button", {type: "button", class: "link", "aria-label": label, text: `${index + 1}`});
  const cells = [el("td", {}, button), el("td"), el("td"), el("td", {class: "note"})];
  return el("tr", {on: {click: () => viewer.show(index)}}, ...cells);
}

function writeRow(element, scan, slice) {
  if (!slice) return;
  const [, area, confidence, note] = element.children;
  const {record, state, areaPx} = slice;
  area.textContent = areaPx ? scan.area(areaPx) : "";
  confidence.textContent = record.confidence?.toFixed(2) ?? "";
  note.textContent = state.word;
  note.title = record.reason;
  element.className = state.kind;
}

/** Mark the row of the slice that is shown, the only one that Tab reaches, and bring it into the middle. */
function markRow(rows, current, scroll) {
  rows.forEach((element, index) => {
    if (index === current) element.setAttribute("aria-current", "true");
    else element.removeAttribute("aria-current");
    find("button", element).tabIndex = index === current ? 0 : -1;
  });
  if (rows[current]) scroll.scrollTop = rows[current].offsetTop - scroll.clientHeight / 2;
}

function walk(event, viewer, rows) {
  const step = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10}[event.key];
  if (!step) return;
  event.preventDefault();
  viewer.show(viewer.index + step);
  find("button", rows[viewer.index])?.focus({preventScroll: true});
}
