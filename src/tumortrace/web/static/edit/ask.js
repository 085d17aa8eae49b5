// Questions to the server about {slice, box, points, labels}: on one slice, or through a series.

import {segment, send} from "../api.js";
import {bytesFromBase64, decodeGreyPng} from "../png.js";
import {deflate} from "./downloads.js";

const describe = ({box, points, labels}, more) => JSON.stringify({box_xyxy: box, points_xy: points, labels, ...more});

// The mask, 0 or 255 a pixel. The grey values are sent once: the server keeps them, and knows the slice by its hash.
export async function askForMask(prompt, values) {
	const {slice} = prompt, known = slice.picture, body = new FormData();
	body.append("prompt", describe(prompt, {size_hw: [slice.height, slice.width]}));
	if (known) body.append("picture", known);
	else body.append("grey", await deflate(values), "grey");
	try {
		const response = await send("api/segment", {method: "POST", body, headers: {Accept: "image/png"}});
		slice.picture = response.headers.get("picture");
		return (await decodeGreyPng(new Uint8Array(await response.arrayBuffer()))).data;
	} catch (error) {
		if (!known) throw error;
		slice.picture = null; // it may have been forgotten
		return askForMask(prompt, values);
	}
}

// Carry a box through its scan: call `take(index, box, mask)`, slice after slice, until the tumour ends.
export function askThrough({files, item, annotated}, prompt, signal, take) {
	const onMessage = async ({type, slice_index: index, record, mask_png: mask, message}) => {
		if (type === "error") throw new Error(message);
		if (type === "slice") take(index, record.prompt[0].box_xyxy, (await decodeGreyPng(bytesFromBase64(mask))).data);
	};
	const sent = files.map((file) => ({file, path: file.path}));
	const url = annotated ? "api/annotations" : "api/segment"; // there, items are numbered without the annotations
	return segment(sent, {url, prompt: describe(prompt, {item, slice_index: prompt.slice.index}), signal, onMessage});
}
