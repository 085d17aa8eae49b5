// The slider of a series: a bar for each slice shows how much tumour it has, a dot that it is doubtful.

import {find, onceAFrame} from "../dom.js";

/** Connect the slider below the scan with the viewer. */
export function mountStrip(strip, viewer, scans) {
  const canvas = find("canvas", strip);
  const input = find("input", strip);
  const draw = onceAFrame(() => paint(canvas, viewer));
  const follow = () => {
    strip.hidden = viewer.count < 2;
    input.max = Math.max(1, viewer.count);
    input.value = viewer.index + 1;
    input.setAttribute("aria-valuetext", `Slice ${viewer.index + 1} of ${viewer.count}`);
    draw();
  };
  input.addEventListener("input", () => viewer.show(Number(input.value) - 1));
  for (const type of ["slicechange", "labelschange"]) viewer.addEventListener(type, follow);
  for (const type of ["slice", "complete", "relabel", "select"]) scans.addEventListener(type, follow);
  new ResizeObserver(draw).observe(canvas);
}

function paint(canvas, viewer) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
  canvas.width = width;
  canvas.height = height;
  const slices = viewer.scan?.slices ?? [];
  if (slices.length < 2) return;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(name).trim();
  const areas = slices.map((slice) => slice?.areaPx ?? 0); // counted once, until their labels change
  const most = Math.max(1, ...areas);
  const step = width / slices.length;
  slices.forEach((slice, i) => {
    const [left, right] = [Math.round(i * step), Math.round((i + 1) * step)];
    const wide = Math.max(1, right - left - (step > 4 * ratio ? ratio : 0));
    context.fillStyle = colour(slice ? "--track" : "--track-empty");
    context.fillRect(left, height - 3 * ratio, wide, 3 * ratio);
    context.fillStyle = colour("--lesion");
    const tall = areas[i] ? Math.max(2 * ratio, (areas[i] / most) * (height - 12 * ratio)) : 0;
    context.fillRect(left, height - 3 * ratio - tall, wide, tall);
    if (slice?.doubtful && !slice.edited) dot(context, (left + right) / 2, 4 * ratio, Math.min(2.5 * ratio, Math.max(ratio, step / 2)), colour("--warn-line"));
  });
  context.fillStyle = colour("--ink");
  context.fillRect(Math.round((viewer.index + 0.5) * step - ratio), 0, 2 * ratio, height);
}

function dot(context, x, y, radius, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}
