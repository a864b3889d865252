import { describe, expect, test } from "vitest";
import {
  bytes, floats, follow, footer, hatch, ink, node, number, paint, put, shade, shorten, sized, theme, visible,
} from "../../nbtools/views/shared.js";
import { FORMS, HOSTILE, LUT, colour } from "./frames.js";
import { kernelModel, pageModel } from "./model.js";
import { picture, smuggled } from "./stage.js";

test("text put into a node is never markup", () => {
  document.body.append(node("p", { title: HOSTILE[3] }, ...HOSTILE));
  expect(document.querySelector("p").textContent).toBe(HOSTILE.join(""));
  expect(smuggled()).toBe(0);
});

describe.each(Object.entries(FORMS))("a %s", (_, form) => {
  test("gives its bytes and none of its neighbours", () => {
    expect([...bytes(form(Uint8Array.of(1, 2, 255)))]).toEqual([1, 2, 255]);
  });

  test("gives its floats, whatever its offset", () => {
    const values = Float32Array.of(-1.5, NaN, 0.1);
    for (const offset of [1, 2, 3, 4]) expect(floats(form(values, offset))).toEqual(values);
  });
});

test.each([
  [-10, 0], [10, 255], [0, 128], [-0.0001, 127], [-11, 0], [11, 255], [9.9, 254], [9.93, 255],
  [NaN, -1], [Infinity, -1], [-Infinity, -1],
])("the shade of %d between -10 and 10 is %d", (value, index) => expect(shade(value, -10, 10)).toBe(index));

test("a shade is painted with its own row of the colour table, and none is transparent", () => {
  expect([0, 2, 255].map((index) => paint(LUT, index))).toEqual(["rgb(0 0 0)", "rgb(2 1 0)", "rgb(255 254 253)"]);
  expect(paint(LUT, -1)).toBe("transparent");
});

test.each([
  ["#fff", [0, 0, 0]], ["#fff", [117, 117, 117]], ["#000", [118, 118, 118]], ["#000", [255, 255, 255]],
  ["#000", [255, 0, 0]], ["#000", [0, 255, 0]], ["#fff", [0, 0, 255]], ["#fff", [9, 9, 9]],
])("ink %s stands out on %j", (wanted, rgb) => expect(ink(Uint8Array.of(1, 2, 3, ...rgb), 1)).toBe(wanted));

test("where there is no colour the ink is that of the page", () => expect(ink(LUT, -1)).toBe("inherit"));

test("white space can be seen and the rest stays as it is", () => {
  expect(visible("  a\n\n\t\t\r\rb")).toBe("··a↵↵⇥⇥␍␍b");
  expect(visible("<s>&amp;𝕏ا")).toBe("<s>&amp;𝕏ا");
});

test.each([["abc", 3, "abc"], ["abcd", 3, "ab…"], ["𝕏𝕏𝕏", 3, "𝕏𝕏𝕏"], ["𝕏𝕏𝕏", 2, "𝕏…"], ["", 3, ""]])(
  "%j in %d letters is %j", (text, most, short) => expect(shorten(text, most)).toBe(short));

test.each([
  [0, "0.000"], [0.001, "0.001"], [0.00099, "9.90e-4"], [-0.5, "-0.500"], [1, "1.00"], [-9.5, "-9.50"], [10, "10.0"],
  [99.5, "99.5"], [100, "100"], [99999, "99999"], [100000, "1.00e+5"], [NaN, "undefined"], [-Infinity, "undefined"],
])("%d reads %s", (value, text) => expect(number(value)).toBe(text));

test("a canvas has the pixels of the screen and the size of the page", () => {
  globalThis.devicePixelRatio = 2;
  const canvas = node("canvas");
  sized(canvas, 30, 10.4);
  expect([canvas.width, canvas.height, canvas.style.width, canvas.style.height]).toEqual([60, 21, "30px", "10.4px"]);
  expect(canvas.getContext("2d").calls.map((call) => [call.name, call.args])).toEqual([
    ["setTransform", [2, 0, 0, 2, 0, 0]], ["clearRect", [0, 0, 30, 10.4]],
  ]);
  sized(canvas, 0, 0);
  expect([canvas.width, canvas.height]).toEqual([1, 1]);
});

test("colours come from the page's theme where it has one", () => {
  const element = document.body.appendChild(node("div", { style: "--nb-fg: #abc" }));
  expect(theme(element)).toMatchObject({ fg: "#abc", accent: "#e8590c" });
});

test("the legend runs from the least value on the left to the greatest on the right", () => {
  const { foot } = footer({ lut: FORMS.DataView(LUT), vmin: -0.12345, vmax: 2000, label: HOSTILE[3] });
  document.body.append(foot);
  const fills = picture(foot.querySelector("canvas"), "fillRect");
  expect([fills[0], fills.at(-1)].map((call) => call.fillStyle)).toEqual([colour(0), colour(253)]);
  expect([fills[0], fills.at(-1)].map((call) => call.args[0])).toEqual([0, 95]);
  expect(foot.textContent).toBe(`${HOSTILE[3]}-0.1232000`);
  expect(smuggled()).toBe(0);
});

test("hatching stays inside its box and leaves the pen as it was", () => {
  const canvas = node("canvas");
  const context = canvas.getContext("2d");
  hatch(context, 10, 20, 7, 6, "red");
  const names = context.calls.map((call) => call.name);
  expect(picture(canvas, "rect")[0].args).toEqual([10, 20, 7, 6]);
  expect(names.indexOf("clip")).toBeLessThan(names.indexOf("stroke"));
  expect(picture(canvas, "stroke")[0]).toMatchObject({ strokeStyle: "red", lineWidth: 0.7 });
  expect(context).toMatchObject({ strokeStyle: "#000", lineWidth: 1 });
});

test.each([["with a signal", true], ["without one", false]])("following draws now and at each change, %s", (_, signalled) => {
  const model = kernelModel({ one: 1, two: 2, three: 3 });
  const { signal } = signalled ? new AbortController() : {};
  let drawn = 0;
  follow(model, ["one", "two"], () => (drawn += 1), signal);
  expect(drawn).toBe(1);
  model.receive({ one: 5 });
  model.receive({ two: 5 });
  model.receive({ three: 5 });
  expect(drawn).toBe(3);
});

test("a value that is put is saved where there is a kernel", () => {
  const [kernel, page] = [kernelModel({ pin: null }), pageModel({ pin: null })];
  [kernel, page].forEach((model) => put(model, "pin", 4));
  expect([kernel.get("pin"), page.get("pin"), kernel.saves]).toEqual([4, 4, 1]);
});
