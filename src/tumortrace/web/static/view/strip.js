// The slider of a series: a bar for each slice shows how much tumour it has, a dot that it is doubtful.

import {find, on, onceAFrame} from "../dom.js";

export function mountStrip(strip, viewer, scans) {
	const canvas = find("canvas", strip), input = find("input", strip);
	const draw = onceAFrame(() => paint(canvas, viewer));
	const follow = () => {
		strip.hidden = viewer.count < 2;
		input.max = Math.max(1, viewer.count);
		input.value = viewer.index + 1;
		input.ariaValueText = `Slice ${viewer.index + 1} of ${viewer.count}`;
		draw();
	};
	on(input, "input", () => viewer.show(Number(input.value) - 1));
	on(viewer, "slicechange labelschange", follow);
	on(scans, "slice complete relabel select", follow);
	new ResizeObserver(draw).observe(canvas);
}

function paint(canvas, viewer) {
	const slices = viewer.scan?.slices ?? [], ratio = viewer.ratio;
	const width = (canvas.width = canvas.clientWidth * ratio), height = (canvas.height = canvas.clientHeight * ratio);
	const context = canvas.getContext("2d"), style = getComputedStyle(canvas);
	const fill = (colour, ...box) => {
		context.fillStyle = style.getPropertyValue(colour);
		context.fillRect(...box);
	};
	const areas = slices.map((slice) => slice?.areaPx ?? 0);
	const step = width / slices.length, most = Math.max(...areas), line = 3 * ratio;
	slices.forEach((slice, i) => {
		const left = Math.round(i * step), wide = Math.max(1, Math.round((i + 1) * step) - left - (step > 4 * ratio ? ratio : 0));
		fill(slice ? "--track" : "--line", left, height - line, wide, line);
		if (areas[i]) fill("--lesion", left, height - line, wide, Math.min(-line, (areas[i] / most) * (5 * line - height)));
		if (slice?.state.kind === "warn") fill("--warn-line", left + wide / 2 - line / 2, line, line, line);
	});
	fill("--ink", Math.round((viewer.index + 0.5) * step - ratio), 0, 2 * ratio, height);
}
