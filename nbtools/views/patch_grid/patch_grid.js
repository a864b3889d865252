import {
  FONT, bytes, floats, follow, framed, hatch, keyboardOn, keys, legend, node, number, paint, repaint, resized, shade, shorten, sized,
  theme, visible, windowed,
} from "../shared.js";

const ROOM = 844; // width of the view, until the host tells
const TALL = 500; // height of the cells
const [LEFT, TOP, RIGHT] = [36, 6, 4]; // around the cells
const [NARROW, FLAT] = [6, 44]; // width of the narrowest column, and of one whose token is written from left to right
const [LINE, LETTER, LETTERS] = [14, 6.1, 16]; // height of a line, width of a letter, and letters of a token written upward
const STRIP = 36; // height of the picture of the whole
const FAINT = 0.8; // how much is left of what a patch cannot change
const HAND = [["#fff", 4], ["#000", 1.5]]; // the frame under the pointer: seen on every colour, in the light and in the dark
const TEXT = FONT.replace("12px", "11px");

const clamp = (value, most) => Math.max(0, Math.min(most, value));

// A token as it is written upward; where the other run has another one, that points to it.
export const upward = ({ texts, others }, at) =>
  [others[at], texts[at]].filter(Boolean).map((token) => shorten(visible(token), LETTERS)).join(" → ");

// From top to bottom: cells, numbers, tokens. Of more columns than fit a window is drawn.
export function layout(frame, room = ROOM) {
  const [rows, count, most] = [frame.layers.length, frame.names.length, Math.max(120, room - LEFT - RIGHT)];
  const shown = Math.min(count, Math.floor(most / NARROW));
  const cell = Math.min(frame.texts.length ? 56 : 28, Math.floor(most / shown));
  const row = Math.max(1, Math.min(20, Math.floor(TALL / rows)));
  const [wide, bottom, flat] = [shown * cell, TOP + rows * row, cell >= FLAT];
  const longest = Math.max(0, ...frame.texts.map((_, at) => [...upward(frame, at)].length));
  const low = bottom + (frame.numbers.length ? LINE : 0) + 3; // where tokens begin, or the name of what columns are
  const lines = frame.others.some(Boolean) ? 2 : 1;
  const text = flat || !frame.texts.length ? LINE * lines : Math.ceil(longest * LETTER) + 6;
  const [width, height] = [Math.max(LEFT + wide + RIGHT, 150), low + text + 2];
  return { rows, count, shown, cell, row, wide, right: LEFT + wide, bottom, flat, low, text, width, height };
}

export const { inside, moved, revealed, spot } = windowed(LEFT, TOP, "column");

// Where a cell lies; a row or a column if the other part is -1.
export function place(box, { layer, column }, from = 0) {
  const [left, wide] = column < 0 ? [LEFT, box.wide] : [LEFT + (column - from) * box.cell, box.cell];
  return layer < 0 ? [left, TOP, wide, box.bottom - TOP] : [left, TOP + (box.rows - 1 - layer) * box.row, wide, box.row];
}

// Where what a patch in a cell can change lies: the layers above it, and of positions those from there on.
export function cone(box, { layer, column }, from, causal) {
  const left = causal && column > from ? Math.min(box.right, LEFT + (column - from) * box.cell) : LEFT;
  return [left, TOP, box.right - left, (box.rows - 1 - layer) * box.row];
}

// Which of so many labels in a row do not touch: first those that are wanted, then every so many. Cells and labels
// have a size along the row.
export function ticks(first, count, cell, size, wanted) {
  const step = Math.max(1, Math.ceil(size / cell));
  const regular = Array.from({ length: count }, (_, at) => first + at).filter((at) => at % step === 0);
  return [...wanted, ...regular].reduce((kept, at) => {
    const fits = at >= first && at < first + count && kept.every((other) => Math.abs(at - other) >= step);
    return fits ? [...kept, at] : kept;
  }, []);
}

// The numbers of a frame by cell, where no number is not finite; and whether a cell has only an estimate.
export function opened(frame) {
  const [effect, estimate] = [frame.effect, frame.estimate].map(floats);
  const at = ({ layer, column }) => layer * frame.names.length + column;
  const guessed = estimate.some((guess, cell) => Number.isFinite(guess) && !Number.isFinite(effect[cell]));
  return { effect: (cell) => effect[at(cell)], estimate: (cell) => estimate[at(cell)], guessed };
}

export function readout(frame, sweep, cell) {
  const [layer, name] = [frame.layers[cell.layer], frame.names[cell.column]];
  if (cell.column < 0) return `layer ${layer}`;
  if (cell.layer < 0) return frame.heads ? `head ${name}` : name;
  const text = (value) => number(Math.abs(value) < 5e-4 ? 0 : value);
  const [effect, guess] = [sweep.effect(cell), sweep.estimate(cell)];
  const estimate = Number.isFinite(guess) ? `estimate ${text(guess)}` : "";
  const metric = frame.base === null || frame.source === null ? "" : `, ${frame.metric} ${number(frame.base + effect * (frame.source - frame.base))}`;
  const exact = `${text(effect)}${estimate && ` (${estimate})`}${metric}`;
  const unknown = estimate || (frame.complete ? "undefined" : "not run yet");
  return `${frame.heads ? `${layer}.${name}` : `layer ${layer}, ${name}`}: ${Number.isFinite(effect) ? exact : unknown}`;
}

function render({ model, el, signal }) {
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "patching grid" });
  const [whole, part, sheet] = [node("canvas"), node("span"), node("canvas")];
  const strip = node("div", { class: "nb-patch-strip", "aria-hidden": "true" }, whole, part);
  const root = node("div", { class: "nb" }, node("div", { class: "nb-patch" }, strip, canvas));
  el.append(root);
  const around = framed(model, root, signal);
  const keyboard = keyboardOn(canvas, signal);
  let frame, lut, sweep, differing, box, pen, colours, scale, settled;
  let [room, from, hovered, cursor, agreed] = [ROOM, 0, null, null, true];

  // Places of what is pinned; -1 if nothing is, or what a link pinned is not here.
  const pins = () => ({ layer: frame.layers.indexOf(model.get("layer")), column: frame.pins.indexOf(model.get("column")) });
  // The pinned cell; the last layer or column where none is pinned.
  function pinned() {
    const { layer, column } = pins();
    return inside(box, layer < 0 ? box.rows : layer, column < 0 ? box.count : column);
  }
  const here = () => cursor ?? pinned();
  const active = () => hovered ?? (keyboard() ? here() : null);
  const level = (value) => shade(value, frame.vmin, frame.vmax);

  function rebuild() {
    frame = model.get("_frame");
    lut = bytes(frame.lut);
    sweep = opened(frame);
    differing = [...frame.others.keys()].filter((at) => frame.others[at]);
    drawKey();
    fit();
  }

  // The legend is made again only if it is another one: frames may come twice a second.
  function drawKey() {
    const now = JSON.stringify([frame.label, frame.vmin, frame.vmax, frame.note, sweep.guessed, [...lut]]);
    if (now === scale) return;
    scale = now;
    const made = legend(frame);
    made.title = frame.note;
    if (sweep.guessed) made.append(node("span", { class: "nb-patch-small" }), "estimate");
    around.key(made);
  }

  function fit() {
    box = layout(frame, room);
    if (cursor) cursor = inside(box, cursor.layer, cursor.column);
    if (hovered && (hovered.layer >= box.rows || hovered.column >= box.count)) hovered = null;
    canvas.setAttribute("aria-label", `${frame.label || "effect"}: ${box.rows} layers, ${box.count} ${frame.many}`);
    strip.hidden = box.shown === box.count;
    if (!strip.hidden) drawWhole();
    if (settled === standing()) drawCells(); // and leave the window where the hand has moved it
    else turn();
  }

  const standing = () => [box.count, box.shown, pins().column].join();

  const eachCell = (first, count, draw) => frame.layers.forEach((_, layer) => {
    for (let column = first; column < first + count; column++) draw({ layer, column });
  });

  function drawWhole() {
    pen = sized(whole, box.wide, STRIP);
    const [wide, tall] = [box.wide / box.count, STRIP / box.rows];
    eachCell(0, box.count, (cell) => {
      const exact = level(sweep.effect(cell));
      pen.fillStyle = paint(lut, exact < 0 ? level(sweep.estimate(cell)) : exact);
      pen.fillRect(cell.column * wide, (box.rows - 1 - cell.layer) * tall, wide + 0.5, tall + 0.5);
    });
  }

  // What stays while the pointer moves is drawn once, on its own sheet.
  function drawCells() {
    pen = sized(sheet, box.width, box.height);
    colours = theme(root);
    eachCell(from, box.shown, drawCell);
    part.style.cssText = `left: ${(100 * from) / box.count}%; width: ${(100 * box.shown) / box.count}%`;
    draw();
  }

  // An exact effect fills its cell; an estimate is half as wide and high, in the middle.
  function drawCell(cell) {
    const [left, top, wide, tall] = place(box, cell, from);
    const [exact, guess] = [level(sweep.effect(cell)), level(sweep.estimate(cell))];
    if (exact < 0 && guess < 0) return hatch(pen, left, top, wide - 1, tall - 1, colours.line);
    pen.fillStyle = paint(lut, exact < 0 ? guess : exact);
    if (exact >= 0) pen.fillRect(left, top, wide - 1, tall - 1);
    else pen.fillRect(left + (wide >> 2), top + (tall >> 2), Math.max(2, wide >> 1), Math.max(2, tall >> 1));
  }

  function draw() {
    const [pin, hand] = [pins(), active()];
    const cell = hand ?? pin;
    pen = sized(canvas, box.width, box.height);
    colours = theme(root);
    drawSheet(cell);
    drawNames(cell);
    if (pin.layer >= 0 || pin.column >= 0) outline(pin, colours.accent, 2);
    if (hand) for (const [colour, width] of HAND) outline(hand, colour, width);
    around.read.textContent = cell.layer < 0 && cell.column < 0 ? "" : readout(frame, sweep, cell);
  }

  // The cells; what a patch in this one cannot change is faint, and a line runs along the rest.
  function drawSheet(cell) {
    const copy = () => pen.drawImage(sheet, 0, 0, box.width, box.height);
    if (cell.layer < 0) return copy();
    pen.globalAlpha = FAINT;
    copy();
    pen.globalAlpha = 1;
    const [left, top, wide, tall] = cone(box, cell, from, frame.causal);
    pen.save();
    pen.beginPath();
    pen.rect(left, top, wide, tall);
    pen.rect(...place(box, cell, from));
    pen.clip();
    copy();
    pen.restore();
    if (!wide || !tall) return;
    pen.fillStyle = colours.accent;
    pen.fillRect(left - 1, top + tall - 1, wide + 1, 1.5);
    if (left > LEFT) pen.fillRect(left - 1, top, 1.5, tall);
  }

  function drawNames(cell) {
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const layer of ticks(0, box.rows, box.row, 11, [cell.layer]))
      write(frame.layers[layer], layer === cell.layer, colours.muted, LEFT - 6, place(box, { layer, column: 0 })[1] + box.row / 2);
    pen.textAlign = "center";
    const columns = (size, name, wanted = []) => ticks(from, box.shown, box.cell, size, [cell.column, ...wanted]).forEach((at) =>
      name(at, at === cell.column, LEFT + (at - from + 0.5) * box.cell));
    const digits = 5 + 6.5 * Math.max(0, ...frame.numbers.map((number) => String(number).length));
    if (frame.numbers.length) columns(digits, (at, strong, x) => write(frame.numbers[at], strong, colours.muted, x, box.bottom + 10));
    if (!frame.texts.length) write(frame.kind, false, colours.muted, LEFT + box.wide / 2, box.low + 7);
    else columns(box.flat ? 0 : 12, box.flat ? nameFlat : nameUpward, differing);
  }

  function nameFlat(at, strong, x) {
    const fitting = (token, sign = "") => shorten(sign + visible(token), Math.floor(box.cell / 5.6));
    write(fitting(frame.texts[at]), strong, colours.fg, x, box.low + 7, box.cell - 4);
    if (frame.others[at]) write(fitting(frame.others[at], "↑"), strong, colours.accent, x, box.low + LINE + 7, box.cell - 4);
  }

  function nameUpward(at, strong, x) {
    pen.save();
    pen.translate(x, box.low + 1);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "right";
    write(upward(frame, at), strong, frame.others[at] ? colours.accent : colours.fg, 0, 0, box.text - 2);
    pen.restore();
  }

  function write(text, strong, colour, ...at) {
    pen.font = (strong ? "bold " : "") + TEXT;
    pen.fillStyle = strong ? colours.accent : colour;
    pen.fillText(text, ...at);
  }

  // Frame a cell, or a whole column or row, if it is in the window.
  function outline(cell, colour, width) {
    if (cell.column >= from + box.shown || (cell.column >= 0 && cell.column < from)) return;
    const [left, top, ...size] = place(box, cell, from);
    [pen.strokeStyle, pen.lineWidth] = [colour, width];
    pen.strokeRect(left - 0.5, top - 0.5, ...size);
  }

  // Pin a cell, or release it if it is pinned; null releases all.
  function pin(cell) {
    const { layer, column } = pins();
    const kept = cell && (cell.layer !== layer || cell.column !== column);
    hold(kept ? frame.layers[cell.layer] : null, kept ? frame.pins[cell.column] : null);
    model.save_changes?.();
  }

  // Set a pin under all its names: links hold a head as a whole, else the layer, and the column if it is a position.
  function hold(layer, column) {
    const head = frame.heads && layer !== null && column !== null ? `${layer}.${column}` : null;
    const names = { _layer: frame.heads ? null : layer, _position: frame.causal ? column : null, _head: head, column, layer };
    agreed = true;
    for (const name in names) model.set(name, names[name]);
    agreed = false;
  }

  // A link has pinned by one name, and the others follow. With a kernel Python sees to that.
  function agree(name) {
    if (agreed || model.save_changes) return;
    const [layer, column] = [frame.heads ? "layer" : "_layer", frame.causal ? "_position" : "column"].map((held) => model.get(held));
    hold(...(name === "_head" ? (model.get(name)?.split(".").map(Number) ?? [null, null]) : [layer, column]));
  }

  function turn() {
    if (pins().column >= 0) cursor = pinned();
    settled = standing();
    reveal();
  }

  function reveal() {
    from = revealed(box, from, here().column);
    drawCells();
  }

  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  const under = (event) => spot(box, event.offsetX, event.offsetY, from);
  const hover = (cell) => {
    if (cell?.layer === hovered?.layer && cell?.column === hovered?.column) return;
    hovered = cell;
    draw();
  };
  listen(canvas, "pointermove", (event) => hover(under(event)));
  listen(canvas, "pointerleave", () => hover(null));
  for (const event of ["focus", "blur"]) listen(canvas, event, draw);
  listen(canvas, "click", (event) => under(event) && pin(under(event)));
  keys(canvas, ({ key }) => {
    const next = moved(key, here(), box);
    if (next) cursor = next;
    else if (key === "Enter" || key === " ") pin(here());
    else if (key === "Escape") pin(null);
    else return false;
    hovered = null;
    reveal();
    return true;
  }, signal);
  const slide = (event) => {
    if (!event.buttons) return;
    from = clamp(Math.round((event.offsetX / box.wide) * box.count - box.shown / 2), box.count - box.shown);
    drawCells();
  };
  for (const event of ["pointerdown", "pointermove"]) listen(whole, event, slide);

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["layer", "column"], () => {
    agree("column");
    turn();
  }, signal);
  for (const name of ["_layer", "_position", "_head"]) follow(model, [name], () => agree(name), signal);
  agreed = false;
  repaint(drawCells, signal);
  resized(root, (width) => {
    room = width;
    fit();
  }, signal);
}

export default { render };
