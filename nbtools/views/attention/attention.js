import {
  FONT, bytes, focused, follow, framed, keyboardOn, keys, legend, node, number, put, repaint, resized, shorten, sized, theme, visible,
} from "../shared.js";

const THUMB = 40;
const GAP = 90; // room for the lines between keys and queries,
const SMALL_GAP = 40; // and where there is not enough for all
const FAINT = 0.04; // lines of a smaller share of vmax are not drawn: those of one token,
const FAINT_ALL = 0.1; // and where all are drawn
const LETTERS = 14; // of a token, that are written beside the matrix,
const [FEW_LETTERS, SHORT] = [8, 56]; // and where there is not enough room; how long those are in pixels
const WHOLE = 128; // a prompt of more tokens is drawn in a window
const WINDOW = 40;
const OVERVIEW = 200; // side of the small picture of the whole
const LEAST = 3; // pixels of a cell; a view with less room is scrolled
const NAMED = 11; // pixels of a cell that has room for a name
const SCROLL_BAR = 20; // pixels that a host takes away when a view has become too tall for it

// From left to right: key tokens, lines, query tokens, matrix (its rows are those of the query tokens). `widest` are the
// pixels of the longest token. Where the room is too small, first the lines get shorter, then the cells smaller, as far
// as they can still be named; then the names shorter, and at last the cells as small as it takes.
export function layout(count, widest, room = Infinity) {
  const shown = count > WHOLE ? WINDOW : count;
  const most = Math.min(24, Math.floor(440 / shown));
  const around = (label, gap) => Math.ceil(2.5 * label + 20) + gap; // tokens twice, and above the matrix beyond its edge
  const fitting = (label, gap) => Math.min(most, Math.floor((room - around(label, gap)) / shown));
  const gap = fitting(widest, GAP) < most ? SMALL_GAP : GAP;
  const short = fitting(widest, gap) < Math.min(most, NAMED);
  const [label, letters] = short ? [Math.min(widest, SHORT), FEW_LETTERS] : [widest, LETTERS];
  const cell = Math.max(LEAST, fitting(label, gap));
  const named = cell >= NAMED;
  const top = Math.min(label * 0.87, 96) + 10; // key tokens above the matrix are turned
  const lines = label + 4;
  const queries = lines + gap;
  const matrix = queries + label + 8;
  const [width, height] = [around(label, gap) + shown * cell, top + shown * cell + 4];
  return { count, widest, shown, cell, named, label, letters, top, lines, queries, matrix, width, height };
}

// The layout after a change of room: smaller if it has to be; larger only if it would then stay, even beside a scroll
// bar. So no layout leads to another one.
export function refitted(box, room) {
  const [tight, loose] = [room, room - SCROLL_BAR].map((width) => layout(box.count, box.widest, width));
  return tight.width < box.width ? tight : loose.width > box.width ? loose : box;
}

const clamp = (value, most) => Math.max(0, Math.min(most, value));

// What a point is on: a query and a key in the matrix, one of them in the columns of tokens, or nothing.
// `from` is the first query and the first key that are drawn.
export function spot(box, x, y, from = { query: 0, key: 0 }) {
  const row = Math.floor((y - box.top) / box.cell);
  if (row < 0 || row >= box.shown) return null;
  if (x < box.lines) return { query: null, key: from.key + row };
  if (x < box.queries) return null;
  if (x < box.matrix) return { query: from.query + row, key: null };
  const column = Math.floor((x - box.matrix) / box.cell);
  return column < box.shown ? { query: from.query + row, key: from.key + column } : null;
}

// The window, moved as little as is needed for a query and a key to lie in it; null asks for nothing.
export function revealed(box, from, { query, key }) {
  const into = (start, position) =>
    position === null ? start : clamp(Math.max(Math.min(start, position), position - box.shown + 1), box.count - box.shown);
  return { query: into(from.query, query), key: into(from.key, key) };
}

// Attention of one head as numbers 0 to 255, [query * count + key]; causal patterns come without their empty half.
export function unpack(levels, head, count, causal) {
  if (!causal) return levels.subarray(head * count * count, (head + 1) * count * count);
  const full = new Uint8Array(count * count);
  let from = (head * count * (count + 1)) / 2;
  for (let query = 0; query < count; query++, from += query) full.set(levels.subarray(from, from + query + 1), query * count);
  return full;
}

export function image(pattern, lut) {
  const table = new Uint8ClampedArray(1024);
  for (let at = 0; at < 256; at++) table.set([lut[3 * at], lut[3 * at + 1], lut[3 * at + 2], 255], 4 * at);
  const colours = new Uint32Array(table.buffer);
  const pixels = new Uint32Array(pattern.length);
  for (let at = 0; at < pattern.length; at++) pixels[at] = colours[pattern[at]];
  return new Uint8ClampedArray(pixels.buffer);
}

// A smaller pattern in which the strongest attention of each block survives.
export function pooled(pattern, count, size) {
  const small = new Uint8Array(size * size);
  for (let query = 0; query < count; query++) {
    const row = Math.floor((query * size) / count) * size;
    for (let key = 0; key < count; key++) {
      const to = row + Math.floor((key * size) / count);
      if (pattern[query * count + key] > small[to]) small[to] = pattern[query * count + key];
    }
  }
  return small;
}

// The lines to draw, as [query, key, share of vmax]: those of a query, those into a key, or all, within the window.
export function strands(pattern, box, active, from = { query: 0, key: 0 }) {
  const found = [];
  for (let query = from.query; query < from.query + box.shown; query++) {
    if (active?.query != null && active.query !== query) continue;
    for (let key = from.key; key < from.key + box.shown; key++) {
      if (active && active.query == null && active.key !== key) continue;
      const share = pattern[query * box.count + key] / 255;
      if (share >= (active ? FAINT : FAINT_ALL)) found.push([query, key, share]);
    }
  }
  return found;
}

export function moved(key, at, count) {
  const moves = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  if (!(key in moves)) return null;
  return { query: clamp(at.query + moves[key][0], count - 1), key: clamp(at.key + moves[key][1], count - 1) };
}

function bitmap(pattern, size, lut) {
  const made = node("canvas");
  made.width = made.height = size;
  made.getContext("2d").putImageData(new ImageData(image(pattern, lut), size), 0, 0);
  return made;
}

function render({ model, el, signal }) {
  const earlier = node("button", { type: "button", class: "nb-turn", "aria-label": "previous layer", title: "previous layer (Page Up)" }, "‹");
  const later = node("button", { type: "button", class: "nb-turn", "aria-label": "next layer", title: "next layer (Page Down)" }, "›");
  const thumbs = node("div", { class: "nb-heads", role: "radiogroup", "aria-label": "heads" });
  const bar = node("div", { class: "nb-bar" }, earlier, thumbs, later);
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "attention matrix" });
  const overview = node("canvas", { class: "nb-overview", "aria-hidden": "true" });
  const scroll = node("div", { class: "nb-scroll" }, overview, canvas);
  const root = node("div", { class: "nb" }, bar, scroll);
  el.append(root);
  const around = framed(model, root, signal);
  const keyboard = keyboardOn(canvas, signal);
  let frame, lut, box, pattern, picture, small;
  let known = new Map(); // the patterns of each layer that has come
  let place = { layer: 0, head: 0 };
  let drawn = null; // the layer whose thumbs are there
  let from = { query: 0, key: 0 };
  let hovered = null;
  let cursor = { query: 0, key: 0 };
  let followed = null; // the pin that window and cursor have gone to

  const inside = (query) => query !== null && query < box.count;
  const pinned = () => (inside(model.get("query")) ? { query: model.get("query"), key: null } : null);
  const active = () => hovered ?? pinned() ?? (keyboard() ? cursor : null);
  const levelsOf = (head) => unpack(known.get(place.layer), head, box.count, frame.causal);
  const text = (token, letters) => shorten(visible(token), letters);

  // Several traits can change in one message, in any order: look at all of them whichever was heard.
  function update() {
    if (frame !== model.get("_frame")) rebuild();
    const pages = model.get("_pages");
    if (pages.serial === frame.serial)
      for (const [layer, levels] of Object.entries(pages.levels)) known.set(Number(layer), bytes(levels));
    turn();
  }

  function rebuild() {
    frame = model.get("_frame");
    lut = bytes(frame.lut);
    known = new Map();
    drawn = null;
    const ruler = node("canvas").getContext("2d");
    ruler.font = FONT;
    const widest = Math.max(...frame.tokens.map((token) => ruler.measureText(text(token, LETTERS)).width));
    fit(Math.ceil(widest));
    hovered = null;
    cursor = { query: Math.min(cursor.query, box.count - 1), key: Math.min(cursor.key, box.count - 1) };
    from = revealed(box, { query: 0, key: 0 }, { query: pinned()?.query ?? null, key: pinned()?.query ?? null });
    arrive();
    around.key(legend(frame));
    earlier.hidden = later.hidden = frame.pages.length < 2;
    bar.hidden = frame.pages.length * frame.pages[0].length < 2;
    overview.hidden = box.shown === box.count;
  }

  // As large as the host lets a view of natural size be.
  function fit(widest) {
    box = layout(frame.tokens.length, widest);
    canvas.style.width = `${box.width}px`;
    if (scroll.clientWidth) box = layout(box.count, widest, scroll.clientWidth);
  }

  // A pin that comes from outside takes the window and the cursor with it, to where the query attends to itself.
  function arrive() {
    const query = pinned()?.query ?? null;
    if (query !== null && query !== followed) {
      from = revealed(box, from, { query, key: query });
      cursor = seen({ query, key: cursor.key });
    }
    followed = query;
  }

  // The cell of the window that is nearest to a cell.
  function seen({ query, key }) {
    const near = (start, position) => start + clamp(position - start, box.shown - 1);
    return { query: near(from.query, query), key: near(from.key, key) };
  }

  function turn() {
    const layer = frame.pages.findIndex((page) => page.includes(model.get("head")));
    if (layer >= 0) place = { layer, head: frame.pages[layer].indexOf(model.get("head")) };
    else place = { layer: Math.min(place.layer, frame.pages.length - 1), head: 0 };
    const here = known.has(place.layer);
    if (!here && model.save_changes) put(model, "_wanted", place.layer);
    pattern = here ? levelsOf(place.head) : new Uint8Array(box.count * box.count);
    picture = bitmap(pattern, box.count, lut);
    small = overview.hidden ? null : bitmap(pooled(pattern, box.count, OVERVIEW), OVERVIEW, lut);
    const held = [...thumbs.children].some(focused);
    if (drawn !== place.layer) thumbs.replaceChildren(...frame.pages[place.layer].map(thumb));
    if (held) thumbs.children[place.head].focus({ preventScroll: true });
    drawn = here ? place.layer : null;
    [...thumbs.children].forEach((button, other) => {
      button.setAttribute("aria-checked", String(other === place.head));
      button.tabIndex = other === place.head ? 0 : -1;
    });
    canvas.setAttribute("aria-label", `attention of head ${frame.pages[place.layer][place.head]} over ${box.count} tokens`);
    draw();
  }

  function thumb(name, head) {
    const canvas = node("canvas", { "aria-hidden": "true" });
    const context = sized(canvas, THUMB, THUMB);
    if (known.has(place.layer)) {
      const size = Math.min(box.count, 2 * THUMB);
      const whole = levelsOf(head);
      context.drawImage(bitmap(size < box.count ? pooled(whole, box.count, size) : whole, size, lut), 0, 0, THUMB, THUMB);
    }
    const button = node("button", { type: "button", class: "nb-head", role: "radio", "data-head": name }, canvas, node("span", {}, name));
    button.setAttribute("aria-label", `head ${name}`);
    return button;
  }

  const row = (query) => box.top + (query - from.query + 0.5) * box.cell;
  const keyRow = (key) => box.top + (key - from.key + 0.5) * box.cell;

  function draw() {
    const context = sized(canvas, box.width, box.height);
    const colours = theme(root);
    const at = active();
    drawLines(context, colours, at);
    context.imageSmoothingEnabled = false;
    const side = box.shown * box.cell;
    context.drawImage(picture, from.key, from.query, box.shown, box.shown, box.matrix, box.top, side, side);
    drawTokens(context, colours, at);
    if (at) drawFrame(context, colours, at, side);
    if (small) drawOverview(colours);
    around.read.textContent = known.has(place.layer) ? readout(at) : waiting();
  }

  function drawLines(context, colours, at) {
    if (!at && box.shown > 64) return; // all lines of a long prompt would be a blot
    context.strokeStyle = colours.accent;
    for (const [query, key, share] of strands(pattern, box, at, from)) {
      context.globalAlpha = Math.min(1, at ? 0.15 + share : share * 0.6);
      context.lineWidth = 0.5 + 2.5 * share;
      context.beginPath();
      context.moveTo(box.lines, keyRow(key));
      context.lineTo(box.queries, row(query));
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  function drawTokens(context, colours, at) {
    context.textBaseline = "middle";
    for (let step = 0; step < box.shown; step++) {
      const [query, key] = [from.query + step, from.key + step];
      write(context, colours, frame.tokens[key], at?.key === key, "right", box.lines - 4, keyRow(key));
      write(context, colours, frame.tokens[query], at?.query === query, "left", box.queries + 4, row(query));
      context.save();
      context.translate(box.matrix + (step + 0.5) * box.cell, box.top - 5);
      context.rotate(-Math.PI / 3);
      write(context, colours, frame.tokens[key], at?.key === key, "left", 0, 0);
      context.restore();
    }
  }

  function write(context, colours, token, strong, side, x, y) {
    if (!box.named && !strong) return;
    context.font = strong ? `bold ${FONT}` : FONT;
    context.fillStyle = strong ? colours.accent : colours.fg;
    context.textAlign = side;
    context.fillText(text(token, box.letters), x, y, box.label + 6);
  }

  function drawFrame(context, colours, { query, key }, side) {
    const seen = (position, start) => position !== null && position >= start && position < start + box.shown;
    context.strokeStyle = colours.accent;
    context.lineWidth = 1.5;
    if (seen(query, from.query)) context.strokeRect(box.matrix, row(query) - box.cell / 2, side, box.cell);
    if (seen(key, from.key)) context.strokeRect(box.matrix + (key - from.key) * box.cell, box.top, box.cell, side);
  }

  function drawOverview(colours) {
    const context = sized(overview, OVERVIEW, OVERVIEW);
    context.drawImage(small, 0, 0, OVERVIEW, OVERVIEW);
    context.strokeStyle = colours.accent;
    context.lineWidth = 2;
    const scale = OVERVIEW / box.count;
    context.strokeRect(from.key * scale, from.query * scale, box.shown * scale, box.shown * scale);
  }

  const waiting = () => (model.save_changes ? "…" : "this layer was left out: it needs a running kernel, or view.save(\"x.html\")");

  function readout(at) {
    const token = (position) => `${position} “${visible(frame.tokens[position])}”`;
    if (!at) return "";
    if (at.query === null) return `into key ${token(at.key)}`;
    const levels = pattern.subarray(at.query * box.count, (at.query + 1) * box.count);
    const key = at.key ?? levels.indexOf(Math.max(...levels));
    const weight = (levels[key] / 255) * frame.vmax;
    const much = frame.vmax < 0.1 ? number(weight) : weight.toFixed(2); // levels tell no more
    return `query ${token(at.query)} → ${at.key === null ? "most to " : ""}key ${token(key)}  ${much}`;
  }

  const pin = (query) => {
    followed = query; // this one does not come from outside
    from = revealed(box, from, { query, key: null });
    put(model, "query", query === model.get("query") ? null : query);
  };
  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  const page = (by) => {
    const layer = clamp(place.layer + by, frame.pages.length - 1);
    put(model, "head", frame.pages[layer][Math.min(place.head, frame.pages[layer].length - 1)]);
  };

  const turns = { PageUp: -1, PageDown: 1 };

  listen(earlier, "click", () => page(-1));
  listen(later, "click", () => page(1));
  listen(thumbs, "click", (event) => {
    const button = event.target.closest("[data-head]");
    if (button) put(model, "head", button.dataset.head);
  });
  keys(thumbs, (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return false;
    const heads = frame.pages[place.layer];
    const next = (place.head + by + heads.length) % heads.length;
    put(model, "head", heads[next]);
    thumbs.children[next].focus();
    return true;
  }, signal);
  listen(canvas, "pointermove", (event) => {
    hovered = spot(box, event.offsetX, event.offsetY, from);
    draw();
  });
  listen(canvas, "pointerleave", () => {
    hovered = null;
    draw();
  });
  listen(canvas, "click", (event) => {
    const at = spot(box, event.offsetX, event.offsetY, from);
    if (!at) return;
    cursor = seen({ query: at.query ?? cursor.query, key: at.key ?? cursor.key });
    if (at.query !== null) pin(at.query);
  });
  keys(canvas, (event) => {
    const next = moved(event.key, cursor, box.count);
    if (next) {
      hovered = cursor = next;
      from = revealed(box, from, cursor);
    } else if (event.key === "Enter" || event.key === " ") pin(cursor.query);
    else if (event.key in turns && frame.pages.length > 1) page(turns[event.key]);
    else if (event.key === "Escape") {
      hovered = null;
      put(model, "query", null);
    } else return false;
    draw();
    return true;
  }, signal);
  listen(canvas, "focus", () => draw());
  listen(canvas, "blur", () => {
    hovered = null;
    draw();
  });
  const slide = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const middle = (offset) => clamp(Math.round((offset / OVERVIEW) * box.count - box.shown / 2), box.count - box.shown);
    from = { query: middle(event.offsetY), key: middle(event.offsetX) };
    draw();
  };
  listen(overview, "pointerdown", slide);
  listen(overview, "pointermove", slide);

  follow(model, ["_frame", "_pages", "head"], update, signal);
  follow(model, ["query"], () => {
    arrive();
    draw();
  }, signal);
  repaint(draw, signal);
  resized(root, (room) => {
    const next = refitted(box, room);
    if (next === box) return;
    box = next;
    draw();
  }, signal);
}

export default { render };
