// The list of what is open, and the order in which it is best corrected.

import {Raster} from "./raster.js";
import {automaticWindow, fillTable} from "./window.js";
import {count, el, find, onceAFrame} from "../dom.js";

const EVERY_NTH_AT_RANDOM = 4;
const THUMBNAIL_PX = 88; // shown at half that size

/**
 * Order cases for correction: least confident first, and every fourth one drawn at random from the rest.
 * Returns [{scan, random}]. Cases without a mask (rejected, unreadable) come last.
 */
export function orderForCorrection(scans, random = Math.random) {
  const rest = [...scans].sort((a, b) => a.confidence - b.confidence); // stable
  const ordered = [];
  while (rest.length) {
    const drawn = ordered.length % EVERY_NTH_AT_RANDOM === EVERY_NTH_AT_RANDOM - 1 && rest.length > 1;
    const at = drawn ? Math.floor(random() * rest.length) : 0;
    ordered.push({scan: rest.splice(at, 1)[0], random: drawn});
  }
  return ordered;
}

/** Show the list of cases; selecting one opens it. Returns a function that gives the order shown. */
export function mountCases(section, scans) {
  const list = find("ol", section);
  const select = find("select", section);
  const note = find("p", section);
  let order = [];
  const sort = () => {
    const byDoubt = select.value === "doubt";
    const kept = order.filter(({scan}) => scans.items.includes(scan));
    const fresh = scans.items.filter((scan) => !kept.some((one) => one.scan === scan));
    const all = [...kept, ...fresh.map((scan) => ({scan, random: false}))];
    order = byDoubt ? all : scans.items.map((scan) => ({scan, random: false}));
  };
  const draw = onceAFrame(() => {
    sort();
    note.hidden = select.value !== "doubt";
    list.replaceChildren(...order.map((one) => item(one, scans)));
    section.classList.toggle("single", scans.items.length < 2);
  });
  select.addEventListener("change", () => {
    order = select.value === "doubt" ? orderForCorrection(scans.items) : [];
    draw();
  });
  for (const type of ["change", "select", "complete", "slice", "relabel"]) scans.addEventListener(type, draw);
  return () => order.map(({scan}) => scan);
}

function item({scan, random}, scans) {
  const name = scan.title;
  const open = el(
    "button",
    {type: "button", class: "case", "aria-current": scan === scans.current ? "true" : null, on: {click: () => scans.select(scan)}},
    thumbnail(scan),
    el("span", {class: "text"}, el("b", {text: name, title: scan.name}), el("span", {class: "quiet", text: describe(scan)})),
    ...badges(scan, random),
  );
  const remove = el("button", {
    type: "button", class: "remove", "aria-label": `Remove ${name}`, text: "×", on: {click: () => confirmRemoval(scan, scans)},
  }); // prettier-ignore
  return el("li", {}, open, remove);
}

function confirmRemoval(scan, scans) {
  if (scan.edited && !confirm(`Remove ${scan.name} with your corrections?`)) return;
  if (!scan.complete) scan.upload?.control.abort(new DOMException("removed", "AbortError"));
  scans.remove(scan);
}

function describe(scan) {
  const {ready} = scan;
  if (!ready.length) return scan.error ? "not readable" : "waiting";
  if (scan.kind === "picture") return describePicture(scan, ready[0]);
  if (!scan.complete) return `${ready.length} of ${count(scan.slices.length, "slice")}${scan.cancelled ? ", stopped" : ""}`;
  const shown = ready.filter((slice) => slice.areaPx).length;
  return shown ? `tumour on ${shown} of ${count(ready.length, "slice")}` : `no tumour on ${count(ready.length, "slice")}`;
}

function describePicture(scan, slice) {
  if (slice.state.kind === "bad") return slice.record.status === "rejected" ? "not segmented" : "not readable";
  return slice.areaPx ? `tumour, ${scan.area(slice.areaPx)}` : "no tumour found";
}

/** The most pressing state of a picture, or of a series: single slices that are rejected are usual there. */
function badges(scan, random) {
  const whole = scan.kind === "picture" || ["rejected", "error"].includes(scan.record?.status);
  const states = scan.ready.map((slice) => slice.state);
  const found = (whole ? ["good", "bad", "warn"] : ["good", "warn"]).map((kind) => states.find((state) => state.kind === kind));
  const shown = [found.find(Boolean), random && {kind: "", word: "random"}].filter(Boolean);
  return shown.map(({kind, word}) => el("span", {class: `badge ${kind}`, text: word}));
}

/** The slice with the largest mask, small, with its mask. */
function thumbnail(scan) {
  const {ready} = scan;
  if (!ready.length) return el("canvas");
  const slice = ready.reduce((best, one) => (one.record.area_px > (best.record.area_px ?? 0) ? one : best));
  if (!pictures.has(slice.automatic)) pictures.set(slice.automatic, drawSmall(slice));
  return pictures.get(slice.automatic);
}

const pictures = new WeakMap(); // by the mask, which the vote of the neighbours replaces

function drawSmall(slice) {
  const canvas = el("canvas", {width: THUMBNAIL_PX, height: THUMBNAIL_PX, "aria-hidden": "true"});
  const scale = THUMBNAIL_PX / Math.max(slice.width, slice.height);
  const [width, height] = [slice.width * scale, slice.height * scale];
  const picture = slice.rgb ?? (slice.pixels && paint(slice));
  if (picture) canvas.getContext("2d").drawImage(picture, (THUMBNAIL_PX - width) / 2, (THUMBNAIL_PX - height) / 2, width, height);
  return canvas;
}

function paint(slice) {
  const table = new Uint32Array(65537);
  fillTable(table, slice, automaticWindow([slice]));
  table[65536] = 0xff00b0ff; // the tumour, amber
  const values = Uint32Array.from(slice.pixels, (value, i) => (slice.automatic[i] ? 65536 : value));
  return new Raster().paint(values, table, slice);
}
