// Downloads of corrected masks, which are recognised when dropped again.

import {send} from "../api.js";
import {el} from "../dom.js";

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
	const wanted = to === "dataset" ? scans.filter(({edited}) => edited) : [scan];
	const taken = wanted.length || !scan.annotated ? wanted : [scan];
	if (!taken.length) throw new Error("A dataset holds corrected and accepted slices: correct or accept one first.");
	if (taken.every(({ready}) => ready.every(({state}) => state.kind === "bad"))) throw new Error("No mask to download: nothing was segmented. Paint one first.");
	await appendScans(form, taken, to === "dataset");
	const response = await send("api/export", {method: "POST", body: form});
	const name = decodeURIComponent(response.headers.get("content-disposition").split("''")[1]);
	offer(await response.blob(), name);
	return name;
}

// Files in the groups that were opened together: FILE is GROUP/PATH, MASK is GROUP/ITEM/SLICE.zlib.
async function appendScans(form, scans, onlyEdited) {
	const groups = [], annotated = new Set();
	for (const scan of scans) {
		const known = groups.findIndex((files) => files.length === scan.files.length &&
			files.every((file, at) => file === scan.files[at]));
		const group = known < 0 ? groups.push(scan.files) - 1 : known;
		if (known < 0) for (const file of scan.files) form.append("file", file, `${group}/${file.path}`);
		if (scan.annotated) annotated.add(group);
		// The black mask of a rejected slice would say that there is no tumour.
		const sent = scan.ready.filter(({edited, state}) => edited || (state.kind !== "bad" && !(onlyEdited && scan.edited)));
		for (const slice of sent) {
			const name = `${group}/${scan.item}/${slice.index}.zlib`;
			form.append(slice.prompted ? "prompted" : "mask", await deflate(slice.labels), name);
		}
	}
	form.append("annotated", [...annotated].join());
}

function offer(blob, name) {
	const link = el("a", {href: URL.createObjectURL(blob), download: name});
	link.click();
	setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// The numbers of a typed array as zlib data.
export const deflate = (values) => new Response(new Blob([values]).stream().pipeThrough(new CompressionStream("deflate"))).blob();

// A file or one of its folders has a word for masks in its name, before or behind other words; see data/pairs.py and data/parts.py.
const MASK_NAME = /(^|[ _/-])(masks?|seg|segmentations?|labels?(tr|ts|val)?|annotations|ann|ground[ _-]?truth|gt)([ _/-].*)?\.(png|tiff?|bmp|nii|nii\.gz|dcm)$/i;

const ANNOTATIONS = /region_shape_attributes|<annotations?\b/; // in the head of a table of VIA; in XML of CVAT or Pascal VOC

// Whether files may hold masks or annotations: the server looks into them. Zips show it in their directory.
export async function hasAnnotations(files) {
	for (const {file, path} of files) {
		const isZip = /\.zip$/i.test(path);
		const names = isZip ? listZip(await file.slice(-DIRECTORY).arrayBuffer()) : [path];
		const known = isZip ? /\.json$|annotations\.xml$/i : /\.json$/i;
		if (names.some((name) => known.test(name) || MASK_NAME.test(name))) return true;
		if (/\.(csv|xml)$/i.test(path) && ANNOTATIONS.test(await file.slice(0, 4096).text())) return true;
	}
	return false;
}

const DIRECTORY = 1 << 20; // bytes at the end of a zip that hold the names of its files, of thousands of them
const ENTRY = 0x02014b50, HEADER = 46; // signature and length of what comes before a name there

function listZip(end) {
	const view = new DataView(end), names = [];
	for (let at = 0; at + HEADER <= end.byteLength; at++) {
		if (view.getUint32(at, true) !== ENTRY) continue;
		const length = Math.min(view.getUint16(at + 28, true), end.byteLength - at - HEADER);
		names.push(new TextDecoder().decode(new Uint8Array(end, at + HEADER, length)));
	}
	return names;
}
