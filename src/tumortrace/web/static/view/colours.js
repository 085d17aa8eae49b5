// Colours of lesions and of the heat map, told apart with the common kinds of colour blindness.

// Okabe and Ito's palette, in the order of lesion numbers; amber first, as on the overlays that `segment` draws.
const LESION_COLOURS = ["#ffb000", "#56b4e9", "#00c89a", "#f28fc0", "#f0e442", "#ff7a45", "#a99cff", "#ffffff"];

export function colourOf(number) {
	return LESION_COLOURS[(number - 1) % LESION_COLOURS.length];
}

// Anchors of the heat map: probability, red, green, blue, opacity. Nothing is laid over what is surely no tumour.
const ANCHORS = [
	[0, 0, 0, 0, 0],
	[0.08, 40, 11, 84, 0],
	[0.2, 110, 25, 105, 140],
	[0.5, 204, 71, 76, 180],
	[0.75, 248, 149, 64, 195],
	[1, 252, 240, 160, 205],
];

// Colours of the probabilities 0 to 255, as Uint32 in the byte order of ImageData.
export const HEAT = Uint32Array.from({length: 256}, (_, value) => {
	const at = value / 255;
	const next = Math.max(1, ANCHORS.findIndex(([end]) => end >= at));
	const [low, high] = [ANCHORS[next - 1], ANCHORS[next]];
	const mix = (at - low[0]) / (high[0] - low[0]);
	const [r, g, b, a] = [1, 2, 3, 4].map((i) => Math.round(low[i] + (high[i] - low[i]) * mix));
	return ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
});
