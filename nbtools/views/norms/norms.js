import {
  FONT, bytes, floats, follow, framed, hatch, keyboardOn, keys, node, number, paint, repaint, resized, shade, shorten, sized, theme, visible,
  windowed,
} from "../shared.js";

const [ROOM, TALL] = [844, 420]; // width of the view until the host tells, and height of the cells
const [LEFT, TOP, APART, RIGHT] = [36, 24, 26, 24]; // around the cells, and from them to the lines
const [NARROW, WIDE, LETTERS, LETTER] = [4, 44, 12, 6.6]; // of a column; of a token written upward
const [LINES, SHORT, TIGHT] = [230, 150, 600]; // width of the lines, and where the host has less room than this
const BAR = 200; // length of the legend
const HAND = [["#fff", 4], ["#000", 1.5]]; // the frame under the pointer: seen on every colour, in the light and in the dark
const SMALL = FONT.replace("12px", "11px");

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const short = (token) => shorten(visible(token), LETTERS);

// From left to right: layers, cells, and the norms of one token in the same rows; below them tokens and numbers.
export function layout({ layers, tokens }, room = ROOM) {
  const [rows, count, long] = [layers.length, tokens.length, room < TIGHT ? SHORT : LINES];
  const cell = clamp(Math.floor((room - LEFT - APART - long - RIGHT) / count), NARROW, WIDE);
  const row = clamp(Math.floor(TALL / rows), 3, 20);
  const [right, bottom] = [LEFT + count * cell, TOP + rows * row];
  const text = Math.ceil(LETTER * Math.max(...tokens.map((token) => [...short(token)].length))) + 10;
  return { rows, count, shown: count, cell, row, right, bottom, long, start: right + APART, width: right + APART + long + RIGHT, height: bottom + Math.max(text, 24) };
}

export const { inside, moved, spot } = windowed(LEFT, TOP, "position");

// The norms in a frame, by places. `others` are the least, the median and the greatest norm of all tokens but one.
export function opened({ layers, tokens, values }) {
  const norms = floats(values);
  const at = ({ layer, position }) => norms[layer * tokens.length + position];
  function others({ layer, position }) {
    const rest = norms.slice(layer * tokens.length, (layer + 1) * tokens.length).filter((norm, place) => place !== position && Number.isFinite(norm)).sort();
    const middle = (rest[(rest.length - 1) >> 1] + rest[rest.length >> 1]) / 2;
    return { low: rest[0] ?? NaN, median: middle, high: rest.at(-1) ?? NaN };
  }
  const best = norms.reduce((found, norm, place) => (norm > (norms[found] >= 0 ? norms[found] : -1) ? place : found), 0);
  return { at, others, strongest: best % tokens.length, layers: layers.length };
}

// A norm as it is read out: whole from 100 on, with its thousands apart.
export const amount = (value) => (value >= 100 ? Math.round(value).toLocaleString("en-US") : number(value));

export function readout({ layers, positions, tokens }, table, { layer, position }) {
  if (position < 0) return `layer ${layers[layer]}`;
  const name = `${positions[position]} “${visible(tokens[position])}”`;
  if (layer < 0) return name;
  const [norm, { median }] = [table.at({ layer, position }), table.others({ layer, position })];
  const ratio = norm / median;
  const times = Number.isFinite(ratio) ? `, ${amount(ratio)} × the median of the other tokens` : "";
  return `layer ${layers[layer]}, ${name}: ${amount(norm)}${times}`;
}

// Where a norm lies between two others by its logarithm, from 0 to 1; NaN for 0.
export const along = (norm, { vmin, vmax }) => (norm > 0 ? clamp(Math.log(norm / vmin) / Math.log(vmax / vmin), 0, 1) : NaN);

function legendOf(frame) {
  const [lut, canvas] = [bytes(frame.lut), node("canvas", { "aria-hidden": "true" })];
  const pen = sized(canvas, BAR, 10);
  for (let x = 0; x < BAR; x++) {
    pen.fillStyle = paint(lut, Math.floor((x / BAR) * 256));
    pen.fillRect(x, 0, 1.5, 10);
  }
  const marks = frame.marks.map(([mark, text]) => node("span", { style: `left: ${BAR * along(mark, frame)}px` }, text));
  return node("span", { class: "nb-legend" }, node("span", {}, frame.label), node("div", { class: "nb-marks" }, canvas, ...marks));
}

function render({ model, el, signal }) {
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "norms by layer and token" });
  const sheet = node("canvas");
  const root = el.appendChild(node("div", { class: "nb nb-norms" }, node("div", { class: "nb-norms-scroll" }, canvas)));
  const [around, keyboard] = [framed(model, root, signal), keyboardOn(canvas, signal)];
  let frame, lut, table, box, pen, colours, [room, hovered, cursor] = [ROOM, null, null];

  // Places of what is pinned; -1 if nothing is, or what a link pinned is not here.
  const pins = () => ({ layer: frame.layers.indexOf(model.get("layer")), position: frame.positions.indexOf(model.get("position")) });
  // The pinned cell; the last layer or token where none is pinned.
  function pinned() {
    const { layer, position } = pins();
    return inside(box, layer < 0 ? box.rows : layer, position < 0 ? box.count : position);
  }
  const here = () => cursor ?? pinned();
  const active = () => hovered ?? (keyboard() ? here() : null);

  function rebuild() {
    frame = model.get("_frame");
    lut = bytes(frame.lut);
    table = opened(frame);
    around.key(legendOf(frame));
    canvas.setAttribute("aria-label", `${frame.label}: ${frame.layers.length} layers, ${frame.tokens.length} tokens`);
    fit();
  }

  function fit(width = room) {
    box = layout(frame, (room = width));
    if (cursor) cursor = inside(box, cursor.layer, cursor.position);
    if (hovered && (hovered.layer >= box.rows || hovered.position >= box.count)) hovered = null;
    redraw();
  }

  const top = (layer) => TOP + (box.rows - 1 - layer) * box.row;

  // What stays while the pointer moves is drawn once, on its own sheet.
  function redraw() {
    colours = theme(root);
    pen = sized(sheet, box.width, box.height);
    frame.layers.forEach((_, layer) => frame.tokens.forEach((_, position) => drawCell({ layer, position })));
    write("layer", LEFT - 6, 12, { align: "right" });
    for (const [mark, text] of frame.marks) {
      const x = box.start + box.long * along(mark, frame);
      fill(colours.line, Math.round(x), TOP, 1, box.bottom - TOP + 4);
      write(text, x, box.bottom + 13, { align: "center" });
    }
    draw();
  }

  function drawCell(cell) {
    const [gap, place] = [box.cell > 8 && box.row > 8 ? 1 : 0, [LEFT + cell.position * box.cell, top(cell.layer)]];
    const level = shade(along(table.at(cell), frame), 0, 1);
    if (level < 0) return hatch(pen, ...place, box.cell - gap, box.row - gap, colours.line);
    fill(paint(lut, level), ...place, box.cell - gap, box.row - gap);
  }

  function write(text, x, y, { colour = colours.muted, align = "left", font = SMALL, most } = {}) {
    [pen.fillStyle, pen.font, pen.textAlign, pen.textBaseline] = [colour, font, align, "middle"];
    pen.fillText(text, x, y, ...(most ? [most] : []));
  }

  function fill(colour, ...edges) {
    pen.fillStyle = colour;
    pen.fillRect(...edges);
  }

  function draw() {
    const [pin, hand] = [pins(), active()];
    const cell = hand ?? pin;
    pen = sized(canvas, box.width, box.height);
    pen.drawImage(sheet, 0, 0, box.width, box.height);
    drawNames(cell);
    drawLines(cell.position < 0 ? table.strongest : cell.position, cell.layer);
    if (pin.layer >= 0 || pin.position >= 0) outline(pin, colours.accent, 2);
    if (hand) for (const [colour, width] of HAND) outline(hand, colour, width);
    around.read.textContent = cell.layer < 0 && cell.position < 0 ? "" : readout(frame, table, cell);
  }

  // Which of so many labels in a row do not touch: every so many, and that of the active cell instead of its neighbours.
  const labelled = (count, size, wanted, name) => {
    const step = Math.ceil(12 / size);
    for (let at = 0; at < count; at++) if (at === wanted || (at % step === 0 && !(wanted >= 0 && Math.abs(at - wanted) < step))) name(at, at === wanted);
  };
  const look = (strong, colour) => (strong ? { colour: colours.accent, font: `bold ${SMALL}` } : { colour });

  function drawNames(cell) {
    labelled(box.rows, box.row, cell.layer, (at, strong) => write(frame.layers[at], LEFT - 6, top(at) + box.row / 2, { align: "right", ...look(strong, colours.muted) }));
    labelled(box.count, box.cell, cell.position, (at, strong) => {
      pen.save();
      pen.translate(LEFT + (at + 0.5) * box.cell, box.bottom + 5);
      pen.rotate(-Math.PI / 2);
      write(short(frame.tokens[at]), 0, 0, { align: "right", ...look(strong, colours.fg) });
      pen.restore();
    });
  }

  // The norms of one token by layer; behind them the range of the others, and their median, which is dashed.
  function drawLines(position, layer) {
    const others = frame.layers.map((_, layer) => table.others({ layer, position }));
    const point = (norm, layer) => [box.start + box.long * along(norm, frame), top(layer) + box.row / 2];
    const known = others.map((_, at) => at).filter((at) => others[at].low > 0);
    pen.beginPath();
    for (const at of known) pen.lineTo(...point(others[at].low, at));
    for (const at of known.toReversed()) pen.lineTo(...point(others[at].high, at));
    [pen.fillStyle, pen.globalAlpha] = [colours.fg, 0.15];
    pen.fill();
    pen.globalAlpha = 1;
    if (layer >= 0) fill(colours.accent, box.start, Math.round(top(layer) + box.row / 2), box.long, 1);
    trace(others.map(({ median }, at) => point(median, at)), colours.muted, [4, 3]);
    trace(frame.layers.map((_, at) => point(table.at({ layer: at, position }), at)), colours.accent, []);
    write(`${frame.positions[position]} “${short(frame.tokens[position])}”`, box.start, 12, { colour: colours.accent, font: `bold ${SMALL}`, most: 0.45 * box.long });
    write(box.long < LINES ? "others" : "others: median, range", box.start + box.long, 12, { align: "right", most: 0.53 * box.long });
  }

  function trace(points, colour, dashes) {
    pen.beginPath();
    points.forEach(([x, y], at) => Number.isFinite(x) && pen[Number.isFinite(points[at - 1]?.[0]) ? "lineTo" : "moveTo"](x, y));
    [pen.strokeStyle, pen.lineWidth] = [colour, 2];
    pen.setLineDash(dashes);
    pen.stroke();
    pen.setLineDash([]);
  }

  // Frame a cell, or a whole row or column.
  function outline({ layer, position }, colour, width) {
    const [left, wide] = position < 0 ? [LEFT, box.right - LEFT] : [LEFT + position * box.cell, box.cell];
    const [upper, tall] = layer < 0 ? [TOP, box.bottom - TOP] : [top(layer), box.row];
    [pen.strokeStyle, pen.lineWidth] = [colour, width];
    pen.strokeRect(left - 0.5, upper - 0.5, wide, tall);
  }

  // Pin a cell, or release it if it is pinned; null releases all.
  function pin(cell) {
    const { layer, position } = pins();
    const kept = cell && (cell.layer !== layer || cell.position !== position);
    model.set("position", kept ? frame.positions[cell.position] : null); // and then the layer: the keyboard follows
    model.set("layer", kept ? frame.layers[cell.layer] : null);
    model.save_changes?.();
  }

  // On the lines a point is on its row, and on the token that they show.
  function under({ offsetX, offsetY }) {
    const beside = offsetX >= box.start && offsetX <= box.start + box.long && spot(box, LEFT, offsetY);
    if (!beside) return spot(box, offsetX, offsetY);
    const { position } = pins();
    return { layer: beside.layer, position: position < 0 ? table.strongest : position };
  }

  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  const hover = (cell) => {
    if (cell?.layer === hovered?.layer && cell?.position === hovered?.position) return;
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
    draw();
    return true;
  }, signal);

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["layer", "position"], () => {
    if (pins().position >= 0) cursor = pinned();
    draw();
  }, signal);
  repaint(redraw, signal);
  resized(root, fit, signal);
}

export default { render };
