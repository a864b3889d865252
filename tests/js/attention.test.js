import { expect, test } from "vitest";
import view, { layout, moved, spot, strands, unpack } from "../../nbtools/views/attention/attention.js";
import { LUT, attentionFrame, level } from "./frames.js";
import { click, frames, hover, mount, picture, press, written } from "./stage.js";

// The longest of the seven tokens takes 14 letters of 7 pixels; cells have 24.
const BOX = layout(7, 98);
const row = (at) => BOX.top + 24 * at + 12;
const cell = (query, key) => [BOX.matrix + 24 * key + 12, row(query)];
const show = (options, traits) => mount(view, { _frame: attentionFrame(options), head: "4.0", query: null, ...traits });
const buttons = (stage) => stage.all("[data-head]");
const pixels = (drawn) => [...picture(drawn.args[0], "putImageData")[0].args[0].data];
const matrix = (stage) => picture(stage.main(), "drawImage")[0];
const ends = (stage, name) => picture(stage.main(), name).map((call) => call.args);
const opaque = (index) => [...LUT.slice(3 * index, 3 * index + 3), 255];
const pattern = (head) => Array.from({ length: 49 }, (_, at) => opaque(level(head, Math.floor(at / 7), at % 7))).flat();
const numbered = (count) => ({ tokens: Array.from({ length: count }, (_, at) => `t${at}`), heads: ["4.0"] });

test("keys, lines, queries and matrix stand side by side; many tokens have small cells without names", () => {
  const places = { top: 53.5, lines: 54, queries: 144, matrix: 202, width: 331, height: 153.5 };
  expect(layout(4, 50)).toEqual({ count: 4, cell: 24, named: true, label: 50, ...places });
  expect(layout(4, 200).top).toBe(106);
  const sizes = [1, 18, 19, 40, 41, 900].map((count) => layout(count, 9)).map((box) => [box.cell, box.named]);
  expect(sizes).toEqual([[24, true], [24, true], [23, true], [11, true], [10, false], [2, false]]);
});

test("a point is on a cell, a query, a key or nothing", () => {
  const on = (...points) => points.map(([x, y]) => Object.entries(spot(layout(4, 50), x, y) ?? {}).join(" "));
  const cells = ["query,0 key,0", "query,0 key,0", "query,0 key,1", "query,1 key,0", "query,3 key,2"];
  expect(on([202, 53.5], [225.9, 77.4], [226, 53.5], [202, 77.5], [273.9, 149.4])).toEqual(cells);
  expect(on([298, 53.5], [202, 149.5], [202, 53.4], [143.9, 77.5], [54, 77.5], [0, 53.4])).toEqual(Array(6).fill(""));
  expect(on([144, 77.5], [201.9, 77.5])).toEqual(["query,1 key,", "query,1 key,"]);
  expect(on([0, 149.4], [53.9, 77.5])).toEqual(["query, key,3", "query, key,1"]);
});

test("causal levels get their empty half back, full ones are taken as they are", () => {
  const packed = Uint8Array.of(1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16);
  const causal = [0, 1].map((head) => [...unpack(packed, head, 3, true)]);
  expect(causal).toEqual([[1, 0, 0, 2, 3, 0, 4, 5, 6], [11, 0, 0, 12, 13, 0, 14, 15, 16]]);
  expect([0, 2].map((head) => [...unpack(packed, head, 2, false)])).toEqual([[1, 2, 3, 4], [13, 14, 15, 16]]);
});

test("lines are those of a query, those into a key, or all, if they are strong enough", () => {
  const shares = [255, 0, 0, 51, 204, 0, 10, 11, 234]; // 1; 0.2, 0.8; 0.039, 0.043, 0.918
  const pairs = (active, vmax = 1) => strands(shares, 3, active, vmax).map(([query, key]) => `${query}${key}`).join(" ");
  expect([pairs(null), pairs(null, 0.1)]).toEqual(["00 10 11 22", "00"]);
  expect([0, 2].map((query) => pairs({ query, key: null }))).toEqual(["00", "21 22"]);
  expect([0, 1].map((key) => pairs({ query: null, key }))).toEqual(["00 10", "11 21"]);
  expect(strands(shares, 3, { query: 1, key: 0 }, 0.5)).toEqual([[1, 0, 0.1], [1, 1, 0.4]]);
});

test("arrows lead one cell on and stop at the edges; other keys lead nowhere", () => {
  const from = (query, key) => ["Right", "Left", "Down", "Up"].map((way) =>
    Object.values(moved(`Arrow${way}`, { query, key }, 3)).join());
  expect(from(1, 1)).toEqual(["1,2", "1,0", "2,1", "0,1"]);
  expect([from(0, 0), from(2, 2)]).toEqual([["0,1", "0,0", "1,0", "0,0"], ["2,2", "2,1", "2,2", "1,2"]]);
  expect(moved("End", { query: 1, key: 1 }, 3)).toBeNull();
});

test.each([["causal", true], ["full", false]])("the matrix has a row for each query, from %s levels", (_, causal) => {
  const drawn = matrix(show({ causal }, { head: "5.0" }));
  expect(pixels(drawn)).toEqual(pattern(2));
  expect(drawn.args.slice(1)).toEqual([BOX.matrix, BOX.top, 168, 168]);
  expect([drawn.imageSmoothingEnabled, drawn.globalAlpha]).toEqual([false, 1]);
});

test("each token is written as key, as query and above the matrix, literally", () => {
  const texts = ["<bos>", "<s>", "</script><scr…", "<img·src=x·on…", "↵", "·", "⇥"];
  expect(written(show().main())).toEqual(texts.flatMap((text) => [text, text, text]));
});

test("the pinned query has its row framed, its name in bold, and lines from its keys, strong as the attention", () => {
  const stage = show({}, { query: 2 });
  const bold = picture(stage.main(), "fillText").filter((call) => call.font.startsWith("bold"));
  expect(bold.map((call) => call.args)).toEqual([["</script><scr…", BOX.queries + 4, row(2)]]);
  expect(frames(stage.main())).toEqual([[BOX.matrix, BOX.top + 48, 168, 24]]);
  const strokes = picture(stage.main(), "stroke").map((call) => [call.globalAlpha.toFixed(2), call.lineWidth.toFixed(2)]);
  expect(ends(stage, "moveTo")).toEqual([0, 1, 2].map((key) => [BOX.lines, row(key)]));
  expect(ends(stage, "lineTo")).toEqual([0, 1, 2].map(() => [BOX.queries, row(2)]));
  expect(strokes).toEqual([["0.23", "0.70"], ["0.23", "0.71"], ["1.00", "3.00"]]);
});

test("a long prompt has lines and names only where the hand is", () => {
  const [full, none] = [64, 65].map((count) => ends(show(numbered(count)), "stroke").length);
  expect([full > 64, none]).toEqual([true, 0]);
  expect(written(show(numbered(65), { query: 30 }).main())).toEqual(["t30"]);
});

test("the read-out names what the pointer is on", () => {
  const stage = show();
  const places = [cell(4, 2), cell(2, 4), [BOX.queries + 1, row(5)], [1, row(6)], [BOX.lines + 1, row(3)]];
  expect(places.map((at) => hover(stage.main(), at) ?? stage.read())).toEqual([
    "query 4 “↵” → key 2 “</script><script>x”  0.090", "query 2 “</script><script>x” → key 4 “↵”  0.000",
    "query 5 “·” → most to key 5 “·”  1.00", "into key 6 “⇥”", "",
  ]);
});

test("the read-out follows the head, and knows what a full level stands for", () => {
  const stage = show({ vmax: 0.5 }, { query: 5 });
  expect(stage.read()).toBe("query 5 “·” → most to key 5 “·”  0.500");
  stage.model.receive({ head: "5.0" });
  expect(stage.read()).toBe("query 5 “·” → most to key 1 “<s>”  0.460");
});

test("each head has a button with its pattern; the one on show is checked and in the order of Tab", () => {
  const stage = show({}, { head: "4.1" });
  expect(buttons(stage).map((button) => button.textContent)).toEqual(["4.0", "4.1", "5.0"]);
  expect(buttons(stage).map((button) => button.getAttribute("aria-checked"))).toEqual(["false", "true", "false"]);
  expect(buttons(stage).map((button) => button.tabIndex)).toEqual([-1, 0, -1]);
  expect(pixels(picture(buttons(stage)[2].firstChild, "drawImage")[0])).toEqual(pattern(2));
});

test("a click on a button shows its head and keeps the pinned query; beside the buttons it does nothing", () => {
  const stage = show({}, { query: 5 });
  stage.find(".nb-heads").click();
  expect([stage.model.get("head"), stage.model.saves]).toEqual(["4.0", 0]);
  buttons(stage)[2].lastChild.click();
  expect([stage.model.get("head"), stage.model.get("query"), stage.model.saves]).toEqual(["5.0", 5, 1]);
  expect(stage.main().getAttribute("aria-label")).toBe("attention of head 5.0 over 7 tokens");
  expect(pixels(matrix(stage))).toEqual(pattern(2));
});

test("arrows lead from button to button, around the ends; other keys reach the notebook", () => {
  const stage = show();
  buttons(stage)[0].focus();
  const heads = ["Left", "Up", "Right", "Down"].map((way) =>
    press(document.activeElement, `Arrow${way}`).defaultPrevented && document.activeElement.dataset.head);
  expect([heads, stage.model.get("head"), stage.heard]).toEqual([["5.0", "4.1", "5.0", "4.0"], "4.0", []]);
  expect([press(document.activeElement, "Escape").defaultPrevented, stage.heard]).toEqual([false, ["Escape"]]);
});

test("one head needs no button, and an unknown one gives way to the first", () => {
  expect([["4.0"], ["4.0", "4.1"]].map((heads) => show({ heads }).find(".nb-heads").hidden)).toEqual([true, false]);
  expect(show({}, { head: "9.9" }).find("[aria-checked=true]").dataset.head).toBe("4.0");
});

test("a click on a cell pins its query; on a key or beside the tokens it pins nothing", () => {
  const stage = show();
  for (const nowhere of [[1, row(3)], [BOX.lines + 1, row(3)], [BOX.width, row(3)]]) click(stage.main(), nowhere);
  expect(stage.model.saves).toBe(0);
  click(stage.main(), cell(3, 1));
  expect(stage.model.get("query")).toBe(3);
});

test("the pointer on a key shows the lines that lead into it", () => {
  const stage = show();
  hover(stage.main(), [1, row(2)]);
  expect(ends(stage, "moveTo")).toEqual([2, 3, 4, 5, 6].map(() => [BOX.lines, row(2)]));
  expect(ends(stage, "lineTo")).toEqual([2, 3, 4, 5, 6].map((query) => [BOX.queries, row(query)]));
  expect(frames(stage.main())).toEqual([[BOX.matrix + 48, BOX.top, 24, 168]]);
});

test("the keyboard has a cell that is seen until the focus goes", () => {
  const stage = show();
  stage.main().focus();
  expect(stage.read()).toBe("query 0 “<bos>” → key 0 “<bos>”  1.00");
  press(stage.main(), "ArrowDown");
  expect(stage.read()).toBe("query 1 “<s>” → key 0 “<bos>”  0.080");
  stage.main().blur();
  expect([frames(stage.main()), stage.read()]).toEqual([[], ""]);
});
