// A slice, or its probability, as a small canvas in its own resolution.

/** A canvas of the size of a slice whose pixels are looked up in a table of colours. */
export class Raster {
  canvas = document.createElement("canvas");
  #context = this.canvas.getContext("2d");
  #image = null;
  #words = null;

  /** Draw values (a typed array, row by row) through a table of Uint32 colours. */
  paint(values, table, width, height) {
    this.#resize(width, height);
    const words = this.#words;
    for (let i = 0; i < words.length; i++) words[i] = table[values[i]];
    this.#context.putImageData(this.#image, 0, 0);
    return this.canvas;
  }

  #resize(width, height) {
    if (this.#image?.width === width && this.#image.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.#image = this.#context.createImageData(width, height);
    this.#words = new Uint32Array(this.#image.data.buffer);
  }
}
