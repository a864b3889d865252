import {
  FONT, bytes, floats, follow, framed, hatch, keyboardOn, keys, legend, node, number, put, repaint, resized, shade, shorten, sized, theme,
  visible,
} from "../shared.js";

const [ROOM, LEAST, MOST, GAP] = [844, 190, 340, 12]; // width of the view until the host tells, of a panel, and between two
const [LEFT, RIGHT, PAD] = [40, 16, 6]; // beside what is plotted in it, and around a curve
const [NAME, LINE, CURVE, FOOT] = [20, 13, 84, 28]; // heights: a name, a line of what it is, a curve, its steps
const [SIDE, CELL, SMALLEST, NAMED] = [384, 16, 3, 9]; // pixels of a map, of the largest and smallest cell, and of one with a name
const [LETTERS, LETTER, TITLE, AXIS] = [10, 7, 22, 20]; // of a token, pixels of a letter; above a map, and below bars
const [BARS, AMOUNT, APART] = [220, 52, 28]; // the longest bar, the number at its end, and from a map to bars
const [PACE, SHORTEST, LONGEST] = [50, 3000, 10000]; // milliseconds of a step while it plays, and of all of them
const [LEAP, WAIT] = [24, 500]; // with less motion: in how many steps it plays, and how long each of them stays
const BLUE = "#3f7fd0";
const SMALL = FONT.replace("12px", "11px");

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
export const counted = (step) => step.toLocaleString("en-US");

// A text in at most two lines of so many letters.
export function wrapped(text, letters) {
  const words = text.split(/\s+/);
  let [first, at] = [words[0], 1];
  while (at < words.length && `${first} ${words[at]}`.length <= letters) first += ` ${words[at++]}`;
  return [first, words.slice(at).join(" ")].filter(Boolean).map((line) => shorten(line, letters));
}

// Panels side by side, in rows of equal length.
export function layout({ names, notes }, room = ROOM) {
  const rows = Math.ceil(names.length / clamp(Math.floor((room + GAP) / (LEAST + GAP)), 1, names.length));
  const columns = Math.ceil(names.length / rows);
  const wide = clamp(Math.floor((room - GAP * (columns - 1)) / columns), 150, MOST);
  const [plot, letters] = [wide - LEFT - RIGHT, Math.floor((wide - LEFT) / 5.3)];
  const lines = notes.map((note) => wrapped(note, letters));
  const above = NAME + LINE * Math.max(...lines.map((some) => some.length)) + PAD;
  const tall = above + CURVE + PAD + FOOT;
  const panels = names.map((_, at) => {
    const [left, head] = [(at % columns) * (wide + GAP) + LEFT, Math.floor(at / columns) * tall];
    return { head, left, right: left + plot, top: head + above, bottom: head + above + CURVE, lines: lines[at] };
  });
  return { panels, plot, width: columns * (wide + GAP) - GAP, height: rows * tall };
}

const short = (token) => shorten(visible(token), LETTERS);
const beside = (tokens) => Math.ceil(LETTER * Math.max(...tokens.map((token) => [...short(token)].length))) + 8;

// Where cells of a map lie, queries from top to bottom; names are left out where cells are too small for them.
export function mapped({ queries, keys: across }, room = ROOM) {
  const label = beside(queries);
  const most = Math.floor(Math.min(SIDE, room - label) / Math.max(across.length, 1));
  const cell = clamp(Math.min(most, Math.floor(SIDE / queries.length)), SMALLEST, CELL);
  const [left, top] = [cell < NAMED ? 4 : label, TITLE + (cell < NAMED ? 4 : beside(across))];
  return { left, top, cell, width: Math.max(left + cell * across.length + 2, Math.min(room, 250)), height: top + cell * queries.length + 2 };
}

// Where bars lie, one below the other; beside a map they begin where its rows do.
export function barred({ tokens }, map, room = ROOM) {
  const [left, row] = [beside(tokens), clamp(Math.floor(SIDE / tokens.length), 6, CELL)];
  const long = clamp(room - left - AMOUNT, 80, BARS);
  const width = left + long + AMOUNT;
  const top = map && map.width + APART + width <= room ? map.top : TITLE;
  return { left, top, row, long, width, bottom: top + row * tokens.length, height: top + row * tokens.length + AXIS };
}

// The place of the nearest step, the earlier of two.
export const nearest = (steps, step) => steps.reduce((best, known, at) => (Math.abs(known - step) < Math.abs(steps[best] - step) ? at : best), 0);

// The place of the step under a point, or null where no curve is.
export function spot(box, places, x, y) {
  const on = box.panels.find(({ left, right, top, bottom }) => x >= left - PAD && x <= right + PAD && y >= top - PAD && y <= bottom + PAD);
  return on ? nearest(places, (x - on.left) / box.plot) : null;
}

// The place that a key leads to from another; null if it does not lead to one.
export function led(key, at, count) {
  const leap = Math.max(1, Math.round(count / 10));
  const ways = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: leap, PageDown: -leap, Home: -count, End: count };
  return key in ways ? clamp(at + ways[key], 0, count - 1) : null;
}

// Where it is when it has played for some milliseconds.
export const played = (since, from, count) =>
  Math.min(count - 1, from + Math.floor((since * (count - 1)) / clamp(count * PACE, SHORTEST, LONGEST)));

const whole = (data) => new Int32Array(bytes(data).slice().buffer);

export function opened(frame) {
  const [steps, places] = [whole(frame.steps), floats(frame.places)];
  const curves = ["mean", "low", "high"].map((name) => floats(frame[name]));
  const part = (values, at, size) => values.subarray(at * size, (at + 1) * size);
  const panels = frame.names.map((name, which) => {
    const [mean, low, high] = curves.map((values) => part(values, which, steps.length));
    return { name, mean, low, high, ...frame.plots[which] };
  });
  const kept = (known, values, size) => (size ? { steps: whole(known), at: (place) => part(values, place, size) } : null);
  const maps = kept(frame.map_steps, bytes(frame.levels), frame.queries.length * frame.keys.length);
  return { steps, places, panels, maps, bars: kept(frame.bar_steps, floats(frame.bars), frame.tokens.length) };
}

export const readout = (step, panels, at) => `step ${counted(step)}:  ${panels.map(({ name, mean }) => `${name} ${number(mean[at])}`).join("   ")}`;

// The stretches of a curve that are known, as the places where each begins and ends.
export function stretches(values) {
  const found = [];
  values.forEach((value, at) => {
    if (!Number.isFinite(value)) return;
    if (found.at(-1)?.[1] === at - 1) found.at(-1)[1] = at;
    else found.push([at, at]);
  });
  return found;
}

function legendOf(frame) {
  const made = frame.queries.length ? legend(frame) : node("span", { class: "nb-legend" });
  if (frame.band) made.append(node("span", { class: "nb-sign nb-sign-seeds" }, frame.band));
  return made;
}

function render({ model, el, signal }) {
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "curves over training" });
  const [play, slider, output, sheet] = [
    node("button", { type: "button", class: "nb-play" }), node("input", { type: "range", min: "0", step: "1" }), node("output"), node("canvas")];
  const controls = node("div", { class: "nb-scrub" }, play, node("label", {}, "step", slider), output);
  const [map, bars] = [node("canvas", { role: "img" }), node("canvas", { role: "img" })];
  const below = node("div", { class: "nb-kept" }, map, bars);
  const root = el.appendChild(node("div", { class: "nb nb-scrubber" }, canvas, controls, below));
  const [around, keyboard] = [framed(model, root, signal), keyboardOn(canvas, signal)];
  let frame, history, box, boxes, lut, pen, colours, pictures, drawn;
  let [room, hovered, cursor, leads, coming, wanted, playing] = [ROOM, null, null, false, 0, null, null];

  const count = () => history.steps.length;
  const held = () => nearest(history.steps, model.get("step"));
  const here = () => (cursor === null ? held() || count() - 1 : nearest(history.steps, cursor));
  const height = ({ bottom }, { vmin, vmax }, value) => bottom - clamp((value - vmin) / (vmax - vmin), 0, 1) * CURVE;

  function rebuild() {
    frame = model.get("_frame");
    history = opened(frame);
    lut = bytes(frame.lut);
    pictures = new Map();
    slider.max = count() - 1;
    hovered = hovered === null ? null : Math.min(hovered, count() - 1);
    [map.hidden, bars.hidden, below.hidden] = [!history.maps, !history.bars, !history.maps && !history.bars];
    around.key(legendOf(frame));
    canvas.setAttribute("aria-label", `${frame.names.join(", ")} over training: ${count()} steps`);
    fit();
  }

  function fit(width = room) {
    box = layout(frame, (room = width));
    controls.style.width = `${Math.min(box.width, room)}px`;
    const mapBox = history.maps && mapped(frame, room);
    boxes = { map: mapBox, bars: history.bars && barred(frame, mapBox, room) };
    redraw();
  }

  // What does not move is drawn once, on its own sheet.
  function redraw() {
    colours = theme(root);
    pen = sized(sheet, box.width, box.height);
    history.panels.forEach((panel, at) => drawPanel(panel, box.panels[at]));
    drawn = {};
    draw();
  }

  function write(text, x, y, { colour = colours.muted, align = "left", font = SMALL, most } = {}) {
    [pen.fillStyle, pen.font, pen.textAlign, pen.textBaseline] = [colour, font, align, "middle"];
    pen.fillText(text, x, y, ...(most ? [most] : []));
  }

  function fill(colour, ...edges) {
    pen.fillStyle = colour;
    pen.fillRect(...edges);
  }

  function drawPanel(panel, place) {
    const { head, left, top, bottom, lines } = place;
    write(shorten(panel.name, Math.floor((box.plot - 30) / 6.6)), left, head + 9, { colour: colours.fg, font: `bold ${FONT}`, most: box.plot - 34 });
    lines.forEach((line, at) => write(line, left, head + NAME + LINE * at + 4, { most: box.plot + RIGHT }));
    for (const [tick, text] of panel.ticks) {
      const y = height(place, panel, tick);
      fill(tick ? colours.line : colours.muted, left, Math.round(y), box.plot, 1);
      write(text, left - 6, y, { align: "right", most: LEFT - 8 });
    }
    let free = Infinity; // where there is still room for the number of a step
    for (const [at, text] of frame.ticks.toReversed()) {
      const [x, half] = [left + at * box.plot, 3.2 * text.length + 2];
      fill(colours.line, Math.round(x), bottom + 2, 1, 4);
      if (x + half > free) continue;
      write(text, x, bottom + PAD + 9, { align: "center" });
      free = x - half;
    }
    const known = stretches(panel.mean);
    if (!known.length) hatch(pen, left, top, box.plot, CURVE, colours.line);
    for (const ends of known) drawStretch(panel, place, ends);
  }

  function drawStretch(panel, place, [first, last]) {
    const at = (values, step) => [place.left + history.places[step] * box.plot, height(place, panel, values[step])];
    const steps = Array.from({ length: last - first + 1 }, (_, step) => first + step);
    if (frame.band) {
      trace([...steps.map((step) => at(panel.low, step)), ...steps.toReversed().map((step) => at(panel.high, step))]);
      [pen.fillStyle, pen.globalAlpha] = [colours.fg, 0.2];
      pen.fill();
      pen.globalAlpha = 1;
    }
    trace(steps.map((step) => at(panel.mean, step)));
    [pen.strokeStyle, pen.lineWidth] = [colours.fg, 1.5];
    if (first < last) pen.stroke();
    else fill(colours.fg, ...at(panel.mean, first).map((edge) => edge - 1.5), 3, 3);
  }

  function trace(points) {
    pen.beginPath();
    for (const point of points) pen.lineTo(...point);
  }

  function draw() {
    const pinned = held();
    const look = hovered ?? (leads && keyboard() ? here() : pinned);
    pen = sized(canvas, box.width, box.height);
    pen.drawImage(sheet, 0, 0, box.width, box.height);
    history.panels.forEach((panel, at) => drawMark(panel, box.panels[at], look, pinned));
    drawKept(history.steps[look]);
    slider.value = pinned;
    output.textContent = counted(history.steps[pinned]);
    slider.setAttribute("aria-valuetext", `step ${output.textContent}`);
    around.read.textContent = readout(history.steps[look], history.panels, look);
  }

  // A line at the step in every panel, and the value there; the step that is held stays marked.
  function drawMark(panel, place, look, pinned) {
    const [fixed, x] = [pinned, look].map((at) => place.left + history.places[at] * box.plot);
    const [colour, value] = [look === pinned ? colours.accent : colours.fg, panel.mean[look]];
    fill(colours.accent, fixed - 0.75, place.top - 3, 1.5, CURVE + 6);
    if (look !== pinned) fill(colours.fg, x - 0.75, place.top - 3, 1.5, CURVE + 6);
    pen.beginPath();
    pen.fillStyle = colour;
    if (Number.isFinite(value)) pen.arc(x, height(place, panel, value), 4, 0, 2 * Math.PI);
    pen.fill();
    write(number(value), place.right + RIGHT, place.head + 9, { colour, align: "right", font: `bold ${FONT}` });
  }

  // What was kept nearest to a step is drawn only where it is something else than before.
  function drawKept(step) {
    for (const [name, canvas, paintIt] of [["maps", map, drawMap], ["bars", bars, drawBars]]) {
      if (!history[name]) continue;
      const at = nearest(history[name].steps, step);
      const [now, label] = [history[name].steps[at], name === "maps" ? frame.label : frame.bar_label];
      const title = `${label} at step ${counted(now)}${now === step ? "" : ", the nearest kept"}`;
      if (drawn[name] === title) continue;
      drawn[name] = title;
      paintIt(at, title);
      canvas.setAttribute("aria-label", title);
    }
  }

  function bitmap(at) {
    const made = node("canvas");
    [made.width, made.height] = [frame.keys.length, frame.queries.length];
    const pixels = new Uint8ClampedArray(4 * made.width * made.height);
    history.maps.at(at).forEach((level, cell) => {
      const place = 3 * shade(level / 255, frame.vmin, frame.vmax);
      pixels.set([lut[place], lut[place + 1], lut[place + 2], 255], 4 * cell);
    });
    made.getContext("2d").putImageData(new ImageData(pixels, made.width), 0, 0);
    pictures.set(at, made);
    return made;
  }

  const named = (tokens, cell, name) => tokens.forEach((token, at) => at % Math.ceil(11 / cell) || name(short(token), (at + 0.5) * cell));

  function drawMap(at, title) {
    const { left, top, cell, width, height: tall } = boxes.map;
    pen = sized(map, width, tall);
    write(title, 0, 9, { colour: colours.fg, font: `bold ${SMALL}`, most: width });
    pen.imageSmoothingEnabled = false;
    pen.drawImage(pictures.get(at) ?? bitmap(at), left, top, cell * frame.keys.length, cell * frame.queries.length);
    if (cell < NAMED) return;
    named(frame.queries, cell, (text, y) => write(text, left - 6, top + y, { colour: colours.fg, align: "right" }));
    named(frame.keys, cell, (text, x) => {
      pen.save();
      pen.translate(left + x, top - 5);
      pen.rotate(-Math.PI / 2);
      write(text, 0, 0, { colour: colours.fg });
      pen.restore();
    });
  }

  function drawBars(at, title) {
    const { left, top, row, long, bottom, width, height: tall } = boxes.bars;
    const { vmin, vmax, ticks } = frame.bar_axis;
    const along = (value) => long * clamp(Math.log(value / vmin) / Math.log(vmax / vmin), 0, 1);
    pen = sized(bars, width, tall);
    write(title, 0, 9, { colour: colours.fg, font: `bold ${SMALL}`, most: width });
    for (const [tick, text] of ticks) {
      fill(colours.line, Math.round(left + along(tick)), top, 1, bottom - top + 4);
      write(text, left + along(tick), bottom + 12, { align: "center" });
    }
    const values = history.bars.at(at);
    values.forEach((value, which) => value > 0 && fill(BLUE, left, top + row * which + row * 0.15, Math.max(1, along(value)), row * 0.7));
    named(frame.tokens, row, (text, y) => write(text, left - 6, top + y, { colour: colours.fg, align: "right" }));
    values.forEach((value, which) => {
      if (row >= NAMED) write(number(value), left + (value > 0 ? along(value) : 0) + 5, top + row * (which + 0.5), { colour: colours.fg });
    });
  }

  function set(at) {
    [hovered, leads] = [null, false];
    const next = history.steps[at];
    next === model.get("step") ? draw() : put(model, "step", next);
    return true;
  }

  // A slider that is dragged sets the step once for each frame of the screen.
  function later(at) {
    wanted = at;
    coming ||= requestAnimationFrame(() => {
      coming = 0;
      set(wanted);
    });
  }

  function pause() {
    if (playing) playing();
    playing = null;
    play.setAttribute("aria-label", "play");
    around.read.setAttribute("aria-live", "polite");
  }

  // From where it is to the last step, or from the first one if it is there. With less motion: a few steps, one by one.
  function start() {
    const from = held() < count() - 1 ? held() : 0;
    const calm = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches;
    play.setAttribute("aria-label", "pause");
    around.read.setAttribute("aria-live", "off"); // or it would be read without end
    playing = calm ? leaping(from) : running(from);
  }

  function arrived(at) {
    if (at !== held()) set(at);
    if (at === count() - 1) pause();
  }

  function running(from) {
    let [ticket, begun] = [0, null];
    const tick = (now) => {
      begun ??= now;
      ticket = requestAnimationFrame(tick);
      arrived(played(now - begun, from, count()));
    };
    ticket = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(ticket);
  }

  function leaping(from) {
    if (from !== held()) set(from);
    const ticket = setInterval(() => arrived(Math.min(count() - 1, held() + Math.ceil((count() - 1) / LEAP))), WAIT);
    return () => clearInterval(ticket);
  }

  signal?.addEventListener("abort", () => {
    cancelAnimationFrame(coming);
    pause();
  });

  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  const under = ({ offsetX, offsetY }) => spot(box, history.places, offsetX, offsetY);
  const byHand = (at) => pause() || set(at);
  const pin = (at) => byHand(at === held() ? 0 : at);
  const hover = (at) => {
    if (at === hovered) return;
    hovered = at;
    draw();
  };
  listen(canvas, "pointermove", (event) => hover(under(event)));
  listen(canvas, "pointerleave", () => hover(null));
  for (const event of ["focus", "blur"]) listen(canvas, event, draw);
  listen(canvas, "click", (event) => under(event) !== null && pin(under(event)));
  keys(canvas, ({ key }) => {
    const next = led(key, here(), count());
    if (next !== null) [cursor, hovered, leads] = [history.steps[next], null, true];
    else if (key === "Enter" || key === " ") pin(here());
    else if (key === "Escape") byHand(0);
    else return false;
    draw();
    return true;
  }, signal);
  listen(play, "click", () => (playing ? pause() : start()));
  listen(slider, "input", () => {
    pause();
    later(Number(slider.value));
  });
  keys(slider, ({ key }) => {
    const next = key === "Escape" ? 0 : led(key, held(), count());
    return next !== null && byHand(next);
  }, signal);

  // What a cell of the map says is read out.
  listen(map, "pointermove", ({ offsetX, offsetY }) => {
    const [query, key] = [offsetY - boxes.map.top, offsetX - boxes.map.left].map((edge) => Math.floor(edge / boxes.map.cell));
    if (!(query in frame.queries && key in frame.keys)) return draw();
    const at = nearest(history.maps.steps, history.steps[held()]);
    const [from, to] = [[query, frame.queries], [key, frame.keys]].map(([place, tokens]) => `${place} “${visible(tokens[place])}”`);
    const level = history.maps.at(at)[query * frame.keys.length + key];
    around.read.textContent = `step ${counted(history.maps.steps[at])}:  query ${from} → key ${to}  ${number(level / 255)}`;
  });
  listen(map, "pointerleave", draw);

  pause();
  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["step"], () => {
    [cursor, leads] = [model.get("step") > history.steps[0] ? model.get("step") : cursor, false];
    draw();
  }, signal);
  repaint(redraw, signal);
  resized(root, fit, signal);
}

export default { render };
