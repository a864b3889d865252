import { expect, test } from "vitest";
import view, { layout, led, nearest, opened, pixel, readout, spot } from "../../nbtools/views/landscape/landscape.js";
import { FORMS, HOSTILE, colour, landscapeFrame } from "./frames.js";
import { click, drawings, hover, leave, mount, picture, press, smuggled, watching, written } from "./stage.js";

// The plot lies from 44 to 464 across and from 24 to 360 down; the path goes from its lower left to 4/9 across and 2/3 up.
const show = (options, step = 400, host = {}) => mount(view, { _frame: landscapeFrame(options), title: "", step }, host);
const box = layout();
const way = opened(landscapeFrame()).way;
const on = (step) => pixel(box, way[step]);
const sheet = (stage) => picture(stage.main(), "drawImage")[0].args[0];
const bitmap = (stage) => picture(sheet(stage), "drawImage")[0];
const discs = (stage) => picture(stage.main(), "arc").map(({ args }) => args.slice(0, 2).map(Math.round));
const near = (values) => values.map((value) => Number(value.toFixed(4)));

test("the plot is as wide as the host allows, up to a width", () => {
  expect(box).toEqual({ left: 44, top: 24, wide: 420, tall: 336, right: 464, bottom: 360, width: 478, height: 398 });
  expect([478, 400, 320, 100].map((room) => [layout(room).wide, layout(room).tall])).toEqual([[420, 336], [342, 274], [262, 210], [150, 120]]);
});

test("a value lies between those of the four nearest points, and is not known outside or beside what is not known", () => {
  const { value, at, rows, known } = opened(landscapeFrame());
  expect([rows, known, at([0.5, 1])]).toEqual([3, true, [3, 2]]);
  expect(near([[0, 0], [1, 1], [0.5, 0.25], [1 / 6, 0.5]].map(value))).toEqual([0, 23, 6.5, 10.5]);
  expect([[-0.1, 0], [0, 1.1]].map(value)).toEqual([NaN, NaN]);
  const holed = opened(landscapeFrame({ missing: [5] }));
  expect([holed.known, holed.value([0.4, 0.6]), holed.value([1, 1])]).toEqual([false, NaN, 23]);
  expect(opened(landscapeFrame({ form: FORMS.ArrayBuffer })).value([1, 1])).toBe(23);
});

test("lines and the path are parts of the plot", () => {
  const { lines, steps } = opened(landscapeFrame());
  expect(lines.map((line) => line.map(near))).toEqual([[[0, 0.5], [1, 0.5]], [[0.25, 0], [0.25, 0.5], [0.25, 1]]]);
  expect([[...steps], way.map(near).at(-1)]).toEqual([[0, 10, 100, 200, 400], [0.4444, 0.6667]]);
});

test("a point has a place in the plot, and a step where the path is near", () => {
  expect(spot(box, way, ...on(3))).toEqual({ place: near(way[3]).map(() => expect.any(Number)), step: 3 });
  expect([spot(box, way, on(3)[0] + 9, on(3)[1]).step, spot(box, way, 400, 60).step]).toEqual([3, -1]);
  expect(spot(box, way, 466, 362).place).toEqual([1, 0]);
  expect([spot(box, way, 37, 100), spot(box, way, 471, 100), spot(box, way, 100, 17), spot(box, way, 100, 367)]).toEqual([null, null, null, null]);
  expect(spot(box, [], 100, 100).step).toBe(-1);
  expect(pixel(box, [-3, 7])).toEqual([44, 24]); // outside: at the edge
});

test("keys lead along the path, and nowhere without one", () => {
  const to = (...keys) => keys.map((key) => led(key, 20, 41));
  expect(to("ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft", "PageUp", "PageDown", "Home", "End")).toEqual([21, 21, 19, 19, 24, 16, 0, 40]);
  expect([led("Enter", 2, 9), led("ArrowUp", 0, 0)]).toEqual([null, null]);
  expect([nearest([0, 10, 20], 15), nearest([0, 10, 20], 16)]).toEqual([1, 2]);
});

test("both parameters and the value are read out, after the step if there is one", () => {
  const [frame, surface] = [landscapeFrame({ label: "loss in nats" }), opened(landscapeFrame())];
  expect(readout(frame, surface, [0.5, 0.5], -1)).toBe("xi 3.00   <img src=x> 1.00   loss in nats 11.5");
  expect(readout(frame, surface, way[4], 4)).toBe("step 400:  xi 2.67   <img src=x> 1.33   loss in nats 14.7");
});

test("each value is the colour of its own place, the last row on top, and what is not known is hatched", () => {
  const { args, imageSmoothingEnabled } = bitmap(show());
  const [{ data, width, height }] = picture(args[0], "putImageData")[0].args;
  const cell = (at) => `rgb(${[...data.slice(4 * at, 4 * at + 3)].join(" ")})`;
  expect([width, height, args.slice(1), imageSmoothingEnabled]).toEqual([4, 3, [-26, -60, 560, 504], true]);
  expect([cell(8), cell(11), cell(3)]).toEqual([colour(0), colour(Math.floor((3 / 30) * 256)), colour(Math.floor((23 / 30) * 256))]);
  const holed = show({ missing: [0] });
  const pixels = picture(bitmap(holed).args[0], "putImageData")[0].args[0].data;
  expect([pixels[4 * 8 + 3], pixels[4 * 9 + 3], bitmap(holed).imageSmoothingEnabled]).toEqual([0, 255, false]);
  expect(picture(sheet(holed), "clip").length).toBe(picture(sheet(show()), "clip").length + 1);
});

test("axes have names and numbers, and lines of one value that value", () => {
  const [stage, texts] = [show(), written(sheet(show()))];
  expect(texts).toEqual(["10", "0", "6", "0", "1", "<img src=x>", "xi"]);
  expect(picture(sheet(stage), "fillText")[0].args.slice(1)).toEqual([359, 192]);
  expect(stage.find(".nb-legend").textContent).toBe("loss030path of the training");
});

test("a ring is where the path begins, a dot at the step, and another where the pointer is", () => {
  const stage = show({}, 200);
  expect(discs(stage)).toEqual([on(0), on(3)].map((point) => point.map(Math.round)));
  hover(stage.main(), on(1));
  expect([discs(stage).at(-1), stage.read().slice(0, 8)]).toEqual([on(1).map(Math.round), "step 10:"]);
  hover(stage.main(), [400, 60]);
  expect([discs(stage).length, stage.read()]).toEqual([2, "xi 5.09   <img src=x> 1.79   loss 20.4"]);
  leave(stage.main());
  expect(stage.read().slice(0, 9)).toBe("step 200:");
});

test("a click beside the path changes nothing, and a step that the path lacks is the nearest", () => {
  const stage = show({}, 190);
  click(stage.main(), [400, 60]);
  click(stage.main(), [10, 10]);
  expect([stage.model.get("step"), stage.model.saves, discs(stage)[1]]).toEqual([190, 0, on(3).map(Math.round)]);
});

test("without a path there is nothing to pin, and the keys are the notebook's", () => {
  const stage = show({ steps: [] }, 0);
  hover(stage.main(), on(2));
  expect([stage.read().slice(0, 7), discs(stage)]).toEqual(["xi 1.33", []]);
  click(stage.main(), on(2));
  const keys = ["ArrowUp", "Enter", "Escape"];
  expect([keys.filter((key) => press(stage.main(), key).defaultPrevented), stage.heard, stage.model.get("step")]).toEqual([[], keys, 0]);
  leave(stage.main());
  expect([stage.read(), stage.find(".nb-sign-path")]).toEqual(["", null]);
});

test("what stays is drawn once, on a sheet of its own", () => {
  const stage = show();
  const [kept, before] = [sheet(stage), drawings(sheet(stage))];
  for (const point of [on(0), [300, 100], on(2)]) hover(stage.main(), point);
  stage.model.receive({ step: 10 });
  expect([sheet(stage) === kept, drawings(kept)]).toEqual([true, before]);
});

test("where the host has less room the plot shrinks", () => {
  const host = watching();
  const stage = show();
  const after = (room) => [host.to(room), stage.main().style.width].at(-1);
  expect([after(900), after(400), after(100)]).toEqual(["478px", "400px", "208px"]);
});

test("names are drawn as they are and never made into markup", () => {
  const stage = show({ names: [HOSTILE[2], HOSTILE[3]] });
  expect(written(sheet(stage)).slice(-2)).toEqual([HOSTILE[3].slice(0, 29) + "…", HOSTILE[2]]);
  expect(smuggled()).toBe(0);
});
