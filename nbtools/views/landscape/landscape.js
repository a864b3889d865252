import {
  FONT, bytes, floats, follow, framed, hatch, keyboardOn, keys, legend, node, number, put, repaint, resized, rgb, shade, shorten, sized,
  theme,
} from "../shared.js";

const [ROOM, MOST, LEAST, SHAPE] = [844, 420, 150, 0.8]; // width of the view until the host tells, of the plot, and its height by that
const [LEFT, TOP, RIGHT, FOOT] = [44, 24, 14, 38]; // around the plot
const [NEAR, FINE] = [14, 65535]; // pixels from a path that are on it; the parts of the plot in which lines are sent
const WAY = [["#fff", 4], ["#000", 1.5]]; // the path is seen on every colour, in the light and in the dark
const SMALL = FONT.replace("12px", "11px");

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const counted = (step) => step.toLocaleString("en-US");

export function layout(room = ROOM) {
  const wide = clamp(room - LEFT - RIGHT, LEAST, MOST);
  const tall = Math.round(wide * SHAPE);
  return { left: LEFT, top: TOP, wide, tall, right: LEFT + wide, bottom: TOP + tall, width: LEFT + wide + RIGHT, height: TOP + tall + FOOT };
}

const whole = (data) => new Int32Array(bytes(data).slice().buffer);

// The surface in a frame. Places are parts of the plot, from 0 at the left and the bottom to 1; `value` at a place lies
// between those of the four nearest points, and is NaN if one of them is not known.
export function opened(frame) {
  const [values, { columns, ends }] = [floats(frame.values), frame];
  const rows = values.length / columns;
  const [path, points] = [floats(frame.path), new Uint16Array(bytes(frame.lines).slice().buffer)];
  const part = (value, which) => (value - ends[which][0]) / (ends[which][1] - ends[which][0]);
  const at = ([x, y]) => ends.map(([low, high], which) => low + [x, y][which] * (high - low));
  const steps = whole(frame.steps);
  const way = Array.from(steps, (_, place) => [part(path[place], 0), part(path[steps.length + place], 1)]);
  function value([x, y]) {
    if (x < 0 || x > 1 || y < 0 || y > 1) return NaN;
    const [across, up] = [x * (columns - 1), y * (rows - 1)];
    const [column, row] = [Math.min(Math.floor(across), columns - 2), Math.min(Math.floor(up), rows - 2)];
    const [right, above] = [across - column, up - row];
    const of = (row, column) => values[row * columns + column];
    const between = (row) => of(row, column) * (1 - right) + of(row, column + 1) * right;
    return between(row) * (1 - above) + between(row + 1) * above;
  }
  let from = 0;
  const lines = Array.from(whole(frame.counts), (count) => {
    const line = Array.from({ length: count }, (_, at) => [points[2 * (from + at)] / FINE, points[2 * (from + at) + 1] / FINE]);
    from += count;
    return line;
  });
  return { values, columns, rows, steps, way, lines, at, value, known: values.every(Number.isFinite) };
}

// The place of the nearest step, the earlier of two.
export const nearest = (steps, step) => steps.reduce((best, known, at) => (Math.abs(known - step) < Math.abs(steps[best] - step) ? at : best), 0);

// Pixels of a place; what lies outside is at the edge.
export const pixel = (box, [x, y]) => [box.left + clamp(x, 0, 1) * box.wide, box.bottom - clamp(y, 0, 1) * box.tall];

// What is under a point: a place, and that of the step if the path is near; null beside the plot.
export function spot(box, way, x, y) {
  const place = [(x - box.left) / box.wide, (box.bottom - y) / box.tall];
  if (x < box.left - 6 || x > box.right + 6 || y < box.top - 6 || y > box.bottom + 6) return null;
  const away = way.map((one) => Math.hypot(...pixel(box, one).map((edge, which) => edge - [x, y][which])));
  const step = away.reduce((best, far, at) => (far <= NEAR && !(far >= away[best]) ? at : best), -1);
  return { place: place.map((part) => clamp(part, 0, 1)), step };
}

// The step on the path that a key leads to from another; null if it does not lead to one.
export function led(key, at, count) {
  const leap = Math.max(1, Math.round(count / 10));
  const ways = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: leap, PageDown: -leap, Home: -count, End: count };
  return key in ways && count ? clamp(at + ways[key], 0, count - 1) : null;
}

export function readout(frame, surface, place, step) {
  const said = surface.at(place).map((value, which) => `${frame.names[which]} ${number(value)}`);
  const begin = step < 0 ? "" : `step ${counted(surface.steps[step])}:  `;
  return `${begin}${[...said, `${frame.label} ${number(surface.value(place))}`].join("   ")}`;
}

function legendOf(frame, surface) {
  const made = legend(frame);
  if (surface.steps.length) made.append(node("span", { class: "nb-sign-path" }, "path of the training"));
  return made;
}

function render({ model, el, signal }) {
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "landscape over two parameters" });
  const sheet = node("canvas");
  const root = el.appendChild(node("div", { class: "nb nb-landscape" }, canvas));
  const [around, keyboard] = [framed(model, root, signal), keyboardOn(canvas, signal)];
  let frame, surface, bitmap, box, pen, colours, [room, hovered, cursor, leads] = [ROOM, null, null, false];

  const count = () => surface.steps.length;
  const held = () => nearest(surface.steps, model.get("step"));
  const here = () => (cursor === null ? held() || count() - 1 : nearest(surface.steps, cursor));

  function rebuild() {
    frame = model.get("_frame");
    surface = opened(frame);
    if (hovered) hovered = { ...hovered, step: Math.min(hovered.step, count() - 1) };
    around.key(legendOf(frame, surface));
    const path = count() ? `, with a path of ${count()} steps` : "";
    canvas.setAttribute("aria-label", `${frame.label} over ${frame.names.join(" and ")}${path}`);
    colour();
    fit();
  }

  // One pixel for each value, the last row on top.
  function colour() {
    const [lut, pixels] = [bytes(frame.lut), new Uint8ClampedArray(4 * surface.values.length)];
    bitmap = node("canvas", { width: surface.columns, height: surface.rows });
    surface.values.forEach((value, at) => {
      const [row, level] = [Math.floor(at / surface.columns), shade(value, frame.vmin, frame.vmax)];
      const place = (surface.rows - 1 - row) * surface.columns + (at % surface.columns);
      if (level >= 0) pixels.set([...rgb(lut, level), 255], 4 * place);
    });
    bitmap.getContext("2d").putImageData(new ImageData(pixels, surface.columns), 0, 0);
  }

  function fit(width = room) {
    box = layout((room = width));
    redraw();
  }

  // What does not move is drawn once, on its own sheet.
  function redraw() {
    colours = theme(root);
    pen = sized(sheet, box.width, box.height);
    pen.save();
    pen.beginPath();
    pen.rect(box.left, box.top, box.wide, box.tall);
    pen.clip();
    drawValues();
    drawLines();
    if (count()) drawPath();
    pen.restore();
    drawAxes();
    draw();
  }

  // Half a cell goes over the edge: each value is the colour of its own place.
  function drawValues() {
    const [wide, tall] = [box.wide / (surface.columns - 1), box.tall / (surface.rows - 1)];
    if (!surface.known) hatch(pen, box.left, box.top, box.wide, box.tall, colours.line);
    pen.imageSmoothingEnabled = surface.known;
    pen.drawImage(bitmap, box.left - wide / 2, box.top - tall / 2, box.wide + wide, box.tall + tall);
  }

  function drawLines() {
    [pen.strokeStyle, pen.lineWidth, pen.globalAlpha] = ["#fff", 1, 0.7];
    for (const line of surface.lines) trace(line);
    pen.globalAlpha = 1;
    for (const [x, y, text] of frame.levels) {
      const [middle, height] = pixel(box, [x, y]);
      const half = 3.2 * text.length + 2;
      fill("rgb(255 255 255 / 0.8)", middle - half, height - 7, 2 * half, 14);
      write(text, middle, height, { colour: "#000", align: "center" });
    }
  }

  function trace(points) {
    pen.beginPath();
    for (const [x, y] of points) pen.lineTo(box.left + x * box.wide, box.bottom - y * box.tall);
    pen.stroke();
  }

  function drawPath() {
    [pen.lineJoin, pen.lineCap] = ["round", "round"];
    for (const [colour, wide] of WAY) {
      [pen.strokeStyle, pen.lineWidth] = [colour, wide];
      trace(surface.way);
    }
  }

  function drawAxes() {
    const [across, up] = frame.names.map((name) => shorten(name, Math.floor(box.wide / 14)));
    for (const [at, text] of frame.ticks[0]) {
      fill(colours.muted, Math.round(box.left + at * box.wide) - 0.5, box.bottom, 1, 4);
      write(text, box.left + at * box.wide, box.bottom + 12, { align: "center" });
    }
    for (const [at, text] of frame.ticks[1]) {
      fill(colours.muted, box.left - 4, Math.round(box.bottom - at * box.tall) - 0.5, 4, 1);
      write(text, box.left - 8, box.bottom - at * box.tall, { align: "right", most: box.left - 10 });
    }
    const strong = { colour: colours.fg, font: `bold ${FONT}` };
    write(up, box.left, 10, strong);
    write(across, box.right, box.bottom + 28, { ...strong, align: "right" });
  }

  function write(text, x, y, { colour = colours.muted, align = "left", font = SMALL, most } = {}) {
    [pen.fillStyle, pen.font, pen.textAlign, pen.textBaseline] = [colour, font, align, "middle"];
    pen.fillText(text, x, y, ...(most ? [most] : []));
  }

  function fill(colour, ...edges) {
    pen.fillStyle = colour;
    pen.fillRect(...edges);
  }

  function disc(place, colour, size, edge) {
    pen.beginPath();
    pen.arc(...pixel(box, place), size, 0, 2 * Math.PI);
    [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [colour, edge, 1.5];
    pen.fill();
    pen.stroke();
  }

  // The step that is looked at: under the pointer, where the keyboard leads, or else the one that is held.
  function look() {
    if (hovered) return hovered;
    const step = leads && keyboard() ? here() : held();
    return { place: surface.way[step], step };
  }

  function draw() {
    pen = sized(canvas, box.width, box.height);
    pen.drawImage(sheet, 0, 0, box.width, box.height);
    around.read.textContent = "";
    const { place, step } = look();
    if (place) around.read.textContent = readout(frame, surface, step < 0 ? place : surface.way[step], step);
    if (!count()) return;
    disc(surface.way[0], "#fff", 4, "#000");
    disc(surface.way[held()], colours.accent, 6, "#fff");
    if (step >= 0 && step !== held()) disc(surface.way[step], "#000", 5, "#fff");
    write(`step ${counted(surface.steps[held()])}`, box.right, 10, { colour: colours.accent, align: "right", font: `bold ${FONT}` });
  }

  function set(at) {
    [hovered, leads] = [null, false];
    const next = surface.steps[at];
    next === model.get("step") ? draw() : put(model, "step", next);
    return true;
  }

  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  const under = ({ offsetX, offsetY }) => spot(box, surface.way, offsetX, offsetY);
  const pin = (at) => set(at === held() ? 0 : at);
  const hover = (found) => {
    hovered = found;
    draw();
  };
  listen(canvas, "pointermove", (event) => hover(under(event)));
  listen(canvas, "pointerleave", () => hover(null));
  for (const event of ["focus", "blur"]) listen(canvas, event, draw);
  listen(canvas, "click", (event) => under(event)?.step >= 0 && pin(under(event).step));
  keys(canvas, ({ key }) => {
    const next = led(key, here(), count());
    if (next !== null) [cursor, hovered, leads] = [surface.steps[next], null, true];
    else if (!count()) return false;
    else if (key === "Enter" || key === " ") pin(here());
    else if (key === "Escape") set(0);
    else return false;
    draw();
    return true;
  }, signal);

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["step"], () => {
    [cursor, leads] = [model.get("step") > surface.steps[0] ? model.get("step") : cursor, false];
    draw();
  }, signal);
  repaint(redraw, signal);
  resized(root, fit, signal);
}

export default { render };
