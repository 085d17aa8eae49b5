// PNG files of one 8-bit grey channel, decoded here: a canvas would do it, but browsers that protect
// against fingerprinting add noise to what is read back from one.

/** Turn base64 into bytes. */
export function bytesFromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Decompress zlib data (bytes or a Blob) into bytes. */
export async function inflate(data) {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Decode a non-interlaced 8-bit grey PNG: {width, height, data}, data row by row. */
export async function decodeGreyPng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = view.getUint32(16);
  const height = view.getUint32(20);
  if (view.getUint32(0) !== 0x89504e47 || view.getUint32(24) >>> 16 !== 0x800 || bytes[28]) {
    throw new Error("The server sent a mask that is no 8-bit grey PNG.");
  }
  const parts = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (type === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const raw = await inflate(new Blob(parts));
  return {width, height, data: unfilter(raw, width, height)};
}

/** Undo the row filters of PNG (ISO/IEC 15948, clause 9) for one byte a pixel. */
function unfilter(raw, width, height) {
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (width + 1)];
    const from = y * (width + 1) + 1;
    const to = y * width;
    for (let x = 0; x < width; x++) {
      const left = x ? data[to + x - 1] : 0;
      const above = y ? data[to + x - width] : 0;
      const corner = x && y ? data[to + x - width - 1] : 0;
      data[to + x] = raw[from + x] + guess(filter, left, above, corner);
    }
  }
  return data;
}

function guess(filter, left, above, corner) {
  if (filter < 4) return [0, left, above, (left + above) >> 1][filter];
  const sum = left + above - corner;
  const [a, b, c] = [Math.abs(sum - left), Math.abs(sum - above), Math.abs(sum - corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}
