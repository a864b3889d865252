import {
  FONT, bytes, follow, framed, hatch, ink, keys, legend, node, number, paint, put, repaint, resized, shade, shorten, sized, theme,
  visible, windowed,
} from "../shared.js";

const ROOM = 844; // width of the view, until the host tells
const TALL = 560; // height of the cells
const [LEFT, TOP, RIGHT, BOTTOM] = [36, 20, 164, 34]; // around the cells: names, and two plots at the right
const [PLOT, SHARE, RANK] = [64, 14, 92]; // width of a plot, and where the two begin after the cells
const STRIP = 36; // height of the picture of the whole
const RANKS = [[1, "1"], [100, "100"], [1e4, "10k"]];
const EMBEDDING = -1;
const TEXT = FONT.replace("12px", "11px");

const clamp = (value, most) => Math.max(0, Math.min(most, value));

// From left to right: layer names, cells, probability, rank. Of a prompt that does not fit a window is drawn.
export function layout(rows, count, room = ROOM) {
  const most = Math.max(230, room - LEFT - RIGHT);
  const shown = Math.min(count, Math.floor(most / (count * 46 > most ? 56 : 46)));
  const cell = Math.min(84, Math.floor(most / shown));
  const row = Math.max(14, Math.min(24, Math.floor(TALL / rows)));
  const [wide, bottom] = [shown * cell, TOP + rows * row];
  const right = LEFT + wide;
  return { rows, count, shown, cell, row, wide, right, bottom, width: right + RIGHT, height: bottom + BOTTOM };
}

export const { inside, moved, revealed, spot } = windowed(LEFT, TOP, "position");

// The number whose float16 has these bits, if it is not negative.
export const half = (bits) =>
  bits > 31743 ? NaN : bits < 1024 ? bits * 2 ** -24 : 2 ** ((bits >> 10) - 15) * (1 + (bits & 1023) / 1024);

const integers = (data, most) => new (most > 65535 ? Uint32Array : Uint16Array)(bytes(data).slice().buffer);
const halves = (data) => Float32Array.from(integers(data, 0), half);

// The lens in a frame. A cell is { layer, position }: places, not their names.
export function opened(frame) {
  const [top, followed] = [frame.top, frame.followed].map((data) => integers(data, frame.texts.length));
  const [shares, path] = [frame.probability, frame.followed_probability].map(halves);
  const ranks = integers(frame.followed_rank, frame.last_rank);
  const starts = [0];
  integers(frame.counts, 0).forEach((count) => starts.push(starts.at(-1) + count));
  const at = ({ layer, position }, rank) => (layer * frame.positions.length + position) * frame.ranks + rank;
  return {
    text: (cell, rank = 0) => frame.texts[top[at(cell, rank)]],
    share: (cell, rank = 0) => shares[at(cell, rank)],
    // The token of a cell in all layers; where it is not followed, the first that is.
    path(cell) {
      const start = starts[cell.position];
      const found = followed.subarray(start, starts[cell.position + 1]).indexOf(top[at(cell, 0)]);
      const place = start + Math.max(0, found);
      const column = (numbers) => frame.layers.map((_, layer) => numbers[layer * followed.length + place]);
      return { text: frame.texts[followed[place]], shares: column(path), ranks: column(ranks) };
    },
  };
}

// Where a rank lies on its axis, from 0 for the last one to 1 for the first: by its logarithm.
export const along = (rank, last) => (rank ? 1 - Math.log(rank) / Math.log(last) : NaN);

const quoted = (token) => `“${visible(token)}”`;

export function readout(frame, lens, cell) {
  const [layer, path, token] = [frame.layers[cell.layer], lens.path(cell), lens.text(cell)];
  const where = `${layer === EMBEDDING ? "embedding" : `layer ${layer}`}, after ${frame.positions[cell.position]}`;
  const other = path.text === token ? "" : `; ${quoted(path.text)} ${number(path.shares[cell.layer])}`;
  const says = `${quoted(token)} ${number(lens.share(cell))}${other}, rank ${path.ranks[cell.layer] || "undefined"}`;
  return `${where} ${quoted(frame.tokens[cell.position])}: ${says}`;
}

function render({ model, el, signal }) {
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "logit lens" });
  const [whole, part, sheet] = [node("canvas"), node("span"), node("canvas")];
  const strip = node("div", { class: "nb-lens-strip", "aria-hidden": "true" }, whole, part);
  const list = node("div", { class: "nb-lens-top", role: "list", "aria-label": "most probable tokens" });
  const root = node("div", { class: "nb" }, node("div", { class: "nb-lens" }, strip, canvas), list);
  el.append(root);
  const around = framed(model, root, signal);
  let frame, lut, lens, box, pen, colours;
  let room = ROOM;
  let from = 0;
  let hovered = null;
  let cursor = null;

  // Places of what is pinned; -1 if nothing is, or what a link pinned is not here.
  const pins = () => ({ layer: frame.layers.indexOf(model.get("layer")), position: frame.positions.indexOf(model.get("position")) });
  // The pinned cell; the last layer or position where none is pinned: at first, the model's answer.
  function pinned() {
    const { layer, position } = pins();
    return inside(box, layer < 0 ? box.rows : layer, position < 0 ? box.count : position);
  }
  const here = () => cursor ?? pinned();

  const x = (position) => LEFT + (position - from) * box.cell;
  const y = (layer) => TOP + (box.rows - 1 - layer) * box.row;
  const middle = (layer) => y(layer) + box.row / 2;
  const fitting = (token) => shorten(visible(token), Math.floor(box.cell / 5.6));
  const level = (cell) => shade(lens.share(cell), frame.vmin, frame.vmax);
  const eachCell = (first, count, draw) => frame.layers.forEach((_, layer) => {
    for (let position = first; position < first + count; position++) draw({ layer, position });
  });

  function rebuild() {
    frame = model.get("_frame");
    lut = bytes(frame.lut);
    lens = opened(frame);
    hovered = null;
    around.key(legend(frame));
    fit();
  }

  function fit() {
    box = layout(frame.layers.length, frame.positions.length, room);
    list.style.maxWidth = `${box.width}px`;
    if (cursor) cursor = inside(box, cursor.layer, cursor.position);
    canvas.setAttribute("aria-label", `logit lens: ${box.rows} layers, ${box.count} positions`);
    strip.hidden = box.shown === box.count;
    if (!strip.hidden) drawWhole();
    turn();
  }

  function drawWhole() {
    pen = sized(whole, box.wide, STRIP);
    const [wide, tall] = [box.wide / box.count, STRIP / box.rows];
    eachCell(0, box.count, (cell) => {
      pen.fillStyle = paint(lut, level(cell));
      pen.fillRect(cell.position * wide, (box.rows - 1 - cell.layer) * tall, wide + 0.5, tall + 0.5);
    });
  }

  // What stays while the pointer moves is drawn once, on its own sheet.
  function drawCells() {
    pen = sized(sheet, box.width, box.height);
    colours = theme(root);
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    pen.font = TEXT;
    eachCell(from, box.shown, drawCell);
    drawAxes();
    part.style.cssText = `left: ${(100 * from) / box.count}%; width: ${(100 * box.shown) / box.count}%`;
    draw();
  }

  function drawCell(cell) {
    const [left, top, index] = [x(cell.position), y(cell.layer), level(cell)];
    if (index < 0) return hatch(pen, left, top, box.cell - 1, box.row - 1, colours.line);
    pen.fillStyle = paint(lut, index);
    pen.fillRect(left, top, box.cell - 1, box.row - 1);
    pen.fillStyle = ink(lut, index);
    pen.fillText(fitting(lens.text(cell)), left + box.cell / 2, top + box.row / 2, box.cell - 5);
  }

  function drawAxes() {
    const [left, right, low] = [box.right + SHARE, box.right + RANK, box.bottom + 10];
    const ranks = RANKS.filter(([rank]) => rank <= frame.last_rank);
    const ticks = ranks.map(([rank, text]) => [right + along(rank, frame.last_rank) * PLOT, text]);
    for (const [at, text] of [[left, "0"], [left + PLOT, "1"], ...ticks]) {
      pen.fillStyle = colours.line;
      pen.fillRect(Math.round(at), TOP, 1, box.bottom - TOP);
      pen.fillStyle = colours.muted;
      pen.fillText(text, at, low);
    }
    pen.fillText("probability", left + PLOT / 2, low + 14);
    pen.fillText("rank", right + PLOT / 2, low + 14);
  }

  function draw() {
    const cell = hovered ?? pinned();
    pen = sized(canvas, box.width, box.height);
    colours = theme(root);
    pen.drawImage(sheet, 0, 0, box.width, box.height);
    pen.textBaseline = "middle";
    drawNames(cell);
    drawPath(cell);
    const pin = pins();
    if (pin.layer >= 0 || pin.position >= 0) outline(pin, colours.accent, 2);
    if (hovered) outline(cell, colours.fg, 1.5);
    listTop(cell);
    around.read.textContent = readout(frame, lens, cell);
  }

  function drawNames(cell) {
    const write = (text, strong, colour, left, top) => {
      pen.font = (strong ? "bold " : "") + TEXT;
      pen.fillStyle = strong ? colours.accent : colour;
      pen.fillText(text, left, top, box.cell - 4);
    };
    pen.textAlign = "right";
    frame.layers.forEach((name, layer) =>
      write(name === EMBEDDING ? "emb" : name, layer === cell.layer, colours.muted, LEFT - 6, middle(layer)));
    pen.textAlign = "center";
    for (let position = from; position < from + box.shown; position++) {
      const [centre, strong] = [x(position) + box.cell / 2, position === cell.position];
      write(fitting(frame.tokens[position]), strong, colours.fg, centre, box.bottom + 10);
      write(frame.positions[position], strong, colours.muted, centre, box.bottom + 24);
    }
  }

  function drawPath(cell) {
    const [path, left, right] = [lens.path(cell), box.right + SHARE, box.right + RANK];
    pen.fillStyle = colours.line;
    pen.fillRect(box.right + 4, Math.round(middle(cell.layer)), RIGHT - 8, 1);
    pen.fillStyle = pen.strokeStyle = colours.accent;
    pen.lineWidth = 1.5;
    pen.font = `bold ${TEXT}`;
    pen.textAlign = "left";
    pen.fillText(shorten(quoted(path.text), 26), left, TOP / 2, box.width - left);
    drawLine(path.shares.map((share) => left + share * PLOT), cell.layer);
    drawLine(path.ranks.map((rank) => right + along(rank, frame.last_rank) * PLOT), cell.layer);
  }

  // A canvas leaves out what is not a number: a gap.
  function drawLine(places, marked) {
    pen.beginPath();
    places.forEach((place, layer) => pen[places[layer - 1] >= 0 ? "lineTo" : "moveTo"](place, middle(layer)));
    pen.stroke();
    pen.beginPath();
    pen.arc(places[marked], middle(marked), 4, 0, 2 * Math.PI);
    pen.fill();
  }

  // Frame a cell, or with a -1 a whole column or row, if it is in the window.
  function outline({ layer, position }, colour, width) {
    if (position >= from + box.shown || (position >= 0 && position < from)) return;
    const [left, wide] = position < 0 ? [LEFT, box.wide] : [x(position), box.cell];
    const [top, tall] = layer < 0 ? [TOP, box.bottom - TOP] : [y(layer), box.row];
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.strokeRect(left - 0.5, top - 0.5, wide, tall);
  }

  function listTop(cell) {
    list.replaceChildren(...Array.from({ length: frame.ranks }, (_, rank) => {
      const [token, share] = [visible(lens.text(cell, rank)), lens.share(cell, rank)];
      const style = `background-size: ${100 * (share || 0)}% 2px`;
      return node("div", { role: "listitem", style }, node("span", {}, token), node("b", {}, number(share)));
    }));
  }

  // Pin a cell, or release it if it is pinned; null releases all.
  function pin(cell) {
    const { layer, position } = pins();
    const kept = cell && (cell.layer !== layer || cell.position !== position);
    model.set("position", kept ? frame.positions[cell.position] : null);
    put(model, "layer", kept ? frame.layers[cell.layer] : null); // both travel in one message
  }

  function turn() {
    if (pins().position >= 0) cursor = pinned();
    reveal();
  }

  function reveal() {
    from = revealed(box, from, here().position);
    drawCells();
  }

  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  const under = (event) => spot(box, event.offsetX, event.offsetY, from);
  const hover = (cell) => {
    hovered = cell;
    draw();
  };
  listen(canvas, "pointermove", (event) => hover(under(event)));
  for (const event of ["pointerleave", "blur"]) listen(canvas, event, () => hover(null));
  listen(canvas, "click", (event) => under(event) && pin(under(event)));
  keys(canvas, ({ key }) => {
    const next = moved(key, here(), box);
    if (next) hovered = cursor = next;
    else if (key === "Enter" || key === " ") pin(here());
    else if (key === "Escape") {
      hovered = null;
      pin(null);
    } else return false;
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
  follow(model, ["layer", "position"], turn, signal);
  repaint(drawCells, signal);
  resized(root, (width) => {
    room = width;
    fit();
  }, signal);
}

export default { render };
