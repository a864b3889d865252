import { expect, test } from "vitest";
import view, { along, half, layout, moved, opened, readout, revealed, spot } from "../../nbtools/views/lens_grid/lens_grid.js";
import { ink } from "../../nbtools/views/shared.js";
import { FORMS, LUT, colour, halfFloats, lensFrame } from "./frames.js";
import { click, drag, drawings, frames, hover, leave, mount, picture, press, watching, written } from "./stage.js";

// Four layers by six positions: cells of 84 by 24 pixels, after 36 on the left and 20 above; the last layer is on top.
const show = (options, traits) => mount(view, { _frame: lensFrame(options), layer: null, position: null, title: "", ...traits });
const corner = (layer, position) => [36 + 84 * position, 20 + 24 * (3 - layer)];
const centre = (layer, position) => [78 + 84 * position, 32 + 24 * (3 - layer)];
const ring = (layer, position) => [...corner(layer, position).map((edge) => edge - 0.5), 84, 24];
const sheet = (stage) => picture(stage.main(), "drawImage")[0].args[0];
const cells = (drawn, wide = 83) => picture(drawn, "fillRect").filter(({ args }) => args[2] === wide);
const numbered = (count) => ({ tokens: Array.from({ length: count }, (_, at) => `t${at}`), missing: [] });
const pins = ({ model }) => [model.get("layer"), model.get("position")];

test("cells are as wide as the view allows; of more positions than fit a window is shown", () => {
  expect(layout(4, 6)).toEqual({
    rows: 4, count: 6, shown: 6, cell: 84, row: 24, wide: 504, right: 540, bottom: 116, width: 704, height: 150,
  });
  const sizes = (...counts) => counts.map((count) => layout(31, count)).map(({ shown, cell }) => [shown, cell]);
  expect(sizes(1, 8, 9, 14, 15, 512)).toEqual([[1, 84], [8, 80], [9, 71], [14, 46], [11, 58], [11, 58]]);
  expect([1, 23, 31, 80].map((rows) => layout(rows, 3).row)).toEqual([24, 24, 18, 14]);
  const rooms = [0, 500, 1600].map((room) => layout(31, 512, room)).map(({ shown, cell, width }) => [shown, cell, width]);
  expect(rooms).toEqual([[4, 57, 428], [5, 60, 500], [25, 56, 1600]]);
});

test("a point is on the cell whose left and upper edge it has reached, counted from the window, and beside them on none", () => {
  const on = (from, ...points) => points.map(([x, y]) => Object.values(spot(layout(4, 6), x, y, from) ?? {}).join());
  expect(on(0, [36, 20], [119.9, 43.9], [120, 20], [36, 44], [539.9, 115.9])).toEqual(["3,0", "3,0", "3,1", "2,0", "0,5"]);
  expect(on(0, [35.9, 20], [36, 19.9], [540, 20], [36, 116])).toEqual(["", "", "", ""]);
  expect(on(100, [36, 20], [120, 44])).toEqual(["3,100", "2,101"]);
});

test("arrows lead one cell on, up to later layers, Home and End to the ends, and none beyond", () => {
  const keys = ["ArrowUp", "ArrowDown", "ArrowRight", "ArrowLeft", "Home", "End"];
  const from = (layer, position) => keys.map((key) => Object.values(moved(key, { layer, position }, { rows: 4, count: 6 })).join());
  expect(from(1, 1)).toEqual(["2,1", "0,1", "1,2", "1,0", "1,0", "1,5"]);
  expect([from(0, 0), from(3, 5)]).toEqual([["1,0", "0,0", "0,1", "0,0", "0,0", "0,5"], ["3,5", "2,5", "3,5", "3,4", "3,0", "3,5"]]);
  expect(moved("PageUp", { layer: 1, position: 1 }, { rows: 4, count: 6 })).toBeNull();
});

test("the window moves as little as is needed, and not beyond the prompt", () => {
  const to = (position) => revealed({ count: 200, shown: 12 }, 100, position);
  expect([100, 111, 112, 99, 0, 199].map(to)).toEqual([100, 100, 101, 99, 0, 188]);
  expect(revealed({ count: 5, shown: 5 }, 100, 4)).toBe(0);
});

test("the bits of float16 give the number back", () => {
  const numbers = [0, 1, 0.5, 0.333251953125, 2 ** -14, 1.5 / 1024, NaN];
  expect([...halfFloats(numbers)].map(half)).toEqual(numbers);
  expect([1, 1023, 0x7c00].map(half)).toEqual([2 ** -24, 1023 * 2 ** -24, NaN]);
});

test("a cell has its tokens, their shares, and the path of the first of them through the layers", () => {
  const lens = opened(lensFrame());
  const cell = { layer: 1, position: 4 };
  expect([0, 1, 2].map((rank) => lens.text(cell, rank))).toEqual(["</script><script>x", " Paris", "\n"]);
  expect([0, 1].map((rank) => lens.share(cell, rank))).toEqual([10 / 32, 5 / 32]);
  expect(lens.path({ layer: 2, position: 4 })).toEqual({ text: " Paris", shares: [1, 2, 3, 4].map((n) => n / 16), ranks: [5, 2, 1, 2] });
});

test("where the token of a cell is not followed, the first that is takes its place, of that position and no other", () => {
  const path = (layer, position) => opened(lensFrame()).path({ layer, position });
  expect([path(0, 0).text, path(0, 1).text, path(1, 3).text]).toEqual(["\n", "b", "</script><script>x"]);
  expect(path(0, 1).shares).toEqual([0, 1, 2, 3].map((n) => n / 16));
});

test("more tokens and ranks than two bytes can tell apart take four", () => {
  const frame = lensFrame({ last_rank: 70000 });
  const wide = (array) => FORMS.DataView(Uint32Array.from(array));
  const texts = Array.from({ length: 70000 }, (_, at) => `t${at}`);
  const [top, followed, ranks] = [Array(72).fill(69999), Array(12).fill(69999), Array(48).fill(68000)];
  const lens = opened({ ...frame, texts, top: wide(top), followed: wide(followed), followed_rank: wide(ranks) });
  expect([lens.text({ layer: 3, position: 5 }), lens.path({ layer: 3, position: 5 }).ranks[0]]).toEqual(["t69999", 68000]);
});

test("ranks lie on their axis by their logarithm, the first at its end", () => {
  expect([1, 10, 100].map((rank) => along(rank, 100))).toEqual([1, 0.5, 0]);
  expect(along(0, 100)).toBeNaN();
});

test("the read-out names layer, position, token, probability and rank, and what is followed in its place", () => {
  const frame = lensFrame();
  const say = (layer, position) => readout(frame, opened(frame), { layer, position });
  expect(say(3, 5)).toBe("layer 7, after 15 “·”: “b” 0.438, rank 1");
  expect(say(2, 5)).toBe("layer 5, after 15 “·”: “a” 0.406, rank 1");
  expect(say(0, 4)).toBe("embedding, after 14 “↵”: “·” 0.281; “↵” 0.000, rank 10");
  expect(say(2, 1)).toBe("layer 5, after 11 “<s>”: “a” undefined, rank 1");
});

test("each cell has the colour of its probability and its token, in ink that stands out", () => {
  const drawn = sheet(show());
  expect(cells(drawn)).toHaveLength(23);
  const fill = (layer, position) => [...corner(layer, position), 83, 23, colour((1 + layer + 2 * position) * 8)].join();
  const fills = cells(drawn).map(({ args, fillStyle }) => [...args, fillStyle].join());
  expect(fills).toEqual(expect.arrayContaining([fill(0, 0), fill(3, 0), fill(0, 5), fill(3, 5), fill(1, 2)]));
  const texts = picture(drawn, "fillText").filter(({ args }) => args[3] === 79).map(({ args }) => args.slice(0, 3).join("|"));
  const text = (layer, position, token) => [token, ...centre(layer, position)].join("|");
  expect(texts).toHaveLength(23);
  expect(texts).toEqual(expect.arrayContaining([text(3, 5, "b"), text(0, 0, "·"), text(1, 4, "</script><scri…"), text(2, 0, "·Paris")]));
  const inks = picture(drawn, "fillText").filter(({ args }) => args[3] === 79).map(({ fillStyle }) => fillStyle);
  expect([inks[0], inks.at(-1)]).toEqual([ink(LUT, 8), ink(LUT, 112)]);
});

test("a cell without a probability is hatched in its place", () => {
  const hatching = picture(sheet(show()), "rect");
  expect(hatching.map(({ args }) => args)).toEqual([[...corner(2, 1), 83, 23]]);
});

test("layers stand at the left, tokens and positions below; those of the cell on show in the accent", () => {
  const stage = show({}, { layer: -1, position: 11 });
  const names = picture(stage.main(), "fillText");
  const at = (text) => names.filter(({ args }) => String(args[0]) === text).map(({ args, font, fillStyle }) => [
    ...args.slice(1, 3), font.startsWith("bold"), fillStyle]);
  expect([at("emb"), at("7")]).toEqual([[[30, 104, true, "#d9480f"]], [[30, 32, false, "#59636e"]]]);
  expect([at("<s>"), at("11")]).toEqual([[[162, 126, true, "#d9480f"]], [[162, 140, true, "#d9480f"]]]);
  expect([at("</script><scri…"), at("12")]).toEqual([[[246, 126, false, "#1f2328"]], [[246, 140, false, "#59636e"]]]);
});

test("beside the rows stand the probability and the rank of the cell's token, with a dot in its layer", () => {
  const stage = show({}, { layer: 5, position: 14 });
  const points = (...names) => picture(stage.main()).filter(({ name }) => names.includes(name)).map(({ args }) => args);
  const rows = [104, 80, 56, 32];
  const share = [1, 2, 3, 4].map((n, layer) => [554 + (n / 16) * 64, rows[layer]]);
  const rank = [5, 2, 1, 2].map((n, layer) => [632 + (1 - Math.log(n) / Math.log(100)) * 64, rows[layer]]);
  expect(points("moveTo", "lineTo")).toEqual([...share, ...rank]);
  expect(points("moveTo")).toEqual([share[0], rank[0]]);
  expect(points("arc").map(([x, y]) => [x, y])).toEqual([share[2], rank[2]]);
  expect(written(stage.main())).toContain("“·Paris”");
  expect(written(sheet(stage)).slice(-6)).toEqual(["0", "1", "1", "100", "probability", "rank"]);
});

test("where a path is undefined it has a gap", () => {
  const frame = lensFrame({ tokens: ["a"], layers: [0, 1, 2, 3], missing: [] });
  const shares = { followed_probability: FORMS.DataView(halfFloats([0.5, NaN, 0.25, 0.5])) };
  const stage = mount(view, { _frame: { ...frame, ...shares }, layer: null, position: null, title: "" });
  const lines = picture(stage.main()).filter(({ name, args }) => ["moveTo", "lineTo"].includes(name) && Number.isFinite(args[0]));
  expect(lines.slice(0, 3).map(({ name }) => name)).toEqual(["moveTo", "moveTo", "lineTo"]);
});

test("the most probable tokens of the cell are listed, underlined as far as their shares go, literally", () => {
  const stage = show({}, { layer: 4, position: 14 });
  const items = stage.all(".nb-lens-top div");
  expect(items.map(({ textContent }) => textContent)).toEqual(["</script><script>x0.313", "·Paris0.156", "↵0.104"]);
  expect(items.slice(0, 2).map(({ style }) => style.backgroundSize)).toEqual(["31.25% 2px", "15.625% 2px"]);
  hover(stage.main(), centre(2, 1));
  expect(stage.find(".nb-lens-top div").textContent).toBe("aundefined");
});

test("a pinned cell is framed; where only a position or a layer is pinned, its whole column or row", () => {
  const framed = (layer, position) => frames(show({}, { layer, position }).main());
  expect(framed(5, 12)).toEqual([ring(2, 2)]);
  expect(framed(null, 12)).toEqual([[203.5, 19.5, 84, 96]]);
  expect(framed(5, null)).toEqual([[35.5, 43.5, 504, 24]]);
  expect([framed(null, null), framed(6, null), framed(null, 9)]).toEqual([[], [], []]); // a link may pin what is not here
  expect(picture(show({}, { layer: 5 }).main(), "strokeRect")[0]).toMatchObject({ strokeStyle: "#d9480f", lineWidth: 2 });
});

test("at first the model's own answer is on show, and a pinned position shows what it answers there", () => {
  expect(show().read()).toBe("layer 7, after 15 “·”: “b” 0.438, rank 1");
  expect(show({}, { position: 10 }).read()).toBe("layer 7, after 10 “<bos>”: “↵” 0.125, rank 1");
  expect(show({}, { layer: -1 }).read()).toContain("embedding, after 15");
});

test("a click pins layer and position in one message; a click on a pinned column pins the cell in it", () => {
  const stage = show({}, { position: 12 });
  click(stage.main(), centre(3, 2));
  expect([pins(stage), stage.model.saves]).toEqual([[7, 12], 1]);
  click(stage.main(), centre(3, 2));
  expect([pins(stage), stage.model.saves]).toEqual([[null, null], 2]);
  click(stage.main(), [600, 50]);
  expect(stage.model.saves).toBe(2);
});

test("under the pointer only frames are laid on top: no cell is drawn again", () => {
  const stage = show();
  const [before, drawn] = [sheet(stage), drawings(sheet(stage))];
  hover(stage.main(), centre(1, 2));
  expect(frames(stage.main())).toEqual([ring(1, 2)]);
  leave(stage.main());
  expect([frames(stage.main()), sheet(stage) === before, drawings(sheet(stage))]).toEqual([[], true, drawn]);
});

test("Esc takes the pointer's frame away too", () => {
  const stage = show({}, { layer: 5, position: 12 });
  hover(stage.main(), centre(1, 2));
  press(stage.main(), "Escape");
  expect([frames(stage.main()), pins(stage)]).toEqual([[], [null, null]]);
});

test("when the page turns dark the cells and axes are drawn again", async () => {
  const stage = show();
  const before = drawings(sheet(stage));
  await document.body.setAttribute("class", "dark");
  expect(drawings(sheet(stage))).toBe(before + 1);
  stage.leave();
  document.body.removeAttribute("class");
});

test("arrows begin at what is pinned, and their cell is seen until the focus goes", () => {
  const stage = show({}, { layer: 4, position: 11 });
  stage.main().focus();
  ["ArrowUp", "ArrowRight"].forEach((key) => press(stage.main(), key));
  expect(frames(stage.main())).toEqual([ring(1, 1), ring(2, 2)]);
  press(stage.main(), "Home");
  expect(stage.read()).toContain("layer 5, after 10");
  stage.main().blur();
  expect([frames(stage.main()), pins(stage)]).toEqual([[ring(1, 1)], [4, 11]]);
});

test("a long prompt has a window that follows pin and arrows, and a slim picture of the whole that moves it", () => {
  const stage = show(numbered(200));
  const first = () => written(stage.main()).find((text) => text.startsWith("t"));
  expect(first()).toBe("t189"); // where the answer is
  stage.model.receive({ position: 110 });
  expect(first()).toBe("t100");
  Array(12).fill("ArrowRight").forEach((key) => press(stage.main(), key));
  expect(first()).toBe("t102");
  const [whole, part] = stage.find(".nb-lens-strip").children;
  expect([part.style.left, part.style.width]).toEqual(["51%", "5.5%"]);
  const pixels = picture(whole, "fillRect");
  expect([pixels.length, pixels[0].args, pixels[0].fillStyle]).toEqual([800, [0, 27, 3.69, 9.5], colour(8)]);
  const painted = cells(sheet(stage), 57);
  expect([painted.length, painted[0].args.slice(0, 2), painted[0].fillStyle]).toEqual([44, [36, 92], colour(255)]);
  drag(whole, [319, 5], [638, 5]);
  expect(first()).toBe("t189");
  drag(whole, [320, 5]);
  hover(whole, [0, 5]); // the pointer passes without a button down
  expect([first(), pins(stage)]).toEqual(["t95", [null, 110]]);
  expect([stage.find(".nb-lens-strip").hidden, show().find(".nb-lens-strip").hidden]).toEqual([false, true]);
});

test("what is pinned outside the window has no frame there", () => {
  const stage = show(numbered(200), { layer: 5, position: 110 });
  expect(frames(stage.main())).toHaveLength(1);
  for (const end of [0, 638]) {
    drag(stage.find(".nb-lens-strip").firstChild, [end, 5]);
    expect(frames(stage.main())).toEqual([]);
  }
});

test("a message that brings a longer prompt and a pin shows the pin, though the keyboard was elsewhere", () => {
  const stage = show(numbered(200));
  press(stage.main(), "Home");
  stage.model.receive({ position: 305, _frame: lensFrame(numbered(300)) });
  expect(written(stage.main())).toContain("t295");
});

test("where the host has more room more of a long prompt is shown, and no wider list than that", () => {
  const host = watching();
  const stage = show(numbered(200));
  const shown = () => written(stage.main()).filter((text) => text.startsWith("t")).length;
  const after = (room) => [host.to(room), shown(), stage.find(".nb-lens-top").style.maxWidth].slice(1);
  expect([shown(), after(1600), after(500)]).toEqual([11, [25, "1600px"], [5, "500px"]]);
});
