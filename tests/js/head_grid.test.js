import { describe, expect, test } from "vitest";
import view, { cellAt, layout, moved, picked } from "../../nbtools/views/head_grid/head_grid.js";
import { colour, gridFrame } from "./frames.js";
import { click, drawings, frames, hover, mount, picture, press, written } from "./stage.js";

// Five layers by three heads: cells of 26 pixels, after 28 on the left and 18 above.
const show = (options, selected = []) => mount(view, { _frame: gridFrame(options), selected });
const centre = (row, column) => [28 + 26 * column + 13, 18 + 26 * row + 13];
const corner = (row, column) => [28 + 26 * column, 18 + 26 * row];
const ring = (row, column) => [...corner(row, column).map((edge) => edge - 0.5), 26, 26];
const selected = (stage) => stage.model.get("selected");

test.each([
  [5, 3, 26, 108, 150], [3, 5, 26, 160, 98], [40, 16, 10, 190, 420], [26, 32, 16, 542, 436], [100, 3, 7, 51, 720],
])("%d layers by %d heads have cells of %d in a view of %d by %d", (rows, columns, cell, width, height) => {
  expect(layout(rows, columns)).toEqual({ rows, columns, cell, width, height });
});

test.each([
  [28, 18, { row: 0, column: 0 }], [53.9, 43.9, { row: 0, column: 0 }], [54, 18, { row: 0, column: 1 }],
  [28, 44, { row: 1, column: 0 }], [105.9, 147.9, { row: 4, column: 2 }], [27.9, 18, null], [28, 17.9, null],
  [106, 18, null], [28, 148, null],
])("the point %d, %d is on %j", (x, y, at) => expect(cellAt(layout(5, 3), x, y)).toEqual(at));

test.each([
  ["ArrowRight", [1, 1], [1, 2]], ["ArrowLeft", [1, 1], [1, 0]], ["ArrowDown", [1, 1], [2, 1]], ["ArrowUp", [1, 1], [0, 1]],
  ["ArrowRight", [1, 2], [1, 2]], ["ArrowLeft", [1, 0], [1, 0]], ["ArrowDown", [4, 1], [4, 1]], ["ArrowUp", [0, 1], [0, 1]],
])("%s from %j leads to %j", (key, [row, column], [nextRow, nextColumn]) => {
  expect(moved(key, { row, column }, { rows: 5, columns: 3 })).toEqual({ row: nextRow, column: nextColumn });
});

test("other keys lead nowhere", () => expect(moved("Home", { row: 1, column: 1 }, { rows: 5, columns: 3 })).toBeNull());

test.each([
  [[], "4.1", false, ["4.1"]], [["4.1"], "4.1", false, []], [["4.1", "5.0"], "4.1", false, ["4.1"]],
  [["5.0"], "4.1", false, ["4.1"]], [["5.0"], "4.1", true, ["5.0", "4.1"]], [["5.0", "4.1"], "5.0", true, ["4.1"]],
  [["4.1"], "4.1", true, []], [[], "4.1", true, ["4.1"]],
])("from %j, %s with Shift %s leads to %j", (before, name, adding, after) => expect(picked(before, name, adding)).toEqual(after));

describe("what is drawn", () => {
  test("each head has the colour of its value, in the row of its layer and the column of its number", () => {
    const fills = picture(show().main(), "fillRect");
    const at = (row, column) => fills.find((call) => `${call.args}` === `${[...corner(row, column), 25, 25]}`)?.fillStyle;
    expect(fills).toHaveLength(14);
    expect([at(0, 0), at(0, 2), at(1, 0), at(4, 2)]).toEqual([179, 179, 192, 230].map(colour));
  });

  test("a head without a value is hatched in its place and read out as undefined", () => {
    const stage = show();
    expect(picture(stage.main(), "rect").map((call) => call.args)).toEqual([[...corner(2, 1), 25, 25]]);
    hover(stage.main(), centre(2, 1));
    expect(stage.read()).toBe("6.1  undefined");
  });

  test("rows are named by layers and columns by heads", () => {
    const drawn = picture(show().main(), "fillText").map(({ args: [text, x, y] }) => [text, x, y]);
    expect(drawn).toContainEqual([4, 23, centre(0, 0)[1]]);
    expect(drawn).toContainEqual([8, 23, centre(4, 0)[1]]);
    expect(drawn).toContainEqual([2, centre(0, 2)[0], 9]);
    expect(drawn).toHaveLength(8);
  });

  test("where cells are small not every row is named", () => {
    const layers = Array.from({ length: 40 }, (_, layer) => layer);
    expect(written(show({ layers, heads: [7] }).main()).slice(0, 3)).toEqual(["0", "2", "4"]);
  });

  test("picked heads are framed in the accent and read out together", () => {
    const stage = show({}, ["8.0", "4.2"]);
    expect(frames(stage.main())).toEqual([ring(4, 0), ring(0, 2)]);
    expect(picture(stage.main(), "strokeRect")[0]).toMatchObject({ strokeStyle: "#e8590c", lineWidth: 2 });
    expect(stage.read()).toBe("8.0  8.00   4.2  4.02");
  });

  test("the canvas says what it holds", () => {
    const names = ["effect", ""].map((label) => show({ label }).main().getAttribute("aria-label"));
    expect(names).toEqual(["effect: 5 layers, 3 heads", "values: 5 layers, 3 heads"]);
  });
});

describe("the hand", () => {
  test("adds and removes heads with Shift", () => {
    const stage = show();
    click(stage.main(), centre(1, 0));
    click(stage.main(), centre(4, 2), { shiftKey: true });
    expect(selected(stage)).toEqual(["5.0", "8.2"]);
    click(stage.main(), centre(1, 0), { shiftKey: true });
    expect([selected(stage), stage.model.saves]).toEqual([["8.2"], 3]);
  });

  test("picks nothing beside the cells, and there reads out the picked ones", () => {
    const stage = show({}, ["5.0"]);
    hover(stage.main(), centre(4, 2));
    expect([frames(stage.main()), stage.read()]).toEqual([[ring(1, 0), ring(4, 2)], "8.2  8.02"]);
    hover(stage.main(), [27, 17]);
    click(stage.main(), [27, 17]);
    expect([frames(stage.main()), stage.read(), stage.model.saves]).toEqual([[ring(1, 0)], "5.0  5.00", 0]);
  });
});

describe("the keyboard", () => {
  test("moves a frame that is seen only while the grid has the focus", () => {
    const stage = show();
    stage.main().focus();
    press(stage.main(), "ArrowRight");
    expect([frames(stage.main()), stage.read()]).toEqual([[ring(0, 1)], "4.1  4.01"]);
    stage.main().blur();
    expect([frames(stage.main()), stage.read()]).toEqual([[], ""]);
  });

  test("goes on from the clicked head, and adds with Shift", () => {
    const stage = show();
    click(stage.main(), centre(3, 1));
    press(stage.main(), "ArrowDown");
    press(stage.main(), "Enter", { shiftKey: true });
    expect(selected(stage)).toEqual(["7.1", "8.1"]);
  });

  test("stays inside a smaller grid", () => {
    const stage = show();
    click(stage.main(), centre(4, 2));
    stage.model.receive({ _frame: gridFrame({ layers: [8, 9], heads: [2] }) });
    press(stage.main(), "Enter");
    expect(selected(stage)).toEqual(["9.2"]);
  });
});

test("a key that is not the grid's draws nothing", () => {
  const stage = show();
  const before = drawings(stage.main());
  press(stage.main(), "a");
  expect(drawings(stage.main())).toBe(before);
});
