// A canvas to draw on in flat colors. Its pixels are the model's: no smoothing, so that a class has one color.

const HISTORY = 32e6; // pixels that undo may hold, in all its images

export class Drawing {
  tool = "pen";
  color = "#000000";
  background = "#ffffff";
  brush = 50; // from 0 to 100
  #context;
  #states = [];
  #at = -1;
  #pointer = null;
  #last = null;

  /** Draw on `canvas`; `changed(kind)` is called after each change, kind being "stroke", "image" or "history". */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.#context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#end(event));
    canvas.addEventListener("pointercancel", (event) => this.#cancel(event));
  }

  /** The brush's diameter in pixels of the canvas: from one pixel to a quarter of it, finer steps among small ones. */
  get diameter() {
    const side = Math.max(this.canvas.width, this.canvas.height);
    return Math.max(1, Math.round((side / 4) * (this.brush / 100) ** 2));
  }

  get canUndo() {
    return this.#at > 0;
  }

  get canRedo() {
    return this.#at < this.#states.length - 1;
  }

  /** Whether there is nothing but background. */
  get blank() {
    const { data } = this.#states[this.#at];
    const pixels = new Uint32Array(data.buffer);
    return pixels.every((pixel) => pixel === pixels[0]);
  }

  /** A canvas full of background, and nothing to undo. */
  start(width, height) {
    this.#states = [];
    this.#at = -1;
    this.clear(width, height);
  }

  /** A canvas full of background; undo brings the old image back. */
  clear(width, height) {
    this.#resize(width, height);
    this.#fill(this.background, 0, 0, width, height);
    this.#record("image");
  }

  /** Put an image (anything that drawImage takes) on the canvas, which takes its size; see-through parts are white. */
  load(image, width, height) {
    this.#resize(width, height);
    this.#fill("#ffffff", 0, 0, width, height);
    this.#context.imageSmoothingQuality = "high";
    this.#context.drawImage(image, 0, 0, width, height);
    this.#record("image");
  }

  undo() {
    if (this.canUndo) this.#show(this.#at - 1);
  }

  redo() {
    if (this.canRedo) this.#show(this.#at + 1);
  }

  /** The image as a file of at most `bytes`: PNG, or JPEG where that is too large. */
  async file(bytes) {
    const attempts = [["image/png"], ["image/jpeg", 0.92], ["image/jpeg", 0.75], ["image/jpeg", 0.5]];
    for (const attempt of attempts) {
      const blob = await new Promise((resolve) => this.canvas.toBlob(resolve, ...attempt));
      if (blob && blob.size <= bytes) return blob;
    }
    throw new Error("The image is too large to be sent; choose a smaller one.");
  }

  #resize(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
  }

  #record(kind) {
    const { width, height } = this.canvas;
    this.#states.splice(this.#at + 1);
    this.#states.push(this.#context.getImageData(0, 0, width, height));
    const size = () => this.#states.reduce((sum, state) => sum + state.width * state.height, 0);
    while (this.#states.length > 2 && size() > HISTORY) this.#states.shift();
    this.#at = this.#states.length - 1;
    this.changed(kind);
  }

  #show(index) {
    this.#at = index;
    this.#restore();
    this.changed("history");
  }

  #restore() {
    const state = this.#states[this.#at];
    if (state.width !== this.canvas.width || state.height !== this.canvas.height) this.#resize(state.width, state.height);
    this.#context.putImageData(state, 0, 0);
  }

  #begin(event) {
    if (this.#pointer !== null || event.button !== 0) return;
    event.preventDefault();
    this.#pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.#last = this.#point(event);
    this.#draw(this.#last);
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const all = this.tool === "box" ? [] : (event.getCoalescedEvents?.() ?? []);
    for (const one of all.length ? all : [event]) this.#draw(this.#point(one));
  }

  #end(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#record("stroke");
  }

  #cancel(event) {
    // For example a second finger, to zoom: what the first one drew was not meant.
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#restore();
  }

  /** Where an event lies, in pixels of the canvas. */
  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.canvas.height,
    };
  }

  #draw(point) {
    if (this.tool === "box") {
      this.#restore();
      this.#box(this.#last, point);
    } else {
      this.#line(this.#last, point);
      this.#last = point;
    }
  }

  #box(one, other) {
    const [left, right] = [one.x, other.x].sort((a, b) => a - b).map(Math.floor);
    const [top, bottom] = [one.y, other.y].sort((a, b) => a - b).map(Math.floor);
    this.#fill(this.color, left, top, right - left + 1, bottom - top + 1);
  }

  /** Discs along a line. Those of large brushes may lie apart: the edge is still within half a pixel of straight. */
  #line(one, other) {
    const diameter = this.diameter;
    const length = Math.max(Math.abs(other.x - one.x), Math.abs(other.y - one.y));
    const steps = Math.max(1, Math.ceil(length / Math.max(1, diameter / 8)));
    const color = this.tool === "eraser" ? this.background : this.color;
    for (let i = 0; i <= steps; i++) {
      const t = i / steps;
      this.#disc(color, one.x + (other.x - one.x) * t, one.y + (other.y - one.y) * t, diameter);
    }
  }

  /** A disc of whole pixels: arc() would smooth its edge, into colors that stand for no class. */
  #disc(color, x, y, diameter) {
    const left = Math.round(x - diameter / 2);
    const top = Math.round(y - diameter / 2);
    for (let row = 0; row < diameter; row++) {
      const dy = (row + 0.5) * 2 - diameter; // in half pixels, from the center
      const margin = Math.round((diameter - Math.sqrt(diameter ** 2 - dy ** 2)) / 2);
      this.#fill(color, left + margin, top + row, diameter - 2 * margin, 1);
    }
  }

  #fill(color, x, y, width, height) {
    this.#context.fillStyle = color;
    this.#context.fillRect(x, y, width, height);
  }
}
