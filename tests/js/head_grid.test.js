import { expect, test } from "vitest";
import view, { cellAt, layout, moved, picked, settled } from "../../nbtools/views/head_grid/head_grid.js";
import { colour, gridFrame, settingsFrame } from "./frames.js";
import { click, frames, hover, leave, mount, picture, press, tap, written } from "./stage.js";

// Five layers by three heads: cells of 26 pixels, after 28 on the left and 18 above.
const show = (options, selected = []) => mount(view, { _frame: gridFrame(options), selected, title: "" });
const corner = (row, column) => [28 + 26 * column, 18 + 26 * row];
const centre = (row, column) => corner(row, column).map((edge) => edge + 13);
const ring = (row, column) => [...corner(row, column).map((edge) => edge - 0.5), 26, 26];
const selected = (stage) => stage.model.get("selected");

test("cells are as large as the view allows, within limits", () => {
  expect(layout(5, 3)).toEqual({ cell: 26, rows: 5, columns: 3, width: 108, height: 150 });
  expect([[3, 5], [40, 16], [12, 40], [100, 3]].map(([rows, columns]) => layout(rows, columns).cell)).toEqual([26, 10, 14, 7]);
});

test("a point is on the cell whose left and upper edge it has reached, and beside the grid on none", () => {
  const at = (...points) => points.map(([x, y]) => Object.values(cellAt(layout(5, 3), x, y) ?? {}).join());
  expect(at([28, 18], [53.9, 43.9], [54, 18], [28, 44], [105.9, 147.9])).toEqual(["0,0", "0,0", "0,1", "1,0", "4,2"]);
  expect(at([27.9, 18], [28, 17.9], [106, 18], [28, 148])).toEqual(["", "", "", ""]);
});

test("arrows lead one cell on and stop at the edges; other keys lead nowhere", () => {
  const from = (row, column) => ["Right", "Left", "Down", "Up"].map((way) =>
    Object.values(moved(`Arrow${way}`, { row, column }, { rows: 5, columns: 3 })).join());
  expect(from(1, 1)).toEqual(["1,2", "1,0", "2,1", "0,1"]);
  expect([from(0, 0), from(4, 2)]).toEqual([["0,1", "0,0", "1,0", "0,0"], ["4,2", "4,1", "4,2", "3,2"]]);
  expect(moved("Home", { row: 1, column: 1 }, { rows: 5, columns: 3 })).toBeNull();
});

test("a click picks one head or lets it go, with Shift it adds or removes", () => {
  const after = (adding) => [[], ["4.1"], ["5.0"], ["4.1", "5.0"]].map((before) => picked(before, "4.1", adding));
  expect(after(false)).toEqual([["4.1"], [], ["4.1"], ["4.1"]]);
  expect(after(true)).toEqual([["4.1"], [], ["5.0", "4.1"], ["5.0"]]);
});

test("each head has the colour of its value, in the row of its layer and the column of its number", () => {
  const fills = picture(show().main(), "fillRect").map(({ args, fillStyle }) => [...args, fillStyle].join());
  const filled = (row, column, index) => [...corner(row, column), 25, 25, colour(index)].join();
  expect(fills).toHaveLength(14);
  expect(fills).toEqual(expect.arrayContaining([filled(0, 2, 179), filled(1, 0, 192), filled(2, 2, 205), filled(4, 1, 230)]));
});

test("a head without a value is hatched in its place and read out as undefined", () => {
  const stage = show();
  const hatching = picture(stage.main()).filter((call) => ["rect", "clip", "stroke"].includes(call.name));
  expect(hatching.map((call) => call.args)).toEqual([[...corner(2, 1), 25, 25], [], []]);
  expect([hatching[2].strokeStyle, picture(stage.main()).at(-1).lineWidth]).toEqual(["#d1d9e0", 1]);
  hover(stage.main(), centre(2, 1));
  expect(stage.read()).toBe("6.1  undefined");
});

test("rows are named by layers and columns by heads, but where cells are small not every one", () => {
  const drawn = picture(show().main(), "fillText").map((call) => call.args);
  expect(drawn).toHaveLength(8);
  expect([drawn[0], drawn[4], drawn[7]]).toEqual([[4, 23, 31], [8, 23, 135], [2, 93, 9]]);
  const layers = Array.from({ length: 40 }, (_, layer) => layer);
  expect(written(show({ layers, heads: [7] }).main()).slice(0, 3)).toEqual(["0", "2", "4"]);
});

test("picked heads are framed in the accent and read out together", () => {
  const stage = show({}, ["8.0", "4.2"]);
  expect(frames(stage.main())).toEqual([ring(4, 0), ring(0, 2)]);
  expect(picture(stage.main(), "strokeRect")[0]).toMatchObject({ strokeStyle: "#d9480f", lineWidth: 2 });
  expect(stage.read()).toBe("8.0  8.00   4.2  4.02");
  expect(stage.main().getAttribute("aria-label")).toBe("effect: 5 layers, 3 heads");
  stage.model.receive({ selected: ["9.0", "4.2", "4.7"] }); // a link may pin heads that are not here
  expect([frames(stage.main()), stage.read()]).toEqual([[ring(0, 2)], "4.2  4.02"]);
});

test("Shift adds and removes heads, by click and by key, from the head that was clicked", () => {
  const stage = show();
  click(stage.main(), centre(1, 0));
  click(stage.main(), centre(3, 2), { shiftKey: true });
  press(stage.main(), "ArrowDown");
  press(stage.main(), "Enter", { shiftKey: true });
  expect(selected(stage)).toEqual(["5.0", "7.2", "8.2"]);
  click(stage.main(), centre(1, 0), { shiftKey: true });
  expect([selected(stage), stage.model.saves]).toEqual([["7.2", "8.2"], 4]);
});

test("beside the cells nothing is picked, and the picked heads are read out", () => {
  const stage = show({}, ["5.0"]);
  hover(stage.main(), centre(4, 2));
  expect([frames(stage.main()), stage.read()]).toEqual([[ring(1, 0), ring(4, 2)], "8.2  8.02"]);
  hover(stage.main(), [27, 17]);
  click(stage.main(), [27, 17]);
  expect([frames(stage.main()), stage.read(), stage.model.saves]).toEqual([[ring(1, 0)], "5.0  5.00", 0]);
});

test("the keyboard has a frame that is seen only while the grid has the focus", () => {
  const stage = show();
  stage.main().focus();
  expect([frames(stage.main()), stage.read()]).toEqual([[ring(0, 0)], "4.0  4.00"]);
  press(stage.main(), "ArrowRight");
  expect([frames(stage.main()), stage.read()]).toEqual([[ring(0, 1)], "4.1  4.01"]);
  stage.main().blur();
  expect([frames(stage.main()), stage.read()]).toEqual([[], ""]);
});

test("once the mouse has let go, all picked heads are read out; a key brings the frame back, where the click was", () => {
  const stage = show({}, ["5.0"]);
  tap(stage.main(), centre(4, 2), { shiftKey: true });
  leave(stage.main());
  expect([frames(stage.main()), stage.read()]).toEqual([[ring(1, 0), ring(4, 2)], "5.0  5.00   8.2  8.02"]);
  press(stage.main(), "ArrowLeft");
  expect([frames(stage.main()).at(-1), stage.read()]).toEqual([ring(4, 1), "8.1  8.01"]);
});

// Two rows by three columns: cells of 44 pixels, after 68 on the left for "burstiness" and 34 above for two lines.
const settings = (options, selected = []) => mount(view, { _frame: settingsFrame(options), selected, title: "" });
const middle = (row, column) => [68 + 44 * column + 22, 34 + 44 * row + 22];
const framedCell = (row, column) => [67.5 + 44 * column, 33.5 + 44 * row, 44, 44];

test("settings have larger cells than heads, and room for their names", () => {
  expect(settled(settingsFrame())).toEqual({ margin: { left: 68, top: 34, right: 2, bottom: 2 }, most: 44, across: 380 });
  const sizes = settled({ names: ["b", "classes"], layers: ["1024", "2"] });
  expect([sizes.margin.left, layout(2, 3, sizes).width, layout(2, 20, sizes).cell, layout(20, 3, sizes).cell]).toEqual([35, 169, 19, 21]);
  expect(Object.values(cellAt(layout(2, 3, sizes), 35 + 45, 34 + 43, sizes.margin))).toEqual([0, 1]);
});

test("both settings and all their values are named, and each cell has its number on its colour", () => {
  const stage = settings();
  expect(written(stage.main())).toEqual(["4", "2", "burstiness", "0.5", "16", "1024", "classes", "0.000", "1.00", "2.00", "2.50", "3.00"]);
  const texts = picture(stage.main(), "fillText");
  expect(texts.slice(2, 4).map(({ args }) => args)).toEqual([["burstiness", 63, 25], ["0.5", 90, 25]]);
  expect(texts.slice(-1)).toMatchObject([{ args: ["3.00", ...middle(1, 2), 40], fillStyle: "#000" }]);
  expect(picture(stage.main(), "fillRect").at(-1)).toMatchObject({ args: [156, 78, 43, 43], fillStyle: colour(166) });
  expect(stage.main().getAttribute("aria-label")).toBe("accuracy: 2 of burstiness, 3 of classes");
  expect(stage.main().getAttribute("aria-roledescription")).toBe("grid of settings");
  const heads = Array.from({ length: 12 }, (_, at) => String(at));
  expect(written(settings({ heads }).main()).at(-1)).toBe("classes"); // no room for numbers
});

test("a cell of settings is read out in words, with its note", () => {
  const stage = settings({}, ["2, 1024"]);
  expect([frames(stage.main()), stage.read()]).toEqual([[framedCell(1, 2)], "burstiness 2, classes 1024: 3.00"]);
  hover(stage.main(), middle(0, 0));
  expect(stage.read()).toBe("burstiness 4, classes 0.5: 0.000 (note 0)");
  hover(stage.main(), middle(0, 1));
  expect(stage.read()).toBe("burstiness 4, classes 16: undefined");
});

test("a click or a key picks a cell of settings by the values of its row and column", () => {
  const stage = settings();
  click(stage.main(), middle(1, 0));
  expect(selected(stage)).toEqual(["2, 0.5"]);
  press(stage.main(), "ArrowRight");
  press(stage.main(), "Enter");
  expect(selected(stage)).toEqual(["2, 16"]);
  stage.model.receive({ selected: ["3, 16", "4, 16"] }); // one is not here
  expect(frames(stage.main())).toEqual([framedCell(0, 1)]);
});

test("one place may show heads, then settings", () => {
  const stage = show();
  stage.model.receive({ _frame: settingsFrame(), selected: ["4, 16"] });
  expect([frames(stage.main()), stage.find(".nb-settings") !== null]).toEqual([[framedCell(0, 1)], true]);
  stage.model.receive({ _frame: gridFrame(), selected: ["5.0"] });
  expect([frames(stage.main()), stage.find(".nb-settings")]).toEqual([[ring(1, 0)], null]);
});
