import { describe, expect, test } from "vitest";
import view, { readout, step } from "../../nbtools/views/token_strip/token_strip.js";
import { HOSTILE, colour, stripFrame } from "./frames.js";
import { hover, mount, press } from "./stage.js";

const show = (options, traits) => mount(view, { _frame: stripFrame(options), selected: null, ...traits });
const chips = (stage) => stage.all(".nb-token");
const where = (stage) => chips(stage).indexOf(document.activeElement);
const css = (index) => colour(index).replaceAll(" ", ", ");

test.each([
  ["ArrowRight", 1, 2], ["ArrowDown", 1, 2], ["ArrowLeft", 1, 0], ["ArrowUp", 1, 0], ["Home", 3, 0], ["End", 0, 3],
  ["ArrowRight", 3, 3], ["ArrowLeft", 0, 0], ["Home", 0, 0], ["End", 3, 3], ["Enter", 1, null], ["a", 1, null],
])("%s from %d of 4 leads to %s", (key, at, next) => expect(step(key, at, 4)).toBe(next));

test("the read-out is position, visible token, number and detail", () => {
  const frame = stripFrame({ details: HOSTILE.map((_, position) => (position === 4 ? "p = 0.9" : "")) });
  const values = Float32Array.of(0, 1, NaN, 3, 4);
  expect(readout(frame, values, 4)).toBe("4 “↵”  4.00   p = 0.9");
  expect(readout(frame, values, 3)).toBe(`3 “${HOSTILE[3].replaceAll(" ", "·")}”  3.00`);
  expect(readout(stripFrame(), values, 2)).toBe("2 “</script><script>x”  undefined");
});

describe("what is drawn", () => {
  test("tokens stand in order, literally, with their white space made visible", () => {
    const shown = HOSTILE.with(3, '<img·src=x·onerror="window.hit=1">').with(4, "↵").with(5, "·").with(6, "⇥").with(10, " ");
    expect(chips(show()).map((chip) => chip.textContent)).toEqual(shown);
  });

  test("a line ends after each token with a newline, and only there", () => {
    const stage = show({ tokens: ["a", "\n", "b\nc", "d"], missing: [] });
    const tags = [...stage.find("[role=listbox]").childNodes].map((child) => child.localName);
    expect(tags).toEqual(["span", "span", "br", "span", "br", "span"]);
  });

  test("each token has the colour of its value, and ink that stands out on it", () => {
    const drawn = chips(show());
    expect([0, 1, 5, 10].map((at) => drawn[at].style.backgroundColor)).toEqual([0, 25, 128, 255].map(css));
    expect([0, 10].map((at) => drawn[at].style.color)).toEqual(["rgb(255, 255, 255)", "rgb(0, 0, 0)"]);
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
    const stage = show({}, { selected: 5 });
    expect(stage.all("[aria-selected=true]")).toEqual([chips(stage)[5]]);
    expect(stage.all("[aria-selected=false]")).toHaveLength(10);
    expect(stage.read()).toBe("5 “·”  0.500");
  });

  test("the list is called by its label, or else tokens", () => {
    const names = ["loss", ""].map((label) => show({ label }).find("[role=listbox]").getAttribute("aria-label"));
    expect(names).toEqual(["loss", "tokens"]);
  });
});

describe("the keyboard", () => {
  test("moves the focus, which is read out, and Tab returns to the same token", () => {
    const stage = show();
    chips(stage)[0].focus();
    press(document.activeElement, "ArrowRight");
    expect(where(stage)).toBe(1);
    expect(stage.read()).toBe("1 “<s>”  0.100");
    expect(stage.all("[tabindex='0']")).toEqual([chips(stage)[1]]);
    expect(stage.model.saves).toBe(0);
  });

  test("has Home and End, which do not scroll the notebook", () => {
    const stage = show();
    chips(stage)[4].focus();
    const found = ["End", "Home"].map((key) => [press(document.activeElement, key).defaultPrevented, where(stage)]);
    expect(found).toEqual([[true, 10], [true, 0]]);
    expect(stage.heard).toEqual([]);
  });
});

test("the gap between tokens pins nothing and keeps no key from the notebook", () => {
  const stage = show({}, { selected: 5 });
  const gap = stage.find(".nb-tokens");
  hover(gap);
  gap.click();
  press(gap, "ArrowRight");
  expect([stage.model.get("selected"), stage.read(), stage.heard]).toEqual([5, "5 “·”  0.500", ["ArrowRight"]]);
});
