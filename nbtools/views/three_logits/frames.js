// What the landscape and the scrubber draw of a training, in the form in which Python sends it to them.

import { PLANES, firstOf, lossOf, secondOf } from "./model.js";

const [DRAWN, GRID, NARROWEST, BEYOND] = [400, 48, 4, 0.08]; // steps at most; points of a landscape each way; its least width; how far it goes on
const [LEVELS, TICKS, STEPS, MARKS, AT_ZERO] = [12, 6, 4, 3, 0.08]; // lines; numbers on axes; of a logarithmic one lies between step 0 and the next
const [EDGE, APART, TRIED, PARTS] = [0.05, 0.09, 24, 65535]; // numbers on lines: room around them, places tried; the parts in which points are sent
const LETTERED = { probability: "P" };
const SHARES = ["probability", "q1", "q2"];

// A round number as Python's :g writes it, with a minus sign.
function written(value) {
  const plainly = value === 0 || (Math.abs(value) >= 1e-4 && Math.abs(value) < 1e6);
  const text = plainly ? String(value) : value.toExponential().replace(/([+-])(\d)$/, (_, sign, power) => `${sign}0${power}`);
  return text.replaceAll("-", "−");
}

const plain = (value) => Number(value.toPrecision(6)) + 0;
const least = (values) => values.reduce((low, value) => Math.min(low, value), Infinity);
const largest = (values) => values.reduce((high, value) => Math.max(high, value), -Infinity);

// Round numbers on an axis, about so many at most, and two at least.
export function roundNumbers(low, high, most) {
  const raw = (high - low) / most;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20].map((part) => part * unit);
  const inside = (apart) => {
    const [first, last] = [Math.ceil(low / apart - 1e-6), Math.floor(high / apart + 1e-6)];
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => plain((first + at) * apart));
  };
  const fits = steps.slice(0, 1 + steps.findIndex((apart) => apart >= raw)).reverse();
  return fits.map(inside).find((marks) => marks.length > 1) ?? [];
}

// Round numbers on a logarithmic axis, at most so many.
export function logNumbers(low, high, most) {
  const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const powers = Array.from({ length: to - from + 1 }, (_, at) => from + at);
  for (const [parts, every] of [[[1, 2, 5], 1], ...powers.map((_, at) => [[1], at + 1])]) {
    const marks = powers.filter((power) => power % every === 0).flatMap((power) => parts.map((part) => plain(part * 10 ** power)));
    const found = marks.filter((mark) => mark >= low * (1 - 1e-6) && mark <= high * (1 + 1e-6));
    if (found.length <= most) return found;
  }
  return [];
}

// The steps that are drawn: close together where a curve bends, and with those among them that are to be kept.
export function drawnSteps({ setting: { steps }, curves, half }, keep) {
  const gone = new Float64Array(steps + 1);
  const every = gone.map((_, step) => step);
  for (const values of [...Object.values(curves), every, every.map(Math.log1p)]) {
    let [all, sum] = [0, 0];
    for (let step = 1; step <= steps; step++) all += Math.abs(values[step] - values[step - 1]);
    for (let step = 1; step <= steps && all; step++) gone[step] += (sum += Math.abs(values[step] - values[step - 1])) / all;
  }
  const chosen = new Set([0, keep, Math.max(0, half), steps]);
  for (let [step, at] = [0, 1]; at < DRAWN - 3; at++) {
    const wanted = (gone[steps] * at) / (DRAWN - 3);
    while (gone[step + 1] < wanted) step += 1;
    chosen.add(wanted - gone[step] < gone[step + 1] - wanted ? step : step + 1);
  }
  return Int32Array.from(chosen).sort();
}

// The ends of an axis: those of the data, with 0 if it is not far.
function endsOf(name, values) {
  if (SHARES.includes(name)) return [0, 1];
  let [low, high] = [least(values), largest(values)];
  if (low > 0 && low < 0.4 * high) low = 0;
  return low < high ? [low, high] : [low - 0.5, high + 0.5];
}

// Where steps lie on their axis, from 0 to 1, and the round ones on it.
function axisOf(drawn, scale) {
  const [last, next] = [drawn.at(-1), drawn[1]];
  const [from, to] = [Math.log(next), Math.log(last)];
  const start = from - ((AT_ZERO * (to - from)) / (1 - AT_ZERO) || 1);
  const along = (step) => (scale === "linear" ? step / last : step && (Math.log(step) - start) / (to - start));
  const marks = scale === "linear" ? roundNumbers(0, last, STEPS) : [0, ...(next < last ? logNumbers(next, last, STEPS) : [last])];
  const ticks = marks.filter(Number.isInteger).map((mark) => [along(mark), mark.toLocaleString("en-US")]);
  return { places: Float32Array.from(drawn, along), ticks };
}

export function curvesFrame({ curves }, drawn, scale, { lut, notes }) {
  const names = Object.keys(curves);
  const values = names.map((name) => Float32Array.from(drawn, (step) => curves[name][step]));
  const mean = Float32Array.from(values.flatMap((some) => [...some]));
  const plots = names.map((name, which) => {
    const [vmin, vmax] = endsOf(name, values[which]);
    return { vmin, vmax, ticks: roundNumbers(vmin, vmax, MARKS).map((mark) => [mark, written(mark)]) };
  });
  return {
    names: names.map((name) => LETTERED[name] ?? name), notes: names.map((name) => notes[name]), plots, ...axisOf(drawn, scale),
    band: "", steps: drawn, mean, low: mean, high: mean, lut, vmin: 0, vmax: 1, label: "",
    queries: [], keys: [], map_steps: new Int32Array(), levels: new Uint8Array(), tokens: [], bar_label: "", bar_axis: null,
    bar_steps: new Int32Array(), bars: new Float32Array(),
  };
}

// Numbers in even steps that reach a little beyond all values, to ends that are round.
function reach(values) {
  const [low, high] = [least(values), largest(values)];
  const [wide, middle] = [Math.max((high - low) * (1 + 2 * BEYOND), NARROWEST), (low + high) / 2];
  const unit = 10 ** Math.floor(Math.log10(wide)) / 10;
  const [from, to] = [Math.floor((middle - wide / 2) / unit), Math.ceil((middle + wide / 2) / unit)];
  return Float64Array.from({ length: GRID }, (_, at) => (from + ((to - from) * at) / (GRID - 1)) * unit);
}

// The loss around the whole path, the third parameter as it is at a step.
export function surfaceOf({ setting, curves }, plane, step) {
  const [across, up, held] = PLANES[plane];
  const [columns, rows] = [across, up].map((name) => reach(curves[name]));
  const values = new Float64Array(GRID * GRID);
  const at = { [held]: curves[held][step] };
  rows.forEach((row, place) => {
    at[up] = row;
    columns.forEach((column, beside) => {
      at[across] = column;
      values[place * GRID + beside] = lossOf(setting, at.xi, secondOf(setting, at.alpha, firstOf(setting, at.beta)));
    });
  });
  return { columns, rows, values };
}

// Lines along which a square surface has one value, as points in parts of it: marching squares, joined to lines. A point
// lies between two neighbours, and is known by the place of the first and by whether the second is beside or above it.
export function contour(values, level, size = GRID) {
  const [above, joined] = [Uint8Array.from(values, (value) => value > level), new Map()];
  const join = (one, other) => [[one, other], [other, one]].forEach(([from, to]) => joined.set(from, [...(joined.get(from) ?? []), to]));
  for (let at = 0; at < values.length - size; at++) {
    const corners = [above[at], above[at + 1], above[at + size + 1], above[at + size]];
    if (at % size === size - 1 || corners.every((corner) => corner === corners[0])) continue;
    const [low, right, high, left] = [2 * at, 2 * (at + 1) + 1, 2 * (at + size), 2 * at + 1];
    const cut = [low, right, high, left].filter((_, side) => corners[side] !== corners[(side + 1) % 4]);
    if (cut.length === 2) join(...cut);
    if (cut.length < 4) continue;
    const middle = Number((values[at] + values[at + 1] + values[at + size] + values[at + size + 1]) / 4 > level);
    for (const pair of middle === corners[0] ? [[low, right], [high, left]] : [[low, left], [high, right]]) join(...pair);
  }
  const point = (edge) => {
    const [from, to] = [edge >> 1, (edge >> 1) + (edge % 2 ? size : 1)];
    const part = (level - values[from]) / (values[to] - values[from]);
    return [(from % size) + (edge % 2 ? 0 : part), Math.floor(from / size) + (edge % 2 ? part : 0)].map((place) => place / (size - 1));
  };
  return walked(joined).map((line) => line.map(point));
}

// Lines that pass every joint once: first those that begin somewhere, then those that return to where they began.
function walked(joined) {
  const lines = [];
  for (const start of [...[...joined.keys()].filter((edge) => joined.get(edge).length === 1), ...joined.keys()]) {
    if (!joined.has(start)) continue;
    const [line, round] = [[start], joined.get(start).length === 2];
    for (let [at, next] = [start, joined.get(start)]; next; line.push(at)) {
      joined.delete(at);
      at = next.find((edge) => joined.has(edge));
      if (at === undefined) break;
      next = joined.get(at);
    }
    lines.push(round ? [...line, start] : line);
  }
  return lines;
}

// Where a number on a line can stand: the point farthest from all that is taken, which then is taken too.
function roomFor(points, taken) {
  const inner = points.filter((point) => point.every((part) => part > EDGE && part < 1 - EDGE));
  const some = inner.filter((_, at) => at % (1 + Math.floor(inner.length / TRIED)) === 0);
  const far = some.map(([x, y]) => least(taken.map((one) => Math.hypot(x - one[0], y - one[1]))));
  const best = some[far.indexOf(largest(far))];
  if (!best || largest(far) < APART) return null;
  taken.push(best);
  return best;
}

export function landscapeFrame(run, drawn, plane, step, { lut }) {
  const { columns, rows, values } = surfaceOf(run, plane, step);
  const [ends, vmax, lowest] = [[columns, rows].map((some) => [some[0], some.at(-1)]), Math.ceil(2 * largest(values)) / 2, least(values)];
  const along = (value, [low, high]) => (value - low) / (high - low);
  const names = PLANES[plane].slice(0, 2);
  const path = names.map((name) => Float32Array.from(drawn, (place) => run.curves[name][place]));
  const taken = Array.from(drawn, (_, place) => path.map((some, which) => along(some[place], ends[which])));
  const room = taken.filter((_, at) => at % Math.max(1, Math.floor(drawn.length / TRIED)) === 0);
  const [lines, levels] = [[], []];
  for (const level of roundNumbers(0, vmax, LEVELS).filter((one) => one > lowest)) {
    const found = contour(values, level);
    const spot = roomFor(found.flat(), room);
    lines.push(...found);
    if (spot) levels.push([...spot, written(level)]);
  }
  return {
    names, ends, ticks: ends.map((one) => roundNumbers(...one, TICKS).map((mark) => [along(mark, one), written(mark)])),
    columns: columns.length, values: Float32Array.from(values), lines: Uint16Array.from(lines.flat(2), (part) => Math.round(part * PARTS)),
    counts: Int32Array.from(lines, (line) => line.length), levels, steps: drawn,
    path: Float32Array.from(path.flatMap((some) => [...some])), lut, vmin: 0, vmax, label: "loss in nats",
  };
}
