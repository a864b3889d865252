import { afterEach, expect, test } from "vitest";
import { contour, drawnSteps, logNumbers, roundNumbers } from "../../nbtools/views/three_logits/frames.js";
import { CURVES, fitted, trained } from "../../nbtools/views/three_logits/model.js";
import view from "../../nbtools/views/three_logits/three_logits.js";
import { HOSTILE, LUT } from "./frames.js";
import { click, drawings, mount, press, smuggled } from "./stage.js";

// That its numbers are Python's is held by tests/unit/test_three_logits_page.py; here is what it does with a hand.
const USUAL = { pairs: 8, labels: 32, burstiness: 1, beta: 0, alpha: 0, xi: 0, lr: 0.05, steps: 1500 };
const notes = Object.fromEntries(CURVES.map((name) => [name, `what ${name} is`]));
const STATE = { ...USUAL, step: 993, plane: "xi, alpha", scale: "linear", error: "", title: "", _frame: { lut: LUT, notes } };
const show = (more = {}, options = {}) => mount(view, { ...STATE, ...more }, options);
const frame = () => new Promise((done) => requestAnimationFrame(() => done()));
const NAMES = ["pairs N", "labels L", "burstiness", "start beta", "start alpha", "start xi", "learning rate", "steps"];
const dial = (stage, name) => stage.all(".nb-dial")[NAMES.indexOf(name)];
const input = (stage, name) => dial(stage, name).querySelector("input");
const shown = (stage) => stage.all(".nb-dial output").map((output) => output.textContent);
const said = (stage) => stage.find(".nb-says-run").textContent;
const [hills, curves] = [(stage) => stage.find(".nb-landscape"), (stage) => stage.find(".nb-scrubber")];
const canvas = (part) => part.querySelector("canvas[role=application]");
const redrawn = (stage) => [hills, curves].map((part) => drawings(canvas(part(stage))));
const heading = (stage) => hills(stage).querySelector(".nb-title").textContent;
const state = (stage) => Object.fromEntries([...Object.keys(USUAL), "step", "plane", "scale", "error"].map((name) => [name, stage.model.get(name)]));

async function slide(stage, name, by) {
  input(stage, name).value = Number(input(stage, name).value) + by;
  input(stage, name).dispatchEvent(new Event("input", { bubbles: true }));
  await frame();
}

async function choose(stage, at, value) {
  const select = stage.all("select")[at];
  select.value = value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  await frame();
}

afterEach(frame); // what was asked for is drawn before the canvas goes

test("it begins with the training that is given", () => {
  const stage = show();
  expect(shown(stage)).toEqual(["8", "32", "1", "0", "0", "0", "0.05", "1,500"]);
  expect(said(stage)).toBe("P passes 0.5 at step 993; plateau: still 0.056 at step 893 (a guess among the 8 classes of the context: 0.125)");
  expect([heading(stage), curves(stage).querySelector("output").textContent]).toEqual(["loss with beta held at 3.17, as at step 993", "993"]);
  expect(stage.all("select").map(({ value }) => value)).toEqual(["xi, alpha", "linear"]);
  expect(stage.model.saves).toBe(0);
});

test.each([true, false])("a slider that moves trains, draws both pictures once and tells Python (kernel: %s)", async (kernel) => {
  const stage = show({}, { kernel });
  await frame();
  const before = redrawn(stage);
  await slide(stage, "pairs N", -4);
  expect(state(stage)).toEqual({ ...state(show()), pairs: 4 });
  expect([said(stage).slice(0, 26), shown(stage)[0]]).toEqual(["P passes 0.5 at step 403; ", "4"]);
  expect(redrawn(stage)).toEqual(before.map((count) => count + 1));
  if (kernel) expect(stage.model.saves).toBe(1);
});

test("however many moves come before a frame of the screen, it draws once", async () => {
  const stage = show();
  await frame();
  const before = redrawn(stage);
  for (const by of [1, 1, 1]) slide(stage, "start xi", by);
  await frame();
  expect([stage.model.get("xi"), shown(stage)[5], redrawn(stage)]).toEqual([0.15, "0.15", before.map((count) => count + 1)]);
});

test("what Python sets is shown, and not sent back", async () => {
  const stage = show();
  stage.model.receive({ lr: 0.033, xi: -1.5, labels: 1000, steps: 700, step: 700 });
  await frame();
  expect(shown(stage)).toEqual(["8", "1,000", "1", "0", "0", "−1.5", "0.033", "700"]);
  expect([stage.model.saves, heading(stage).slice(-14)]).toEqual([0, "as at step 700"]);
  await slide(stage, "labels L", -1);
  expect(stage.model.get("labels")).toBe(128); // the next of the round numbers; 1000 is no longer offered
  expect(input(stage, "labels L").max).toBe("126");
});

test("what does not fit is said, and the slider is put back", async () => {
  const stage = show({ labels: 10 });
  await slide(stage, "pairs N", 4);
  expect(said(stage)).toBe("⚠ expected as many labels as classes or more, got 12 classes and 10 labels");
  expect([stage.model.get("error"), stage.model.get("pairs"), shown(stage)[0], input(stage, "pairs N").value]).toEqual([said(stage).slice(2), 8, "8", "6"]);
  await slide(stage, "pairs N", 1);
  expect([stage.model.get("error"), stage.model.get("pairs"), said(stage)[0]]).toEqual(["", 9, "P"]);
});

test("an error of Python's is said until something fits", async () => {
  const stage = show();
  stage.model.receive({ error: HOSTILE[3] });
  await frame();
  expect([said(stage), smuggled()]).toEqual([`⚠ ${HOSTILE[3]}`, 0]);
  await slide(stage, "start beta", 1);
  expect([stage.model.get("error"), said(stage)[0]]).toEqual(["", "P"]);
});

test("burstiness is one that divides, and comes back when it can", async () => {
  const stage = show();
  const now = () => [stage.model.get("burstiness"), shown(stage)[2], input(stage, "burstiness").max, input(stage, "burstiness").disabled];
  await slide(stage, "burstiness", 2);
  expect(now()).toEqual([4, "4", "2", false]);
  const found = [];
  for (const by of [1, 2, 1]) {
    await slide(stage, "pairs N", by);
    found.push(now());
  }
  expect(found).toEqual([[3, "3", "1", false], [1, "1", "0", true], [4, "4", "4", false]]);
  stage.model.receive({ burstiness: 1 }); // another wish, of Python's
  await frame();
  await slide(stage, "pairs N", -4);
  expect(now()).toEqual([1, "1", "2", false]);
});

test("messages of Python's that come one after the other are put together", async () => {
  const stage = show({ burstiness: 4 });
  stage.model.receive({ pairs: 9 });
  await frame();
  expect([shown(stage).slice(0, 3), stage.model.saves]).toEqual([["9", "32", "3"], 0]);
  stage.model.receive({ burstiness: 3 });
  await frame();
  await slide(stage, "pairs N", -1);
  expect(shown(stage).slice(0, 3)).toEqual(["8", "32", "4"]);
});

test("both pictures are at one step, and the landscape follows it", async () => {
  const stage = show();
  press(canvas(hills(stage)), "End");
  press(canvas(hills(stage)), "Enter");
  await frame();
  expect([stage.model.get("step"), curves(stage).querySelector("output").textContent]).toEqual([1500, "1,500"]);
  expect(heading(stage)).toMatch(/^loss with beta held at 4\.\d\d, as at step 1,500$/);
  const slider = curves(stage).querySelector("input");
  press(slider, "Home");
  await frame();
  expect([stage.model.get("step"), heading(stage)]).toEqual([0, "loss with beta held at 0.000, as at step 0"]);
  stage.model.receive({ step: 321 }); // one that was not drawn
  await frame();
  expect([curves(stage).querySelector("output").textContent, heading(stage).slice(-3)]).toEqual(["321", "321"]);
  await slide(stage, "steps", -2);
  expect([stage.model.get("steps"), stage.model.get("step")]).toEqual([500, 321]);
});

test("fewer steps than the one on show end with that", async () => {
  const stage = show();
  await slide(stage, "steps", -2);
  expect([stage.model.get("steps"), stage.model.get("step"), stage.model.saves]).toEqual([500, 500, 1]);
  const python = show();
  python.model.receive({ steps: 400 });
  await frame();
  expect(curves(python).querySelector("output").textContent).toBe("400");
});

test("a menu changes its own picture alone", async () => {
  const stage = show();
  await frame();
  const [before, at] = [redrawn(stage), curves(stage).querySelector("canvas").getAttribute("aria-label")];
  await choose(stage, 0, "alpha, beta");
  expect([stage.model.get("plane"), heading(stage).slice(0, 17)]).toEqual(["alpha, beta", "loss with xi held"]);
  expect(redrawn(stage)).toEqual([before[0] + 1, before[1]]);
  await choose(stage, 1, "log");
  expect([stage.model.get("scale"), redrawn(stage)]).toEqual(["log", [before[0] + 1, before[1] + 1]]);
  expect(curves(stage).querySelector("canvas").getAttribute("aria-label")).toBe(at);
});

test("its sliders and menus have names, and say what they are at", () => {
  const stage = show();
  expect(stage.all(".nb-dial label").map((label) => label.textContent)).toEqual(NAMES);
  expect(stage.all(".nb-dial label").every((label) => label.control.type === "range")).toBe(true);
  expect(stage.all(".nb-menu").map((label) => [label.firstChild.textContent, label.control.tagName])).toEqual([["landscape", "SELECT"], ["step axis", "SELECT"]]);
  expect(input(stage, "steps").getAttribute("aria-valuetext")).toBe("1,500");
  expect(stage.find("[role=status]").textContent).toBe(said(stage));
});

test("keys that move a slider do not reach the notebook, and are the browser's own; all others do", () => {
  const stage = show();
  const prevented = ["ArrowLeft", "Home", "PageUp"].map((key) => press(input(stage, "pairs N"), key).defaultPrevented);
  press(stage.find("select"), "ArrowDown");
  expect([prevented, stage.heard]).toEqual([[false, false, false], []]);
  press(input(stage, "pairs N"), "a");
  press(input(stage, "pairs N"), "Enter", { ctrlKey: true });
  expect(stage.heard).toEqual(["a", "Enter"]);
});

test("a title stands above it", () => {
  const stage = show({ title: HOSTILE[2] });
  expect([stage.find(".nb-three").firstChild.textContent, smuggled()]).toEqual([HOSTILE[2], 0]);
});

test("a view that is gone hears nothing and changes nothing", async () => {
  const stage = show();
  await slide(stage, "pairs N", 1);
  stage.leave();
  const before = [redrawn(stage), shown(stage), stage.model.saves];
  expect(stage.model.listening()).toBe(0);
  stage.model.receive({ pairs: 4 });
  await slide(stage, "labels L", 3);
  press(canvas(hills(stage)), "Enter");
  click(canvas(curves(stage)), [60, 80]);
  expect([redrawn(stage), shown(stage), stage.model.saves]).toEqual(before);
});

test("marks on axes are round, and two at least", () => {
  expect([roundNumbers(-1, 2, 4), roundNumbers(0, 1, 3), roundNumbers(-0.5, 6.3, 6)]).toEqual([[-1, 0, 1, 2], [0, 0.5, 1], [0, 2, 4, 6]]);
  expect([logNumbers(0.2, 200, 5), logNumbers(1, 10, 5)]).toEqual([[1, 10, 100], [1, 2, 5, 10]]);
});

test("lines of one value are closed where they return, and saddles keep theirs apart", () => {
  const hill = [0, 0, 0, 0, 2, 0, 0, 0, 0]; // one top in the middle of nine
  const [ring, ...more] = contour(hill, 1, 3);
  expect([ring.length, ring[0], more.length]).toEqual([5, ring[4], 0]);
  expect(ring.every(([x, y]) => Math.abs(x - 0.5) + Math.abs(y - 0.5) === 0.25)).toBe(true);
  expect([contour([1, 0, 0, 1], 0.4, 2), contour([1, 0, 0, 1], 0.6, 2)].map((lines) => lines.map((line) => line.length))).toEqual([[2, 2], [2, 2]]);
  expect(contour([0, 0, 1, 1], 0.25, 2)[0].toSorted()).toEqual([[0, 0.25], [1, 0.25]]);
});

test("few steps are all drawn, and of many those that tell", () => {
  const drawn = (steps, keep) => [...drawnSteps(trained({ ...USUAL, steps }), keep)];
  expect(drawn(3, 2)).toEqual([0, 1, 2, 3]);
  expect([drawn(6000, 17).length <= 400, drawn(6000, 17).includes(17), drawn(6000, 17).at(-1)]).toEqual([true, true, 6000]);
  expect(fitted({ ...USUAL, pairs: 12 }, 5).burstiness).toBe(4);
});
