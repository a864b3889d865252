import {
  FONT, bytes, floats, follow, framed, hatch, keyboardOn, keys, legend, node, number, paint, put, repaint, shade, sized, theme,
} from "../shared.js";

const MARGIN = { left: 28, top: 18, right: 2, bottom: 2 };

// Cells are square, as large as a view of 420 by 560 pixels allows.
export function layout(rows, columns) {
  const cell = Math.max(7, Math.min(26, Math.floor(Math.min(420 / rows, 560 / columns))));
  const width = MARGIN.left + columns * cell + MARGIN.right;
  return { cell, rows, columns, width, height: MARGIN.top + rows * cell + MARGIN.bottom };
}

export function cellAt(box, x, y) {
  const row = Math.floor((y - MARGIN.top) / box.cell);
  const column = Math.floor((x - MARGIN.left) / box.cell);
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
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "grid of heads" });
  const root = node("div", { class: "nb nb-grid" }, canvas);
  el.append(root);
  const around = framed(model, root, signal);
  const keyboard = keyboardOn(canvas, signal);
  let frame, values, lut, box;
  let hovered = null;
  let cursor = { row: 0, column: 0 };

  const name = ({ row, column }) => `${frame.layers[row]}.${frame.heads[column]}`;
  const value = ({ row, column }) => values[row * box.columns + column];

  function rebuild() {
    frame = model.get("_frame");
    values = floats(frame.values);
    lut = bytes(frame.lut);
    box = layout(frame.layers.length, frame.heads.length);
    hovered = null;
    cursor = { row: Math.min(cursor.row, box.rows - 1), column: Math.min(cursor.column, box.columns - 1) };
    around.key(legend(frame));
    canvas.setAttribute("aria-label", `${frame.label || "values"}: ${box.rows} layers, ${box.columns} heads`);
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
      context.fillText(frame.layers[row], MARGIN.left - 5, MARGIN.top + (row + 0.5) * box.cell);
    context.textAlign = "center";
    for (let column = 0; column < box.columns; column += every(box.columns, box.cell))
      context.fillText(frame.heads[column], MARGIN.left + (column + 0.5) * box.cell, MARGIN.top / 2);
  }

  function cell(context, colours, at) {
    const [x, y] = [MARGIN.left + at.column * box.cell, MARGIN.top + at.row * box.cell];
    const index = shade(value(at), frame.vmin, frame.vmax);
    if (index < 0) return hatch(context, x, y, box.cell - 1, box.cell - 1, colours.line);
    context.fillStyle = paint(lut, index);
    context.fillRect(x, y, box.cell - 1, box.cell - 1);
  }

  function place(head) {
    const [layer, column] = head.split(".").map(Number);
    return { row: frame.layers.indexOf(layer), column: frame.heads.indexOf(column) };
  }

  function outline(context, colour, { row, column }, width) {
    if (row < 0 || column < 0) return; // a link may pin a head that is not here
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(MARGIN.left + column * box.cell - 0.5, MARGIN.top + row * box.cell - 0.5, box.cell, box.cell);
  }

  function readout(active) {
    const shown = active ? [active] : model.get("selected").map(place).filter(({ row, column }) => row >= 0 && column >= 0);
    return shown.map((at) => `${name(at)}  ${number(value(at))}`).join("   ");
  }

  const pick = (at, adding) => put(model, "selected", picked(model.get("selected"), name(at), adding));
  const listen = (event, handle) => canvas.addEventListener(event, handle, { signal });
  listen("pointermove", (event) => {
    hovered = cellAt(box, event.offsetX, event.offsetY);
    draw();
  });
  listen("pointerleave", () => {
    hovered = null;
    draw();
  });
  listen("click", (event) => {
    const at = cellAt(box, event.offsetX, event.offsetY);
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
