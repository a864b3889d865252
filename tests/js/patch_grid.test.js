import { expect, test } from "vitest";
import view, {
  cone, layout, moved, opened, place, readout, revealed, spot, ticks, upward,
} from "../../nbtools/views/patch_grid/patch_grid.js";
import { HOSTILE, colour, patchFrame } from "./frames.js";
import { click, drag, drawings, frames, hover, leave, mount, picture, press, tap, watching, written } from "./stage.js";

// Four layers by six positions: cells of 56 by 20 pixels, after 36 on the left and 6 above; the last layer is on top.
const FREE = { layer: null, column: null, _layer: null, _position: null, _head: null };
const show = (options, traits, host) => mount(view, { _frame: patchFrame(options), title: "", ...FREE, ...traits }, host);
const corner = (layer, column) => [36 + 56 * column, 6 + 20 * (3 - layer)];
const centre = (layer, column) => [64 + 56 * column, 16 + 20 * (3 - layer)];
const ring = (layer, column) => [...corner(layer, column).map((edge) => edge - 0.5), 56, 20];
const copies = (stage) => picture(stage.main(), "drawImage");
const sheet = (stage) => copies(stage)[0].args[0];
const pins = ({ model }) => ["layer", "column", "_layer", "_position", "_head"].map((name) => model.get(name));
const numbered = (count) => ({ tokens: Array.from({ length: count }, (_, at) => `t${at}`), missing: [], open: [] });
const heads = (count = 3) => ({ kind: "head", tokens: Array.from({ length: count }, () => "") });
// What is written, where and how: [left, top, bold, colour] of each time that a text is there.
const at = (stage, text) => picture(stage.main(), "fillText").filter(({ args }) => String(args[0]) === text)
  .map(({ args, font, fillStyle }) => [...args.slice(1, 3), font.startsWith("bold"), fillStyle]);

test("columns are as wide as the view allows, and narrow until 128 positions fit; of more a window is shown", () => {
  expect(layout(patchFrame())).toEqual({
    rows: 4, count: 6, shown: 6, cell: 56, row: 20, wide: 336, right: 372, bottom: 86, flat: true, low: 103, text: 28,
    width: 376, height: 133,
  });
  const sizes = (...counts) => counts.map((count) => layout(patchFrame(numbered(count)))).map(({ shown, cell, flat }) => [shown, cell, flat]);
  expect(sizes(1, 14, 18, 19, 64, 128, 134, 135, 512)).toEqual([
    [1, 56, true], [14, 56, true], [18, 44, true], [19, 42, false], [64, 12, false], [128, 6, false], [134, 6, false],
    [134, 6, false], [134, 6, false],
  ]);
  const rooms = [0, 500, 1600].map((room) => layout(patchFrame(numbered(512)), room)).map(({ shown, cell, width }) => [shown, cell, width]);
  expect(rooms).toEqual([[20, 6, 160], [76, 6, 496], [260, 6, 1600]]);
});

test("rows are as high as the view allows, and 48 layers of 32 heads fit", () => {
  const layers = (count) => Array.from({ length: count }, (_, layer) => layer);
  const boxes = [3, 25, 30, 48, 100].map((count) => layout(patchFrame({ ...heads(32), layers: layers(count) })));
  expect(boxes.map(({ row }) => row)).toEqual([20, 20, 16, 10, 5]);
  expect([boxes[3].cell, boxes[3].width, boxes[3].height]).toEqual([25, 840, 519]);
  expect(layout(patchFrame(heads(3))).cell).toBe(28);
});

test("tokens that are written upward have the room that the longest takes, within limits", () => {
  const frame = { texts: [" John", "a".repeat(40), "\n"], others: [" Mary", "", ""] };
  expect([0, 1, 2].map((at) => upward(frame, at))).toEqual(["·Mary → ·John", `${"a".repeat(15)}…`, "↵"]);
  const narrow = (others) => layout(patchFrame({ ...numbered(40), others })).text;
  expect([narrow(Array(40).fill("")), narrow([" Anna", ...Array(39).fill("")])]).toEqual([25, 67]);
});

test("a point is on the cell whose left and upper edge it has reached, counted from the window, and beside them on none", () => {
  const box = layout(patchFrame());
  const on = (from, ...points) => points.map(([x, y]) => Object.values(spot(box, x, y, from) ?? {}).join());
  expect(on(0, [36, 6], [91.9, 25.9], [92, 6], [36, 26], [371.9, 85.9])).toEqual(["3,0", "3,0", "3,1", "2,0", "0,5"]);
  expect(on(0, [35.9, 6], [36, 5.9], [372, 6], [36, 86])).toEqual(["", "", "", ""]);
  expect(on(100, [36, 6], [92, 26])).toEqual(["3,100", "2,101"]);
});

test("arrows lead one cell on, up to later layers, Home and End to the ends, and none beyond", () => {
  const ways = ["ArrowUp", "ArrowDown", "ArrowRight", "ArrowLeft", "Home", "End"];
  const from = (layer, column) => ways.map((key) => Object.values(moved(key, { layer, column }, { rows: 4, count: 6 })).join());
  expect(from(1, 1)).toEqual(["2,1", "0,1", "1,2", "1,0", "1,0", "1,5"]);
  expect([from(0, 0), from(3, 5)]).toEqual([["1,0", "0,0", "0,1", "0,0", "0,0", "0,5"], ["3,5", "2,5", "3,5", "3,4", "3,0", "3,5"]]);
  expect(moved("PageUp", { layer: 1, column: 1 }, { rows: 4, count: 6 })).toBeNull();
});

test("the window moves as little as is needed, and not beyond the prompt", () => {
  const to = (column) => revealed({ count: 200, shown: 12 }, 100, column);
  expect([100, 111, 112, 99, 0, 199].map(to)).toEqual([100, 100, 101, 99, 0, 188]);
});

test("a cell, a row and a column have their place", () => {
  const box = layout(patchFrame());
  expect(place(box, { layer: 2, column: 1 })).toEqual([92, 26, 56, 20]);
  expect(place(box, { layer: 2, column: 9 }, 8)).toEqual([92, 26, 56, 20]);
  expect(place(box, { layer: 2, column: -1 })).toEqual([36, 26, 336, 20]);
  expect(place(box, { layer: -1, column: 1 })).toEqual([92, 6, 56, 80]);
});

test("a patch changes the layers above it, at its position and later; patched heads change all that is above", () => {
  const box = layout(patchFrame());
  expect(cone(box, { layer: 1, column: 2 }, 0, true)).toEqual([148, 6, 224, 40]);
  expect(cone(box, { layer: 1, column: 2 }, 0, false)).toEqual([36, 6, 336, 40]);
  expect(cone(box, { layer: 3, column: 5 }, 0, true)).toEqual([316, 6, 56, 0]);
  expect(cone(box, { layer: 0, column: -1 }, 0, true)).toEqual([36, 6, 336, 60]);
  const window = [1, 2, 3, 7, 8].map((column) => cone(box, { layer: 1, column }, 2, true).filter((_, at) => at % 2 === 0));
  expect(window).toEqual([[36, 336], [36, 336], [92, 280], [316, 56], [372, 0]]);
});

test("labels do not touch, and those that are wanted come first", () => {
  expect(ticks(0, 4, 20, 11, [-1])).toEqual([0, 1, 2, 3]);
  expect(ticks(0, 9, 6, 16, [])).toEqual([0, 3, 6]);
  expect(ticks(10, 9, 6, 16, [])).toEqual([12, 15, 18]);
  expect(ticks(0, 9, 6, 16, [4, 5, 8, 20])).toEqual([4, 8, 0]);
});

test("the read-out names layer, column, effect, estimate and the metric that the effect stands for", () => {
  const frame = patchFrame();
  const say = (layer, column, facts = {}) => readout({ ...frame, ...facts }, opened(frame), { layer, column });
  expect(say(3, 4)).toBe("layer 7, 14 “\n” ← “ Mary”: 0.688 (estimate 0.219), logit difference 3.50");
  expect(say(0, 1)).toBe("layer 3, 11 “<s>”: −0.125 (estimate 0.031), logit difference −3.00");
  expect(say(0, 0)).toBe("layer 3, 10 “<bos>”: 0.000 (estimate 0.000), logit difference −2.00");
  expect(say(1, 3)).toBe('layer 4, 13 “<img src=x onerror="window.hit=1">”: estimate 0.125');
  expect([say(2, 1), say(2, 1, { complete: false })].map((text) => text.split(": ")[1])).toEqual(["undefined", "not run yet"]);
  expect([say(0, 1, { base: null }), say(0, 1, { source: null })]).toEqual(Array(2).fill("layer 3, 11 “<s>”: −0.125 (estimate 0.031)"));
  expect([say(2, -1), say(-1, 1)]).toEqual(["layer 5", "11 “<s>”"]);
});

test("heads are read out by their label, and what rounds to nothing as nothing", () => {
  const frame = patchFrame({ ...heads(), guessed: false, base: null });
  const say = (layer, column) => readout(frame, opened(frame), { layer, column });
  expect([say(3, 2), say(0, 1), say(-1, 2), say(2, -1)]).toEqual(["7.2: 0.438", "3.1: −0.125", "head 2", "layer 5"]);
  const sweep = { effect: () => -3e-7, estimate: () => NaN };
  expect(readout(frame, sweep, { layer: 0, column: 0 })).toBe("3.0: 0.000");
});

test("each cell has the colour of its effect; what lies beyond the range has the last colour, and is read out", () => {
  const drawn = sheet(show());
  const fills = picture(drawn, "fillRect").map(({ args, fillStyle }) => [...args, fillStyle].join());
  const filled = (layer, column, index) => [...corner(layer, column), 55, 19, colour(index)].join();
  expect(fills).toHaveLength(23);
  expect(fills).toEqual(expect.arrayContaining([filled(0, 0, 128), filled(0, 1, 112), filled(3, 5, 24), filled(3, 4, 216)]));
  const stage = show({ vmin: -0.25, vmax: 0.25 });
  expect(picture(sheet(stage), "fillRect").map(({ args, fillStyle }) => [...args, fillStyle].join())).toContain(filled(3, 4, 255));
  hover(stage.main(), centre(3, 4));
  expect(stage.read()).toContain(": 0.688 ");
});

test("where only an estimate is known it is half as wide and high, in the middle; where nothing is known there is hatching", () => {
  const drawn = sheet(show());
  const [left, top] = corner(1, 3);
  const small = picture(drawn, "fillRect").filter(({ args }) => args[2] === 28).map(({ args, fillStyle }) => [...args, fillStyle]);
  expect(small).toEqual([[left + 14, top + 5, 28, 10, colour(144)]]);
  expect(picture(drawn, "rect").map(({ args }) => args)).toEqual([[...corner(2, 1), 55, 19]]);
  const alone = sheet(show({ guessed: false }));
  expect(picture(alone, "rect").map(({ args }) => args)).toEqual([[...corner(1, 3), 55, 19], [...corner(2, 1), 55, 19]]);
});

test("exact cells take the place of estimates as they come, and the one under the pointer stays", () => {
  const stage = show({ open: [[1, 3], [2, 3]] });
  stage.main().focus();
  hover(stage.main(), centre(1, 3));
  const [kept, button, before] = [[stage.main(), stage.find(".nb-legend"), document.activeElement], stage.all("*").length, stage.read()];
  stage.model.receive({ _frame: patchFrame({ open: [[2, 3]] }) });
  expect([before, stage.read()].map((text) => text.split(": ").at(-1))).toEqual([
    "estimate 0.125", "−0.438 (estimate 0.125), logit difference −5.50"]);
  expect(frames(stage.main()).at(-1)).toEqual(ring(1, 3));
  expect([[stage.main(), stage.find(".nb-legend"), document.activeElement], stage.all("*").length]).toEqual([kept, button]);
  expect(picture(sheet(stage), "fillRect").filter(({ args }) => args[2] === 28)).toHaveLength(1);
});

test("a frame without the cell under the pointer lets it go", () => {
  const stage = show();
  hover(stage.main(), centre(3, 5));
  stage.model.receive({ _frame: patchFrame({ layers: [3, 4] }) });
  expect([frames(stage.main()), stage.read()]).toEqual([[], ""]);
});

test("the legend says what a small square is while there is one, and what 0 and 1 are", () => {
  const stage = show();
  expect([stage.find(".nb-legend").textContent, stage.find(".nb-legend").title]).toEqual(["effect-11estimate", "0: into; 1: from"]);
  for (const options of [{ open: [] }, { guessed: false }]) {
    stage.model.receive({ _frame: patchFrame() });
    stage.model.receive({ _frame: patchFrame(options) });
    expect(stage.find(".nb-legend").textContent).toBe("effect-11");
  }
  stage.model.receive({ _frame: patchFrame({ guessed: false, vmax: 0.5 }) });
  expect(stage.find(".nb-legend").textContent).toBe("effect-10.5");
});

test("below stand numbers and tokens, and in the accent the other run's; those of the cell on show are bold", () => {
  const stage = show({}, { layer: 5, column: 15 });
  expect([at(stage, "5"), at(stage, "7")]).toEqual([[[30, 36, true, "#d9480f"]], [[30, 16, false, "#59636e"]]]);
  expect([at(stage, "15"), at(stage, "·")]).toEqual([[[344, 96, true, "#d9480f"]], [[344, 110, true, "#d9480f"]]]);
  expect([at(stage, "10"), at(stage, "<bos>")]).toEqual([[[64, 96, false, "#59636e"]], [[64, 110, false, "#1f2328"]]]);
  expect(at(stage, "↑·Mary")).toEqual([[344, 124, true, "#d9480f"], [288, 124, false, "#d9480f"]]);
  expect(written(stage.main()).filter((text) => text.startsWith("↑"))).toHaveLength(2);
});

test("tokens of narrow columns are written upward, those that differ first", () => {
  const tokens = Array.from({ length: 128 }, (_, at) => `t${at}`);
  const others = tokens.map((_, at) => (at === 31 ? "u" : ""));
  const stage = show({ ...numbered(128), others });
  const texts = written(stage.main()).filter((text) => text.includes("t"));
  expect([texts.length, texts[0], texts.includes("t30"), texts.includes("t28"), texts.includes("t33")]).toEqual([63, "u → t31", false, true, false]);
  const turned = picture(stage.main(), "rotate");
  expect([turned.length, turned[0].args]).toEqual([63, [-Math.PI / 2]]);
  expect(picture(stage.main(), "translate")[0].args).toEqual([36 + 31.5 * 6, 6 + 80 + 18]);
  expect(written(stage.main()).filter((text) => /^\d{2,3}$/.test(text)).slice(0, 3)).toEqual(["10", "15", "20"]);
});

test("columns without tokens are named by what they are", () => {
  const texts = written(show(heads()).main());
  expect(texts).toEqual(["3", "4", "5", "7", "0", "1", "2", "head"]);
});

test("names in the place of numbers stand below, and are pinned by their place", () => {
  const stage = show({ ...numbered(2), numbers: [], texts: ["S2", "END"], names: ["S2", "END"], others: [], pins: [0, 1], causal: false });
  expect(written(stage.main()).slice(4)).toEqual(["S2", "END"]);
  click(stage.main(), centre(3, 1));
  expect(pins(stage)).toEqual([7, 1, 7, null, null]);
});

test("hovering frames a cell, and leaves bright what a patch there can change, without painting the cells again", () => {
  const stage = show();
  const [before, drawn] = [sheet(stage), drawings(sheet(stage))];
  expect(copies(stage).map(({ globalAlpha }) => globalAlpha)).toEqual([1]);
  hover(stage.main(), centre(1, 2));
  expect(copies(stage).map(({ globalAlpha }) => globalAlpha)).toEqual([0.8, 1]);
  expect(picture(stage.main(), "rect").map(({ args }) => args)).toEqual([[148, 6, 224, 40], [...corner(1, 2), 56, 20]]);
  expect(picture(stage.main(), "fillRect").map(({ args, fillStyle }) => [...args, fillStyle])).toEqual([
    [147, 45, 225, 1.5, "#d9480f"], [147, 6, 1.5, 40, "#d9480f"]]);
  expect(picture(stage.main(), "strokeRect").map(({ args, strokeStyle }) => [args, strokeStyle])).toEqual([
    [ring(1, 2), "#fff"], [ring(1, 2), "#000"]]);
  leave(stage.main());
  expect([frames(stage.main()), sheet(stage) === before, drawings(sheet(stage))]).toEqual([[], true, drawn]);
});

test("a pointer that stays in its cell has nothing drawn again", () => {
  const stage = show();
  hover(stage.main(), centre(1, 2));
  const drawn = drawings(stage.main());
  hover(stage.main(), centre(1, 2).map((middle) => middle + 5));
  expect(drawings(stage.main())).toBe(drawn);
});

test("above heads every head of a later layer is bright; nothing is above the last layer", () => {
  const stage = show(heads());
  hover(stage.main(), [37, 6 + 60 + 1]);
  expect(picture(stage.main(), "rect")[0].args).toEqual([36, 6, 84, 60]);
  expect(picture(stage.main(), "fillRect").map(({ args }) => args)).toEqual([[35, 65, 85, 1.5]]);
  hover(stage.main(), [37, 7]);
  expect(picture(stage.main(), "fillRect")).toEqual([]);
});

test("a pin is framed in the accent; a row or a column where only that is pinned", () => {
  const stage = show({}, { layer: 5, column: 14 });
  expect(picture(stage.main(), "strokeRect").map(({ args, strokeStyle, lineWidth }) => [args, strokeStyle, lineWidth])).toEqual([
    [ring(2, 4), "#d9480f", 2]]);
  stage.model.receive({ column: null });
  expect([frames(stage.main()), stage.read(), copies(stage).length]).toEqual([[[35.5, 25.5, 336, 20]], "layer 5", 2]);
  stage.model.receive({ layer: null, column: 14 });
  expect([frames(stage.main()), stage.read(), copies(stage).length]).toEqual([[[259.5, 5.5, 56, 80]], "14 “\n” ← “ Mary”", 1]);
  stage.model.receive({ layer: 6, column: 99 }); // a link may pin what is not here
  expect([frames(stage.main()), stage.read()]).toEqual([[], ""]);
});

test("a click pins the cell under every name that links know, in one message; a second click and Esc release it", () => {
  const stage = show();
  click(stage.main(), centre(1, 2));
  expect([pins(stage), stage.model.saves]).toEqual([[4, 12, 4, 12, null], 1]);
  click(stage.main(), centre(1, 2));
  expect(pins(stage)).toEqual([null, null, null, null, null]);
  const other = show(heads());
  click(other.main(), [37 + 2 * 28, 7]);
  expect(pins(other)).toEqual([7, 2, null, null, "7.2"]);
  press(other.main(), "Escape");
  expect(pins(other)).toEqual([null, null, null, null, null]);
});

test("arrows begin at what is pinned, and their cell is seen while the grid has the focus", () => {
  const stage = show({}, { layer: 4, column: 11 });
  stage.main().focus();
  ["ArrowUp", "ArrowRight"].forEach((key) => press(stage.main(), key));
  expect(frames(stage.main())).toEqual([ring(1, 1), ring(2, 2), ring(2, 2)]);
  press(stage.main(), "Home");
  expect(stage.read()).toContain("layer 5, 10 ");
  stage.main().blur();
  expect([frames(stage.main()), pins(stage).slice(0, 2)]).toEqual([[ring(1, 1)], [4, 11]]);
});

test("after a click of the mouse no frame of the keyboard is seen", () => {
  const stage = show();
  tap(stage.main(), centre(1, 2));
  leave(stage.main());
  expect(frames(stage.main())).toEqual([ring(1, 2)]);
});

test("without a kernel a link that pins a layer, a position or a head pins the cell, under every name", () => {
  const page = show({}, { layer: 4, column: 11, _layer: 4, _position: 11 }, { kernel: false });
  const after = (stage, name, value) => [stage.model.set(name, value), ...pins(stage)].slice(1);
  expect(after(page, "_position", 13)).toEqual([4, 13, 4, 13, null]);
  expect(frames(page.main())).toEqual([ring(1, 3)]);
  expect(after(page, "_layer", 7)).toEqual([7, 13, 7, 13, null]);
  expect(after(page, "_position", null)).toEqual([7, null, 7, null, null]);
  const other = show(heads(), {}, { kernel: false });
  expect([after(other, "_head", "5.1"), other.read()]).toEqual([[5, 1, null, null, "5.1"], "5.1: undefined"]);
  expect(after(other, "_head", "3.2")).toEqual([3, 2, null, null, "3.2"]);
  expect(after(other, "_layer", 7)).toEqual([3, 2, null, null, "3.2"]); // a link that rests
  expect(after(other, "_head", null)).toEqual([null, null, null, null, null]);
  const neurons = show({ ...heads(), kind: "neuron", heads: false, causal: false }, {}, { kernel: false });
  expect([after(neurons, "column", 12), after(neurons, "_layer", 5)]).toEqual([[null, 12, null, null, null], [5, 12, 5, null, null]]);
});

test("a page without a kernel begins with what was pinned, also where that is a row", () => {
  const page = show(heads(), { layer: 5 }, { kernel: false });
  expect(pins(page)).toEqual([5, null, null, null, null]);
});

test("with a kernel it is Python that keeps the names of a pin alike", () => {
  const stage = show({}, { layer: 4, column: 11, _layer: 4, _position: 11 });
  stage.model.receive({ _position: 13 });
  expect([pins(stage), stage.model.saves]).toEqual([[4, 11, 4, 13, null], 0]);
});

test("a long prompt has a window that follows pin and arrows, and a slim picture of the whole that moves it", () => {
  const stage = show(numbered(500));
  const first = () => Number(written(stage.main()).find((text) => text.startsWith("t")).slice(1));
  expect(first()).toBe(366); // the end of the prompt
  stage.model.receive({ column: 110 });
  expect(at(stage, "t100")).toHaveLength(1);
  const [whole, part] = stage.find(".nb-patch-strip").children;
  expect([part.style.left, part.style.width]).toEqual(["20%", "26.8%"]);
  const pixels = picture(whole, "fillRect");
  expect([pixels.length, pixels[0].args, pixels[0].fillStyle]).toEqual([2000, [0, 27, 2.108, 9.5], colour(128)]);
  expect(picture(sheet(stage), "fillRect")).toHaveLength(4 * 134);
  press(stage.main(), "End");
  expect(first()).toBe(366);
  press(stage.main(), "Home");
  expect(at(stage, "t0")).toHaveLength(1);
  drag(whole, [0, 5], [804, 5]);
  expect(first()).toBe(366);
  drag(whole, [402, 5]);
  hover(whole, [0, 5]); // the pointer passes without a button down
  expect([first(), pins(stage).slice(0, 2)]).toEqual([184, [null, 110]]);
  expect([stage.find(".nb-patch-strip").hidden, show().find(".nb-patch-strip").hidden]).toEqual([false, true]);
});

test("more of a sweep leaves the window where the hand has moved it, and one with another pin shows that", () => {
  const stage = show({ ...numbered(500), complete: false });
  const first = () => Number(written(stage.main()).find((text) => text.startsWith("t")).slice(1));
  drag(stage.find(".nb-patch-strip").firstChild, [402, 5]);
  stage.model.receive({ _frame: patchFrame(numbered(500)) });
  expect(first()).toBe(184);
  stage.model.receive({ _frame: patchFrame({ ...numbered(500), vmax: 0.5 }), column: 20 });
  expect(first()).toBe(10);
  stage.model.receive({ _frame: patchFrame(numbered(300)) });
  expect([first(), pins(stage)[1]]).toEqual([10, 20]);
});

test("what is pinned outside the window has no frame there", () => {
  const stage = show(numbered(500), { layer: 5, column: 210 });
  expect(frames(stage.main())).toHaveLength(1);
  for (const end of [0, 804]) {
    drag(stage.find(".nb-patch-strip").firstChild, [end, 5]);
    expect(frames(stage.main())).toEqual([]);
  }
});

test("where the host has less room columns are narrower, and tokens are written upward", () => {
  const host = watching();
  const stage = show();
  const after = (room) => [host.to(room), stage.main().style.width, picture(stage.main(), "rotate").length].slice(1);
  expect([stage.main().style.width, after(240), after(1600)]).toEqual(["376px", ["238px", 6], ["376px", 0]]);
});

test("the grid tells what it is", () => {
  expect(show().main().getAttribute("aria-label")).toBe("effect: 4 layers, 6 positions");
  expect(show({ ...heads(), label: "" }).main().getAttribute("aria-label")).toBe("effect: 4 layers, 3 heads");
});

test("tokens are drawn with visible white space, and never made into markup", () => {
  const stage = show({ tokens: HOSTILE, others: HOSTILE.toReversed() });
  expect(written(stage.main())).toEqual(expect.arrayContaining(["<bos>", "</script>…", "<img·src=…", "↵", "·", "⇥", "𝕏", "↑<bos>"]));
  expect(document.querySelectorAll("script, img, s, bos, [onerror]")).toHaveLength(0);
});
