import { FONT, bytes, follow, footer, node, number, paint, put, rgb, shorten, sized, theme, visible } from "../shared.js";

const THUMB = 40;
const GAP = 90; // room for the lines between keys and queries
const FAINT = 0.04; // lines weaker than this are not drawn: those of one token,
const FAINT_ALL = 0.1; // and where all are drawn
const LABEL = 14; // letters of a token that are written beside the matrix

// From left to right: key tokens, lines, query tokens, matrix (its rows are those of the query tokens).
export function layout(count, label) {
  const cell = Math.max(2, Math.min(24, Math.floor(440 / count)));
  const named = cell >= 11;
  const top = Math.min(label * 0.87, 96) + 10; // key tokens above the matrix are turned
  const lines = label + 4;
  const queries = lines + GAP;
  const matrix = queries + label + 8;
  return { count, cell, named, label, top, lines, queries, matrix, width: matrix + count * cell + label / 2 + 8, height: top + count * cell + 4 };
}

// What a point is on: a query and a key in the matrix, one of them in the columns of tokens, or nothing.
export function spot(box, x, y) {
  const row = Math.floor((y - box.top) / box.cell);
  if (row < 0 || row >= box.count) return null;
  if (x < box.lines) return { query: null, key: row };
  if (x < box.queries) return null;
  if (x < box.matrix) return { query: row, key: null };
  const key = Math.floor((x - box.matrix) / box.cell);
  return key < box.count ? { query: row, key } : null;
}

// Attention of one head as numbers 0 to 255, [query * count + key]; causal patterns come without their empty half.
export function unpack(levels, head, count, causal) {
  if (!causal) return levels.subarray(head * count * count, (head + 1) * count * count);
  const full = new Uint8Array(count * count);
  let from = (head * count * (count + 1)) / 2;
  for (let query = 0; query < count; query++, from += query) full.set(levels.subarray(from, from + query + 1), query * count);
  return full;
}

export function image(pattern, count, lut) {
  const pixels = new Uint8ClampedArray(4 * count * count);
  for (let at = 0; at < count * count; at++) {
    pixels.set(rgb(lut, pattern[at]), 4 * at);
    pixels[4 * at + 3] = 255;
  }
  return pixels;
}

// The lines to draw, as [query, key, weight]: those of a query, those into a key, or all.
export function strands(pattern, count, active, vmax) {
  const found = [];
  for (let query = 0; query < count; query++) {
    if (active?.query != null && active.query !== query) continue;
    for (let key = 0; key < count; key++) {
      if (active && active.query == null && active.key !== key) continue;
      const weight = (pattern[query * count + key] / 255) * vmax;
      if (weight >= (active ? FAINT : FAINT_ALL)) found.push([query, key, weight]);
    }
  }
  return found;
}

export function moved(key, at, count) {
  const moves = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  if (!(key in moves)) return null;
  const clamp = (value) => Math.max(0, Math.min(count - 1, value));
  return { query: clamp(at.query + moves[key][0]), key: clamp(at.key + moves[key][1]) };
}

function render({ model, el, signal }) {
  const thumbs = node("div", { class: "nb-heads", role: "radiogroup", "aria-label": "heads" });
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "attention matrix" });
  const root = node("div", { class: "nb" }, thumbs, node("div", { class: "nb-scroll" }, canvas));
  el.append(root);
  let frame, levels, lut, box, foot, pattern, picture;
  let hovered = null;
  let cursor = { query: 0, key: 0 };

  // a pin may arrive before the frame that has its token
  const pinned = () => (model.get("query") in frame.tokens ? { query: model.get("query"), key: null } : null);
  const active = () => hovered ?? pinned() ?? (document.activeElement === canvas ? cursor : null);
  const levelsOf = (head) => unpack(levels, head, box.count, frame.causal);

  function bitmap(head) {
    const made = node("canvas");
    made.width = made.height = box.count;
    made.getContext("2d").putImageData(new ImageData(image(levelsOf(head), box.count, lut), box.count), 0, 0);
    return made;
  }

  function rebuild() {
    frame = model.get("_frame");
    levels = bytes(frame.levels);
    lut = bytes(frame.lut);
    const ruler = node("canvas").getContext("2d");
    ruler.font = FONT;
    const widest = Math.max(...frame.tokens.map((token) => ruler.measureText(text(token)).width));
    box = layout(frame.tokens.length, Math.ceil(widest));
    hovered = null;
    cursor = { query: Math.min(cursor.query, box.count - 1), key: Math.min(cursor.key, box.count - 1) };
    foot?.foot.remove();
    foot = footer(frame);
    root.append(foot.foot);
    thumbs.replaceChildren(...frame.heads.map(thumb));
    thumbs.hidden = frame.heads.length < 2;
    turn();
  }

  function thumb(name, head) {
    const small = node("canvas", { "aria-hidden": "true" });
    sized(small, THUMB, THUMB).drawImage(bitmap(head), 0, 0, THUMB, THUMB);
    const button = node("button", { type: "button", class: "nb-head", role: "radio", "data-head": name }, small, node("span", {}, name));
    button.setAttribute("aria-label", `head ${name}`);
    return button;
  }

  function turn() {
    const head = Math.max(0, frame.heads.indexOf(model.get("head")));
    pattern = levelsOf(head);
    picture = bitmap(head);
    [...thumbs.children].forEach((button, other) => {
      button.setAttribute("aria-checked", String(other === head));
      button.tabIndex = other === head ? 0 : -1;
    });
    canvas.setAttribute("aria-label", `attention of head ${frame.heads[head]} over ${box.count} tokens`);
    draw();
  }

  const text = (token) => shorten(visible(token), LABEL);
  const middle = (row) => box.top + (row + 0.5) * box.cell;

  function draw() {
    const context = sized(canvas, box.width, box.height);
    const colours = theme(root);
    const at = active();
    drawLines(context, colours, at);
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, box.matrix, box.top, box.count * box.cell, box.count * box.cell);
    drawTokens(context, colours, at);
    if (at) drawFrame(context, colours, at);
    foot.read.textContent = readout(at);
  }

  function drawLines(context, colours, at) {
    if (!at && box.count > 64) return; // all lines of a long prompt would be a blot
    context.strokeStyle = colours.accent;
    for (const [query, key, weight] of strands(pattern, box.count, at, frame.vmax)) {
      context.globalAlpha = Math.min(1, at ? 0.15 + weight : weight * 0.6);
      context.lineWidth = 0.5 + 2.5 * weight;
      context.beginPath();
      context.moveTo(box.lines, middle(key));
      context.lineTo(box.queries, middle(query));
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  function drawTokens(context, colours, at) {
    context.textBaseline = "middle";
    frame.tokens.forEach((token, position) => {
      write(context, colours, token, position, at?.key === position, "right", box.lines - 4, middle(position));
      write(context, colours, token, position, at?.query === position, "left", box.queries + 4, middle(position));
      context.save();
      context.translate(box.matrix + (position + 0.5) * box.cell, box.top - 5);
      context.rotate(-Math.PI / 3);
      write(context, colours, token, position, at?.key === position, "left", 0, 0);
      context.restore();
    });
  }

  function write(context, colours, token, position, strong, side, x, y) {
    if (!box.named && !strong) return;
    context.font = strong ? `bold ${FONT}` : FONT;
    context.fillStyle = strong ? colours.accent : colours.fg;
    context.textAlign = side;
    context.fillText(text(token), x, y);
  }

  function drawFrame(context, colours, { query, key }) {
    context.strokeStyle = colours.accent;
    context.lineWidth = 1.5;
    const side = box.count * box.cell;
    if (query !== null) context.strokeRect(box.matrix, box.top + query * box.cell, side, box.cell);
    if (key !== null) context.strokeRect(box.matrix + key * box.cell, box.top, box.cell, side);
  }

  function readout(at) {
    const token = (position) => `${position} “${visible(frame.tokens[position])}”`;
    if (!at) return "";
    if (at.query === null) return `into key ${token(at.key)}`;
    const row = pattern.subarray(at.query * box.count, (at.query + 1) * box.count);
    const key = at.key ?? row.indexOf(Math.max(...row));
    const much = number(Math.round((row[key] / 255) * frame.vmax * 100) / 100);
    return `query ${token(at.query)} → ${at.key === null ? "most to " : ""}key ${token(key)}  ${much}`;
  }

  const pin = (query) => put(model, "query", query === model.get("query") ? null : query);
  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  listen(thumbs, "click", (event) => {
    const button = event.target.closest("[data-head]");
    if (button) put(model, "head", button.dataset.head);
  });
  listen(thumbs, "keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    const next = (frame.heads.indexOf(model.get("head")) + by + frame.heads.length) % frame.heads.length;
    put(model, "head", frame.heads[next]);
    thumbs.children[next].focus();
    event.preventDefault();
    event.stopPropagation();
  });
  listen(canvas, "pointermove", (event) => {
    hovered = spot(box, event.offsetX, event.offsetY);
    draw();
  });
  listen(canvas, "pointerleave", () => {
    hovered = null;
    draw();
  });
  listen(canvas, "click", (event) => {
    const at = spot(box, event.offsetX, event.offsetY);
    if (at && at.query !== null) pin(at.query);
  });
  listen(canvas, "keydown", (event) => {
    const next = moved(event.key, cursor, box.count);
    if (next) hovered = cursor = next;
    else if (event.key === "Enter" || event.key === " ") pin(cursor.query);
    else if (event.key === "Escape") {
      hovered = null;
      put(model, "query", null);
    } else return;
    draw();
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own use for these keys
  });
  listen(canvas, "focus", () => draw());
  listen(canvas, "blur", () => {
    hovered = null;
    draw();
  });

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["head"], turn, signal);
  follow(model, ["query"], draw, signal);
}

export default { render };
