// Curves of the trainings in a folder of runs, where the server was started with one.

import { fetchMetrics, fetchRuns } from "../api.js";
import { el } from "../dom.js";

const EVERY_MS = 5000;
const SIZE = { width: 520, height: 150 };
const SVG = "http://www.w3.org/2000/svg";

/** Show the curves and follow them while the section is on screen; without runs the section stays hidden. */
export async function mountCurves(section) {
  const runs = await fetchRuns().catch(() => []);
  section.hidden = !runs.length;
  if (!runs.length) return;
  const select = el("select", { "aria-label": "Run" }, ...runs.map((name) => el("option", { text: name })));
  const figure = el("figure");
  section.append(select, figure);
  const draw = async () => {
    if (document.hidden || !section.checkVisibility()) return;
    const metrics = await fetchMetrics(select.value).catch(() => null);
    if (metrics) figure.replaceChildren(...charts(metrics));
  };
  select.addEventListener("change", draw);
  setInterval(draw, EVERY_MS);
  draw();
}

function charts({ epochs, curves }) {
  const last = epochs.at(-1);
  const caption = el("figcaption", { class: "quiet", text: last === undefined ? "No epoch is finished yet." : `Epoch ${last}` });
  return [...Object.entries(curves).map(([name, values]) => chart(name, epochs, values)), caption];
}

/** One curve as a line; values that are not measured in an epoch are null. */
function chart(name, epochs, values) {
  const known = values.flatMap((value, i) => (value === null ? [] : [[epochs[i], value]]));
  const [low, high] = [Math.min(...known.map(([, y]) => y)), Math.max(...known.map(([, y]) => y))];
  const [first, last] = [epochs[0], Math.max(epochs.at(-1), epochs[0] + 1)];
  const x = (epoch) => ((epoch - first) / (last - first)) * SIZE.width;
  const y = (value) => SIZE.height - 4 - ((value - low) / (high - low || 1)) * (SIZE.height - 8);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${SIZE.width} ${SIZE.height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", known.length ? `${name}: ${known.at(-1)[1].toPrecision(3)} in epoch ${known.at(-1)[0]}` : name);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", known.map(([epoch, value]) => `${x(epoch)},${y(value)}`).join(" "));
  svg.append(line);
  const value = known.length ? known.at(-1)[1].toPrecision(3) : "–";
  return el("div", { class: "chart" }, el("p", {}, el("b", { text: name }), ` ${value}`), svg);
}
