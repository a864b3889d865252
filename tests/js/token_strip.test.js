import { expect, test } from "vitest";
import view, { readout } from "../../nbtools/views/token_strip/token_strip.js";
import { HOSTILE, colour, stripFrame } from "./frames.js";
import { hover, mount, press } from "./stage.js";

const show = (options, selected = null) => mount(view, { _frame: stripFrame(options), selected, title: "" });
const chips = (stage) => stage.all(".nb-token");
const css = (index) => colour(index).replaceAll(" ", ", ");

test("the read-out is position, visible token, number and detail", () => {
  const frame = stripFrame({ details: ["", "", "", "", "p = 0.9"] });
  const texts = [2, 3, 4].map((position) => readout(frame, Float32Array.of(0, 1, NaN, 3, 4), position));
  expect(texts.slice(0, 2)).toEqual(["2 “</script><script>x”  undefined", '3 “<img·src=x·onerror="window.hit=1">”  3.00']);
  expect(texts[2]).toBe("4 “↵”  4.00   p = 0.9");
});

test("tokens stand in order, literally, with their white space made visible", () => {
  const texts = chips(show()).map((chip) => chip.textContent);
  expect(texts.slice(0, 4)).toEqual(["<bos>", "<s>", "</script><script>x", '<img·src=x·onerror="window.hit=1">']);
  expect(texts.slice(4)).toEqual(["↵", "·", "⇥", "𝕏", "ا", "\\xe6", " "]);
});

test("a line ends after each token with a newline, and only there", () => {
  const stage = show({ tokens: ["a", "\n", "b\nc", "d"], label: "" });
  const tags = [...stage.find("[role=listbox]").childNodes].map((child) => child.localName);
  expect(tags).toEqual(["span", "span", "br", "span", "br", "span"]);
  expect(stage.find("[role=listbox]").getAttribute("aria-label")).toBe("tokens");
});

test("each token has the colour of its value, and ink that stands out on it", () => {
  const styles = [0, 1, 5, 10].map((position) => chips(show())[position].style);
  expect(styles.map((style) => style.backgroundColor)).toEqual([0, 25, 128, 255].map(css));
  expect([styles[0].color, styles[3].color]).toEqual(["rgb(255, 255, 255)", "rgb(0, 0, 0)"]);
});

test("a token without a value is hatched, colourless, and read out as undefined", () => {
  const stage = show();
  expect(stage.all(".nb-undefined")).toEqual([chips(stage)[2]]);
  expect(chips(stage)[2].style.background).toBe("");
  expect(chips(stage)[2].getAttribute("aria-label")).toBe("2: </script><script>x, undefined");
  hover(chips(stage)[2]);
  expect(stage.read()).toBe("2 “</script><script>x”  undefined");
});

test("the pinned token alone is marked, and read out", () => {
  const stage = show({}, 5);
  expect(stage.all("[aria-selected=true]")).toEqual([chips(stage)[5]]);
  expect(stage.all("[aria-selected=false]")).toHaveLength(10);
  expect(stage.read()).toBe("5 “·”  0.500");
});

test("keys move the focus, which is read out, and Tab returns to the same token", () => {
  const stage = show();
  chips(stage)[0].focus();
  const reads = ["ArrowRight", "End", "Home", "ArrowRight"].map((key) => press(document.activeElement, key) && stage.read());
  expect(reads).toEqual(["1 “<s>”  0.100", "10 “”  1.00", "0 “<bos>”  0.000", "1 “<s>”  0.100"]);
  expect(stage.all("[tabindex='0']")).toEqual([chips(stage)[1]]);
  expect([stage.heard, stage.model.saves]).toEqual([[], 0]);
});

test("the gap between tokens pins nothing and keeps no key from the notebook", () => {
  const stage = show({}, 5);
  hover(stage.find(".nb-tokens"));
  stage.find(".nb-tokens").click();
  press(stage.find(".nb-tokens"), "ArrowRight");
  expect([stage.model.get("selected"), stage.read(), stage.heard]).toEqual([5, "5 “·”  0.500", ["ArrowRight"]]);
});
