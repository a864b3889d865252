import { expect, test } from "vitest";
import view, {
  between, histograms, layout, led, moved, opened, outside, readout, slid, snapped, spot, written,
} from "../../nbtools/views/direction/direction.js";
import { FORMS, HOSTILE, directionFrame } from "./frames.js";
import { click, drawings, hover, leave, mount, picture, press, tap, watching, written as texts } from "./stage.js";

// Three panels of 270 by 370 pixels, 16 apart: what is plotted begins 40 from the left of each and is 220 wide. Curves
// lie from 34 to 164, shares −1 to 2; projections above and below 276.
const show = (options, share = 1, host = {}) => mount(view, { _frame: directionFrame(options), title: "", share }, host);
const slider = (stage) => stage.find("input");
const across = (share, part = 0) => 40 + part * 286 + ((share + 1) / 3) * 220;
const shares = (...values) => Float32Array.from(values);
const said = (stage) => [stage.model.get("share"), stage.find("output").textContent, Number(slider(stage).value)];
const drags = (stage, value) => {
  slider(stage).value = value;
  slider(stage).dispatchEvent(new Event("input", { bubbles: true }));
};
const marks = (stage) => picture(stage.main(), "arc").map(({ args, fillStyle }) => [...args.slice(0, 2).map((edge) => Math.round(edge)), fillStyle]);
const lines = (stage) => picture(stage.main(), "fillRect").filter(({ args }) => args[2] === 1.5).map(({ args, fillStyle }) => [Math.round(args[0] + 0.75), fillStyle]);
// Where each shape of bars begins: at the line, from which it goes straight up or down.
const begins = (stage) => picture(stage.main()).filter(({ name, args }, call, calls) =>
  name === "moveTo" && args[1] === 276 && calls[call + 1].args[0] === args[0]).map(({ args }) => args[0]);
const at = (stage, text) => picture(stage.main(), "fillText").filter(({ args }) => args[0] === text).map(({ args, fillStyle }) => [...args.slice(1, 3), fillStyle]);

test("panels stand side by side as wide as the host allows, and wrap in rows of equal length where it is narrow", () => {
  const box = layout(directionFrame());
  expect([box.plot, box.width, box.height, box.panels.length]).toEqual([220, 842, 370, 3]);
  expect(box.panels[1]).toEqual({ head: 0, left: 326, right: 546, top: 34, bottom: 164, upper: 204, line: 276, lower: 336 });
  const rooms = (count, ...sizes) => sizes.map((room) => layout({ parts: Array(count).fill("") }, room)).map(({ plot, width, height }) => [plot, width, height]);
  expect(rooms(4, 844, 843, 600)).toEqual([[149, 844, 370], [148, 840, 370], [242, 600, 756]]);
  expect(rooms(3, 480, 300, 60)).toEqual([[182, 480, 756], [250, 300, 1142], [100, 150, 1142]]);
  expect(rooms(1, 844)).toEqual([[290, 340, 370]]);
  expect(layout(directionFrame(), 480).panels[2]).toMatchObject({ head: 386, left: 40, top: 420 });
});

test("a point on a curve is at a share, to the hundredth; beside the curves it is at none", () => {
  const on = (...points) => points.map(([x, y]) => spot(layout(directionFrame()), [-1, 2], x, y));
  expect(on([across(0), 60], [across(1, 1), 34], [across(-0.5, 2), 164], [112, 60])).toEqual([0, 1, -0.5, -0.02]);
  expect(on([36, 60], [264, 60])).toEqual([-1, 2]); // a little beside the ends
  expect(on([34, 60], [300, 60], [across(0), 33], [across(0), 165], [across(0), 276])).toEqual([null, null, null, null, null]);
});

test("shares are set in round steps, about 200 over the range, and not beyond it", () => {
  expect([0.123456, -0.001, 1.999, 7, -7].map((share) => snapped(share, [-1, 2]))).toEqual([0.12, 0, 2, 2, -1]);
  expect([snapped(0.1 + 0.2, [-1, 2]), snapped(0.12345, [0, 0.1]), snapped(123.4, [-1000, 1000])]).toEqual([0.3, 0.1, 120]);
  expect(snapped(0.9999, [0, 1 / 3])).toBe(1 / 3);
  expect([written(-0.5, [-1, 2]), written(0, [-1, 2]), written(0.005, [0, 0.1]), written(10, [-900, 900])]).toEqual(["−0.50", "0.00", "0.005", "10.0"]);
});

test("arrows lead to the next share at which the curves are known, and not beyond the last", () => {
  const known = [-1, 0, 0.5, 2];
  const all = (share) => ["ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft"].map((key) => led(key, share, known));
  expect([all(0), all(0.2), all(2), all(-1)]).toEqual([[0.5, 0.5, -1, -1], [0.5, 0.5, 0, 0], [2, 2, 0.5, 0.5], [0, 0, -1, -1]]);
  expect(led("Home", 0, known)).toBeNull();
});

test("keys move the slider by a twentieth or a quarter, Home and Esc to the base, End to the end", () => {
  const to = (share, ...keys) => keys.map((key) => slid(key, share, [-1, 2]));
  expect(to(0.5, "ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft")).toEqual([0.55, 0.55, 0.45, 0.45]);
  expect(to(1.9, "PageUp", "PageDown", "Home", "Escape", "End")).toEqual([2, 1.65, 0, 0, 2]);
  expect(to(0, "Enter", "a", "Tab")).toEqual([null, null, null]);
});

test("a curve is read on the line between the shares that are known, and not where one of them has no value", () => {
  const read = (values, ...at) => at.map((share) => between(shares(-1, 0, 0.1, 2), shares(...values), share));
  expect(read([3, 1, 2, 4], -1, -0.5, 0, 2)).toEqual([3, 2, 1, 4]);
  expect(read([3, 1, 2, 4], 0.05, 1.05, 0.1).map((value) => value.toFixed(4))).toEqual(["1.5000", "3.0000", "2.0000"]);
  expect(read([3, NaN, 2, 4], -1, -0.5, 0, 0.05, 0.1)).toEqual([3, NaN, NaN, NaN, 2]);
  expect(read([3, 1, 2, 4], -2, 3)).toEqual([3, 4]);
});

test("activations move by a share of the way from the base to the patched one, also backward and beyond", () => {
  const along = (share) => [...moved(shares(0, 2, NaN), shares(1, -2, 0), share)];
  expect([along(0), along(0.5), along(1), along(-1), along(2)]).toEqual([[0, 2, NaN], [0.5, 0, NaN], [1, -2, NaN], [-1, 6, NaN], [2, -6, NaN]]);
});

test("each class has its share in every bin, the last value too; undefined values are left out", () => {
  const counted = histograms(shares(0, 0.99, 1, 2, 4, NaN, 3), [0, 0, 0, 0, 1, 1, 1], [0, 4], 4);
  expect(counted.map((bars) => [...bars])).toEqual([[0.5, 0.25, 0.25, 0], [0, 0, 0, 1]]);
  expect(histograms(shares(NaN), [0], [0, 1], 2).map((bars) => [...bars])).toEqual([[0, 0], [0, 0]]);
  expect(histograms(shares(-1, 9), [0, 0], [0, 4], 4)[0]).toEqual(shares(0.5, 0, 0, 0.5)); // never beside the bins
});

test("how many lie outside is a share of those that are known", () => {
  expect([outside(shares(0, 1, -0.1, 1.1, NaN), [0, 1]), outside(shares(0.5), [0, 1])]).toEqual([0.5, 0]);
  expect([outside(shares(NaN), [0, 1]), outside(shares(1), null), outside(shares(), [0, 1])]).toEqual([NaN, NaN, NaN]);
});

test("a frame is opened part by part, natural activations of both runs by their class", () => {
  const [v, row, last] = opened(directionFrame());
  expect([[...v.mean], [...row.low], [...last.mean]]).toEqual([[1, 0, -0.5, -1, -2], [1.75, 0.75, 0.25, -0.25, -1.25], [3, NaN, 1.5, 1, 0]]);
  const filled = (bars) => bars.map((heights) => [...heights.entries()].filter(([, height]) => height));
  expect(filled(v.bars)).toEqual([[[20, 1]], [[40, 1]]]); // 0 and 1 of −1 to 2, in 60 bins
  const now = v.at(2);
  expect([now.value, now.beyond, filled(now.bars)]).toEqual([-2, 1, [[[59, 1]], [[0, 1]]]]);
  expect([v.at(1).beyond, v.at(0.25).value, v.name]).toEqual([0, -0.25, "v"]);
  const known = opened(directionFrame({ source_class: FORMS.Uint8Array(Uint8Array.from([0, 1, 0, 1, 0, 1, 0])) }))[0];
  expect(filled(known.bars).map((bars) => bars.map(([bin, height]) => [bin, Math.round(height * 10) / 10]))).toEqual([[[20, 0.5], [40, 0.5]], [[20, 0.5], [40, 0.5]]]);
});

test("the read-out says the share, each part's value, and how many are outside", () => {
  const parts = (options) => opened(directionFrame(options));
  const say = (share, options) => readout(share, [-1, 2], parts(options).map((part) => part.at(share)));
  expect(say(1)).toBe("share 1.00:  v −1.00   row 0.000   <img src=x> 1.00");
  expect(say(-0.5)).toBe("share −0.50:  v 0.500 (100 % outside)   row 1.50 (100 % outside)   <img src=x> undefined (100 % outside)");
  const states = [{ name: "v", value: 2, beyond: 0.004 }, { name: "w", value: 1, beyond: NaN }];
  expect(readout(0, [-1, 2], states)).toBe("share 0.00:  v 2.00 (under 1 % outside)   w 1.00");
});

test("the slider reaches as far as the curves, and says where it is", () => {
  const stage = show();
  expect([slider(stage).min, slider(stage).max, slider(stage).getAttribute("aria-valuetext")]).toEqual(["-1", "2", "1.00"]);
  expect(said(stage)).toEqual([1, "1.00", 1]);
  expect(stage.find("label").textContent).toBe("share of the way0: base1: full patch");
  expect(slider(stage).labels[0]).toBe(stage.find("label"));
  expect(stage.all(".nb-way-marks span").map(({ textContent, style }) => [textContent, parseFloat(style.left).toFixed(1)])).toEqual([["0: base", "33.3"], ["1: full patch", "66.7"]]);
  expect(show({ shares: [-1, 0, 0.5] }).find(".nb-way-marks").textContent).toBe("0: base");
});

test("dragging the slider sets the share and moves the mark of every panel", () => {
  const stage = show();
  drags(stage, 0.503);
  expect([said(stage), stage.model.saves]).toEqual([[0.5, "0.50", 0.5], 1]);
  expect(marks(stage).map(([x]) => x)).toEqual([0, 1, 2].map((part) => Math.round(across(0.5, part))));
  expect(stage.read()).toBe("share 0.50:  v −0.500   row 0.500   <img src=x> 1.50");
});

test("a double click on the slider leads back to the base, as Home and Esc do", () => {
  const stage = show();
  const after = (act) => [stage.model.receive({ share: 1.5 }), act(), said(stage)[0]].at(-1);
  expect(after(() => slider(stage).dispatchEvent(new MouseEvent("dblclick", { bubbles: true })))).toBe(0);
  expect([after(() => press(slider(stage), "Home")), after(() => press(slider(stage), "Escape")), after(() => press(stage.main(), "Home"))]).toEqual([0, 0, 0]);
});

test("the slider's keys move it and do not reach the notebook; others, and those with Ctrl, do", () => {
  const stage = show({}, 0.5);
  const own = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "End", "Home"];
  expect(own.map((key) => press(slider(stage), key) && said(stage)[0])).toEqual([0.55, 0.5, 0.45, 0.5, 0.75, 0.5, 2, 0]);
  expect(stage.heard).toEqual([]);
  expect(["a", "Tab", "Enter"].map((key) => press(slider(stage), key).defaultPrevented)).toEqual([false, false, false]);
  press(slider(stage), "ArrowUp", { ctrlKey: true });
  expect([stage.heard, said(stage)[0]]).toEqual([["a", "Tab", "Enter", "ArrowUp"], 0]);
});

test("hovering a curve previews that share in all panels, while the share that is set stays marked", () => {
  const stage = show();
  const accent = "#d9480f";
  expect([lines(stage)[0], marks(stage)[0]]).toEqual([[Math.round(across(1)), accent], [Math.round(across(1)), 135, accent]]);
  hover(stage.main(), [across(0.5, 1), 60]);
  expect(lines(stage).slice(0, 2)).toEqual([[Math.round(across(1)), accent], [Math.round(across(0.5)), "#1f2328"]]);
  expect(marks(stage).map(([x, , colour]) => [x, colour])).toEqual([0, 1, 2].map((part) => [Math.round(across(0.5, part)), "#1f2328"]));
  expect([said(stage), stage.read().slice(0, 10)]).toEqual([[1, "1.00", 1], "share 0.50"]);
  leave(stage.main());
  expect([lines(stage).length, stage.read().slice(0, 10)]).toEqual([3, "share 1.00"]);
});

test("a pointer beside the curves, or still at its share, has nothing drawn again", () => {
  const stage = show();
  const drawn = () => drawings(stage.main());
  hover(stage.main(), [across(0.5), 60]);
  const before = drawn();
  hover(stage.main(), [across(0.5), 90]);
  expect(drawn()).toBe(before);
  hover(stage.main(), [across(0.5), 300]);
  hover(stage.main(), [across(1.5), 320]);
  expect([drawn(), stage.read().slice(0, 10)]).toEqual([before + 1, "share 1.00"]);
});

test("a click sets the share, a second one leads back to 0, which is seen at once under the pointer", () => {
  const stage = show({}, 0);
  tap(stage.main(), [across(0.5), 60]);
  expect(said(stage)).toEqual([0.5, "0.50", 0.5]);
  click(stage.main(), [across(0.5), 60]);
  expect([said(stage), stage.read().slice(0, 10)]).toEqual([[0, "0.00", 0], "share 0.00"]);
  click(stage.main(), [across(0.5), 300]);
  expect([said(stage)[0], stage.model.saves]).toEqual([0, 2]);
});

test("arrows on the curves preview, and Esc lets go of that too", () => {
  const stage = show();
  stage.main().focus();
  press(stage.main(), "ArrowRight");
  expect([said(stage)[0], stage.read().slice(0, 10)]).toEqual([1, "share 2.00"]);
  press(stage.main(), "Escape");
  expect([said(stage)[0], stage.read().slice(0, 10)]).toEqual([0, "share 0.00"]);
  press(stage.main(), "ArrowLeft");
  stage.main().blur();
  expect(stage.read().slice(0, 10)).toBe("share 0.00");
});

test("a share that Python sets beyond the curves is shown at their end", () => {
  const stage = show({}, 7);
  expect([stage.find("output").textContent, slider(stage).value, stage.read().slice(0, 10)]).toEqual(["2.00", "2", "share 2.00"]);
});

test("other curves keep the share, the slider and the focus on it", () => {
  const stage = show({}, 0.5);
  const kept = slider(stage);
  kept.focus();
  stage.model.receive({ _frame: directionFrame({ parts: ["w"], shares: [-2, 0, 1, 3], missing: [] }) });
  expect([slider(stage) === kept, document.activeElement === kept, slider(stage).min, slider(stage).max, said(stage)]).toEqual([
    true, true, "-2", "3", [0.5, "0.50", 0.5]]);
  expect(stage.main().getAttribute("aria-label")).toBe("logit difference (nats) along w: 7 pairs");
});

test("a preview stays under the pointer when other curves come, inside their range", () => {
  const stage = show();
  hover(stage.main(), [across(2), 60]);
  stage.model.receive({ _frame: directionFrame({ shares: [-1, 0, 1] }) });
  expect(stage.read().slice(0, 10)).toBe("share 1.00");
});

test("every panel says what it is, what the curve is, and its value at the share", () => {
  const stage = show();
  expect(at(stage, "row")).toEqual([[326, 9, "#1f2328"]]);
  expect(at(stage, "logit difference (nats)").map(([x, y]) => [x, y])).toEqual([[40, 25], [326, 25], [612, 25]]);
  expect([at(stage, "−1.00"), at(stage, "0.000")]).toEqual([[[260, 9, "#d9480f"]], [[546, 9, "#d9480f"]]]);
  for (const text of ["share of the way", "natural", "patched", "projection on v", "projection on <img src=x>", "−2"])
    expect(texts(stage.main())).toContain(text);
});

test("what leaves the range of natural activations is counted in its panel", () => {
  const stage = show();
  expect(at(stage, "100 % outside")).toEqual([]);
  drags(stage, 1.5);
  expect(at(stage, "100 % outside")).toEqual([[260, 329, "#d9480f"], [546, 329, "#d9480f"], [832, 329, "#d9480f"]]);
});

test("natural bars rise from the line and patched ones hang from it, the second class hatched", () => {
  const stage = show({ parts: ["v"] }, 2);
  const { left, line, plot } = { left: 40, line: 276, plot: 290 };
  expect(begins(stage).map(Math.round)).toEqual([20, 40, 59, 0].map((bin) => Math.round(left + (bin * plot) / 60)));
  const tops = picture(stage.main()).filter(({ name, args }, call, calls) =>
    name === "lineTo" && calls[call + 1].args[1] === args[1] && [208, 332].includes(args[1])).map(({ args }) => args[1]);
  expect(tops).toEqual([line - 68, line - 68, line + 56, line + 56]);
  expect(picture(stage.main(), "fill").filter(({ fillStyle }) => fillStyle === "#3f7fd0")).toHaveLength(2);
  expect(picture(stage.main(), "stroke").filter(({ strokeStyle, lineWidth }) => strokeStyle === "#b98300" && lineWidth === 0.7)).toHaveLength(2);
});

test("neighbouring bars are one shape", () => {
  const base = (values) => FORMS.DataView(Float32Array.from(values));
  const shown = { parts: ["v"], pairs: 4, lost: [], missing: [], base: base([0, 0, 0.06, 1]), source: base([0, 1, 0, 1]), patched: base([0, 0, 0.06, 1]) };
  const stage = show(shown, 0);
  expect(begins(stage).map((x) => Math.round((x - 40) / (290 / 60)))).toEqual([20, 40, 20, 40, 20, 20, 40]);
});

test("where a curve has no value there is hatching, no line and no mark; its neighbours stay", () => {
  const stage = show({}, 0);
  const boxes = picture(stage.main(), "rect").map(({ args }) => args.map(Math.round)).filter(([, , , tall]) => tall === 130);
  expect(boxes).toEqual([[612, 34, 73, 130], [685, 34, 37, 130]]);
  expect([marks(stage).length, stage.read().split("   ").at(-1)]).toEqual([2, "<img src=x> undefined"]);
  const points = picture(stage.main(), "fillRect").filter(({ args }) => args[2] === 3.5);
  expect(points).toHaveLength(14);
});

test("a part without any projection is hatched, and has no bars", () => {
  const lost = [...Array(7).keys()];
  const plots = [{ limits: null, reach: [0, 1], peak: 1, ticks: [] }];
  const stage = show({ parts: ["v"], lost, plots, missing: [] }, 1.5);
  expect(picture(stage.main(), "rect").map(({ args }) => args)).toEqual([[40, 204, 290, 132]]);
  expect([texts(stage.main()).includes("natural"), stage.read()]).toEqual([false, "share 1.50:  v −1.50"]);
});

test("the spread is shaded where it is known, and named in the legend", () => {
  const shaded = (stage) => picture(stage.main(), "fill").filter(({ globalAlpha }) => globalAlpha === 0.2).length;
  const signs = (stage) => stage.all(".nb-legend > *").map(({ textContent }) => textContent);
  const [with_, without] = [show(), show({ band: "" })];
  expect([shaded(with_), shaded(without)]).toEqual([10, 0]);
  expect(signs(with_)).toEqual(["logit difference (nats)", "mean", "95 % interval", "ABBA", "BABA", "range of natural activations"]);
  expect(signs(without)).toEqual(["logit difference (nats)", "mean", "ABBA", "BABA", "range of natural activations"]);
});

test("what lies beyond a chosen axis is drawn at its end, and read out as it is", () => {
  const stage = show({ vmin: -0.5, vmax: 0.5, value_ticks: [0] }, 2);
  expect(marks(stage).map(([, y]) => y)).toEqual([159, 159, 99]);
  expect(stage.read()).toContain("v −2.00");
});

test("where the host has less room panels wrap, and the slider is as wide as they are", () => {
  const host = watching();
  const stage = show();
  const after = (room) => [host.to(room), stage.main().style.width, stage.main().style.height, stage.find(".nb-way").style.width].slice(1);
  expect([after(842), after(480), after(300)]).toEqual([["842px", "370px", "842px"], ["480px", "756px", "480px"], ["300px", "1142px", "300px"]]);
});

test("names are drawn as they are, cut where they are too long, and never made into markup", () => {
  const stage = show({ parts: HOSTILE.slice(0, 4), sides: HOSTILE.slice(2, 4), missing: [] });
  expect(texts(stage.main())).toEqual(expect.arrayContaining(["<bos>", "<s>", "<img src=x…", "projection on <img src=x…"]));
  expect(stage.all(".nb-legend > *").map(({ textContent }) => textContent)).toEqual(expect.arrayContaining(HOSTILE.slice(2, 4)));
  expect(document.querySelectorAll("script, img, s, bos, [onerror]")).toHaveLength(0);
});

test("a page without a kernel has the same slider", () => {
  const page = show({}, 1, { kernel: false });
  drags(page, -0.25);
  expect(said(page)).toEqual([-0.25, "−0.25", -0.25]);
});
