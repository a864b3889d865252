import { expect, test } from "vitest";
import view, { place, readout, rowOf } from "../../nbtools/views/bars/bars.js";
import { barsFrame } from "./frames.js";
import { click, hover, mount, press } from "./stage.js";

const show = (options, selected = null) => mount(view, { _frame: barsFrame(options), selected, title: "" });
const rows = (stage) => stage.all(".nb-row");
const texts = (stage, selector) => stage.all(selector).map((element) => element.textContent);
const css = (stage, ...names) => stage.all(".nb-fill").map(({ style }) => names.map((name) => style[name]).join(" "));
const one = (tokens, values, more) => ({ tokens, values: [values], names: [], ...more });

test("a value has its place on the axis, at the end what lies beyond", () => {
  const places = (frame, ...values) => values.map((value) => place(value, frame));
  expect(places({ vmin: 0, vmax: 2 }, -1, 0, 0.5, 2, 3)).toEqual([0, 0, 25, 100, 100]);
  expect(places({ vmin: -3, vmax: 1 }, -4, -3, 0, 1)).toEqual([0, 0, 75, 100]);
});

test("the read-out is the visible token, its numbers and how they change; what a run lacks is absent, never 0", () => {
  const read = (...runs) => readout(barsFrame({ tokens: ["\tParis"] }), runs.map((value) => Float32Array.of(value)), 0);
  expect(read(0.664, 0.0213)).toBe("“⇥Paris”  0.664 → 0.021   change −0.643");
  expect(read(-1.5, 2)).toBe("“⇥Paris”  −1.50 → 2.00   change +3.50");
  const lacking = [read(NaN, 0), read(0, NaN), read(NaN)].map((text) => text.slice("“⇥Paris”  ".length));
  expect(lacking).toEqual(["absent → 0.000", "0.000 → absent", "absent"]);
  expect(read(1.41e-4)).toBe("“⇥Paris”  1.41e−4");
});

test("a pin is found by its text, by the id that a text needs, and by an id that it does not need here", () => {
  const frame = barsFrame({ tokens: ["a", "Paris", "Paris", "b#7"], marks: ["", "#101", "#102", "#103"] });
  expect(["a", "Paris#102", "b#7#103", "a#100"].map((pin) => rowOf(frame, pin))).toEqual([0, 2, 3, 0]);
  expect([null, "Paris", "b#7", "Paris#9", "#100"].map((pin) => rowOf(frame, pin))).toEqual([-1, -1, -1, -1, -1]);
  expect(rowOf({ ...frame, ids: [], marks: ["", "", "", ""] }, "b#7")).toBe(3);
});

test("rows stand in order, literally, with white space made visible; a long token is cut", () => {
  const names = texts(show({ tokens: ["<s>", '<img src=x onerror="hit=1">', "\n ", "", "x".repeat(40)] }), ".nb-name");
  expect(names).toEqual(["<s>", '<img·src=x·onerror="hit=1">', "↵·", " ", "x".repeat(27) + "…"]);
});

test("each run has a bar from 0 to its value, with the number at its end", () => {
  const stage = show({ tokens: [" a", "b"], values: [[1, 0.5], [2, 0]], vmax: 2 });
  expect(css(stage, "left", "width")).toEqual(["0% 50%", "0% 100%", "0% 25%", "0% 0%"]);
  const classes = stage.all(".nb-row:first-child .nb-fill").map((bar) => bar.className);
  expect(classes).toEqual(["nb-fill nb-run0", "nb-fill nb-run1"]);
  expect(texts(stage, ".nb-amount")).toEqual(["1.00", "2.00", "0.500", "0.000"]);
  expect(stage.all(".nb-amount").map(({ style }) => style.left)).toEqual(["50%", "100%", "25%", "0%"]);
});

test("a negative value reaches to the left of 0, and has its number there", () => {
  const stage = show(one(["a", "b"], [-1, 0.5], { vmin: -2, vmax: 2 }));
  expect(css(stage, "left", "width")).toEqual(["25% 25%", "50% 12.5%"]);
  expect(stage.all(".nb-amount").map(({ style }) => [style.left, style.right])).toEqual([["", "75%"], ["62.5%", ""]]);
  expect([texts(stage, ".nb-amount")[0], stage.find(".nb-signed")]).toEqual(["−1.00", stage.find(".nb")]);
  stage.model.receive({ _frame: barsFrame() });
  expect(stage.find(".nb-signed")).toBe(null);
});

test("what lies beyond the axis says so, and keeps its number", () => {
  const stage = show(one(["a", "b", "c"], [3, -3, 2], { vmin: -2, vmax: 2 }));
  expect(css(stage, "width")).toEqual(["50%", "50%", "50%"]);
  expect(texts(stage, ".nb-amount")).toEqual(["» 3.00", "« −3.00", "2.00"]);
  const full = show(one(["a"], [0.6], { vmax: 0.6 })); // in four bytes it is 0.60000002
  expect(texts(full, ".nb-amount")).toEqual(["0.600"]);
});

test("a token that a run lacks has no bar there, but a note", () => {
  const stage = show({ tokens: ["a", "b"], values: [[0, NaN], [NaN, 0.5]] });
  expect(texts(stage, ".nb-lane")).toEqual(["0.000", "absent", "absent", "0.500"]);
  expect(stage.all(".nb-lane").map((lane) => lane.querySelectorAll(".nb-fill").length)).toEqual([1, 0, 0, 1]);
  expect(texts(stage, ".nb-absent")).toEqual(["absent", "absent"]);
});

test("the legend names the runs in the order of their bars; one run may have no name", () => {
  expect(texts(show({ names: ["clean", "<b>x"] }), ".nb-legend > *")).toEqual(["probability", "", "clean", "", "<b>x"]);
  expect(show().all(".nb-swatch").map((swatch) => swatch.className)).toEqual(["nb-swatch nb-run0", "nb-swatch nb-run1"]);
  expect(texts(show(one(["a"], [1])), ".nb-legend > *")).toEqual(["probability"]);
});

test("the axis has round numbers, whose lines lie behind every row, that of 0 in front", () => {
  const stage = show({ vmin: -1, vmax: 1, ticks: [-1, 0, 0.5] });
  const ticks = stage.all(".nb-axis .nb-track > span").map(({ textContent, style }) => [textContent, style.left]);
  expect(ticks).toEqual([["−1", "0%"], ["0", "50%"], ["0.5", "75%"]]);
  const lines = stage.find(".nb").style.getPropertyValue("--nb-lines").matchAll(/--nb-(\w+)\) 0 0\) (\S+)/g);
  expect([...lines].map(([, colour, left]) => [colour, left])).toEqual([["muted", "50%"], ["line", "0%"], ["line", "75%"]]);
});

test("rows can be heard: the list has a name, each row its token and what each run gives to it", () => {
  const stage = show({ tokens: [" a", "Paris"], marks: ["", "#101"], values: [[0.5, 0.25], [NaN, 0]] });
  expect(stage.find("[role=listbox]").getAttribute("aria-label")).toBe("probability");
  expect([...stage.find("[role=listbox]").children]).toEqual(stage.all("[role=option]"));
  const heard = rows(stage).map((row) => row.textContent);
  expect(heard).toEqual(["·a clean 0.500 patched absent", "Paris#101 clean 0.250 patched 0.000"]);
  expect(rows(show(one(["a"], [1], { label: "" })))[0].textContent).toBe("a  1.00");
});

test("texts that stand twice are told apart by their ids, also in what is pinned", () => {
  const stage = show({ tokens: ["Paris", "Paris"], ids: [7, 9], marks: ["#7", "#9"] });
  expect(texts(stage, ".nb-name")).toEqual(["Paris#7", "Paris#9"]);
  click(rows(stage)[1]);
  expect([stage.model.get("selected"), stage.read()]).toEqual(["Paris#9", "“Paris”#9  0.200 → absent"]);
  expect(stage.all("[aria-selected=true]")).toEqual([rows(stage)[1]]);
});

test("a pin that is not here marks nothing, and one that a link names by its id is marked and let go", () => {
  const stage = show({}, "elsewhere");
  expect([stage.all("[aria-selected=true]"), stage.read()]).toEqual([[], ""]);
  stage.model.receive({ selected: "<s>#101" });
  expect(stage.all("[aria-selected=true]")).toEqual([rows(stage)[1]]);
  click(rows(stage)[1]);
  expect(stage.model.get("selected")).toBe(null);
});

test("keys move the focus, which is read out, and Tab returns to the same row", () => {
  const stage = show();
  rows(stage)[0].focus();
  const after = (key) => press(document.activeElement, key) && stage.read().slice(0, 12);
  const reads = ["ArrowDown", "End", "Home", "ArrowRight"].map(after);
  expect(reads).toEqual(["“<s>”  0.200", "“”  1.10 → a", "“<bos>”  0.1", "“<s>”  0.200"]);
  expect(stage.all("[tabindex='0']")).toEqual([rows(stage)[1]]);
  expect([stage.heard, stage.model.saves]).toEqual([[], 0]);
});

test("beside the rows nothing is pinned, what is pinned is read out, and no key is kept from the notebook", () => {
  const stage = show({}, "<s>");
  const before = stage.read();
  hover(rows(stage)[3]);
  expect(stage.read()).not.toBe(before);
  hover(stage.find(".nb-axis"));
  stage.find(".nb-axis").click();
  press(stage.find(".nb-axis"), "ArrowDown");
  expect([stage.read(), stage.model.get("selected"), stage.heard]).toEqual([before, "<s>", ["ArrowDown"]]);
});

test("a message about the pin alone moves no row and keeps the focus", () => {
  const stage = show();
  const before = rows(stage);
  before[4].focus();
  stage.model.receive({ selected: "<s>" });
  expect([rows(stage), document.activeElement]).toEqual([before, before[4]]);
});
