// Behind canvas.js in the `onload` handler of the starting image (`this`), which gives way to a canvas to draw on.

const sheet = this.parentNode;
const $ = (css) => sheet.querySelector(css);
const drawing = new Drawing($("canvas"), changed);

function changed() {
  $(".p2p-undo").disabled = !drawing.canUndo;
  if (drawing.canUndo || drawing.canRedo) send(); // the kernel has the starting image
}

/** Give the drawing to the kernel: what is typed into a text area of ipywidgets goes there. */
function send() {
  const text = sheet.closest(".p2p-draw").querySelector("textarea");
  text.value = drawing.canvas.toDataURL("image/png");
  text.dispatchEvent(new Event("input", { bubbles: true }));
}

function choose(tool) {
  drawing.tool = tool;
  for (const name of ["pen", "eraser"]) $(`.p2p-${name}`).setAttribute("aria-pressed", name === tool);
}

/** Notebooks have shortcuts on plain keys and on Ctrl+Z, which are not meant here. */
function pressed(event) {
  const control = event.ctrlKey || event.metaKey;
  const undoes = control && event.key.toLowerCase() === "z";
  if (undoes) {
    event.preventDefault();
    event.shiftKey ? drawing.redo() : drawing.undo();
  }
  if (undoes || !(control || event.shiftKey || event.key === "Escape")) event.stopPropagation();
}

for (const tool of ["pen", "eraser"]) $(`.p2p-${tool}`).onclick = () => choose(tool);
$(".p2p-undo").onclick = () => drawing.undo();
$(".p2p-clear").onclick = () => drawing.clear(this.naturalWidth, this.naturalHeight);
$("input").oninput = (event) => (drawing.brush = Number(event.target.value));
$("canvas").addEventListener("pointerdown", () => $("canvas").focus({ preventScroll: true })); // for Ctrl+Z
sheet.addEventListener("keydown", pressed);
drawing.brush = Number($("input").value);
for (const part of sheet.children) part.hidden = part === this;
drawing.load(this, this.naturalWidth, this.naturalHeight);
