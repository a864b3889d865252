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
