// A canvas of the size of a slice whose pixels are looked up in a table of colours.
export class Raster {
	#context = document.createElement("canvas").getContext("2d");
	#image = null;

	// Draw values (a typed array, row by row) through a table of Uint32 colours; the canvas is returned.
	paint(values, table, {width, height}) {
		const {canvas} = this.#context;
		if (this.#image?.width !== width || this.#image.height !== height) {
			[canvas.width, canvas.height] = [width, height];
			this.#image = this.#context.createImageData(width, height);
		}
		const words = new Uint32Array(this.#image.data.buffer);
		for (let i = 0; i < words.length; i++) words[i] = table[values[i]];
		this.#context.putImageData(this.#image, 0, 0);
		return canvas;
	}
}
