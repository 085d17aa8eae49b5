// Curves of the trainings in a folder of runs, where the server was started with one.

import {fetchJson} from "../api.js";
import {drawing, el, on} from "../dom.js";

const EVERY_MS = 5000;
const [WIDTH, HEIGHT] = [520, 110];

// Show the curves and follow them while the section is on screen; without runs the section stays hidden.
export async function mountCurves(section) {
	const {runs} = await fetchJson("api/runs").catch(() => ({runs: []}));
	section.hidden = !runs.length;
	if (!runs.length) return;
	const select = el("select", {"aria-label": "Run"}, ...runs.map((text) => el("option", {text})));
	const figure = el("figure");
	section.append(select, figure);
	const draw = async () => {
		if (document.hidden || !section.checkVisibility()) return;
		const metrics = await fetchJson(`api/runs/${encodeURIComponent(select.value)}/metrics`).catch(() => null);
		if (metrics) figure.replaceChildren(...charts(metrics));
	};
	on(select, "change", draw);
	setInterval(draw, EVERY_MS);
	draw();
}

function charts({epochs, curves}) {
	const text = epochs.length ? `Epoch ${epochs.at(-1)}` : "No epoch is finished yet.";
	return [...Object.entries(curves).map(([name, values]) => chart(name, epochs, values)), el("figcaption", {class: "quiet", text})];
}

// One curve as a line; values that were not measured in an epoch are null.
function chart(name, epochs, values) {
	const known = epochs.map((epoch, i) => [epoch, values[i]]).filter(([, value]) => value !== null);
	const [least, most] = [Math.min, Math.max].map((choose) => choose(...known.map(([, value]) => value)));
	const x = (epoch) => ((epoch - epochs[0]) / (epochs.at(-1) - epochs[0] || 1)) * WIDTH;
	const y = (value) => HEIGHT - 5 - ((value - least) / (most - least || 1)) * (HEIGHT - 10);
	const points = known.map(([epoch, value]) => `${x(epoch)},${y(value)}`).join(" ");
	const text = `${name.replace("_", " ")}: ${known.at(-1)[1].toPrecision(3)}`;
	return el("div", {}, el("p", {text}), drawing(`0 0 ${WIDTH} ${HEIGHT}`, `<polyline points="${points}"/>`));
}
