// Tools that draw on the labels of the slice that is shown: objects {down, move, up, cancel, hover, draw, busy} that the
// viewer calls with image coordinates.

import {deleteSpecks, fillHoles, keepLargest, nearest, paint, polygonSpans, separateLesions, sweepSpans}
	from "./labels.js";
import {ACCEPT} from "./history.js";
import {pointer} from "./prompt.js";
import {drawBox, drawOutline, drawRing} from "./shapes.js";

const CLOSE_PX = 9; // screen pixels within which a click on the first corner closes a polygon
const FREEHAND_PX = 5; // screen pixels between corners that a drag sets

function labelUnder(slice, point) {
	const x = nearest(point.x), y = nearest(point.y);
	return x >= 0 && y >= 0 && x < slice.width && y < slice.height ? slice.labels[y * slice.width + x] : 0;
}

// A disc that paints, erases, or paints only what is as grey as the place where its stroke began.
export function brush(editor, {erase = false, ranged = false} = {}) {
	let slice = null, last = null, cursor = null, accept = null;
	const name = erase ? "Erase" : ranged ? "Threshold brush" : "Brush";
	const drawing = () => last !== null && editor.stroke?.slice === slice; // false once another slice is shown
	const sweep = (point) => {
		const {lesion, over} = editor.settings;
		paint(slice, sweepSpans(last, point, editor.radius(), slice), erase ? 0 : lesion, {over, accept});
		last = point;
		editor.touched();
	};
	return {
		down(point) {
			slice = editor.begin(name);
			if (!slice) return;
			const under = erase || editor.settings.over ? 0 : labelUnder(slice, point);
			if (under) editor.chooseLesion(under); // a stroke that begins on a lesion continues it
			accept = ranged ? similarTo(editor, slice, point) : null;
			last = cursor = point;
			sweep(point);
		},
		move(point) {
			cursor = point;
			if (drawing()) sweep(point);
		},
		up(point) {
			if (drawing() && (point.x !== last.x || point.y !== last.y)) sweep(point);
			if (drawing()) editor.commit();
			last = null;
		},
		cancel() { if (drawing()) editor.rollback(); last = null; },
		get busy() { return drawing(); },
		hover(point) { cursor = point; editor.repaint(); },
		draw(context, viewer) { if (cursor) drawRing(context, viewer, cursor, editor.radius(), erase); },
	};
}

// Pixels whose grey value is close to that under the start of a stroke.
function similarTo(editor, slice, point) {
	const grey = editor.greyOf(slice);
	const x = Math.min(slice.width - 1, Math.max(0, nearest(point.x)));
	const y = Math.min(slice.height - 1, Math.max(0, nearest(point.y)));
	const start = grey.values[y * slice.width + x], reach = (editor.settings.tolerance / 100) * grey.range;
	return (index) => Math.abs(grey.values[index] - start) <= reach;
}

// A polygon by clicks or freehand by dragging, that adds or removes.
export function polygon(editor, {erase = false} = {}) {
	let points = [], cursor = null, dragging = false;
	const far = (one, other, px) => Math.hypot(one.x - other.x, one.y - other.y) * editor.viewer.scale > px;
	const redraw = editor.repaint;
	const tool = {
		down(point) {
			if (points.length > 2 && !far(point, points[0], CLOSE_PX)) return tool.finish();
			points.push(point);
			dragging = true;
			return redraw();
		},
		move(point) {
			cursor = point;
			if (dragging && far(point, points.at(-1), FREEHAND_PX)) points.push(point);
			redraw();
		},
		up() { dragging = false; },
		finish() {
			const outline = points;
			points = [];
			dragging = false;
			const slice = outline.length > 2 ? editor.begin(erase ? "Polygon off" : "Polygon") : null;
			if (slice) {
				const {lesion, over} = editor.settings;
				paint(slice, polygonSpans(outline, slice), erase ? 0 : lesion, {over});
				editor.commit();
			}
			redraw();
		},
		removeLast() { points.pop(); redraw(); },
		cancel() { points = []; dragging = false; redraw(); },
		get busy() { return points.length > 0; },
		hover(point) { cursor = point; if (points.length) redraw(); },
		draw(context, viewer) { drawOutline(context, viewer, points, cursor); },
	};
	return tool;
}

// A box whose whole lesions are deleted; what reaches beyond it stays.
export function specks(editor) {
	let from = null, to = null;
	return {
		down(point) { from = to = point; },
		move(point) { if (from) { to = point; editor.repaint(); } },
		up(point) {
			const start = from;
			from = null;
			const slice = start && editor.begin("Delete specks");
			if (!slice) return;
			slice.labels.set(deleteSpecks(slice, start, point));
			editor.commit();
		},
		cancel() { from = null; editor.repaint(); },
		get busy() { return from !== null; },
		hover() {},
		draw(context, viewer) { if (from) drawBox(context, viewer, from, to); },
	};
}

const copyOf = (slice, other) =>
	(other?.labels && other.width === slice.width && other.height === slice.height ? other.labels : null);

export const TOOLS = [
	{name: "brush", label: "Brush", key: "B", make: brush,
		icon: "M17 3L9 11M7.5 10.5l3 3M7 11c-3 0-1 4-5 5 3 2 8 1 8-2z"},
	{name: "eraser", label: "Eraser", key: "E", make: (editor) => brush(editor, {erase: true}),
		icon: "M11 3l6 6-7 7H6l-3-3zM7 7l6 6M5 18h12"},
	{name: "threshold", label: "Threshold brush", short: "Threshold", key: "T",
		make: (editor) => brush(editor, {ranged: true}), icon: "M3 17l9-9M12 3v2M12 11v2M7 8h2M15 8h2M15 5l-1 1M15 11l-1-1"},
	{name: "polygon", label: "Add with a polygon", short: "Polygon", key: "P", make: (editor) => polygon(editor),
		icon: "M4 8l7-5 6 6-4 8-8-2zM8 10h5M10.5 7.5v5"},
	{name: "cut", label: "Remove with a polygon", short: "Cut", key: "X",
		make: (editor) => polygon(editor, {erase: true}), icon: "M4 8l7-5 6 6-4 8-8-2zM8 10h5"},
	{name: "box", label: "Box and clicks", short: "Box", key: "M", make: pointer,
		icon: "M3 3h14v14H3zM7 10h6M10 7v6"},
	{name: "specks", label: "Delete specks in a box", short: "Specks", key: "D", make: (editor) => specks(editor),
		icon: "M3 6V3h3M14 3h3v3M17 14v3h-3M6 17H3v-3M7 8h.5M12 7h.5M9 12h.5M13 13h.5"},
];

// Changes of a whole slice in one step: from {slice, before, after} to labels, or null where there are none. `fits` says
// of a slice whether there is something to change; always, without it.
export const OPERATIONS = [
	{name: "fill", label: "Fill holes", key: "F", change: ({slice}) => fillHoles(slice)},
	{name: "largest", label: "Keep largest", key: "K", change: ({slice}) => keepLargest(slice)},
	{name: "separate", label: "Number lesions", key: "U", change: ({slice}) => separateLesions(slice)},
	{name: "automatic", label: "Automatic mask", key: "R", change: ({slice}) => slice.automatic},
	{name: "before", label: "Copy previous", key: "C", series: true, change: ({slice, before}) => copyOf(slice, before)},
	{name: "after", label: "Copy next", key: "V", series: true, change: ({slice, after}) => copyOf(slice, after)},
	{name: "accept", label: ACCEPT, key: "Q", fits: ({edited, record}) => !edited && record.status === "ok", change: ({slice}) => slice.labels},
];
