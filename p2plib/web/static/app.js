// The page: images come in by pen, file, drop, paste or example, and go to the server and back.

import { example, preview, sketch, translate } from "./api.js";
import { Drawing } from "./canvas.js";

const LONGEST = 2048; // side in pixels to which images are shrunk
const $ = (id) => document.getElementById(id);
const { models: list, uploadBytes, pixels, sketches } = document.body.dataset;
const models = JSON.parse(list);
const drawing = new Drawing($("canvas"), changed);
let running = null; // the AbortController of the request that is under way
let again = false; // the image changed since it was sent
let original = null; // the file that the canvas shows, which is sent in its place if the model is not of 8-bit RGB

const model = () => models.find(({ id }) => id === $("model").value) ?? models[0];

// ---- messages

function say(text, isError = false) {
  $("message").textContent = text;
  $("message").classList.toggle("error", isError);
}

/** Run `task`; what it throws becomes the message. */
async function trying(task) {
  try {
    await task();
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else say(error.message, true);
  }
}

// ---- the model and its colors

function chooseModel() {
  const { source, target, palette, height, width, strokes, ordinary, draws, kinds } = model();
  for (const [name, text] of Object.entries({ source, target }))
    for (const element of document.querySelectorAll(`.${name}`)) element.textContent = text;
  document.title = `p2plib: ${source} to ${target}`;
  drawing.background = palette[0]?.color ?? "#ffffff";
  drawing.color = palette[1]?.color ?? "#000000";
  $("palette").hidden = !palette.length;
  $("color-field").hidden = palette.length > 0 || strokes;
  $("sketch").hidden = !strokes || !draws || sketches === undefined;
  for (const id of ["drawing", "auto-field"]) $(id).hidden = !draws;
  for (const [i, side] of ["source", "target"].entries()) {
    $(`${side}-kind`).hidden = ordinary;
    $(`${side}-kind`).textContent = kinds[i];
  }
  $("canvas").classList.toggle("shown", !draws);
  $("invite").textContent = draws ? "Draw something, upload an image" : "Upload a file";
  $("file").accept = ordinary ? "image/*" : "image/png,image/jpeg,image/webp,.tif,.tiff,.npy";
  $("color").value = drawing.color;
  $("brush").value = palette.length ? 50 : strokes ? 10 : 25;
  $("palette").replaceChildren($("palette").firstElementChild, ...palette.map(swatch));
  if (!drawing.canUndo && !drawing.canRedo) drawing.start(width, height);
  else if (drawing.blank || !draws) drawing.clear(width, height);
  else changed("model");
  chooseBrush();
  showResult(false);
}

/** A radio button with the color and the name of a class. */
function swatch({ name, color }) {
  const [label, input, square, text] = ["label", "input", "i", "span"].map((tag) => document.createElement(tag));
  Object.assign(input, { type: "radio", name: "class", value: color, checked: color === drawing.color });
  square.style.backgroundColor = color;
  text.textContent = name;
  label.append(input, square, text);
  return label;
}

function chooseColor(color) {
  drawing.color = color;
  if (drawing.tool === "eraser") {
    document.querySelector("[name=tool][value=pen]").checked = true;
    chooseTool();
  }
}

function chooseTool() {
  drawing.tool = document.querySelector("[name=tool]:checked").value;
  $("brush").disabled = drawing.tool === "box";
}

function chooseBrush() {
  drawing.brush = Number($("brush").value);
  $("brush").setAttribute("aria-valuetext", `${drawing.diameter} pixels`);
}

// ---- the image

/** The canvas has changed. */
function changed(kind) {
  original = null;
  const { width, height } = drawing.canvas;
  const { size } = model();
  $("size").textContent = `${width} × ${height}`;
  $("undo").disabled = !drawing.canUndo;
  $("redo").disabled = !drawing.canRedo;
  $("fit-field").hidden = Math.max(width, height) <= size;
  document.documentElement.style.setProperty("--ratio", width / height);
  $("canvas").classList.toggle("coarse", Math.max(width, height) <= 600);
  if (!running) say("");
  if (kind === "stroke" && $("auto").checked) send();
}

/** Put an image file on the canvas, shrunk to what can be sent; what the browser cannot show, as the server shows it. */
async function put(file, name = "This file") {
  const { ordinary } = model();
  const blob = ordinary ? file : await preview(order(model(), file), new AbortController().signal, sayBusy);
  const image = await createImageBitmap(blob).catch(() => {
    throw new Error(`${name} cannot be read as an image; choose a PNG, JPEG or WebP file.`);
  });
  const { width, height } = image;
  const scale = Math.min(1, LONGEST / Math.max(width, height), Math.sqrt(pixels / (width * height)));
  const [w, h] = [width, height].map((side) => Math.max(1, Math.floor(side * scale)));
  drawing.load(image, w, h);
  image.close();
  if (!ordinary) original = file;
  else if (scale < 1) say(`Shrunk from ${width} × ${height} to ${w} × ${h} pixels.`);
}

/** The first file among those chosen, dropped or pasted. */
function openFirst(files) {
  const file = files?.[0];
  trying(async () => {
    if (!file) throw new Error("There is no image file in that; save the image first, then choose the file.");
    await put(file, file.name);
  });
}

// ---- the result

/** Have the image translated. One request at a time: a further one is sent when this one is back. */
async function send() {
  again = running !== null;
  if (again) return;
  running = new AbortController();
  $("go").textContent = "Stop";
  $("result").setAttribute("aria-busy", "true");
  say("Translating …");
  await trying(async () => {
    const asked = model();
    if (!original && !asked.draws) throw new Error("Upload a file first, or take a random example.");
    const sent = original;
    const file = await drawing.file(sent ? Infinity : Number(uploadBytes));
    const source = await dataUrl(file);
    const answer = await translate(order(asked, sent ?? file), running.signal, sayBusy);
    show(asked, source, answer);
    say("Done. Drag the divider to compare.");
  });
  running = null;
  $("go").textContent = "Translate";
  $("result").setAttribute("aria-busy", "false");
  if (again) send();
}

const sayBusy = (seconds, attempt) =>
  say(`The server is busy: waiting ${seconds} s for the ${ordinal(attempt)} try.`);

/** Put the sketch of what is on the canvas in its place. */
async function makeSketch() {
  if (drawing.blank) throw new Error("Upload a photo first: its sketch is what you get.");
  $("sketch").disabled = true;
  say("Drawing a sketch …");
  try {
    const file = await drawing.file(Number(uploadBytes));
    await put(await sketch(order(model(), file), new AbortController().signal, sayBusy));
    say("This is the sketch: edit it with pen and eraser, then translate.");
  } finally {
    $("sketch").disabled = false;
  }
}

function stop() {
  again = false;
  running.abort();
}

function order({ id }, file) {
  const form = new FormData();
  form.append("image", file, "image");
  form.append("model", id);
  form.append("fit", $("fit").checked ? "1" : "0");
  if ($("noise").value !== "") form.append("noise", $("noise").value);
  return form;
}

function show({ id, source, target }, before, answer) {
  const { width, height, seconds, waited, generated, file = generated, suffix = ".png" } = answer;
  const names = { before: source, after: `generated ${target}` };
  for (const [side, name] of Object.entries(names)) {
    Object.assign($(side), { src: side === "before" ? before : generated, alt: name, width, height });
    $(`${side}-name`).textContent = name;
  }
  $("divider").setAttribute("aria-label", `${names.before} on the left, ${names.after} on the right: drag to compare`);
  $("slider").style.setProperty("--ratio", width / height);
  $("took").textContent = `in ${tenths(seconds)} s${waited >= 0.05 ? `, after waiting ${tenths(waited)} s` : ""}`;
  Object.assign($("download"), { href: file, download: `${id}-${target}${suffix}` });
  showResult(id === model().id);
  if ($("auto").checked || $("slider").getBoundingClientRect().top < 0.7 * innerHeight) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("result").scrollIntoView({ behavior: calm ? "auto" : "smooth" });
}

function showResult(shown) {
  $("empty").hidden = shown;
  for (const id of ["slider", "took", "download"]) $(id).hidden = !shown;
}

const tenths = (seconds) => (seconds < 1 ? seconds.toPrecision(1) : seconds.toFixed(1));
const ordinal = (n) => `${n}${{ 1: "st", 2: "nd", 3: "rd" }[n] ?? "th"}`;

function dataUrl(blob) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(blob);
  });
}

function slide() {
  document.querySelector(".p2p-pair").style.setProperty("--p", `${$("divider").value}%`);
}

// ---- what the user does

/** The outline of the brush, at the mouse. */
function showRing(event) {
  const { left, top, width } = $("canvas").getBoundingClientRect();
  const side = (drawing.diameter * width) / drawing.canvas.width;
  $("ring").hidden = event.type === "pointerleave" || event.pointerType === "touch" || drawing.tool === "box";
  Object.assign($("ring").style, { width: `${side}px`, height: `${side}px` });
  $("ring").style.translate = `${event.clientX - left - side / 2}px ${event.clientY - top - side / 2}px`;
}

function shortcut(event) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "enter") send();
  else if (event.target.type === "number" || !model().draws) return; // a number has an undo of its own
  else if (key === "z" && !event.shiftKey) drawing.undo();
  else if (key === "y" || key === "z") drawing.redo();
  else return;
  event.preventDefault();
}

function dragged(event) {
  event.preventDefault(); // else the browser would leave the page and open the file
  $("drop").hidden = event.type !== "dragover";
  if (event.type === "drop") openFirst(event.dataTransfer.files);
}

$("model").onchange = chooseModel;
$("tools").onchange = chooseTool;
$("palette").onchange = (event) => chooseColor(event.target.value);
$("color").oninput = (event) => chooseColor(event.target.value);
$("brush").oninput = chooseBrush;
$("undo").onclick = () => drawing.undo();
$("redo").onclick = () => drawing.redo();
$("clear").onclick = () => drawing.clear(model().width, model().height);
$("go").onclick = () => (running ? stop() : send());
$("example").onclick = () => trying(async () => put(await example(model().id)));
$("sketch").onclick = () => trying(makeSketch);
$("file").onchange = (event) => {
  openFirst(event.target.files);
  event.target.value = ""; // so that the same file can be chosen once more
};
$("divider").oninput = slide;
for (const type of ["pointermove", "pointerleave"]) $("canvas").addEventListener(type, showRing);
for (const type of ["dragover", "dragleave", "drop"]) document.addEventListener(type, dragged);
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) openFirst(event.clipboardData.files);
});
document.addEventListener("keydown", shortcut);
slide();
chooseModel();
