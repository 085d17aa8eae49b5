// Shapes that tools draw over the picture, in screen coordinates.

const FULL_TURN = 2 * Math.PI;

// Black under white, so that a line is seen on any picture.
function strokeTwice(context, dashed = false) {
	context.setLineDash(dashed ? [5, 3] : []);
	for (const [colour, width] of [["rgba(0, 0, 0, 0.75)", 3], ["#fff", 1.25]]) {
		context.strokeStyle = colour;
		context.lineWidth = width;
		context.stroke();
	}
	context.setLineDash([]);
}

export function drawRing(context, viewer, point, radius, erase) {
	const {x, y} = viewer.toScreen(point.x, point.y);
	context.beginPath();
	context.ellipse(x, y, Math.max(2, radius.x * viewer.scale), Math.max(2, radius.y * viewer.scale), 0, 0, FULL_TURN);
	strokeTwice(context, erase);
	if (Math.min(radius.x, radius.y) * viewer.scale < 6) return;
	drawCircle(context, {x, y}, 1); // the centre, which a large ring leaves open
}

export function drawCircle(context, {x, y}, radius) {
	context.beginPath();
	context.arc(x, y, radius, 0, FULL_TURN);
	strokeTwice(context);
}

export function drawOutline(context, viewer, points, cursor) {
	if (!points.length) return;
	const corners = [...points, cursor ?? points.at(-1)].map((point) => viewer.toScreen(point.x, point.y));
	context.beginPath();
	for (const {x, y} of corners) context.lineTo(x, y);
	strokeTwice(context);
	corners.slice(0, -1).forEach((corner, at) => drawCircle(context, corner, at ? 2.5 : 4.5));
}

export function drawBox(context, viewer, from, to) {
	const [one, other] = [from, to].map(({x, y}) => viewer.toScreen(x, y));
	context.beginPath();
	context.rect(one.x, one.y, other.x - one.x, other.y - one.y);
	strokeTwice(context, true);
}
