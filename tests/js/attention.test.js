import { describe, expect, test } from "vitest";
import view, { image, layout, moved, spot, strands, unpack } from "../../nbtools/views/attention/attention.js";
import { HOSTILE, LUT, attentionFrame, colour, level } from "./frames.js";
import { click, frames, hover, leave, mount, picture, press, written } from "./stage.js";

// The longest of seven hostile tokens takes 14 letters of 7 pixels.
const BOX = layout(7, 98);
const show = (options, traits) => mount(view, { _frame: attentionFrame(options), head: "4.0", query: null, ...traits });
const row = (at) => BOX.top + (at + 0.5) * BOX.cell;
const cell = (query, key) => [BOX.matrix + (key + 0.5) * BOX.cell, row(query)];
const buttons = (stage) => stage.all("[data-head]");
const matrix = (canvas) => picture(canvas, "drawImage").at(-1);
const pixels = ({ args: [bitmap] }) => picture(bitmap, "putImageData")[0].args[0];
const lines = (canvas) => picture(canvas, "lineTo").map((to, at) => [picture(canvas, "moveTo")[at].args[1], to.args[1]]);

describe("layout", () => {
  test("keys, lines, queries and matrix stand side by side", () => {
    expect(layout(4, 50)).toEqual({
      count: 4, cell: 24, named: true, label: 50, top: 53.5, lines: 54, queries: 144, matrix: 202, width: 331, height: 153.5,
    });
  });

  test.each([[1, 24, true], [18, 24, true], [40, 11, true], [41, 10, false], [220, 2, false], [900, 2, false]])(
    "%d tokens have cells of %d, named: %s", (count, size, named) => expect(layout(count, 9)).toMatchObject({ cell: size, named }));

  test("turned tokens above the matrix take no more than 106 pixels", () => expect(layout(4, 200).top).toBe(106));
});

test.each([
  [202, 53.5, { query: 0, key: 0 }], [225.9, 53.5, { query: 0, key: 0 }], [226, 53.5, { query: 0, key: 1 }],
  [202, 77.5, { query: 1, key: 0 }], [297.9, 149.4, { query: 3, key: 3 }], [298, 53.5, null], [202, 149.5, null],
  [202, 53.4, null], [201.9, 77.5, { query: 1, key: null }], [144, 77.5, { query: 1, key: null }], [143.9, 77.5, null],
  [54, 77.5, null], [53.9, 77.5, { query: null, key: 1 }], [0, 149.4, { query: null, key: 3 }], [0, 53.4, null],
])("the point %d, %d is on %j", (x, y, at) => expect(spot(layout(4, 50), x, y)).toEqual(at));

describe("unpacking", () => {
  test("causal levels get their empty half back, for each head", () => {
    const levels = Uint8Array.of(1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16);
    expect([...unpack(levels, 0, 3, true)]).toEqual([1, 0, 0, 2, 3, 0, 4, 5, 6]);
    expect([...unpack(levels, 1, 3, true)]).toEqual([11, 0, 0, 12, 13, 0, 14, 15, 16]);
  });

  test("full levels are taken as they are, for each head", () => {
    expect([...unpack(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 1, 2, false)]).toEqual([5, 6, 7, 8]);
  });
});

test("the image has the opaque colours of its levels, in reading order", () => {
  expect([...image([0, 9, 255, 2], 2, LUT)]).toEqual([0, 0, 0, 255, 9, 8, 7, 255, 255, 254, 253, 255, 2, 1, 0, 255]);
});

describe("lines", () => {
  const PATTERN = [255, 0, 0, 51, 204, 0, 10, 11, 234]; // shares 1; 0.2, 0.8; 0.039, 0.043, 0.918
  const pairs = (active, vmax = 1) => strands(PATTERN, 3, active, vmax).map(([query, key]) => `${query}${key}`);

  test.each([
    ["all queries", null, ["00", "10", "11", "22"]], ["a query", { query: 2, key: null }, ["21", "22"]],
    ["a key", { query: null, key: 0 }, ["00", "10"]], ["a cell, those of its query", { query: 1, key: 0 }, ["10", "11"]],
    ["the first query", { query: 0, key: null }, ["00"]],
  ])("those of %s are drawn where they are strong enough", (_, active, found) => expect(pairs(active)).toEqual(found));

  test("weights are shares of vmax", () => {
    expect(strands(PATTERN, 3, { query: 1, key: null }, 0.5)).toEqual([[1, 0, 0.1], [1, 1, 0.4]]);
    expect(pairs(null, 0.1)).toEqual(["00"]);
  });
});

test.each([
  ["ArrowDown", [1, 1], [2, 1]], ["ArrowUp", [1, 1], [0, 1]], ["ArrowRight", [1, 1], [1, 2]], ["ArrowLeft", [1, 1], [1, 0]],
  ["ArrowDown", [2, 2], [2, 2]], ["ArrowRight", [2, 2], [2, 2]], ["ArrowUp", [0, 0], [0, 0]], ["ArrowLeft", [0, 0], [0, 0]],
])("%s from %j leads to %j", (name, [query, key], [nextQuery, nextKey]) => {
  expect(moved(name, { query, key }, 3)).toEqual({ query: nextQuery, key: nextKey });
});

test("other keys lead nowhere", () => expect(moved("End", { query: 1, key: 1 }, 3)).toBeNull());

describe("what is drawn", () => {
  test.each([["causal", true], ["full", false]])("the matrix has a row for each query, from %s levels", (_, causal) => {
    const { width, data } = pixels(matrix(show({ causal }, { head: "5.0" }).main()));
    const reds = Array.from({ length: 49 }, (_, at) => data[4 * at]);
    expect(width).toBe(7);
    expect(reds).toEqual(Array.from({ length: 49 }, (_, at) => level(2, Math.floor(at / 7), at % 7)));
  });

  test("the matrix stands in its place, with sharp cells", () => {
    const drawn = matrix(show().main());
    expect(drawn.args.slice(1)).toEqual([BOX.matrix, BOX.top, 7 * BOX.cell, 7 * BOX.cell]);
    expect(drawn.imageSmoothingEnabled).toBe(false);
  });

  test("each token is written as key, as query and above the matrix, literally", () => {
    const texts = ["<bos>", "<s>", "</script><scr…", "<img·src=x·on…", "↵", "·", "⇥"];
    expect(written(show().main())).toEqual(texts.flatMap((text) => [text, text, text]));
  });

  test("lines run from key to query, stronger where there is more attention", () => {
    const { main } = show({ tokens: HOSTILE.slice(0, 3) }, { query: 2 });
    const box = layout(3, 98);
    const [weak, strong] = [picture(main(), "stroke")[0], picture(main(), "stroke")[2]];
    expect(picture(main(), "moveTo").map((call) => call.args)).toEqual([0, 1, 2].map((key) => [box.lines, box.top + 24 * key + 12]));
    expect(picture(main(), "lineTo").map((call) => call.args)).toEqual(Array(3).fill([box.queries, box.top + 60]));
    expect([strong.globalAlpha, strong.lineWidth]).toEqual([1, 3]);
    expect([weak.globalAlpha < 0.3, weak.lineWidth < 1]).toEqual([true, true]);
    expect(matrix(main()).globalAlpha).toBe(1);
  });

  test("all lines are drawn while nothing is on show, save those of a long prompt", () => {
    const many = (count) => picture(show({ tokens: Array(count).fill("a"), heads: ["4.0"] }).main(), "stroke").length;
    expect([many(64), many(65)]).toEqual([expect.any(Number), 0]);
    expect(many(64)).toBeGreaterThan(63);
  });

  test("the tokens of a long prompt are named only where the hand is", () => {
    const stage = show({ tokens: Array.from({ length: 50 }, (_, at) => `t${at}`), heads: ["4.0"] }, { query: 30 });
    expect(written(stage.main())).toEqual(["t30"]);
  });

  test("the pinned query has a frame around its row and its name in bold", () => {
    const { main } = show({}, { query: 4 });
    const bold = picture(main(), "fillText").filter((call) => call.font.startsWith("bold"));
    expect(frames(main())).toEqual([[BOX.matrix, BOX.top + 4 * BOX.cell, 7 * BOX.cell, BOX.cell]]);
    expect(bold.map((call) => [call.args, call.textAlign])).toEqual([[["↵", BOX.queries + 4, row(4)], "left"]]);
  });
});

describe("the read-out", () => {
  test.each([
    ["a cell", cell(4, 2), "query 4 “↵” → key 2 “</script><script>x”  0.090"],
    ["a cell above the diagonal", cell(2, 4), "query 2 “</script><script>x” → key 4 “↵”  0.000"],
    ["a query", [BOX.queries + 1, row(5)], "query 5 “·” → most to key 5 “·”  1.00"],
    ["a key", [1, row(6)], "into key 6 “⇥”"], ["the lines", [BOX.lines + 1, row(3)], ""],
  ])("names what the pointer is on: %s", (_, at, text) => {
    const stage = show();
    hover(stage.main(), at);
    expect(stage.read()).toBe(text);
  });

  test("gives attention in shares of vmax, and follows the head", () => {
    const stage = show({ vmax: 0.5 }, { query: 3 });
    expect(stage.read()).toMatch(/^query 3 .* → most to key 3 .* {2}0\.500$/);
    stage.model.receive({ head: "5.0" });
    expect(stage.read()).toMatch(/^query 3 .* → most to key 1 .* {2}0\.460$/);
  });
});

describe("heads", () => {
  test("each has a button with its pattern, the one on show is checked and in the order of Tab", () => {
    const stage = show({}, { head: "4.1" });
    expect(buttons(stage).map((button) => button.textContent)).toEqual(["4.0", "4.1", "5.0"]);
    expect(stage.all("[aria-checked=true]")).toEqual([buttons(stage)[1]]);
    expect(buttons(stage).map((button) => button.tabIndex)).toEqual([-1, 0, -1]);
    const second = pixels(picture(buttons(stage)[1].firstChild, "drawImage")[0]);
    expect(second.data[0]).toBe(level(1, 0, 0));
    expect(second).toEqual(pixels(matrix(stage.main())));
  });

  test("a click on a button shows its head and keeps the pinned query", () => {
    const stage = show({}, { query: 5 });
    buttons(stage)[2].querySelector("span").click();
    expect([stage.model.get("head"), stage.model.get("query"), stage.model.saves]).toEqual(["5.0", 5, 1]);
    expect(stage.main().getAttribute("aria-label")).toBe("attention of head 5.0 over 7 tokens");
    expect(pixels(matrix(stage.main())).data[0]).toBe(level(2, 0, 0));
  });

  test("a click between the buttons does nothing", () => {
    const stage = show();
    stage.find(".nb-heads").click();
    expect([stage.model.get("head"), stage.model.saves]).toEqual(["4.0", 0]);
  });

  test.each([["ArrowRight", "4.1"], ["ArrowDown", "4.1"], ["ArrowLeft", "5.0"], ["ArrowUp", "5.0"]])("%s leads to head %s, around the end", (key, head) => {
    const stage = show();
    expect(press(buttons(stage)[0], key).defaultPrevented).toBe(true);
    expect(stage.model.get("head")).toBe(head);
    expect(document.activeElement.dataset.head).toBe(head);
    expect(stage.heard).toEqual([]);
  });

  test("other keys on a button reach the notebook", () => {
    const stage = show();
    expect(press(buttons(stage)[0], "Escape").defaultPrevented).toBe(false);
    expect(stage.heard).toEqual(["Escape"]);
  });

  test("one head needs no button, and an unknown one gives way to the first", () => {
    expect(show({ heads: ["4.0"] }).find(".nb-heads").hidden).toBe(true);
    const stage = show({}, { head: "9.9" });
    expect(stage.find(".nb-heads").hidden).toBe(false);
    expect(stage.find("[aria-checked=true]").dataset.head).toBe("4.0");
  });
});

describe("the hand", () => {
  test("pins the query of a cell, and nothing on a key or beside the tokens", () => {
    const stage = show();
    for (const nowhere of [[1, row(3)], [BOX.lines + 1, row(3)], [BOX.width, row(3)]]) click(stage.main(), nowhere);
    expect(stage.model.saves).toBe(0);
    click(stage.main(), cell(3, 1));
    expect(stage.model.get("query")).toBe(3);
  });

  test("on a key shows the lines that lead into it", () => {
    const { main } = show();
    hover(main(), [1, row(2)]);
    expect(lines(main())).toEqual([2, 3, 4, 5, 6].map((query) => [row(2), row(query)]));
  });
});

describe("the keyboard", () => {
  test("moves a cell that is seen until the focus goes", () => {
    const stage = show();
    stage.main().focus();
    expect(stage.read()).toBe("query 0 “<bos>” → key 0 “<bos>”  1.00");
    press(stage.main(), "ArrowDown");
    press(stage.main(), "ArrowRight");
    expect(stage.read()).toBe("query 1 “<s>” → key 1 “<s>”  1.00");
    expect(frames(stage.main())).toHaveLength(2);
    stage.main().blur();
    expect([frames(stage.main()), stage.read()]).toEqual([[], ""]);
  });

  test("stays inside a shorter prompt", () => {
    const stage = show();
    for (const key of Array(6).fill("ArrowDown")) press(stage.main(), key);
    stage.model.receive({ _frame: attentionFrame({ tokens: ["a", "b"] }) });
    press(stage.main(), "Enter");
    expect(stage.model.get("query")).toBe(1);
  });
});
