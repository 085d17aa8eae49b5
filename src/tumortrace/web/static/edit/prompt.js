// The tool of boxes and clicks. A drag shows what the server finds in the box while it grows, clicks refine the newest
// box, and the box can be carried through a series. Undo takes each step back.

import {count} from "../dom.js";
import {askForMask, askThrough} from "./ask.js";
import {nearest, replacePieces} from "./labels.js";
import {drawBox, drawCircle} from "./shapes.js";

const DRAG_PX = 5; // screen pixels from which a press is a box and no click

export function pointer(editor) {
	const {viewer} = editor, prompts = new WeakMap(); // by the steps that they became
	let from = null, cursor = null, stroke = null, wanted = null, asking = false, control = null;
	const drawing = () => stroke !== null && editor.stroke === stroke; // false once another slice is shown
	const begin = (name) => {
		editor.begin(name).prompted = true;
		({stroke} = editor);
	};

	// Ask for the mask of {slice, base, box, points, labels, last}: one question at a time, of those that wait the latest.
	async function ask(prompt) {
		wanted = {...prompt, stroke};
		while (wanted && !asking) {
			const now = wanted;
			[asking, wanted] = [true, null];
			await askForMask(now, editor.greyOf(now.slice).values).then((mask) => show(now, mask), ({message}) => {
				tool.cancel();
				editor.tell("told", message);
			});
			asking = false;
		}
	}

	function show(prompt, mask) {
		if (prompt.stroke !== editor.stroke) return;
		place(prompt, mask);
		if (!prompt.last) return void editor.touched();
		editor.commit();
		if (editor.lastStep) prompts.set(editor.lastStep, prompt);
		editor.changed();
	}

	function place({slice, base, box}, mask) {
		slice.labels.set(replacePieces({...slice, labels: base}, box, mask, editor.settings));
	}

	const explain = () => editor.tell("told", "Drag a box around the tumour first.");
	const askForBox = (last) =>
		ask({slice: stroke.slice, base: stroke.before, box: boxOf(from, cursor), points: [], labels: [], last});

	function click({x, y}, away) {
		const {prompt} = tool;
		if (!prompt) return explain();
		begin("Click");
		return ask({...prompt, points: [...prompt.points, [x, y]], labels: [...prompt.labels, Number(!away)]});
	}

	const tool = {
		// What clicks refine: the prompt of the last step, if it is of this slice.
		get prompt() { return editor.lastStep?.index === viewer.index ? prompts.get(editor.lastStep) : null; },
		get carrying() { return control !== null; },
		get busy() { return from !== null || drawing() || tool.carrying; },
		down(point) {
			if (tool.busy || !viewer.slice) return;
			from = cursor = point;
			stroke = null;
		},
		move(point) {
			tool.hover(point);
			if (from && !stroke && Math.hypot(point.x - from.x, point.y - from.y) * viewer.scale > DRAG_PX) begin("Box");
			if (from && drawing()) askForBox(false);
		},
		up(point, {altKey = false} = {}) {
			tool.move(point);
			if (from && drawing()) askForBox(true);
			else if (from && !stroke) click(point, altKey !== editor.settings.away);
			from = null;
		},
		cancel() {
			control?.abort();
			if (drawing()) editor.rollback();
			from = stroke = wanted = null;
			editor.repaint();
		},
		hover(point) { cursor = point; editor.repaint(); },
		// Carry the box through the series; while that runs, stop it.
		async carry() {
			const {prompt} = tool, {scan} = editor;
			if (tool.carrying) return void control.abort();
			if (!prompt) return explain();
			control = new AbortController();
			editor.changed();
			let slices = 0;
			const take = (index, box, mask) => {
				if (viewer.scan !== scan || !scan.slices[index]) return void control.abort();
				viewer.show(index);
				if (slices++ === 0) return; // it has its mask
				const slice = editor.begin("Carried box");
				place({slice, base: slice.labels, box}, mask);
				editor.commit();
			};
			const end = await askThrough(scan, prompt, control.signal, take).then(() => "Carried to", ({message}) =>
				(control.signal.aborted ? "Stopped after" : `${message} Carried to`));
			control = null;
			editor.tell("told", `${end} ${count(slices, "slice")}. Undo goes back slice by slice.`);
			editor.changed();
		},
		draw(context) {
			const {prompt} = tool, at = (x, y) => viewer.toScreen(x, y);
			if (from && stroke) drawBox(context, viewer, from, cursor);
			else if (cursor) drawCircle(context, at(cursor.x, cursor.y), 3);
			prompt?.points.forEach((point, number) => drawCircle(context, at(...point), prompt.labels[number] ? 5 : 2));
		},
	};
	return tool;
}

// The whole pixels between two points, as left, top, right and bottom edge.
function boxOf(one, other) {
	const [[left, right], [top, bottom]] = ["x", "y"].map((axis) => [one[axis], other[axis]].map(nearest).sort((a, b) => a - b));
	return [left, top, right + 1, bottom + 1];
}
