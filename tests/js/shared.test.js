import { expect, test } from "vitest";
import {
  bytes, floats, follow, ink, keyboardOn, keys, legend, node, number, paint, put, repaint, resized, shade, shorten, sized, step, theme,
  visible,
} from "../../nbtools/views/shared.js";
import { FORMS, LUT, colour } from "./frames.js";
import { kernelModel, pageModel } from "./model.js";
import { picture, press, watching } from "./stage.js";

test.each(Object.entries(FORMS))("a %s gives its numbers, whatever its offset, and none of its neighbours", (_, form) => {
  const values = Float32Array.of(-1.5, NaN, 0.1);
  for (const offset of [1, 2, 3, 4]) expect(floats(form(values, offset))).toEqual(values);
  expect([...bytes(form(Uint8Array.of(1, 2, 255)))]).toEqual([1, 2, 255]);
});

test("a value has one of 256 shades, also outside the range; what is not finite has none and is transparent", () => {
  const shades = (...values) => values.map((value) => shade(value, -10, 10));
  expect(shades(-11, -10, -0.0001, 0, 9.92, 9.93, 10, 11)).toEqual([0, 0, 127, 128, 254, 255, 255, 255]);
  expect(shades(NaN, Infinity, -Infinity)).toEqual([-1, -1, -1]);
  expect([0, 2, -1].map((index) => paint(LUT, index))).toEqual(["rgb(0 0 0)", "rgb(2 1 0)", "transparent"]);
});

test("ink is black or white, whichever stands out more; without a colour it is that of the page", () => {
  const inks = (...colours) => colours.map((rgb) => ink(Uint8Array.of(1, 2, 3, ...rgb), 1));
  expect(inks([0, 0, 0], [9, 9, 9], [117, 117, 117], [0, 0, 255])).toEqual(["#fff", "#fff", "#fff", "#fff"]);
  expect(inks([118, 118, 118], [255, 255, 255], [255, 0, 0], [0, 255, 0])).toEqual(["#000", "#000", "#000", "#000"]);
  expect(ink(LUT, -1)).toBe("inherit");
});

test("white space can be seen, and a text that is too long is cut between letters", () => {
  expect(visible("  a\n\n\t\t\r\rb<s>&amp;𝕏ا")).toBe("··a↵↵⇥⇥␍␍b<s>&amp;𝕏ا");
  expect(["", "abc", "abcd", "𝕏𝕏𝕏", "𝕏𝕏𝕏𝕏"].map((text) => shorten(text, 3))).toEqual(["", "abc", "ab…", "𝕏𝕏𝕏", "𝕏𝕏…"]);
});

test("numbers have three or four digits and a true minus sign, and what is not finite is undefined", () => {
  const texts = [0, 0.001, 0.00099, -0.5, 1, -9.5, 10, 99.5, 100, 99999, 100000, NaN, -Infinity].map(number);
  expect(texts.slice(0, 6)).toEqual(["0.000", "0.001", "9.90e−4", "−0.500", "1.00", "−9.50"]);
  expect(texts.slice(6)).toEqual(["10.0", "99.5", "100", "99999", "1.00e+5", "undefined", "undefined"]);
});

test("a canvas has the pixels of the screen and the size of the page", () => {
  globalThis.devicePixelRatio = 2;
  const canvas = node("canvas");
  const { calls } = sized(canvas, 30, 10.4);
  expect([canvas.width, canvas.height, canvas.style.width, canvas.style.height]).toEqual([60, 21, "30px", "10.4px"]);
  expect(calls.map(({ args }) => args)).toEqual([[2, 0, 0, 2, 0, 0], [0, 0, 30, 10.4]]);
  sized(canvas, 0, 0);
  expect([canvas.width, canvas.height]).toEqual([1, 1]);
});

test("colours come from the page's theme where it has one", () => {
  const element = document.body.appendChild(node("div", { style: "--nb-fg: #abc" }));
  expect(theme(element)).toMatchObject({ fg: "#abc", accent: "#d9480f" });
});

test("the legend runs from the least value on the left to the greatest on the right", () => {
  const key = legend({ lut: FORMS.DataView(LUT), vmin: -0.12345, vmax: 2000, label: "effect" });
  const fills = picture(key.querySelector("canvas"), "fillRect");
  const ends = [fills[0], fills.at(-1)].map(({ fillStyle, args }) => [fillStyle, args[0]]);
  expect(ends).toEqual([[colour(0), 0], [colour(253), 95]]);
  expect(key.textContent).toBe("effect-0.1232000");
});

test("following draws now and at each change of its traits until the view goes away", () => {
  const [model, leaving] = [kernelModel({ one: 1, two: 2, three: 3 }), new AbortController()];
  let drawn = 0;
  follow(model, ["one", "two"], () => (drawn += 1), leaving.signal);
  expect(drawn).toBe(1);
  ["one", "two", "three"].forEach((name) => model.receive({ [name]: 5 }));
  expect(drawn).toBe(3);
  leaving.abort();
  expect(model.listening()).toBe(0);
});

test("what is painted is painted again when the page turns dark or light, until the view goes away", async () => {
  const [scheme, leaving] = [new EventTarget(), new AbortController()];
  globalThis.matchMedia = () => scheme;
  let drawn = 0;
  repaint(() => (drawn += 1), leaving.signal);
  const turn = async (theme) => [scheme.dispatchEvent(new Event("change")), await document.body.setAttribute("class", theme)];
  await turn("dark");
  expect(drawn).toBe(2);
  leaving.abort();
  await turn("");
  delete globalThis.matchMedia;
  expect(drawn).toBe(2);
});

test("a value that is put is saved where there is a kernel", () => {
  const [kernel, page] = [kernelModel({ pin: null }), pageModel({ pin: null })];
  [kernel, page].forEach((model) => put(model, "pin", 4));
  expect([kernel.get("pin"), page.get("pin"), kernel.saves]).toEqual([4, 4, 1]);
});

test("arrows lead one place on or back, Home and End to the ends, and none beyond", () => {
  const from = (at) => ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "Home", "End"].map((key) => step(key, at, 4));
  expect([0, 2, 3].map(from)).toEqual([[1, 1, 0, 0, 0, 3], [3, 3, 1, 1, 0, 3], [3, 3, 2, 2, 0, 3]]);
  expect([step("Enter", 1, 4), step("a", 1, 4), step("End", 0, 1)]).toEqual([null, null, 0]);
});

const focusable = () => document.body.appendChild(node("button"));

test("a key that is used goes no further; one with Ctrl, Alt or Meta is not even shown, as it is the host's", () => {
  const [element, asked, heard] = [focusable(), [], []];
  keys(element, ({ key }) => asked.push(key) && key === "a");
  document.body.onkeydown = ({ key }) => heard.push(key);
  const prevented = ["a", "b"].map((key) => press(element, key).defaultPrevented);
  for (const held of ["ctrlKey", "altKey", "metaKey"]) press(element, "a", { [held]: true });
  document.body.onkeydown = null;
  expect([prevented, asked, heard]).toEqual([[true, false], ["a", "b"], ["b", "a", "a", "a"]]);
});

test("a focus is the keyboard's until the pointer comes down, and again once a key is pressed", () => {
  const element = focusable();
  const on = keyboardOn(element);
  const after = (use) => [use(), on()][1];
  const point = () => element.dispatchEvent(new PointerEvent("pointerdown"));
  expect([on(), after(() => element.focus()), after(point), after(() => press(element, "a"))]).toEqual([false, true, false, true]);
  expect([after(() => element.blur()), after(point), after(() => element.focus())]).toEqual([false, false, false]);
  expect([after(() => element.blur()), after(() => element.focus())]).toEqual([false, true]);
});

test("Shift alone, as for a click, and keys of the host do not bring the keyboard", () => {
  const element = focusable();
  const on = keyboardOn(element);
  element.dispatchEvent(new PointerEvent("pointerdown"));
  element.focus();
  press(element, "Shift", { shiftKey: true });
  press(element, "Enter", { ctrlKey: true });
  expect(on()).toBe(false);
  press(element, "Enter", { shiftKey: true });
  expect(on()).toBe(true);
});

test("a window that goes and comes back leaves the focus with whom it was", () => {
  const element = focusable();
  const on = keyboardOn(element);
  const back = () => ["blur", "focus"].forEach((name) => element.dispatchEvent(new FocusEvent(name))) ?? on();
  element.dispatchEvent(new PointerEvent("pointerdown"));
  element.focus();
  expect(back()).toBe(false);
  press(element, "a");
  expect(back()).toBe(true);
});

test("the width of a view is heard in whole pixels, unless it is hidden, until the view goes away", () => {
  const [watched, widths, leaving, root] = [watching(), [], new AbortController(), node("div")];
  resized(root, (width) => widths.push(width), leaving.signal);
  [0, 500.9, 700].forEach(watched.to);
  expect([widths, watched.elements]).toEqual([[500, 700], [root.lastChild]]);
  leaving.abort();
  expect(watched.elements).toEqual([]);
});
