// PNG files of one 8-bit grey channel, decoded here: a canvas adds noise in browsers that prevent fingerprinting.

export function bytesFromBase64(text) {
	const letters = atob(text), bytes = new Uint8Array(letters.length);
	for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
	return bytes;
}

export async function inflate(data) {
	const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"));
	return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Decode a non-interlaced 8-bit grey PNG: {width, height, data}, data row by row.
export async function decodeGreyPng(bytes) {
	const view = new DataView(bytes.buffer);
	const width = view.getUint32(16), height = view.getUint32(20);
	if (view.getUint32(0) !== 0x89504e47 || view.getUint16(24) !== 0x800 || bytes[28]) {
		throw new Error("The server sent a mask that is no 8-bit grey PNG.");
	}
	const parts = [];
	for (let at = 8; at < bytes.length; at += view.getUint32(at) + 12) {
		const data = at + 8; // after length and type
		if (view.getUint32(at + 4) === 0x49444154) parts.push(bytes.subarray(data, data + view.getUint32(at)));
	}
	return {width, height, data: unfilter(await inflate(new Blob(parts)), width, height)};
}

// Undo the row filters of PNG (ISO/IEC 15948, clause 9) for one byte a pixel.
function unfilter(raw, width, height) {
	const data = new Uint8Array(width * height);
	for (let y = 0, to = 0, from = 0; y < height; y++) {
		const filter = raw[from++];
		for (let x = 0; x < width; x++, to++) {
			const left = x ? data[to - 1] : 0, above = y ? data[to - width] : 0, corner = x && y ? data[to - width - 1] : 0;
			data[to] = raw[from++] + guess(filter, left, above, corner);
		}
	}
	return data;
}

function guess(filter, left, above, corner) {
	if (filter < 4) return [0, left, above, (left + above) >> 1][filter];
	const a = Math.abs(above - corner), b = Math.abs(left - corner), c = Math.abs(left + above - 2 * corner);
	return a <= b && a <= c ? left : b <= c ? above : corner;
}
