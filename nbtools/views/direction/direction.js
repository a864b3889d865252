import {
  FONT, bytes, floats, follow, framed, hatch, keyboardOn, keys, node, number, put, repaint, resized, shorten, sized, theme,
} from "../shared.js";

const [ROOM, LEAST, MOST, GAP] = [844, 190, 340, 16]; // width of the view until the host tells, of a panel, and between two
const [LEFT, RIGHT, PAD] = [40, 10, 5]; // beside what is plotted in it, and around a curve
// From top to bottom: names, curve, shares, natural projections, patched ones, their numbers; and all of these.
const [HEAD, CURVE, SHARES, UP, DOWN, TALL] = [34, 130, 40, 72, 60, 370];
const SIDES = ["#3f7fd0", "#b98300"]; // of the two classes; the second is also hatched

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const minus = (text) => String(text).replace("-", "−");
const percent = (beyond) => `${beyond < 0.01 ? "under 1" : Math.round(100 * beyond)} % outside`;

// Panels side by side, or below each other where the host is narrow. Projections lie above and below a line.
export function layout({ parts }, room = ROOM) {
  const rows = Math.ceil(parts.length / clamp(Math.floor((room + GAP) / (LEAST + GAP)), 1, parts.length));
  const columns = Math.ceil(parts.length / rows);
  const wide = clamp(Math.floor((room - GAP * (columns - 1)) / columns), 150, MOST);
  const panels = parts.map((_, at) => {
    const [left, head] = [(at % columns) * (wide + GAP) + LEFT, Math.floor(at / columns) * (TALL + GAP)];
    const [top, upper] = [head + HEAD, head + HEAD + CURVE + SHARES];
    return { head, left, right: left + wide - LEFT - RIGHT, top, bottom: top + CURVE, upper, line: upper + UP, lower: upper + UP + DOWN };
  });
  return { panels, plot: wide - LEFT - RIGHT, width: columns * (wide + GAP) - GAP, height: rows * (TALL + GAP) - GAP };
}

// How finely shares are set: about 200 steps over the range, of a round size.
const grain = ([low, high]) => 10 ** Math.round(Math.log10((high - low) / 200));
export const snapped = (share, ends) => clamp(Number((Math.round(share / grain(ends)) * grain(ends)).toPrecision(9)), ...ends);
export const written = (share, ends) => minus(share.toFixed(Math.max(1, -Math.round(Math.log10(grain(ends))))));

// The share under a point, or null where no curve is.
export function spot(box, ends, x, y) {
  const on = box.panels.find(({ left, right, top, bottom }) => x >= left - PAD && x <= right + PAD && y >= top && y <= bottom);
  return on ? snapped(ends[0] + ((x - on.left) / box.plot) * (ends[1] - ends[0]), ends) : null;
}

// The next share at which the curves are known, up or down; null if the key does not lead to one.
export function led(key, share, known) {
  const up = ["ArrowUp", "ArrowRight"].includes(key);
  if (!up && !["ArrowDown", "ArrowLeft"].includes(key)) return null;
  return (up ? known.find((other) => other > share) : known.findLast((other) => other < share)) ?? known.at(up ? -1 : 0);
}

// Where a key moves the slider to; null if it does not.
export function slid(key, share, ends) {
  const steps = { ArrowUp: 5, ArrowRight: 5, ArrowDown: -5, ArrowLeft: -5, PageUp: 25, PageDown: -25 };
  if (key in steps) return snapped(share + steps[key] * grain(ends), ends);
  return { Home: 0, Escape: 0, End: ends[1] }[key] ?? null;
}

// The value at a share, on the line between the two nearest that are known; NaN if one of them is not.
export function between(shares, values, share) {
  const after = shares.findIndex((known) => known > share - 1e-6);
  if (after <= 0 || shares[after] < share + 1e-6) return values.at(after);
  const part = (share - shares[after - 1]) / (shares[after] - shares[after - 1]);
  return values[after - 1] + part * (values[after] - values[after - 1]);
}

// Where activations lie when they have gone a share of the way.
export const moved = (base, patched, share) => base.map((from, pair) => from + share * (patched[pair] - from));

// For each class, which share of its values lies in each bin, of which there are 60 over all that the slider reaches.
export function histograms(values, classes, [low, high], bins = 60) {
  const [counts, totals] = [[new Float32Array(bins), new Float32Array(bins)], [0, 0]];
  for (let at = 0; at < values.length; at++) {
    if (!Number.isFinite(values[at])) continue;
    counts[classes[at]][clamp(Math.floor(((values[at] - low) / (high - low)) * bins), 0, bins - 1)] += 1;
    totals[classes[at]] += 1;
  }
  return counts.map((count, side) => count.map((many) => many / Math.max(1, totals[side])));
}

// Which share of some values lies outside a range; NaN if there are none.
export function outside(values, limits) {
  let [known, beyond] = [0, 0];
  for (const value of values) {
    if (Number.isFinite(value)) known += 1;
    if (value < limits?.[0] || value > limits?.[1]) beyond += 1;
  }
  return limits && known ? beyond / known : NaN;
}

// What is shown of each part; `at` gives what changes with the share.
export function opened(frame) {
  const part = (values, at) => values.subarray((at * values.length) / frame.parts.length, ((at + 1) * values.length) / frame.parts.length);
  const [shares, own, other] = [floats(frame.shares), bytes(frame.base_class), bytes(frame.source_class)];
  const numbers = ["mean", "low", "high", "base", "source", "patched"].map((name) => floats(frame[name]));
  return frame.parts.map((name, which) => {
    const [mean, low, high, base, source, patched] = numbers.map((values) => part(values, which));
    const { limits, reach } = frame.plots[which];
    const bars = histograms(Float32Array.from([...base, ...source]), [...own, ...other], reach);
    const at = (share) => {
      const made = moved(base, patched, share);
      return { name, value: between(shares, mean, share), beyond: outside(made, limits), bars: histograms(made, own, reach) };
    };
    return { name, shares, mean, low, high, ...frame.plots[which], bars, at };
  });
}

export function readout(share, ends, states) {
  const said = states.map(({ name, value, beyond }) => `${name} ${number(value)}${beyond > 0 ? ` (${percent(beyond)})` : ""}`);
  return `share ${written(share, ends)}:  ${said.join("   ")}`;
}

function legendOf({ label, band, sides }) {
  const signs = [["mean", "mean"], ...(band ? [["band", band]] : []), ...sides.entries(), ["range", "range of natural activations"]];
  const made = signs.map(([kind, text]) => node("span", { class: `nb-sign nb-sign-${kind}` }, text));
  return node("span", { class: "nb-legend" }, node("span", {}, label), ...made);
}

function render({ model, el, signal }) {
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "curves and projections" });
  const [slider, output, marks] = [
    node("input", { type: "range", step: "any" }), node("output"), node("span", { class: "nb-way-marks", "aria-hidden": "true" })];
  const track = node("span", { class: "nb-way-track" }, slider, marks);
  const way = node("div", { class: "nb-way" }, node("label", {}, "share of the way", track), output);
  const root = el.appendChild(node("div", { class: "nb nb-direction" }, canvas, way));
  const [around, keyboard] = [framed(model, root, signal), keyboardOn(canvas, signal)];
  let frame, parts, known, box, pen, colours, [room, hovered, cursor, leads] = [ROOM, null, null, false];

  const share = () => clamp(model.get("share"), ...frame.ends);
  const here = () => clamp(cursor ?? (share() || 1), ...frame.ends);
  const along = ({ left }, value, [low, high]) => left + ((value - low) / (high - low)) * box.plot;
  // What lies beyond the axis is drawn at its end.
  const height = ({ bottom }, value) => bottom - PAD - clamp((value - frame.vmin) / (frame.vmax - frame.vmin), 0, 1) * (CURVE - 2 * PAD);

  function rebuild() {
    frame = model.get("_frame");
    parts = opened(frame);
    known = Array.from(parts[0].shares, (at) => snapped(at, frame.ends));
    hovered = hovered === null ? null : clamp(hovered, ...frame.ends);
    [slider.min, slider.max] = frame.ends;
    const mark = (text, at) => node("span", { style: `left: ${(100 * (at - frame.ends[0])) / (frame.ends[1] - frame.ends[0])}%` }, text);
    marks.replaceChildren(...["0: base", "1: full patch"].slice(0, frame.ends[1] < 1 ? 1 : 2).map(mark));
    around.key(legendOf(frame));
    canvas.setAttribute("aria-label", `${frame.label} along ${frame.parts.join(", ")}: ${bytes(frame.base_class).length} pairs`);
    fit();
  }

  function fit(width = room) {
    box = layout(frame, (room = width));
    way.style.width = `${box.width}px`;
    draw();
  }

  function write(text, x, y, { colour = colours.muted, align = "left", font = FONT.replace("12px", "11px"), most = box.plot } = {}) {
    [pen.fillStyle, pen.font, pen.textAlign, pen.textBaseline] = [colour, font, align, "middle"];
    pen.fillText(text, x, y, most);
  }

  function fill(colour, alpha, ...edges) {
    [pen.fillStyle, pen.globalAlpha] = [colour, alpha];
    edges.length ? pen.fillRect(...edges) : pen.fill();
    pen.globalAlpha = 1;
  }

  function drawAxes({ name, reach, ticks }, panel) {
    const { head, left, top, bottom, lower } = panel;
    write(shorten(name, Math.floor((box.plot - 66) / 7.5)), left, head + 9, { colour: colours.fg, font: `bold ${FONT}` });
    write(frame.label, left, head + 25);
    for (const tick of frame.value_ticks) {
      fill(tick ? colours.line : colours.muted, 1, left, Math.round(height(panel, tick)), box.plot, 1);
      write(minus(tick), left - 6, height(panel, tick), { align: "right", most: LEFT - 8 });
    }
    for (const tick of frame.share_ticks) {
      const x = along(panel, tick, frame.ends);
      if (tick === 0 || tick === 1) fill(colours.line, 1, Math.round(x), top, 1, CURVE);
      write(minus(tick), x, bottom + 8, { align: "center" });
    }
    for (const tick of ticks) write(minus(tick), along(panel, tick, reach), lower + 10, { align: "center" });
    for (const [text, y] of [["share of the way", bottom + 22], [`projection on ${shorten(name, Math.floor((box.plot - 80) / 6))}`, lower + 24]])
      write(text, left + box.plot / 2, y, { align: "center" });
  }

  // Between two shares of which one has no value there is hatching, and no line.
  function drawCurve({ shares, mean, low, high }, panel) {
    const point = (values, at) => [along(panel, shares[at], frame.ends), height(panel, values[at])];
    [pen.strokeStyle, pen.lineWidth] = [colours.fg, 1.75];
    for (let at = 1; at < shares.length; at++) {
      const edges = [point(low, at - 1), point(low, at), point(high, at), point(high, at - 1)];
      trace(edges);
      if (edges.flat().every(Number.isFinite)) fill(colours.fg, 0.2);
      trace([point(mean, at - 1), point(mean, at)]);
      if (Number.isFinite(mean[at - 1] + mean[at])) pen.stroke();
      else hatch(pen, edges[0][0], panel.top, edges[1][0] - edges[0][0], CURVE, colours.line);
    }
    mean.forEach((value, at) => Number.isFinite(value) && fill(colours.fg, 1, ...point(mean, at).map((edge) => edge - 1.75), 3.5, 3.5));
  }

  function trace(points) {
    pen.beginPath();
    points.forEach(([x, y], at) => (at ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  }

  function drawNatural({ limits, reach, bars, peak }, panel) {
    const { left, upper, line, lower } = panel;
    if (!limits) return hatch(pen, left, upper, box.plot, UP + DOWN, colours.line);
    const [low, high] = limits.map((value) => along(panel, value, reach));
    fill(colours.fg, 0.08, low, upper, high - low, lower - upper);
    for (const edge of [low, high]) fill(colours.muted, 0.6, Math.round(edge), upper, 1, lower - upper);
    bars.forEach((heights, side) => drawBars(heights, side, panel, -(UP - 4) / peak));
    fill(colours.muted, 1, left, line, box.plot, 1);
    [["natural", upper + 7], ["patched", lower - 7]].forEach(([text, y]) => write(text, left, y));
  }

  // Bars of one class, up from the line or down; neighbours are one shape. The second class is hatched.
  function drawBars(heights, side, { left, line }, scale) {
    const [size, tall] = [box.plot / heights.length, scale * Math.max(...heights)];
    const [first, last] = [heights.findIndex(Boolean), heights.findLastIndex(Boolean)];
    pen.save();
    pen.beginPath();
    heights.forEach((value, bin) => {
      if (!value) return;
      const [x, y] = [left + bin * size, line + value * scale];
      if (!heights[bin - 1]) pen.moveTo(x, line);
      pen.lineTo(x, y);
      pen.lineTo(x + size, y);
      if (!heights[bin + 1]) pen.lineTo(x + size, line);
    });
    [pen.strokeStyle, pen.lineWidth] = [SIDES[side], 1.25];
    pen.stroke();
    if (side) {
      pen.clip();
      hatch(pen, left + first * size, Math.min(line, line + tall), (last + 1 - first) * size, Math.abs(tall), SIDES[side]);
    } else fill(SIDES[side], 0.75);
    pen.restore();
  }

  function draw() {
    const held = share();
    const look = hovered ?? (leads && keyboard() ? here() : held);
    pen = sized(canvas, box.width, box.height);
    colours = theme(root);
    const states = parts.map(({ at }) => at(look));
    for (const drawOne of [drawAxes, drawCurve, drawNatural, drawMoved])
      parts.forEach((part, at) => drawOne(part, box.panels[at], states[at], look, held));
    slider.value = held;
    output.textContent = written(held, frame.ends);
    slider.setAttribute("aria-valuetext", output.textContent);
    around.read.textContent = readout(look, frame.ends, states);
  }

  // A mark on the curve with its value, and where the patched activations are; the share that is held stays marked.
  function drawMoved({ limits, peak }, panel, { value, beyond, bars }, look, held) {
    const colour = look === held ? colours.accent : colours.fg;
    const [fixed, x] = [held, look].map((where) => along(panel, where, frame.ends));
    fill(colours.accent, 0.7, fixed - 0.75, panel.top, 1.5, CURVE);
    if (look !== held) fill(colour, 0.7, x - 0.75, panel.top, 1.5, CURVE);
    pen.beginPath();
    if (Number.isFinite(value)) pen.arc(x, height(panel, value), 4.5, 0, 2 * Math.PI);
    fill(colour, 1);
    write(number(value), panel.right, panel.head + 9, { colour, align: "right", font: `bold ${FONT}` });
    if (limits) bars.forEach((heights, side) => drawBars(heights, side, panel, (DOWN - 4) / peak));
    if (beyond > 0) write(percent(beyond), panel.right, panel.lower - 7, { colour: colours.accent, align: "right" });
  }

  function set(next) {
    [hovered, leads] = [null, false];
    next === model.get("share") ? draw() : put(model, "share", next);
    return true;
  }

  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  const under = ({ offsetX, offsetY }) => spot(box, frame.ends, offsetX, offsetY);
  const pin = (at) => set(at === share() ? 0 : at);
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
    const next = led(key, here(), known);
    if (next !== null) [cursor, hovered, leads] = [next, null, true];
    else if (key === "Enter" || key === " ") pin(here());
    else if (key === "Escape" || key === "Home") set(0);
    else return false;
    draw();
    return true;
  }, signal);
  listen(slider, "input", () => set(snapped(Number(slider.value), frame.ends)));
  listen(slider, "dblclick", () => set(0));
  keys(slider, ({ key }) => slid(key, share(), frame.ends) !== null && set(slid(key, share(), frame.ends)), signal);

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["share"], () => {
    [cursor, leads] = [share() || cursor, false];
    draw();
  }, signal);
  repaint(draw, signal);
  resized(root, fit, signal);
}

export default { render };
