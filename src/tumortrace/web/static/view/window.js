// Window and level: which grey values are shown as black and white.

const CUT = 0.005;

// Window that cuts off half a per cent of the pixels at each end, over some slices: {centre, width} in real values.
export function automaticWindow(slices) {
	const grey = slices.filter((slice) => slice.pixels);
	if (!grey.length) return {centre: 128, width: 256};
	const histogram = new Uint32Array(65536);
	let total = 0;
	for (const {pixels} of grey) {
		for (const value of pixels) histogram[value]++;
		total += pixels.length;
	}
	const {slope, intercept} = grey[0];
	const low = quantile(histogram, total * CUT) * slope + intercept;
	const high = quantile(histogram, total * (1 - CUT)) * slope + intercept;
	if (high === low) return {centre: low + 0.5 * Math.abs(slope), width: Math.abs(slope)}; // all black
	return {centre: (low + high) / 2, width: Math.abs(high - low)};
}

function quantile(histogram, rank) {
	let seen = 0;
	for (let value = 0; value < histogram.length; value++) {
		seen += histogram[value];
		if (seen > rank) return value;
	}
	return histogram.length - 1;
}

// Colour of each stored value, as Uint32 in the byte order of ImageData.
export function fillTable(table, {slope, intercept}, {centre, width}) {
	const scale = (255 * slope) / width;
	const offset = (255 * (intercept - centre)) / width + 127.5;
	for (let value = 0; value < table.length; value++) {
		const grey = Math.max(0, Math.min(255, Math.round(value * scale + offset)));
		table[value] = 0xff000000 | (grey * 0x010101);
	}
}

// Move a window by a drag of dx, dy pixels: right widens, down raises the level. `span` is the automatic width.
export function dragWindow({centre, width}, dx, dy, span) {
	const step = span / 300;
	return {centre: centre + dy * step, width: Math.max(width + dx * step, span / 500)};
}
