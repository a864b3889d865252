import { expect, test } from "vitest";
import view, { along, amount, layout, moved, opened, readout, spot } from "../../nbtools/views/norms/norms.js";
import { FORMS, HOSTILE, colour, normsFrame } from "./frames.js";
import { click, drawings, frames, hover, leave, mount, picture, press, smuggled, watching, written } from "./stage.js";

// Columns of 44 pixels from 36 on, rows of 20 from 24 on; the lines begin 26 to the right of the cells.
const show = (options, traits = {}, host = {}) => mount(view, { _frame: normsFrame(options), title: "", layer: null, position: null, ...traits }, host);
const box = layout(normsFrame());
const cell = (row, column) => [36 + 44 * column + 20, 24 + 20 * (3 - row) + 10];
const sheet = (stage) => picture(stage.main(), "drawImage")[0].args[0];
const pins = (stage) => [stage.model.get("layer"), stage.model.get("position")];
const strokes = (stage) => picture(stage.main()).filter(({ name }) => name === "stroke").map(({ strokeStyle }) => strokeStyle);
const plain = (value) => Number(value.toFixed(4));

test("cells are as wide as the host allows, and the lines beside them as long as there is room for", () => {
  expect(box).toEqual({ rows: 4, count: 6, shown: 6, cell: 44, row: 20, right: 300, bottom: 104, long: 230, start: 326, width: 580, height: 194 });
  const sizes = (layers, tokens, room) => {
    const { cell: wide, row, long, width } = layout({ layers: Array(layers).fill(0), tokens: Array(tokens).fill("a") }, room);
    return [wide, row, long, width];
  };
  expect([sizes(30, 19), sizes(30, 19, 480), sizes(128, 128), sizes(30, 64, 480)]).toEqual([
    [27, 14, 230, 829], [12, 14, 150, 464], [4, 3, 230, 828], [4, 14, 150, 492]]);
});

test("points and keys lead to cells, the last layer on top", () => {
  expect([spot(box, ...cell(0, 0)), spot(box, ...cell(3, 5))]).toEqual([{ layer: 0, position: 0 }, { layer: 3, position: 5 }]);
  expect([spot(box, 30, 40), spot(box, 305, 40), spot(box, 60, 20), spot(box, 60, 106)]).toEqual([null, null, null, null]);
  const to = (key) => Object.values(moved(key, { layer: 1, position: 2 }, box));
  expect(["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End"].map(to)).toEqual([[2, 2], [0, 2], [1, 1], [1, 3], [1, 0], [1, 5]]);
  expect(moved("Enter", { layer: 1, position: 2 }, box)).toBeNull();
});

test("the others are all tokens but one, as far as they are known", () => {
  const { at, others, strongest } = opened(normsFrame());
  expect([at({ layer: 1, position: 2 }), others({ layer: 0, position: 0 }), others({ layer: 0, position: 5 })]).toEqual([
    8, { low: 2, median: 8, high: 32 }, { low: 1, median: 4, high: 16 }]);
  expect([others({ layer: 2, position: 5 }), strongest]).toEqual([{ low: 4, median: 24, high: 64 }, 5]);
  const alone = opened(normsFrame({ tokens: ["a"], missing: [] }));
  expect([alone.others({ layer: 0, position: 0 }), alone.strongest]).toEqual([{ low: NaN, median: NaN, high: NaN }, 0]);
  expect(opened(normsFrame({ form: FORMS.ArrayBuffer })).strongest).toBe(5);
});

test("a norm is read out with what it is next to the others", () => {
  const [frame, table] = [normsFrame(), opened(normsFrame())];
  const say = (layer, position) => readout(frame, table, { layer, position });
  expect([say(0, 0), say(3, 5)]).toEqual([
    "layer 3, 10 “<bos>”: 1.00, 0.125 × the median of the other tokens", "layer 7, 15 “·”: 256, 8.00 × the median of the other tokens"]);
  expect([say(2, 1), say(-1, 4), say(2, -1)]).toEqual(["layer 5, 11 “<s>”: undefined", "14 “↵”", "layer 5"]);
  const [one, alone] = [normsFrame({ tokens: ["a"], missing: [] }), opened(normsFrame({ tokens: ["a"], missing: [] }))];
  expect(readout(one, alone, { layer: 0, position: 0 })).toBe("layer 3, 10 “a”: 1.00");
  expect([22968.7, 100, 99.94, 0, NaN].map(amount)).toEqual(["22,969", "100", "99.9", "0.000", "undefined"]);
});

test("equal ratios are equal distances; 0 has none, and what is beyond an end is at it", () => {
  const ends = { vmin: 1, vmax: 256 };
  expect([1, 2, 16, 256, 1000, 0.1].map((norm) => plain(along(norm, ends)))).toEqual([0, 0.125, 0.5, 1, 1, 0]);
  expect([along(0, ends), along(NaN, ends)]).toEqual([NaN, NaN]);
});

test("every cell has the colour of its norm; those without one, and those of 0, are hatched", () => {
  const stage = show({ zero: [[3, 0]] });
  const cells = picture(sheet(stage), "fillRect").filter(({ args }) => args[2] === 43);
  expect(cells).toHaveLength(22);
  expect(cells.at(-1)).toMatchObject({ args: [36 + 5 * 44, 24, 43, 19], fillStyle: colour(255) });
  expect(cells[0]).toMatchObject({ args: [36, 84, 43, 19], fillStyle: colour(0) });
  expect(picture(sheet(stage), "rect").map(({ args }) => args)).toEqual([[80, 44, 43, 19], [36, 24, 43, 19]]);
});

test("the legend has round numbers where they lie on its colours", () => {
  const [first, marks] = show().find(".nb-legend").children;
  expect([first.textContent, ...[...marks.querySelectorAll("span")].map(({ textContent, style }) => [textContent, style.left])]).toEqual([
    "residual norm", ["1", "0px"], ["16", "100px"], ["256", "200px"]]);
});

test("the lines are those of the token with the largest norm, until another is looked at or pinned", () => {
  const stage = show();
  expect(written(stage.main())).toEqual(expect.arrayContaining(["15 “·”", "others: median, range"]));
  hover(stage.main(), cell(1, 2));
  expect(written(stage.main())).toContain("12 “</script><s…”");
  leave(stage.main());
  stage.model.receive({ position: 13 });
  expect(written(stage.main())).toContain("13 “<img·src=x·…”");
  expect(strokes(stage).slice(0, 2)).toEqual(["#59636e", "#d9480f"]);
});

test("a line goes through the rows of the cells, and is interrupted where a norm is missing", () => {
  const stage = show({}, { position: 11 });
  const calls = picture(stage.main());
  const own = calls.slice(calls.findLastIndex(({ name }) => name === "beginPath")).filter(({ name }) => ["moveTo", "lineTo"].includes(name));
  expect(own.map(({ name, args }) => [name, Math.round(args[0]), args[1]])).toEqual([
    ["moveTo", Math.round(326 + 230 / 8), 94], ["lineTo", Math.round(326 + 460 / 8), 74], ["moveTo", 326 + 115, 34]]);
});

test("a click pins a cell, a second one lets go, and the lines answer for their rows", () => {
  const stage = show();
  click(stage.main(), cell(1, 2));
  expect([pins(stage), stage.model.saves, frames(stage.main())]).toEqual([[4, 12], 1, [[36 + 88 - 0.5, 63.5, 44, 20]]]);
  hover(stage.main(), [400, 34]);
  expect(stage.read()).toBe("layer 7, 12 “</script><script>x”: 32.0, 0.500 × the median of the other tokens");
  click(stage.main(), [400, 34]);
  expect(pins(stage)).toEqual([7, 12]);
  click(stage.main(), cell(3, 2));
  expect([pins(stage), stage.model.saves]).toEqual([[null, null], 3]);
  click(stage.main(), [312, 34]); // between cells and lines
  expect(pins(stage)).toEqual([null, null]);
});

test("a row or a column can be pinned from outside, and is framed as a whole", () => {
  expect(frames(show({}, { layer: 4 }).main())).toEqual([[35.5, 63.5, 264, 20]]);
  const stage = show({}, { position: 12 });
  expect([frames(stage.main()), stage.read()]).toEqual([[[123.5, 23.5, 44, 80]], "12 “</script><script>x”"]);
  expect(show({}, { layer: 99, position: 99 }).read()).toBe("");
});

test("cells are drawn once, on a sheet of their own, which stays while the pointer moves", () => {
  const stage = show();
  const [kept, before] = [sheet(stage), drawings(sheet(stage))];
  for (const at of [cell(0, 0), cell(1, 1), cell(2, 2)]) hover(stage.main(), at);
  expect([sheet(stage) === kept, drawings(kept)]).toEqual([true, before]);
  const now = drawings(stage.main());
  hover(stage.main(), cell(2, 2).map((edge) => edge + 3));
  expect(drawings(stage.main())).toBe(now);
});

test("names of columns and rows that would touch are left out, but not that of the active cell", () => {
  const tokens = Array.from({ length: 100 }, (_, at) => `w${at}`);
  const stage = show({ tokens, missing: [] });
  const named = () => written(stage.main()).filter((text) => /^w\d+$/.test(text));
  expect(named().slice(0, 3)).toEqual(["w0", "w3", "w6"]);
  const { cell: wide } = layout({ layers: [0, 0, 0, 0], tokens });
  hover(stage.main(), [36 + 4.5 * wide, 30]);
  expect(named().slice(0, 3)).toEqual(["w0", "w4", "w9"]);
});

test("keys move and pin, and Esc lets go", () => {
  const stage = show();
  stage.main().focus();
  for (const key of ["Home", "ArrowDown", "Enter"]) press(stage.main(), key);
  expect([pins(stage), stage.read().slice(0, 21)]).toEqual([[5, 10], "layer 5, 10 “<bos>”: "]);
  press(stage.main(), "Escape");
  expect(pins(stage)).toEqual([null, null]);
});

test("where the host has less room cells and lines shrink", () => {
  const host = watching();
  const stage = show();
  const after = (room) => [host.to(room), stage.main().style.width].at(-1);
  expect([after(700), after(480), after(200)]).toEqual(["580px", "476px", "260px"]);
  expect(written(stage.main())).toContain("others");
});

test("tokens are drawn as they are and never made into markup", () => {
  const stage = show({ tokens: HOSTILE, missing: [] });
  expect(written(stage.main())).toEqual(expect.arrayContaining(["<bos>", "↵", "⇥", "𝕏"]));
  expect(smuggled()).toBe(0);
});
