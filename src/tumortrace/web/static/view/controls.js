// Controls of the display: threshold, fill, window, and the buttons below the scan.

import {find, put, short} from "../dom.js";
import {nextDoubtful} from "./doubtful.js";

/** Connect the panel "Display" with the viewer. */
export function mountDisplay(section, viewer, scans) {
  const input = (name) => find(`[name=${name}]`, section);
  const [threshold, opacity, centre, width] = ["threshold", "opacity", "centre", "width"].map(input);
  threshold.addEventListener("input", () => {
    moveThreshold(threshold, viewer, [viewer.slice]);
    follow();
  });
  threshold.addEventListener("change", () => {
    moveThreshold(threshold, viewer, viewer.scan?.ready ?? []);
    if (viewer.scan) scans.tell("relabel", viewer.scan);
  });
  opacity.addEventListener("input", () => viewer.set({opacity: Number(opacity.value) / 100}));
  for (const each of [centre, width]) {
    each.addEventListener("change", () => viewer.setWindow(Number(centre.value), Number(width.value)));
  }
  input("automatic").addEventListener("click", () => viewer.resetWindow());
  const follow = () => {
    showThreshold(section, threshold, viewer);
    put(find("output", opacity.parentElement), "value", `${opacity.value} %`);
    showWindow(section, centre, width, viewer);
  };
  for (const type of ["slicechange", "viewchange", "labelschange"]) viewer.addEventListener(type, follow);
}

/** Threshold of a slider in hundredths; the step nearest to the model's own is the model's own. */
function moveThreshold(slider, viewer, slices) {
  const {scan} = viewer;
  if (!scan || !slices[0]) return;
  const own = scan.model.threshold;
  const value = Number(slider.value);
  scan.applyThreshold(value === Math.round(own * 100) ? own : value / 100, slices);
  viewer.forget(slices);
}

function showThreshold(section, slider, viewer) {
  const {scan, slice} = viewer;
  if (!scan) return;
  const own = scan.threshold === scan.model.threshold;
  put(slider, "value", `${Math.round(scan.threshold * 100)}`);
  put(slider, "disabled", !slice?.probability);
  put(find("output", slider.parentElement), "value", scan.threshold.toFixed(2) + (own ? " (default)" : ""));
  put(find("[data-note=threshold]", section), "hidden", !slice?.edited);
}

function showWindow(section, centre, width, viewer) {
  put(find("fieldset", section), "disabled", !viewer.slice?.pixels);
  const {centre: level, width: wide} = viewer.window;
  if (document.activeElement !== centre) put(centre, "value", `${Number(level.toPrecision(4))}`);
  if (document.activeElement !== width) put(width, "value", `${Number(wide.toPrecision(4))}`);
}

/** Connect the buttons below the scan. */
export function mountTools(section, viewer, scans, order) {
  const actions = {
    previous: () => viewer.show(viewer.index - 1),
    next: () => viewer.show(viewer.index + 1),
    doubtful: () => nextDoubtful(viewer, scans, order(), 1),
    out: () => viewer.zoom(0.8),
    in: () => viewer.zoom(1.25),
    fit: () => viewer.fit(),
    outline: () => viewer.set({outline: !viewer.options.outline}),
    heat: () => viewer.set({heat: !viewer.options.heat}),
  };
  for (const [name, action] of Object.entries(actions)) find(`[data-do=${name}]`, section).addEventListener("click", action);
  const follow = () => {
    for (const name of ["outline", "heat"]) put(find(`[data-do=${name}]`, section), "ariaPressed", `${viewer.options[name]}`);
    put(find(".series", section), "hidden", viewer.count < 2);
  };
  for (const type of ["slicechange", "viewchange"]) viewer.addEventListener(type, follow);
}

/** Write name, place, window and zoom into the corners of the viewer. */
export function mountCorners(host, viewer) {
  const write = (name, text) => put(find(`.corner.${name}`, host), "textContent", text);
  const wait = find(".wait", host);
  let under = null;
  const follow = () => {
    const {scan, slice} = viewer;
    const {centre, width, automatic} = viewer.window;
    const window = slice?.pixels ? `L ${short(centre)} W ${short(width)}${automatic ? " auto" : ""}` : "";
    write("name", scan?.title ?? "");
    write("place", viewer.count > 1 ? `${viewer.index + 1} / ${viewer.count}` : "");
    write("grey", readPoint(slice, under) ?? window);
    write("scale", `${Math.round(viewer.scale * 100)} %`);
    put(wait, "hidden", !scan || Boolean(slice));
    if (!wait.hidden) wait.textContent = scan?.cancelled ? "This slice was not segmented: the upload was stopped." : "This slice is not ready yet.";
  };
  viewer.addEventListener("point", ({detail}) => {
    under = {x: Math.round(detail.x), y: Math.round(detail.y)};
    follow();
  });
  host.addEventListener("pointerleave", () => {
    under = null;
    follow();
  });
  for (const type of ["slicechange", "viewchange"]) viewer.addEventListener(type, follow);
}

/** Place, value and probability of the pixel below the pointer; null outside. */
function readPoint(slice, point) {
  if (!slice || !point || point.x < 0 || point.y < 0 || point.x >= slice.width || point.y >= slice.height) return null;
  const at = point.y * slice.width + point.x;
  const value = slice.pixels ? `value ${short(slice.pixels[at] * slice.slope + slice.intercept)}` : "";
  const probability = slice.probability ? `tumour ${(slice.probability[at] / 255).toFixed(2)}` : "";
  return [`x ${point.x} y ${point.y}`, value, probability].filter(Boolean).join(" · ");
}
