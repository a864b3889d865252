import {
  FONT, bytes, floats, follow, framed, hatch, ink, keyboardOn, keys, legend, node, number, paint, put, repaint, shade, sized, theme,
} from "../shared.js";

const MARGIN = { left: 28, top: 18, right: 2, bottom: 2 };
const HEADS = { margin: MARGIN, most: 26, across: 560 };
const ROOM = 32; // of a cell in which its number is written

// Where rows and columns are settings their names are written as well, and there are few cells: they are larger.
export function settled({ names, layers }) {
  const longest = Math.max(...[names[0], ...layers].map((text) => text.length));
  return { margin: { ...MARGIN, left: 12 + Math.ceil(5.6 * longest), top: 34 }, most: 44, across: 380 };
}

// Cells are square, as large as a view of 420 by 560 pixels allows.
export function layout(rows, columns, { margin, most, across } = HEADS) {
  const cell = Math.max(7, Math.min(most, Math.floor(Math.min(420 / rows, across / columns))));
  const width = margin.left + columns * cell + margin.right;
  return { cell, rows, columns, width, height: margin.top + rows * cell + margin.bottom };
}

export function cellAt(box, x, y, margin = MARGIN) {
  const row = Math.floor((y - margin.top) / box.cell);
  const column = Math.floor((x - margin.left) / box.cell);
  return row >= 0 && row < box.rows && column >= 0 && column < box.columns ? { row, column } : null;
}

export function moved(key, at, box) {
  const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  if (!(key in moves)) return null;
  const clamp = (value, count) => Math.max(0, Math.min(count - 1, value));
  return { row: clamp(at.row + moves[key][0], box.rows), column: clamp(at.column + moves[key][1], box.columns) };
}

// A click picks one head, or lets it go; with Shift it adds or removes.
export function picked(selected, name, adding) {
  if (adding) return selected.includes(name) ? selected.filter((other) => other !== name) : [...selected, name];
  return selected.length === 1 && selected[0] === name ? [] : [name];
}

const every = (count, cell) => Math.max(1, Math.ceil(14 / cell), Math.ceil(count / 60));

function render({ model, el, signal }) {
  const canvas = node("canvas", { tabindex: "0", role: "application" });
  const root = node("div", { class: "nb nb-grid" }, canvas);
  el.append(root);
  const around = framed(model, root, signal);
  const keyboard = keyboardOn(canvas, signal);
  let frame, values, lut, box, margin;
  let hovered = null;
  let cursor = { row: 0, column: 0 };

  const name = ({ row, column }) => [frame.layers[row], frame.heads[column]].join(frame.names ? ", " : ".");
  const value = ({ row, column }) => values[row * box.columns + column];

  function rebuild() {
    frame = model.get("_frame");
    values = floats(frame.values);
    lut = bytes(frame.lut);
    root.classList.toggle("nb-settings", Boolean(frame.names));
    const sizes = frame.names ? settled(frame) : HEADS;
    margin = sizes.margin;
    box = layout(frame.layers.length, frame.heads.length, sizes);
    hovered = null;
    cursor = { row: Math.min(cursor.row, box.rows - 1), column: Math.min(cursor.column, box.columns - 1) };
    around.key(legend(frame));
    const counts = frame.names ? `${box.rows} of ${frame.names[0]}, ${box.columns} of ${frame.names[1]}` : `${box.rows} layers, ${box.columns} heads`;
    canvas.setAttribute("aria-label", `${frame.label || "values"}: ${counts}`);
    canvas.setAttribute("aria-roledescription", frame.names ? "grid of settings" : "grid of heads");
    draw();
  }

  function draw() {
    const context = sized(canvas, box.width, box.height);
    const colours = theme(root);
    labels(context, colours);
    for (let row = 0; row < box.rows; row++)
      for (let column = 0; column < box.columns; column++) cell(context, colours, { row, column });
    model.get("selected").forEach((head) => outline(context, colours.accent, place(head), 2));
    const active = hovered ?? (keyboard() ? cursor : null);
    if (active) outline(context, colours.fg, active, 1);
    around.read.textContent = readout(active);
  }

  function labels(context, colours) {
    context.font = FONT.replace("12px", "10px");
    context.fillStyle = colours.muted;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let row = 0; row < box.rows; row += every(box.rows, box.cell))
      context.fillText(frame.layers[row], margin.left - 5, margin.top + (row + 0.5) * box.cell);
    if (frame.names) context.fillText(frame.names[0], margin.left - 5, margin.top - 9);
    context.textAlign = "center";
    for (let column = 0; column < box.columns; column += every(box.columns, box.cell))
      context.fillText(frame.heads[column], margin.left + (column + 0.5) * box.cell, margin.top - 9);
    if (frame.names) context.fillText(frame.names[1], margin.left + (box.columns * box.cell) / 2, 8);
  }

  function cell(context, colours, at) {
    const [x, y] = [margin.left + at.column * box.cell, margin.top + at.row * box.cell];
    const index = shade(value(at), frame.vmin, frame.vmax);
    if (index < 0) return hatch(context, x, y, box.cell - 1, box.cell - 1, colours.line);
    context.fillStyle = paint(lut, index);
    context.fillRect(x, y, box.cell - 1, box.cell - 1);
    if (!frame.names || box.cell < ROOM) return;
    context.fillStyle = ink(lut, index);
    context.fillText(number(value(at)), x + box.cell / 2, y + box.cell / 2, box.cell - 4);
  }

  function place(head) {
    const [layer, column] = frame.names ? head.split(", ") : head.split(".").map(Number);
    return { row: frame.layers.indexOf(layer), column: frame.heads.indexOf(column) };
  }

  function outline(context, colour, { row, column }, width) {
    if (row < 0 || column < 0) return; // a link may pin a head that is not here
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(margin.left + column * box.cell - 0.5, margin.top + row * box.cell - 0.5, box.cell, box.cell);
  }

  function readout(active) {
    const shown = active ? [active] : model.get("selected").map(place).filter(({ row, column }) => row >= 0 && column >= 0);
    return shown.map(frame.names ? described : (at) => `${name(at)}  ${number(value(at))}`).join("   ");
  }

  function described(at) {
    const [note, [row, column]] = [frame.notes[at.row * box.columns + at.column], frame.names];
    return `${row} ${frame.layers[at.row]}, ${column} ${frame.heads[at.column]}: ${number(value(at))}${note && ` (${note})`}`;
  }

  const pick = (at, adding) => put(model, "selected", picked(model.get("selected"), name(at), adding));
  const listen = (event, handle) => canvas.addEventListener(event, handle, { signal });
  listen("pointermove", (event) => {
    hovered = cellAt(box, event.offsetX, event.offsetY, margin);
    draw();
  });
  listen("pointerleave", () => {
    hovered = null;
    draw();
  });
  listen("click", (event) => {
    const at = cellAt(box, event.offsetX, event.offsetY, margin);
    if (!at) return;
    cursor = at;
    pick(at, event.shiftKey);
  });
  keys(canvas, (event) => {
    const next = moved(event.key, cursor, box);
    if (next) cursor = next;
    else if (event.key === "Enter" || event.key === " ") pick(cursor, event.shiftKey);
    else if (event.key === "Escape") put(model, "selected", []);
    else return false;
    hovered = null;
    draw();
    return true;
  }, signal);
  listen("focus", draw);
  listen("blur", draw);

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["selected"], draw, signal);
  repaint(draw, signal);
}

export default { render };
