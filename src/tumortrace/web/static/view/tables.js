// Tables of lesions and of slices. A row brings its lesion or slice into view.

import { colourOf } from "./colours.js";
import { el, find, onceAFrame, short } from "../dom.js";

/** Show the lesions of the current scan, and of the current slice. */
export function mountLesions(section, viewer, scans) {
  const series = table("Lesions of the series", ["Lesion", "Volume", "Slices"]);
  const slice = table("Lesions on this slice", ["Lesion", "Area", "Diameter", "Confidence"]);
  const none = el("p", { class: "quiet", text: "None." });
  section.append(series.element, slice.element, none);
  const drawSeries = () => {
    const { scan } = viewer;
    const shown = scan?.kind === "volume" && scan.complete ? scan.measureSeries() : [];
    fill(series, shown.map((one) => seriesRow(one, viewer)));
    return shown.length;
  };
  const drawSlice = () => {
    const found = viewer.slice ? viewer.scan.measure(viewer.slice) : [];
    fill(slice, found.map((one) => sliceRow(one, viewer)));
    none.hidden = found.length > 0 || !series.element.hidden;
  };
  const drawAll = onceAFrame(() => (drawSeries(), drawSlice()));
  viewer.addEventListener("slicechange", onceAFrame(drawSlice));
  viewer.addEventListener("labelschange", drawAll);
  for (const type of ["select", "complete", "relabel"]) scans.addEventListener(type, drawAll);
}

function seriesRow({ number, voxels, mm3, first, last }, viewer) {
  const size = mm3 === null ? `${short(voxels)} px` : `${short(mm3)} mm³`;
  const range = first === last ? `${first + 1}` : `${first + 1}-${last + 1}`;
  return row(number, [size, range], viewer, () => viewer.show(largest(viewer.scan, number)));
}

function largest(scan, number) {
  const sizes = scan.ready.map((slice) => [slice.index, slice.labels.reduce((sum, value) => sum + (value === number), 0)]);
  return sizes.reduce((best, one) => (one[1] > best[1] ? one : best))[0];
}

function sliceRow({ number, areaPx, areaMm2, x, y, diameterPx, diameterMm, confidence }, viewer) {
  const area = areaMm2 === null ? `${short(areaPx)} px` : `${short(areaMm2)} mm²`;
  const diameter = diameterMm === null ? `${short(diameterPx)} px` : `${short(diameterMm)} mm`;
  return row(number, [area, diameter, confidence === null ? "–" : confidence.toFixed(2)], viewer, () => viewer.centre(x, y));
}

function row(number, cells, viewer, go) {
  const swatch = el("i", { class: "swatch", "aria-hidden": "true" });
  swatch.style.background = colourOf(number);
  const mark = (on) => () => {
    viewer.highlight = on ? number : 0;
    viewer.redraw();
  };
  const button = el("button", { type: "button", class: "link", on: { focus: mark(true), blur: mark(false) } }, swatch, `${number}`);
  button.setAttribute("aria-label", `Show lesion ${number}`);
  const on = { click: go, pointerenter: mark(true), pointerleave: mark(false) };
  return el("tr", { on }, el("td", {}, button), ...cells.map((text) => el("td", { text })));
}

function table(title, heads) {
  const body = el("tbody");
  const head = el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { text, scope: "col" }))));
  const element = el("table", { hidden: true }, el("caption", { text: title }), head, body);
  return { element, body, key: "" };
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
  let rows = [];
  const build = () => {
    const { scan } = viewer;
    section.hidden = !scan || scan.kind !== "volume";
    rows = section.hidden ? [] : scan.slices.map((_, index) => indexRow(index, viewer));
    const heads = ["Slice", "Tumour", "Confidence", "Note"].map((text) => el("th", { text, scope: "col" }));
    const head = el("thead", {}, el("tr", {}, ...heads));
    scroll.replaceChildren(el("table", {}, el("caption", { class: "hidden", text: "Slices" }), head, el("tbody", {}, ...rows)));
    rows.forEach((_, index) => write(index));
    mark();
  };
  const write = (index) => rows[index] && writeRow(rows[index], viewer.scan, viewer.scan.slices[index]);
  const mark = () => markRow(rows, viewer.index, scroll);
  const rewrite = onceAFrame(() => rows.forEach((_, index) => write(index)));
  scroll.addEventListener("keydown", (event) => walk(event, viewer, rows));
  scans.addEventListener("select", build);
  scans.addEventListener("slice", ({ detail: { scan, slice } }) => scan === viewer.scan && write(slice.index));
  for (const type of ["complete", "relabel"]) scans.addEventListener(type, rewrite);
  viewer.addEventListener("labelschange", () => write(viewer.index));
  viewer.addEventListener("slicechange", onceAFrame(mark));
}

function indexRow(index, viewer) {
  const button = el("button", { type: "button", class: "link", tabindex: "-1", text: `${index + 1}` });
  button.setAttribute("aria-label", `Show slice ${index + 1}`);
  const cells = [el("td", {}, button), el("td"), el("td"), el("td", { class: "note" })];
  return el("tr", { on: { click: () => viewer.show(index) } }, ...cells);
}

function writeRow(element, scan, slice) {
  const [, area, confidence, note] = element.children;
  const { record } = slice ?? {};
  const px = slice?.areaPx ?? 0;
  const mm2 = scan.spacingMm && px * scan.spacingMm[0] * scan.spacingMm[1];
  area.textContent = !px ? "" : scan.spacingMm ? `${short(mm2)} mm²` : `${short(px)} px`;
  confidence.textContent = record?.confidence?.toFixed(2) ?? "";
  const words = !slice ? "" : slice.edited ? "corrected" : record.status === "rejected" ? "rejected" : record.status === "error" ? "failed" : record.review ? "check" : "";
  note.textContent = words;
  note.title = slice?.edited ? "" : record?.reason ?? "";
  element.className = { check: "warn", rejected: "bad", failed: "bad", corrected: "good" }[words] ?? "";
}

function markRow(rows, current, scroll) {
  rows.forEach((element, index) => {
    const here = index === current;
    element.toggleAttribute("aria-current", here);
    if (here) element.setAttribute("aria-current", "true");
    find("button", element).tabIndex = here ? 0 : -1;
  });
  if (rows[current]) scroll.scrollTop = rows[current].offsetTop - scroll.clientHeight / 2;
}

function walk(event, viewer, rows) {
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
  if (!step) return;
  event.preventDefault();
  viewer.show(viewer.index + step);
  find("button", rows[viewer.index])?.focus({ preventScroll: true });
}
