// Controls of the display: threshold, fill, window, and the buttons below the scan.

import {find, on, put, short} from "../dom.js";

export function mountDisplay(section, viewer, scans) {
	const [threshold, opacity, centre, width, automatic] =
		["threshold", "opacity", "centre", "width", "automatic"].map((name) => find(`[name=${name}]`, section));
	const move = (slices) => {
		const own = viewer.scan.model.threshold, value = Number(threshold.value);
		viewer.scan.applyThreshold(value === Math.round(own * 100) ? own : value / 100, slices); // the nearest step is its own
		viewer.forget(slices);
		follow();
	};
	on(threshold, "input", () => move([viewer.slice]));
	on(threshold, "change", () => {
		move(viewer.scan.ready);
		scans.tell("relabel", viewer.scan);
	});
	on(opacity, "input", () => viewer.set({opacity: Number(opacity.value) / 100}));
	for (const each of [centre, width]) on(each, "change", () => viewer.setWindow(Number(centre.value), Number(width.value)));
	on(automatic, "click", () => viewer.resetWindow());
	const follow = () => {
		const {scan, slice, window} = viewer;
		if (!scan) return;
		const own = scan.threshold === scan.model.threshold ? " (default)" : "";
		put(threshold, "value", `${Math.round(scan.threshold * 100)}`);
		put(threshold, "disabled", !slice?.probability);
		put(find("output", threshold.parentElement), "value", scan.threshold.toFixed(2) + own);
		put(find("output", opacity.parentElement), "value", `${opacity.value} %`);
		put(find("p", section), "hidden", !slice?.fixed);
		put(find("fieldset", section), "disabled", !slice?.pixels);
		for (const each of [centre, width]) {
			if (document.activeElement !== each) put(each, "value", `${Number(window[each.name].toPrecision(4))}`);
		}
	};
	on(viewer, "slicechange viewchange labelschange", follow);
}

export function mountTools(section, viewer, scans, order) {
	const actions = {
		previous: () => viewer.show(viewer.index - 1), next: () => viewer.show(viewer.index + 1),
		doubtful: () => nextDoubtful(viewer, scans, order(), 1),
		out: () => viewer.zoom(0.8), in: () => viewer.zoom(1.25), fit: () => viewer.fit(),
		outline: () => viewer.set({outline: !viewer.options.outline}), heat: () => viewer.set({heat: !viewer.options.heat}),
	};
	for (const [name, action] of Object.entries(actions)) on(find(`[data-do=${name}]`, section), "click", action);
	on(viewer, "slicechange viewchange", () => {
		for (const name of ["outline", "heat"]) put(find(`[data-do=${name}]`, section), "ariaPressed", `${viewer.options[name]}`);
		put(find(".series", section), "hidden", viewer.count < 2);
	});
}

// Show the next (step 1) or previous (step -1) doubtful slice of all scans in an order, round the end.
export function nextDoubtful(viewer, scans, order, step) {
	const all = order.flatMap((scan) => scan.slices.map((slice, index) => ({scan, slice, index})));
	const here = all.findIndex((one) => one.scan === viewer.scan && one.index === viewer.index);
	const others = [...all.slice(here + 1), ...all.slice(0, here)];
	const found = (step < 0 ? others.reverse() : others).find(({slice}) => slice?.state.kind === "warn");
	if (!found) viewer.say(`No ${viewer.slice?.state.kind === "warn" ? "other " : ""}doubtful slice.`);
	else if (found.scan === viewer.scan) viewer.show(found.index);
	else scans.select(found.scan, found.index);
}

export function mountCorners(host, viewer) {
	const write = (name, text) => put(find(`.${name}`, host), "textContent", text);
	on(viewer, "slicechange viewchange", () => {
		const {scan, slice, window: {centre, width, automatic}} = viewer;
		write("name", scan?.title ?? "");
		write("place", viewer.count > 1 ? `${viewer.index + 1} / ${viewer.count}` : "");
		write("grey", slice?.pixels ? `L ${short(centre)} W ${short(width)}${automatic ? " auto" : ""}` : "");
		write("scale", slice && !slice.readable ? "" : `${Math.round(viewer.scale * 100)} %`);
		const stopped = scan?.cancelled ? "This slice was not segmented: the upload was stopped." : "This slice is not ready yet.";
		write("wait", scan && !slice ? stopped : "");
	});
}
