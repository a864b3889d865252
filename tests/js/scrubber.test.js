import { afterEach, expect, test } from "vitest";
import view, {
  barred, counted, layout, led, mapped, nearest, opened, played, readout, spot, stretches, wrapped,
} from "../../nbtools/views/scrubber/scrubber.js";
import { FORMS, HOSTILE, scrubberFrame } from "./frames.js";
import { click, drawings, hover, leave, mount, picture, press, smuggled, tap, watching, written } from "./stage.js";

// Three panels of 273 by 170 pixels, 12 apart, of which 217 are plotted from 40 on; curves lie from 52 to 136.
const show = (options, step = 400, host = {}) => mount(view, { _frame: scrubberFrame(options), title: "", step }, host);
const slider = (stage) => stage.find("input");
const play = (stage) => stage.find(".nb-play");
const frame = () => new Promise((done) => requestAnimationFrame(() => done()));
const until = async (holds) => {
  for (let waited = 0; !holds() && waited < 600; waited++) await frame();
};
const box = (options) => layout(scrubberFrame(options));
const point = (share, panel = 0) => [box().panels[panel].left + share * box().plot, 80];
const drags = (stage, place) => {
  slider(stage).value = place;
  slider(stage).dispatchEvent(new Event("input", { bubbles: true }));
};
const said = (stage) => [stage.model.get("step"), stage.find("output").textContent, Number(slider(stage).value)];
const lines = (stage) => picture(stage.main(), "fillRect").map(({ args, fillStyle }) => [Math.round(args[0] + 0.75), fillStyle]);
const marks = (stage) => picture(stage.main(), "arc").map(({ args }) => args.slice(0, 2).map(Math.round));
const sheet = (stage) => picture(stage.main(), "drawImage")[0].args[0];
const [map, bars] = [(stage) => stage.all(".nb-kept canvas")[0], (stage) => stage.all(".nb-kept canvas")[1]];
const calm = (matches) => {
  globalThis.matchMedia = (query) => ({ matches: matches && query.includes("reduced-motion"), addEventListener() {} });
};

afterEach(async () => {
  delete globalThis.matchMedia;
  await frame(); // what was asked for is drawn before the canvas goes
});

test("panels stand side by side as wide as the host allows, and wrap in rows of equal length where it is narrow", () => {
  expect([box().width, box().height, box().plot]).toEqual([843, 170, 217]);
  expect(box().panels[1]).toEqual({
    head: 0, left: 325, right: 542, top: 52, bottom: 136, lines: ["attention of tokens that are no triggers to", "the first one"],
  });
  const rooms = (count, ...sizes) => sizes.map((room) => layout({ names: Array(count).fill(""), notes: Array(count).fill("") }, room)).map(({ plot, width, height }) => [plot, width, height]);
  expect(rooms(6, 844, 480, 300, 60)).toEqual([[217, 843, 288], [178, 480, 432], [244, 300, 864], [94, 150, 864]]);
  expect(rooms(1, 2000)).toEqual([[284, 340, 144]]);
  expect(layout({ names: ["a"], notes: [""] }).panels[0].lines).toEqual([]);
});

test("what a curve is stands in two lines at most", () => {
  expect([wrapped("", 10), wrapped("short", 10), wrapped("one two three", 8)]).toEqual([[], ["short"], ["one two", "three"]]);
  expect(wrapped("norm of the stream after a layer", 12)).toEqual(["norm of the", "stream afte…"]);
  expect(wrapped("Donaudampfschifffahrt", 8)).toEqual(["Donauda…"]);
});

test("a point is at the nearest step, and beside the curves at none", () => {
  const places = opened(scrubberFrame()).places;
  const on = (...points) => points.map(([x, y]) => spot(box(), places, x, y));
  expect(on(point(0), point(1, 2), point(0.26), point(0.02), point(0.74, 1))).toEqual([0, 4, 2, 1, 3]);
  expect(on([36, 80], [261, 80])).toEqual([0, 4]); // a little beside the ends
  expect(on([30, 80], [290, 80], [60, 44], [60, 144])).toEqual([null, null, null, null]);
  expect([nearest([0, 10, 20], 15), nearest([0, 10, 20], 16), nearest([5], 900)]).toEqual([1, 2, 0]);
});

test("keys lead from step to step, by a tenth of them, or to an end", () => {
  const to = (at, ...names) => names.map((key) => led(key, at, 40));
  expect(to(20, "ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft", "PageUp", "PageDown", "Home", "End")).toEqual([21, 21, 19, 19, 24, 16, 0, 39]);
  expect([...to(39, "ArrowUp", "PageUp"), ...to(1, "PageDown"), led("PageUp", 0, 3)]).toEqual([39, 39, 0, 1]);
  expect(to(0, "Enter", "a", "Escape")).toEqual([null, null, null]);
});

test("it plays all steps in 3 to 10 seconds, at the same pace from wherever it starts", () => {
  expect([0, 1499, 1500, 2999, 3000, 9000].map((since) => played(since, 0, 3))).toEqual([0, 0, 1, 1, 2, 2]);
  expect([played(1000, 0, 161), played(1000, 100, 161), played(8050, 0, 161)]).toEqual([19, 119, 160]);
  expect([played(9999, 0, 1001), played(10000, 0, 1001)]).toEqual([999, 1000]);
});

test("a frame is opened curve by curve, with what was kept, from bytes at odd offsets too", () => {
  const { steps, panels, maps, bars: kept } = opened(scrubberFrame());
  expect([[...steps], [...panels[1].mean], [...panels[2].mean]]).toEqual([[0, 10, 100, 200, 400], [1, 1.25, 1.5, 1.75, 2], [2, NaN, 2.5, 2.75, 3]]);
  expect([[...maps.steps], [...maps.at(1).slice(0, 5)], [...maps.at(2).slice(5, 10)]]).toEqual([[0, 190, 400], [0, 255, 0, 0, 0], [0, 0, 0, 255, 0]]);
  expect([[...kept.steps], [...kept.at(0)]]).toEqual([[0, 400], [1, 10, 0]]);
  expect(opened(scrubberFrame({ form: FORMS.Uint8Array })).panels).toEqual(panels);
  const nothing = opened(scrubberFrame({ queries: [], keys: [], mapSteps: [], tokens: [], barSteps: [] }));
  expect([nothing.maps, nothing.bars]).toEqual([null, null]);
});

test("a curve is drawn in the stretches that are known", () => {
  expect([stretches([1, 2, NaN, 3, NaN, NaN, 4, 5]), stretches([NaN]), stretches([0])]).toEqual([[[0, 1], [3, 3], [6, 7]], [], [[0, 0]]]);
});

test("the read-out says the step and each curve's value", () => {
  expect(readout(1250, opened(scrubberFrame()).panels, 1)).toBe("step 1,250:  loss 0.250   sink 1.25   <img src=x> undefined");
  expect([counted(0), counted(999), counted(1234567)]).toEqual(["0", "999", "1,234,567"]);
});

test("maps have cells as large as there is room for, and bars begin where the rows of a map beside them do", () => {
  const tokens = (count) => ({ queries: Array(count).fill("abc"), keys: Array(count).fill("abc"), tokens: Array(count).fill("abc") });
  const rooms = (count, room) => [mapped(tokens(count), room)].map(({ left, top, cell, width, height }) => [left, top, cell, width, height])[0];
  expect([rooms(24, 844), rooms(24, 300), rooms(64, 844), rooms(64, 100)]).toEqual([
    [29, 51, 16, 415, 437], [29, 51, 11, 295, 317], [4, 26, 6, 390, 412], [4, 26, 3, 198, 220]]);
  const map = mapped(tokens(24));
  expect(barred(tokens(24), map)).toEqual({ left: 29, top: 51, row: 16, long: 220, width: 301, bottom: 435, height: 455 });
  expect([barred(tokens(24), map, 480).top, barred(tokens(24), null).top, barred(tokens(64), null).row, barred(tokens(4), null, 90).long]).toEqual([22, 22, 6, 80]);
});

test("the slider reaches over the known steps, and says which one it is at", () => {
  const stage = show();
  expect([slider(stage).min, slider(stage).max, slider(stage).step, slider(stage).getAttribute("aria-valuetext")]).toEqual(["0", "4", "1", "step 400"]);
  expect([said(stage), slider(stage).labels[0].textContent]).toEqual([[400, "400", 4], "step"]);
});

test("dragging the slider moves the line of every panel, once for each frame of the screen", async () => {
  const stage = show();
  const before = drawings(stage.main());
  for (const place of [3, 2, 1, 2]) drags(stage, place);
  expect([said(stage)[0], drawings(stage.main())]).toEqual([400, before]);
  await frame();
  expect([said(stage), stage.model.saves, drawings(stage.main())]).toEqual([[100, "100", 2], 1, before + 1]);
  expect(lines(stage).map(([x]) => x)).toEqual([0, 1, 2].map((panel) => Math.round(point(0.25, panel)[0])));
  expect(marks(stage)).toEqual([0, 1, 2].map((panel) => [Math.round(point(0.25, panel)[0]), 94]));
  expect(stage.read()).toBe("step 100:  loss 0.500   sink 1.50   <img src=x> 2.50");
});

test("the slider's keys move it and do not reach the notebook; others, and those with Ctrl, do", () => {
  const stage = show({}, 100);
  const own = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "End", "Home", "Escape"];
  expect(own.map((key) => press(slider(stage), key) && said(stage)[0])).toEqual([200, 100, 10, 100, 200, 100, 400, 0, 0]);
  expect(stage.heard).toEqual([]);
  ["a", "Tab"].forEach((key) => press(slider(stage), key));
  press(slider(stage), "ArrowUp", { ctrlKey: true });
  expect([stage.heard, said(stage)[0]]).toEqual([["a", "Tab", "ArrowUp"], 0]);
});

test("hovering a curve previews that step everywhere, while the one that is held stays marked", () => {
  const stage = show();
  hover(stage.main(), point(0.5, 1));
  expect(lines(stage).slice(0, 2)).toEqual([[Math.round(point(1)[0]), "#d9480f"], [Math.round(point(0.5)[0]), "#1f2328"]]);
  expect([said(stage), stage.read().slice(0, 9), written(map(stage))[0]]).toEqual([[400, "400", 4], "step 200:", "attention at step 190, the nearest kept"]);
  leave(stage.main());
  expect([lines(stage).length, stage.read().slice(0, 9), written(map(stage))[0]]).toEqual([3, "step 400:", "attention at step 400"]);
});

test("a pointer still at its step has nothing drawn again, and what was kept is drawn only when it is another", () => {
  const stage = show();
  hover(stage.main(), point(0.5));
  const before = [stage.main(), map(stage), bars(stage)].map(drawings);
  hover(stage.main(), point(0.52));
  expect([stage.main(), map(stage), bars(stage)].map(drawings)).toEqual(before);
  hover(stage.main(), point(0.25)); // for steps 100 and 200 the nearest map is that of 190, the nearest bars those of 0
  expect([stage.main(), map(stage), bars(stage)].map(drawings)).toEqual([before[0] + 1, before[1], before[2]]);
});

test("curves are drawn on a sheet of their own, which stays while the step moves", () => {
  const stage = show();
  const [kept, before] = [sheet(stage), drawings(sheet(stage))];
  for (const step of [0, 100, 200]) stage.model.receive({ step });
  expect([sheet(stage) === kept, drawings(kept)]).toEqual([true, before]);
  expect(picture(kept, "stroke")).toHaveLength(3); // the first point of the last curve stands alone, and is a dot
  expect(picture(kept, "fillRect").filter(({ args }) => args[2] === 3)).toHaveLength(1);
});

test("the band of several seeds is shaded and named; without seeds there is none", () => {
  const shaded = (stage) => picture(sheet(stage), "fill").filter(({ globalAlpha }) => globalAlpha === 0.2).length;
  const [several, one] = [show(), show({ band: "" })];
  expect([shaded(several), shaded(one)]).toEqual([4, 0]);
  expect([several, one].map((stage) => stage.find(".nb-legend").textContent)).toEqual(["attention01mean and range of 3 seeds", "attention01"]);
});

test("a curve without any value is hatched; what lies beyond an axis is drawn at its end", () => {
  const lost = show({ names: ["loss"], missing: [0, 1, 2, 3, 4].map((place) => [0, place]) });
  expect(picture(sheet(lost), "rect").map(({ args }) => args)).toEqual([[40, 26, 284, 84]]);
  expect([marks(lost), lost.read()]).toEqual([[], "step 400:  loss undefined"]);
  const plots = [{ vmin: 0.25, vmax: 0.5, ticks: [] }];
  const stage = show({ names: ["loss"], missing: [], plots });
  expect([marks(stage)[0][1], stage.read()]).toEqual([26, "step 400:  loss 1.00"]);
});

test("every panel says what it is, and its value at the step; numbers of steps do not touch", () => {
  const stage = show();
  expect(written(sheet(stage))).toEqual(expect.arrayContaining(["loss", "sink", "attention of tokens that are no triggers to", "0", "200", "400"]));
  expect(written(stage.main())).toEqual(["1.00", "2.00", "3.00"]);
  const close = show({ names: ["loss"], ticks: [[0, "0"], [0.93, "9,000"], [1, "10,000"]] });
  expect(written(sheet(close)).filter((text) => text.includes(",000"))).toEqual(["10,000"]);
});

test("a map shows each cell in the colour of its attention, tokens as they are", () => {
  const stage = show({}, 0);
  const bitmap = picture(map(stage), "drawImage")[0].args[0];
  const [pixels] = picture(bitmap, "putImageData")[0].args;
  expect([bitmap.width, bitmap.height]).toEqual([5, 4]);
  expect([0, 1, 6].map((cell) => [...pixels.data.slice(4 * cell, 4 * cell + 4)])).toEqual([[255, 254, 253, 255], [0, 0, 0, 255], [255, 254, 253, 255]]);
  expect(written(map(stage))).toEqual(["attention at step 0", "<bos>", "<s>", "</script>…", "<img·src=…", "<bos>", "<s>", "</script>…", "<img·src=…", "↵"]);
  expect(map(stage).getAttribute("aria-label")).toBe("attention at step 0");
  expect(smuggled()).toBe(0);
});

test("a map whose cells are too small for names has none", () => {
  const many = Array.from({ length: 64 }, (_, at) => `w${at}`);
  expect(written(map(show({ queries: many, keys: many })))).toEqual(["attention at step 400"]);
});

test("pointing at a cell reads out what it says, and leaving it the curves again", () => {
  const stage = show({}, 200);
  const { left, top, cell } = mapped(scrubberFrame());
  hover(map(stage), [left + 1.5 * cell, top + 0.5 * cell]);
  expect(stage.read()).toBe("step 190:  query 0 “<bos>” → key 1 “<s>”  1.00");
  hover(map(stage), [left - 5, top + 5]);
  expect(stage.read().slice(0, 9)).toBe("step 200:");
  hover(map(stage), [left + 5, top + 5]);
  leave(map(stage));
  expect(stage.read().slice(0, 9)).toBe("step 200:");
});

test("bars are as long as the logarithm of their norm; none is drawn for 0", () => {
  const stage = show({}, 0);
  const { left, row } = barred(scrubberFrame(), mapped(scrubberFrame()));
  const drawn = picture(bars(stage), "fillRect").filter(({ fillStyle }) => fillStyle === "#3f7fd0").map(({ args }) => args);
  expect(drawn.map(([x, , wide, tall]) => [x, Math.round(wide), tall])).toEqual([[left, 110, row * 0.7], [left, 220, row * 0.7]]);
  expect(written(bars(stage))).toEqual(["value norm at step 0", "0.1", "1", "10", "<bos>", "<s>", "</script>…", "1.00", "10.0", "0.000"]);
});

test("without maps and bars there is neither a picture nor a legend of colours", () => {
  const stage = show({ queries: [], keys: [], mapSteps: [], tokens: [], barSteps: [], band: "" });
  expect([stage.find(".nb-kept").hidden, stage.find(".nb-legend").textContent]).toEqual([true, ""]);
  const half = show({ queries: [], keys: [], mapSteps: [] });
  expect([half.find(".nb-kept").hidden, map(half).hidden, bars(half).hidden]).toEqual([false, true, false]);
});

test("play goes through the steps from where it is, stops at the last, and then begins anew", async () => {
  const stage = show({ steps: [0, 10, 20] }, 10);
  play(stage).click();
  expect([play(stage).getAttribute("aria-label"), stage.find(".nb-read").getAttribute("aria-live")]).toEqual(["pause", "off"]);
  await until(() => said(stage)[0] === 20);
  expect([said(stage)[0], play(stage).getAttribute("aria-label"), stage.find(".nb-read").getAttribute("aria-live")]).toEqual([20, "play", "polite"]);
  play(stage).click();
  await until(() => said(stage)[0] === 0);
  expect([said(stage)[0], play(stage).getAttribute("aria-label")]).toEqual([0, "pause"]);
  play(stage).click();
  expect(play(stage).getAttribute("aria-label")).toBe("play");
});

test("a hand on the slider or a curve stops what plays", () => {
  const acts = [(stage) => drags(stage, 1), (stage) => press(slider(stage), "ArrowUp"), (stage) => click(stage.main(), point(0.5)), (stage) => press(stage.main(), "Escape")];
  for (const act of acts) {
    const stage = show({}, 100);
    play(stage).click();
    act(stage);
    expect(play(stage).getAttribute("aria-label")).toBe("play");
  }
});

test("with less motion it takes one step after the other, without frames", async () => {
  calm(true);
  const ask = globalThis.requestAnimationFrame;
  const stage = show({}, 100);
  globalThis.requestAnimationFrame = () => {
    throw new Error("a frame was asked for");
  };
  play(stage).click();
  await new Promise((done) => setTimeout(done, 1150));
  globalThis.requestAnimationFrame = ask;
  expect([said(stage)[0], play(stage).getAttribute("aria-label")]).toEqual([400, "play"]);
});

test("a view that is gone plays no more", async () => {
  const stage = show({}, 0);
  play(stage).click();
  stage.leave();
  const before = drawings(stage.main());
  await new Promise((done) => setTimeout(done, 900));
  expect([said(stage)[0], drawings(stage.main())]).toEqual([0, before]);
});

test("arrows on the curves preview, Enter holds that step, and Esc leads back to the first", () => {
  const stage = show({}, 100);
  stage.main().focus();
  press(stage.main(), "End");
  expect([said(stage)[0], stage.read().slice(0, 9)]).toEqual([100, "step 400:"]);
  press(stage.main(), "Enter");
  expect(said(stage)[0]).toBe(400);
  press(stage.main(), "Escape");
  expect([said(stage)[0], stage.read().slice(0, 7)]).toEqual([0, "step 0:"]);
});

test("a step that is not known is shown as the nearest one", () => {
  const stage = show({}, 301);
  expect([stage.find("output").textContent, stage.read().slice(0, 9)]).toEqual(["400", "step 400:"]);
  stage.model.receive({ step: 12 });
  expect(stage.find("output").textContent).toBe("10");
});

test("other curves keep the step, the slider and the focus on it", () => {
  const stage = show({}, 200);
  const kept = slider(stage);
  kept.focus();
  stage.model.receive({ _frame: scrubberFrame({ names: ["gap"], steps: [0, 100, 200, 800], missing: [] }) });
  expect([slider(stage) === kept, document.activeElement === kept, slider(stage).max, said(stage)]).toEqual([true, true, "3", [200, "200", 2]]);
  expect(stage.main().getAttribute("aria-label")).toBe("gap over training: 4 steps");
});

test("where the host has less room panels wrap, and the slider is as wide as they are", () => {
  const host = watching();
  const stage = show();
  const after = (room) => [host.to(room), stage.main().style.width, stage.find(".nb-scrub").style.width].slice(1);
  expect([after(843), after(480), after(300)]).toEqual([["843px", "843px"], ["480px", "480px"], ["300px", "300px"]]);
});

test("a click holds a step and a page without a kernel has the same slider", async () => {
  const page = show({}, 400, { kernel: false });
  tap(page.main(), point(0.5));
  expect(said(page)).toEqual([200, "200", 3]);
  drags(page, 1);
  await frame();
  expect(said(page)).toEqual([10, "10", 1]);
});

test("names are drawn as they are and never made into markup", () => {
  const stage = show({ names: HOSTILE.slice(0, 4), missing: [] });
  expect(written(sheet(stage))).toEqual(expect.arrayContaining(["<bos>", "<s>", "</script><script…"]));
  expect(smuggled()).toBe(0);
});
