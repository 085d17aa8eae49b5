// The list of what is open, and the order in which it is best corrected.

import { colourOf } from "./colours.js";
import { automaticWindow, fillTable } from "./window.js";
import { count, el, find, onceAFrame, short } from "../dom.js";

const EVERY_NTH_AT_RANDOM = 4;
const THUMBNAIL_PX = 44;

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
    ordered.push({ scan: rest.splice(at, 1)[0], random: drawn });
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
    const kept = order.filter(({ scan }) => scans.items.includes(scan));
    const fresh = scans.items.filter((scan) => !kept.some((one) => one.scan === scan));
    const all = [...kept, ...fresh.map((scan) => ({ scan, random: false }))];
    order = byDoubt ? all : scans.items.map((scan) => ({ scan, random: false }));
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
  return () => order.map(({ scan }) => scan);
}

function item({ scan, random }, scans) {
  const name = scan.name.split("/").pop();
  const open = el(
    "button",
    { type: "button", class: "case", "aria-current": scan === scans.current ? "true" : null, on: { click: () => scans.select(scan) } },
    thumbnail(scan),
    el("span", { class: "text" }, el("b", { text: name, title: scan.name }), el("span", { class: "quiet", text: describe(scan) })),
    ...badges(scan, random),
  );
  const remove = el("button", {
    type: "button", class: "remove", "aria-label": `Remove ${name}`, text: "×", on: { click: () => confirmRemoval(scan, scans) },
  }); // prettier-ignore
  return el("li", {}, open, remove);
}

function confirmRemoval(scan, scans) {
  if (scan.edited && !confirm(`Remove ${scan.name} with your corrections?`)) return;
  if (!scan.complete) scan.upload?.control.abort(new DOMException("removed", "AbortError"));
  scans.remove(scan);
}

function describe(scan) {
  const { ready } = scan;
  if (!ready.length) return scan.error ? "not readable" : "waiting";
  if (scan.kind === "picture") return describePicture(scan, ready[0]);
  if (!scan.complete) return `${ready.length} of ${count(scan.slices.length, "slice")}${scan.cancelled ? ", stopped" : ""}`;
  const shown = ready.filter((slice) => slice.areaPx).length;
  return shown ? `tumour on ${shown} of ${count(ready.length, "slice")}` : `no tumour on ${count(ready.length, "slice")}`;
}

function describePicture(scan, slice) {
  if (slice.record.status !== "ok" && !slice.edited) return slice.record.status === "rejected" ? "not segmented" : "not readable";
  const area = slice.areaPx;
  if (!area) return "no tumour found";
  return scan.spacingMm ? `tumour, ${short(area * scan.spacingMm[0] * scan.spacingMm[1])} mm²` : `tumour, ${short(area)} px`;
}

function badges(scan, random) {
  const found = [];
  const status = scan.record?.status ?? (scan.kind === "picture" ? scan.ready[0]?.record.status : "ok");
  if (scan.edited) found.push(el("span", { class: "badge good", text: "corrected" }));
  else if (status === "rejected" || status === "error") found.push(el("span", { class: "badge bad", text: status === "error" ? "failed" : "rejected" }));
  else if (scan.ready.some((slice) => slice.doubtful)) found.push(el("span", { class: "badge warn", text: "check" }));
  if (random) found.push(el("span", { class: "badge", text: "random" }));
  return found;
}

/** The slice with the largest mask, small, with its mask. */
function thumbnail(scan) {
  const canvas = el("canvas", { width: THUMBNAIL_PX * 2, height: THUMBNAIL_PX * 2, "aria-hidden": "true" });
  const { ready } = scan;
  if (!ready.length) return canvas;
  const slice = ready.reduce((best, one) => ((one.record.area_px ?? 0) > (best.record.area_px ?? 0) ? one : best));
  const context = canvas.getContext("2d");
  const scale = Math.min(canvas.width / slice.width, canvas.height / slice.height);
  const box = [(canvas.width - slice.width * scale) / 2, (canvas.height - slice.height * scale) / 2, slice.width * scale, slice.height * scale];
  if (slice.rgb) context.drawImage(slice.rgb, ...box);
  else if (slice.pixels) context.drawImage(paintSmall(slice), ...box);
  return canvas;
}

const cache = new WeakMap();

function paintSmall(slice) {
  const key = slice.automatic;
  if (cache.has(key)) return cache.get(key);
  const canvas = el("canvas", { width: slice.width, height: slice.height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(slice.width, slice.height);
  const words = new Uint32Array(image.data.buffer);
  const table = new Uint32Array(65536);
  fillTable(table, slice, automaticWindow([slice]));
  const amber = 0xff000000 | Number(`0x${colourOf(1).slice(5, 7)}${colourOf(1).slice(3, 5)}${colourOf(1).slice(1, 3)}`);
  for (let i = 0; i < words.length; i++) words[i] = slice.automatic[i] ? amber : table[slice.pixels[i]];
  context.putImageData(image, 0, 0);
  cache.set(key, canvas);
  return canvas;
}
