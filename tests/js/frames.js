// Small frames as Python sends them. No two sizes are equal, so that rows cannot pass for columns.

export const HOSTILE = [
  "<bos>", "<s>", "</script><script>x", '<img src=x onerror="window.hit=1">', "\n", " ", "\t", "𝕏", "ا", "\\xe6", "",
];

const asBytes = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

// The ways in which bytes reach a view. Those of a kernel lie somewhere in a larger buffer, at an odd offset.
export const FORMS = {
  DataView(array, offset = 5) {
    const larger = new Uint8Array(offset + array.byteLength + 3).fill(0xee);
    larger.set(asBytes(array), offset);
    return new DataView(larger.buffer, offset, array.byteLength);
  },
  ArrayBuffer: (array) => asBytes(array).slice().buffer,
  Uint8Array: (array) => FORMS.DataView(array, 8) && new Uint8Array(FORMS.DataView(array, 8).buffer, 8, array.byteLength),
};

// A colour table in which every colour tells its index, and dark comes before light.
export const LUT = Uint8Array.from({ length: 768 }, (_, at) => Math.max(0, Math.floor(at / 3) - (at % 3)));
export const colour = (index) => `rgb(${LUT[3 * index]} ${LUT[3 * index + 1]} ${LUT[3 * index + 2]})`;

const scale = (form, vmin, vmax, label) => ({ lut: form(LUT), vmin, vmax, label });

// Position p has value p / 10, so that the last of 11 tokens is at vmax; one has no value.
export function stripFrame({ tokens = HOSTILE, missing = [2], details = [], form = FORMS.DataView, label = "surprise" } = {}) {
  const values = Float32Array.from(tokens, (_, position) => (missing.includes(position) ? NaN : position / 10));
  return { tokens: [...tokens], values: form(values), details: [...details], ...scale(form, 0, 1, label) };
}

// Head "L.H" has value L + H / 100, from -10 to 10; one has no value.
export function gridFrame({ layers = [4, 5, 6, 7, 8], heads = [0, 1, 2], missing = ["6.1"], form = FORMS.DataView, label = "effect" } = {}) {
  const names = layers.flatMap((layer) => heads.map((head) => `${layer}.${head}`));
  const value = (name) => (missing.includes(name) ? NaN : Number(name.split(".")[0]) + Number(name.split(".")[1]) / 100);
  return { layers: [...layers], heads: [...heads], values: form(Float32Array.from(names, value)), ...scale(form, -10, 10, label) };
}

// The cell of row r and column c has value 2 r + c / 2, from -10 to 10; one has no value.
export function settingsFrame({ layers = ["4", "2"], heads = ["0.5", "16", "1024"], missing = [1], form = FORMS.DataView, label = "accuracy" } = {}) {
  const values = Float32Array.from(layers.flatMap((_, row) => heads.map((_, column) => 2 * row + column / 2)));
  for (const at of missing) values[at] = NaN;
  const notes = Array.from(values, (_, at) => (at % 2 ? "" : `note ${at}`));
  return { layers: [...layers], heads: [...heads], names: ["burstiness", "classes"], notes, values: form(values), ...scale(form, -10, 10, label) };
}

// What a query of a head gives to a key, 0 to 255: most to key (head + query) % (query + 1).
export const level = (head, query, key) => (key > query ? 0 : key === (head + query) % (query + 1) ? 255 - 10 * head : 20 + key);

let serial = 0;

// A frame and the patterns of its layers, or of those that are `sent` with it. Heads are counted over all layers.
export function attentionState({
  pages = [["4.0", "4.1"], ["5.0", "5.1", "5.2"]], tokens = HOSTILE.slice(0, 7), causal = true, form = FORMS.DataView,
  vmax = 1, sent = pages.map((_, layer) => layer),
} = {}) {
  const positions = [...tokens.keys()];
  const pattern = (head) => positions.flatMap((query) =>
    positions.filter((key) => key <= query || !causal).map((key) => level(head, query, key)));
  const first = (layer) => pages.slice(0, layer).flat().length;
  const levels = (layer) => form(Uint8Array.from(pages[layer].flatMap((_, head) => pattern(first(layer) + head))));
  serial += 1;
  return {
    _frame: { pages: pages.map((page) => [...page]), tokens: [...tokens], causal, serial, ...scale(form, 0, vmax, "attention") },
    _pages: { serial, levels: Object.fromEntries(sent.map((layer) => [layer, levels(layer)])) },
  };
}

// Row r has value (r + 1) / 10 in the first run; the second has half of it, and no number for the last row.
export function barsFrame({
  tokens = HOSTILE, ids = tokens.map((_, row) => 100 + row), marks = tokens.map(() => ""), names = ["clean", "patched"],
  values = [tokens.map((_, row) => (row + 1) / 10), tokens.map((_, row) => (row === tokens.length - 1 ? NaN : (row + 1) / 20))],
  vmin = 0, vmax = 1.2, ticks = [0, 0.5, 1], form = FORMS.DataView, label = "probability",
} = {}) {
  const numbers = form(Float32Array.from(values.flat()));
  return { tokens: [...tokens], ids, marks, names: [...names], values: numbers, vmin, vmax, ticks: [...ticks], label };
}

// The bits of a float16, for numbers from 2 ** -14 on, 0 and NaN.
const halfBits = (value) => {
  if (!value) return Number.isNaN(value) ? 0x7e00 : 0;
  const [bits] = new Uint32Array(Float32Array.of(value).buffer);
  return ((bits >> 13) & 0x3ff) | (((bits >> 23) - 112) << 10);
};

export const halfFloats = (values) => Uint16Array.from(values, halfBits);

// Position p is called 10 + p. Of layer l its rank r is token r of LENS, turned by l + 2 p; the first has the share
// (1 + l + 2 p) / 32. It follows 1 + p % 3 tokens: those that come first in the last layer and those just below. What
// is followed as f has in layer l the share (l + f) / 16 and the rank 1 + (last - f - l) ** 2.
export const LENS = ["·", "</script><script>x", " Paris", "\n", "a", "b", "c", "𝕏"];

export function lensFrame({
  layers = [-1, 4, 5, 7], tokens = HOSTILE.slice(0, 6), ranks = 3, missing = [[2, 1]], unfollowed = [], last_rank = 100,
  form = FORMS.DataView, label = "probability",
} = {}) {
  const [rows, positions] = [[...layers.keys()], [...tokens.keys()]];
  const code = (layer, position, rank = 0) => (layer + 2 * position + rank) % LENS.length;
  const lost = (layer, position) => missing.some(([row, column]) => row === layer && column === position);
  const every = (give) => rows.flatMap((layer) => positions.flatMap((position) =>
    Array.from({ length: ranks }, (_, rank) => give(layer, position, rank))));
  const follows = positions.map((position) => 1 + (position % 3));
  const followed = positions.flatMap((position) => Array.from({ length: follows[position] }, (_, follow) => [position, follow]));
  const paths = (give) => rows.flatMap((layer) => followed.map(([, follow]) => give(layer, follow)));
  const name = ([position, follow]) => (unfollowed.includes(position) ? 7 : code(rows.length - 1 - follow, position));
  const share = (layer, position, rank) => (lost(layer, position) ? NaN : (1 + layer + 2 * position) / 32 / (rank + 1));
  const [numbers, halves] = [(values) => form(Uint16Array.from(values)), (values) => form(halfFloats(values))];
  return {
    layers: [...layers], positions: positions.map((position) => 10 + position), tokens: [...tokens], texts: [...LENS], ranks, last_rank,
    top: numbers(every(code)), probability: halves(every(share)), counts: numbers(follows), followed: numbers(followed.map(name)),
    followed_probability: halves(paths((layer, follow) => (layer + follow) / 16)),
    followed_rank: numbers(paths((layer, follow) => 1 + (rows.length - 1 - follow - layer) ** 2)), ...scale(form, 0, 1, label),
  };
}

// Position p is called 10 + p. In the place of the last two tokens the other run has others. Of layer l the effect in
// column c is (l + 2 c) / 16, in every other column negative; the estimate is (l + c) / 32. One cell has neither, and
// where the effect is `open` there is only the estimate. Of heads there are as many as tokens.
export function patchFrame({
  layers = [3, 4, 5, 7], tokens = HOSTILE.slice(0, 6), missing = [[2, 1]], open = [[1, 3]], kind = "position", form = FORMS.DataView,
  label = "effect", others = tokens.map((_, at) => (at < tokens.length - 2 ? "" : " Mary")), guessed = true, ...facts
} = {}) {
  const [columns, heads] = [[...tokens.keys()], kind === "head"];
  const among = (cells, layer, column) => cells.some(([row, at]) => row === layer && at === column);
  const every = (give) => form(Float32Array.from([...layers.keys()].flatMap((layer) => columns.map((column) => give(layer, column)))));
  const effect = (layer, column) => (among([...missing, ...open], layer, column) ? NaN : ((column % 2 ? -1 : 1) * (layer + 2 * column)) / 16);
  const estimate = (layer, column) => (among(missing, layer, column) ? NaN : (layer + column) / 32);
  const numbers = columns.map((column) => (heads ? column : 10 + column));
  return {
    layers: [...layers], kind, many: `${kind}s`, pins: numbers, numbers, causal: !heads, heads,
    names: numbers.map((number, at) => (heads ? `${number}` : `${number} “${tokens[at]}”${others[at] ? ` ← “${others[at]}”` : ""}`)),
    texts: heads ? [] : [...tokens], others: heads ? [] : others, effect: every(effect),
    estimate: guessed ? every(estimate) : form(new Float32Array(0)),
    site: "resid_pre", metric: "logit difference", base: -2, source: 6, note: "0: into; 1: from", complete: true,
    ...scale(form, -1, 1, label), ...facts,
  };
}

// At share s the value of part p is p - s, with half as much below as above; the second share has none for the last
// part. Bases of the first class lie at 0 and are moved to 1, the others the other way round; one pair is undefined.
export function directionFrame({
  parts = ["v", "row", "<img src=x>"], shares = [-1, 0, 0.5, 1, 2], missing = [[2, 1]], band = "95 % interval", pairs = 7, lost = [6],
  sides = ["ABBA", "BABA"], form = FORMS.DataView, label = "logit difference (nats)", ...facts
} = {}) {
  const [every, among] = [parts.map((_, part) => part), (part, at) => missing.some(([one, other]) => one === part && other === at)];
  const curve = (add) => form(Float32Array.from(every.flatMap((part) => shares.map((share, at) => (among(part, at) ? NaN : part - share + add)))));
  const [ids, side] = [[...Array(pairs).keys()], (pair) => pair % 2];
  const along = (give) => form(Float32Array.from(every.flatMap(() => ids.map((pair) => (lost.includes(pair) ? NaN : give(pair))))));
  const none = form(new Float32Array(0));
  const ends = [shares[0], shares.at(-1)];
  return {
    parts: [...parts], ends, sides: [...sides], band, label, vmin: -2, vmax: 3, value_ticks: [-2, 0, 2], share_ticks: ends,
    plots: parts.map(() => ({ limits: [0, 1], reach: ends, peak: 1, ticks: [0, 1] })), shares: form(Float32Array.from(shares)),
    mean: curve(0), low: band ? curve(-0.25) : none, high: band ? curve(0.5) : none,
    base: along(side), source: along((pair) => 1 - side(pair)), patched: along((pair) => 1 - side(pair)),
    base_class: form(Uint8Array.from(ids, side)), source_class: form(Uint8Array.from(ids, (pair) => 1 - side(pair))), ...facts,
  };
}

// Two positions, S2 with one slot and END with two. Edge e has the effect (e + 1) / 10, every other one negative; the
// widest has 0.5. Of two circuits the first lacks the last node and its edges, the second the first node and its edge.
const CIRCUIT = [
  ["17.4@S2", 0.5, "induction", 4], ["20.0@END", 2.4, "", 0], ["23.0@END", 1.9, "name mover", 4], ["23.1@END", 2.9, "name mover", 4],
  ["24.4@END", 2.4, "negative mover", 3], ["logits", 2.4, "", 2],
];
const WAYS = [[0, 1, 3], [1, 2, 1], [1, 3, 1], [2, 5, 0], [3, 5, 0], [1, 5, 0], [4, 5, 0]];
const OUTLINES = [18, 22, 38, 22, 21].map((half) => (
  { points: [[-half, -15], [half, -15], [half, 15], [-half, 15]], half, up: 15, down: 15, text: 0 }));

export function circuitFrame({ left = ["24.4@END"], names = [""], form = FORMS.DataView, label = "effect", ...facts } = {}) {
  const [kept, two] = [CIRCUIT.filter(([name]) => !left.includes(name)), names.length === 2];
  const layers = [...new Set(kept.map(([name]) => name.split(".")[0]))];
  const height = ([name]) => layers.indexOf(name.split(".")[0]);
  const place = (node) => kept.findIndex(([name]) => name === CIRCUIT[node]?.[0]);
  const ways = WAYS.map(([from, to, through], at) => [place(from), place(to), through, (at % 2 ? -1 : 1) * (at + 1) / 10])
    .filter(([from, to]) => from >= 0 && to >= 0);
  const [nodeSide, edgeSide] = [
    kept.map((_, at) => (two ? { 0: 1, [kept.length - 2]: 2 }[at] ?? 0 : 1)),
    ways.map(([from, to]) => (two ? { 0: 1, [kept.length - 2]: 2 }[from] ?? { [kept.length - 2]: 2 }[to] ?? 0 : 1)),
  ];
  const tables = (sides, value) => names.flatMap((_, circuit) => sides.map((side, at) => (side === 0 || side === circuit + 1 ? value(at) : NaN)));
  const [numbers, small] = [(values) => form(Float32Array.from(values)), (values) => form(Uint8Array.from(values))];
  return {
    nodes: kept.map(([name]) => name), texts: kept.map(([name]) => name.split("@")[0]),
    called: kept.map(([name]) => name.replace("@", " at ")), places: kept.map(([name]) => name.split("@")[1] ?? ""),
    roles: kept.map(([, , role]) => role), names: [...names], tally: two ? [2, 1, 1] : [],
    x: numbers(kept.map(([, x]) => x)), y: numbers(kept.map(height)), shape: small(kept.map(([, , , shape]) => shape)),
    ends: form(Uint16Array.from(ways.flatMap(([from, to, through]) => [from, to, through]))),
    points: numbers(ways.flatMap(([from, to]) => [from, to].flatMap((at) => [kept[at][1], height(kept[at])]))),
    counts: small(ways.map(() => 2)), offsets: numbers(ways.map(() => 0)),
    node_side: small(nodeSide), edge_side: small(edgeSide), node_effects: numbers(tables(nodeSide, (at) => (at ? at / 10 : NaN))),
    edge_effects: numbers(tables(edgeSide, (at) => ways[at][3])), shapes: OUTLINES, legend: [[4, "induction"], [1, "MLP"]],
    rows: layers.map((layer, y) => [layer === "logits" ? "" : layer, y]), columns: [["S2", 0.5, 1], ["END", 2.4, 2]],
    wide: 3.4, tall: layers.length - 1, row: 80, vmin: -0.5, vmax: 0.5, most: 0.5, label, ...facts,
  };
}

// At place t the value of curve c is c + t / 4; a range is half as wide below as above. Map k gives all attention of
// query q to key (q + k) % queries, and bar p has at kept step k the norm 10 ** (p - k), and 0 for the last token.
export function scrubberFrame({
  names = ["loss", "sink", "<img src=x>"], steps = [0, 10, 100, 200, 400], missing = [[2, 1]], band = "mean and range of 3 seeds",
  queries = HOSTILE.slice(0, 4), keys = HOSTILE.slice(0, 5), mapSteps = [0, 190, 400], tokens = HOSTILE.slice(0, 3), barSteps = [0, 400],
  form = FORMS.DataView, label = "attention", ...facts
} = {}) {
  const among = (curve, place) => missing.some(([one, other]) => one === curve && other === place);
  const curves = (add) => form(Float32Array.from(names.flatMap((_, curve) => steps.map((_, place) => (among(curve, place) ? NaN : curve + place / 4 + add)))));
  const levels = mapSteps.flatMap((_, map) => queries.flatMap((_, query) => keys.map((_, key) => (key === (query + map) % queries.length ? 255 : 0))));
  const bars = barSteps.flatMap((_, kept) => tokens.map((_, at) => (at === tokens.length - 1 ? 0 : 10 ** (at - kept))));
  const [whole, numbers] = [(values) => form(Int32Array.from(values)), (values) => form(Float32Array.from(values))];
  return {
    names: [...names], notes: names.map((name) => (name === "sink" ? "attention of tokens that are no triggers to the first one" : "")),
    plots: names.map((_, curve) => ({ vmin: curve, vmax: curve + 1, ticks: [[curve, String(curve)], [curve + 1, String(curve + 1)]] })),
    ticks: [[0, "0"], [0.5, "200"], [1, "400"]], band, steps: whole(steps), places: numbers(steps.map((step) => step / steps.at(-1))),
    mean: curves(0), low: curves(-0.1), high: curves(0.2),
    queries: [...queries], keys: [...keys], map_steps: whole(mapSteps), levels: form(Uint8Array.from(levels)),
    tokens: [...tokens], bar_label: "value norm", bar_steps: whole(barSteps), bars: numbers(bars),
    bar_axis: { vmin: 0.1, vmax: 10, ticks: [[0.1, "0.1"], [1, "1"], [10, "10"]] }, ...scale(form, 0, 1, label), ...facts,
  };
}

// Position p is called 10 + p. Place p has in layer l the norm 2 ** (l + p); the cells that are missing have none.
export function normsFrame({
  layers = [3, 4, 5, 7], tokens = HOSTILE.slice(0, 6), missing = [[2, 1]], zero = [], form = FORMS.DataView, label = "residual norm", ...facts
} = {}) {
  const among = (cells, layer, position) => cells.some(([row, at]) => row === layer && at === position);
  const norm = (layer, position) => (among(missing, layer, position) ? NaN : among(zero, layer, position) ? 0 : 2 ** (layer + position));
  const values = layers.flatMap((_, layer) => tokens.map((_, position) => norm(layer, position)));
  return {
    layers: [...layers], positions: tokens.map((_, position) => 10 + position), tokens: [...tokens], values: form(Float32Array.from(values)),
    marks: [[1, "1"], [16, "16"], [256, "256"]], ...scale(form, 1, 256, label), ...facts,
  };
}

// The value at column c of row r is c + 10 r, and xi is twice its column. At place t of the path xi is 2 t / 3, and alpha half of that.
export function landscapeFrame({
  columns = 4, rows = 3, missing = [], steps = [0, 10, 100, 200, 400], names = ["xi", "<img src=x>"], form = FORMS.DataView,
  label = "loss", ...facts
} = {}) {
  const values = Array.from({ length: columns * rows }, (_, at) => (missing.includes(at) ? NaN : (at % columns) + 10 * Math.floor(at / columns)));
  const [across, lines] = [steps.map((_, place) => (2 * place) / 3), [[0, 0.5, 1, 0.5], [0.25, 0, 0.25, 0.5, 0.25, 1]]];
  const [whole, numbers] = [(found) => form(Int32Array.from(found)), (found) => form(Float32Array.from(found))];
  return {
    names: [...names], ends: [[0, 2 * columns - 2], [0, rows - 1]], ticks: [[[0, "0"], [1, String(2 * columns - 2)]], [[0, "0"], [0.5, "1"]]],
    columns, values: numbers(values), lines: form(Uint16Array.from(lines.flat(), (part) => Math.round(part * 65535))), counts: whole([2, 3]),
    levels: [[0.75, 0.5, "10"]], steps: whole(steps), path: numbers([...across, ...across.map((xi) => xi / 2)]),
    ...scale(form, 0, 10 * rows, label), ...facts,
  };
}
