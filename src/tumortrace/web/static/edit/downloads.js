// Downloads of the corrected masks, and recognition of such files when they are dropped again.

import {send} from "../api.js";

// What the server makes; `volume` and `dicom` say what it needs for it.
export const FORMATS = [
	{to: "png", name: "PNG masks"},
	{to: "via", name: "VIA (JSON)"},
	{to: "coco", name: "COCO (JSON)"},
	{to: "nifti", name: "NIfTI", volume: true},
	{to: "seg", name: "DICOM-SEG", dicom: true},
	{to: "dataset", name: "Dataset to train on"},
];

// Download what is open in one format: the scan, or for a dataset the corrected slices of all scans.
export async function download(scan, scans, to) {
	const form = new FormData();
	form.append("to", to);
	const corrected = to === "dataset" ? scans.filter(({edited}) => edited) : [];
	await appendScans(form, corrected.length ? corrected : [scan], to === "dataset");
	const response = await send("api/export", {method: "POST", body: form});
	const [, name] = /filename="([^"]+)"/.exec(response.headers.get("content-disposition"));
	offer(await response.blob(), name);
	return name;
}

// Files in groups, so that the items of each count as they did when it was opened: FILE is GROUP/PATH, MASK is
// GROUP/ITEM/SLICE.png.
async function appendScans(form, scans, onlyEdited) {
	const groups = [], annotated = new Set();
	for (const scan of scans) {
		const known = groups.findIndex((files) => files.length === scan.files.length &&
			files.every((file, at) => file === scan.files[at]));
		const group = known < 0 ? groups.push(scan.files) - 1 : known;
		if (known < 0) for (const file of scan.files) form.append("file", file, `${group}/${file.path}`);
		if (scan.annotated) annotated.add(group);
		for (const slice of scan.ready.filter(({edited}) => edited || !onlyEdited || !scan.edited)) {
			const png = await encodePng(slice.labels, slice.width, slice.height);
			form.append("mask", png, `${group}/${scan.item}/${slice.index}.png`);
		}
	}
	form.append("annotated", [...annotated].join());
}

function offer(blob, name) {
	const link = document.createElement("a");
	link.href = URL.createObjectURL(blob);
	link.download = name;
	link.click();
	setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// An 8-bit grey PNG (ISO/IEC 15948) of bytes, row by row.
export async function encodePng(bytes, width, height) {
	const rows = new Uint8Array((width + 1) * height); // each with filter 0
	for (let y = 0; y < height; y++) rows.set(bytes.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
	const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
	const header = new Uint8Array(13);
	new DataView(header.buffer).setUint32(0, width);
	new DataView(header.buffer).setUint32(4, height);
	header.set([8, 0, 0, 0, 0], 8);
	const data = new Uint8Array(await new Response(packed).arrayBuffer());
	const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
	const chunks = [chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", new Uint8Array())];
	return new Blob([signature, ...chunks], {type: "image/png"});
}

function chunk(type, data) {
	const bytes = new Uint8Array(data.length + 12), view = new DataView(bytes.buffer);
	view.setUint32(0, data.length);
	bytes.set(new TextEncoder().encode(type), 4);
	bytes.set(data, 8);
	view.setUint32(data.length + 8, crc32(bytes.subarray(4, data.length + 8)));
	return bytes;
}

function crc32(bytes) {
	let crc = -1;
	for (const byte of bytes) {
		crc ^= byte;
		for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc >>> 0;
}

const MASK_NAME = /(^|[ _/-])(mask|masks|seg|segmentation|labels?)\.(png|tiff?|bmp|nii|nii\.gz|dcm)$/i;

// Whether files that were dropped together ({file, path}) hold masks or annotations; zips show it in their directory.
export async function hasAnnotations(files) {
	for (const {file, path} of files) {
		if (path.toLowerCase().endsWith(".json") || MASK_NAME.test(path)) return true;
		const directory = path.toLowerCase().endsWith(".zip") ? await file.slice(-65_536).text() : "";
		if (/[_/](mask|seg)\.(png|nii|dcm)|annotations\.json/.test(directory)) return true;
	}
	return false;
}
