import { afterEach, expect, test } from "vitest";
import view, {
  among, grain, kept, layout, led, opened, readout, slid, snapped, spot, strength,
} from "../../nbtools/views/circuit/circuit.js";
import { FORMS, HOSTILE, circuitFrame } from "./frames.js";
import { click, drawings, hover, leave, mount, picture, press, smuggled, tap, watching, written } from "./stage.js";

const BOTH = ["IOI", "colored objects"];
const show = (options, traits = {}, host = {}) =>
  mount(view, { _frame: circuitFrame(options), title: "", threshold: 0, node: "", shown: "both", ...traits }, host);
const slider = (stage) => stage.find("input");
const frame = () => new Promise((done) => requestAnimationFrame(() => done()));
const drags = (stage, value) => {
  slider(stage).value = value;
  slider(stage).dispatchEvent(new Event("input", { bubbles: true }));
};
const place = (label, options) => {
  const made = circuitFrame(options);
  const one = opened(made).nodes.find((node) => node.label === label);
  return layout(made).at(one.x, one.y);
};
// The edges that are drawn, each with its first point, colour, width, dashes and strength of paint.
const edges = (stage) => picture(stage.main()).flatMap(({ name, args, strokeStyle, lineWidth, globalAlpha }, at, calls) => {
  const curved = name === "stroke" && args[0].steps[1][0] === "bezierCurveTo";
  return curved ? [{ start: args[0].steps[0].slice(1).map(Math.round), strokeStyle, lineWidth, globalAlpha, dashes: calls[at - 1].args[0] }] : [];
});
const outlines = (stage) => picture(stage.main()).flatMap(({ name, args, strokeStyle, globalAlpha }, at, calls) =>
  name === "stroke" && args[0].steps[1][0] === "lineTo" ? [{ strokeStyle, globalAlpha, dashes: calls[at - 1].args[0] }] : []);
const alphas = (stage) => Object.fromEntries(picture(stage.main(), "fillText").filter(({ args }) => /\./.test(args[0])).map(({ args, globalAlpha }) => [args[0], globalAlpha]));

afterEach(async () => {
  await frame(); // what was asked for is drawn before the canvas goes
});

test("slots are as wide as the host allows, within bounds; rows are as high as the frame says", () => {
  const made = circuitFrame();
  expect([844, 300, 100].map((room) => layout(made, room).slot)).toEqual([96, 72, 46]);
  expect(layout(made)).toMatchObject({ width: 379, height: 26 + 3 * 80 + 46 });
  expect([layout(made).at(0, 3), layout(made).at(1, 0)]).toEqual([[40, 26], [136, 266]]);
});

test("a frame is opened node by node and edge by edge, from bytes at odd offsets too", () => {
  const { nodes, edges: ways, two } = opened(circuitFrame());
  expect([nodes.length, ways.length, two]).toEqual([5, 6, false]);
  expect(nodes[1]).toMatchObject({ at: 1, label: "20.0@END", y: 1, shape: 0, side: 1 });
  expect([nodes[0].effects, nodes[1].effects.map((effect) => effect.toFixed(1))]).toEqual([[NaN], ["0.1"]]);
  expect(ways[1]).toMatchObject({ sender: 1, receiver: 2, through: 1, side: 1, offset: 0 });
  expect(ways[1].path.map(([, y]) => y)).toEqual([1, 2]);
  expect(ways.map(({ effects }) => Number(effects[0].toFixed(1)))).toEqual([0.1, -0.2, 0.3, -0.4, 0.5, -0.6]);
  expect(opened(circuitFrame({ form: FORMS.ArrayBuffer }))).toEqual(opened(circuitFrame()));
});

test("of two circuits each effect belongs to one, and the larger counts where both are on show", () => {
  const { nodes, edges: ways, two } = opened(circuitFrame({ names: BOTH }));
  expect([two, nodes.map(({ side }) => side)]).toEqual([true, [1, 0, 0, 2, 0]]);
  expect(ways[0].effects.map(Number.isFinite)).toEqual([true, false]);
  const edge = { effects: [0.2, -0.3] };
  expect(["both", "first", "second", "shared"].map((shown) => strength(edge, shown))).toEqual([-0.3, 0.2, -0.3, -0.3]);
  expect([strength({ effects: [NaN, 0.1] }, "both"), strength({ effects: [NaN, 0.1] }, "first")]).toEqual([0.1, NaN]);
  expect(["both", "first", "second", "shared"].map((shown) => [0, 1, 2].filter((side) => among(side, shown)))).toEqual([[0, 1, 2], [0, 1], [0, 2], [0]]);
});

test("edges below the threshold are not kept, and an effect that equals it is", () => {
  const graph = opened(circuitFrame());
  const sizes = (threshold) => kept(graph, { threshold, most: 0.5, shown: "both" }).map(({ effects }) => Math.round(10 * effects[0]));
  expect([sizes(0), sizes(0.3), sizes(0.35), sizes(1)]).toEqual([[1, -2, 3, -4, 5, -6], [3, -4, 5, -6], [-4, 5, -6], []]);
});

test("a point is on the node whose box it lies in", () => {
  const made = circuitFrame();
  const [box, { nodes }] = [layout(made), opened(made)];
  const under = ([x, y], [dx, dy] = [0, 0]) => spot({ nodes }, box, made.shapes, x + dx, y + dy)?.label;
  expect([under(place("23.0@END")), under(place("23.0@END"), [20, 14]), under(place("logits"), [37, 0])]).toEqual(["23.0@END", "23.0@END", "logits"]);
  expect([under(place("23.0@END"), [22, 0]), under(place("23.0@END"), [0, 16]), under([0, 0])]).toEqual([undefined, undefined, undefined]);
});

test("arrows lead to the nearest node of the next line, across within a line, and from its end to another column", () => {
  const { nodes } = opened(circuitFrame());
  const by = (label) => nodes.find((one) => one.label === label);
  const to = (label, ...pressed) => pressed.map((key) => led(key, by(label), nodes)?.label);
  expect(to("logits", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight")).toEqual(["23.0@END", "logits", "logits", "logits"]);
  expect(to("23.0@END", "ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "End", "Home")).toEqual(["23.1@END", "23.0@END", "logits", "20.0@END", "23.1@END", "23.0@END"]);
  expect(to("20.0@END", "ArrowDown", "ArrowLeft", "ArrowUp")).toEqual(["17.4@S2", "17.4@S2", "23.0@END"]);
  expect(to("17.4@S2", "ArrowRight", "ArrowUp", "Enter", "a")).toEqual(["20.0@END", "20.0@END", undefined, undefined]);
});

test("the threshold is set in round steps, and keys move it by a fiftieth or a fifth", () => {
  expect([grain(0.52), grain(0.1), grain(30)]).toEqual([0.001, 0.001, 0.1]);
  expect([snapped(0.12345, 0.52), snapped(0.9, 0.52), snapped(-1, 0.52)]).toEqual([0.123, 0.52, 0]);
  expect(["ArrowUp", "ArrowLeft", "PageUp", "PageDown", "Home", "End", "a"].map((key) => slid(key, 0.1, 0.5))).toEqual([0.11, 0.09, 0.2, 0, 0, 0.5, null]);
});

test("the read-out says role and effect, where edges come from, and where they lead, the strongest first", () => {
  const made = circuitFrame();
  const say = (label, threshold = 0) => {
    const graph = opened(made);
    return readout(made, graph, made.nodes.indexOf(label), kept(graph, { threshold, most: 0.5, shown: "both" }));
  };
  expect(say("20.0@END")).toBe("20.0 at END · effect 0.100 · from 17.4 at S2 (v, 0.100) · to logits (−0.600), 23.1 (q, 0.300), 23.0 (q, −0.200)");
  expect(say("23.0@END")).toBe("23.0 at END · name mover · effect 0.200 · from 20.0 (q, −0.200) · to logits (−0.400)");
  expect([say("17.4@S2", 0.2), say("23.0@END", 0.3)]).toEqual(["17.4 at S2 · induction · no edge on show", "23.0 at END · name mover · effect 0.200 · to logits (−0.400)"]);
});

test("of two circuits the read-out says which has what", () => {
  const made = circuitFrame({ names: BOTH });
  const graph = opened(made);
  const say = (label) => readout(made, graph, made.nodes.indexOf(label), graph.edges);
  expect(say("17.4@S2")).toBe("17.4 at S2 · induction · only in IOI · to 20.0 at END (v, 0.100)");
  expect(say("23.0@END")).toBe("23.0 at END · name mover · in both · effect IOI 0.200, colored objects 0.200 · " +
    "from 20.0 (q, IOI −0.200, colored objects −0.200) · to logits (IOI −0.400, colored objects −0.400)");
});

test("more edges than can be read are counted", () => {
  const made = { ...circuitFrame(), called: Array(7).fill("a"), texts: Array(7).fill("a"), places: Array(7).fill(""), roles: Array(7).fill("") };
  const node = { side: 1, effects: [NaN] };
  const ways = Array.from({ length: 6 }, (_, at) => ({ sender: at + 1, receiver: 0, through: 0, effects: [at / 10] }));
  expect(readout(made, { nodes: Array(7).fill(node), edges: ways, two: false }, 0, ways)).toBe(
    "a · from a (0.500), a (0.400), a (0.300), a (0.200) and 2 more");
});

test("an edge is as wide as its effect is large, and dashed where that is negative", () => {
  const drawn = edges(show());
  expect(drawn.map(({ lineWidth, strokeStyle, dashes }) => [Math.round(10 * lineWidth) / 10, strokeStyle, dashes.length])).toEqual([
    [6, "#d6604d", 2], [6, "#3f7fd0", 0], [5, "#d6604d", 2], [4, "#3f7fd0", 0], [3, "#d6604d", 2], [2, "#3f7fd0", 0],
  ]);
  expect(drawn[0].start).toEqual([...place("20.0@END")].map((edge, at) => Math.round(edge - 15 * at)));
});

test("q, k and v stand once below each head into which edges lead", () => {
  const texts = written(show().main());
  expect([texts.filter((text) => text === "q").length, texts.filter((text) => text === "v").length, texts.includes("k")]).toEqual([2, 1, false]);
});

test("of two circuits a shared edge is a double line, and one of the second alone is beads on a string", () => {
  const stage = show({ names: BOTH });
  const white = edges(stage).filter(({ strokeStyle }) => strokeStyle === "#fff");
  const beads = edges(stage).filter(({ dashes }) => dashes[0] === 0.01);
  expect([white.length, beads.length, edges(stage).length]).toEqual([3, 2, 11]);
  expect(outlines(stage).map(({ dashes }) => dashes.length)).toEqual([0, 0, 0, 0, 0, 2, 0, 0]); // three double, one broken
});

test("buttons choose which of two circuits is on show, by hand and by arrows", () => {
  const stage = show({ names: BOTH });
  const buttons = stage.all("[role=radio]");
  expect(buttons.map(({ textContent }) => textContent)).toEqual(["both", ...BOTH, "shared"]);
  expect(buttons.map((button) => [button.getAttribute("aria-checked"), button.tabIndex])).toEqual([["true", 0], ["false", -1], ["false", -1], ["false", -1]]);
  buttons[2].click();
  expect([stage.model.get("shown"), stage.model.saves, written(stage.main()).includes("17.4")]).toEqual(["second", 1, false]);
  expect(edges(stage).some(({ strokeStyle }) => strokeStyle === "#fff")).toBe(false); // of one circuit, plain lines
  press(buttons[2], "ArrowRight");
  expect([stage.model.get("shown"), document.activeElement]).toEqual(["shared", buttons[3]]);
  ["ArrowRight", "ArrowLeft", "ArrowUp"].forEach((key) => press(buttons[3], key));
  expect([stage.model.get("shown"), stage.heard]).toEqual(["second", []]);
  expect(show().find(".nb-choice").hidden).toBe(true);
});

test("a pinned node that is not on show rests, and is pinned again when it is", () => {
  const stage = show({ names: BOTH }, { node: "17.4@S2" });
  const before = stage.read();
  stage.model.receive({ shown: "second" });
  expect([stage.read(), stage.model.get("node")]).toEqual(["", "17.4@S2"]);
  stage.model.receive({ shown: "both" });
  expect(stage.read()).toBe(before);
  expect(show({}, { node: "nobody" }).read()).toBe("");
});

test("the legend says what widths, dashes and shapes are, and counts what two circuits share", () => {
  expect(show().find(".nb-legend").textContent).toBe("effect0.5000.050negativeinductionMLP");
  const stage = show({ names: BOTH });
  expect(stage.all(".nb-legend > div").at(-1).textContent).toBe("shared 2only IOI 1only colored objects 1");
  expect(stage.find(".nb-sign-role i").getAttribute("style")).toContain("polygon(0% 0%, 100% 0%");
  expect([show().main(), stage.main(), show({ names: ["IOI"] }).main()].map((canvas) => canvas.getAttribute("aria-label"))).toEqual([
    "circuit: 5 nodes, 6 edges", "circuits of IOI and colored objects: 5 nodes, 6 edges", "circuit of IOI: 5 nodes, 6 edges"]);
});

test("hovering a node lets its edges stand out and dims the others", () => {
  const stage = show();
  hover(stage.main(), place("23.0@END"));
  const strong = edges(stage).filter(({ globalAlpha }) => globalAlpha === 1);
  expect([strong.length, edges(stage).length]).toEqual([2, 6]);
  expect(alphas(stage)).toEqual({ "17.4": 0.35, "20.0": 1, "23.0": 1, "23.1": 0.35 });
  expect([stage.read().startsWith("23.0 at END · name mover"), stage.main().style.cursor]).toEqual([true, "pointer"]);
  leave(stage.main());
  expect([edges(stage).every(({ globalAlpha }) => globalAlpha === 1), stage.read(), stage.main().style.cursor]).toEqual([true, "", ""]);
});

test("a node that is left without an edge is dimmed", async () => {
  const stage = show({}, { threshold: 0.25 });
  expect(alphas(stage)).toEqual({ "17.4": 0.35, "20.0": 1, "23.0": 1, "23.1": 1 });
  stage.model.receive({ threshold: 0.5 });
  await frame();
  expect(alphas(stage)).toMatchObject({ "20.0": 1, "23.0": 0.35, "23.1": 1 });
});

test("the slider is labelled, reaches from 0 to the largest effect, and says where it is", () => {
  const stage = show({}, { threshold: 0.25 });
  expect([slider(stage).min, slider(stage).max, slider(stage).value, slider(stage).getAttribute("aria-valuetext")]).toEqual(["0", "0.5", "0.25", "0.250"]);
  expect(slider(stage).labels[0].textContent).toContain("hide edges below");
});

test("a drag sets the threshold at once, and draws once for each frame of the screen", async () => {
  const stage = show();
  const before = drawings(stage.main());
  [0.1, 0.2, 0.3, 0.35].forEach((value) => drags(stage, value));
  expect([stage.model.get("threshold"), stage.model.saves, drawings(stage.main())]).toEqual([0.35, 4, before]);
  await frame();
  expect([drawings(stage.main()), edges(stage).length, stage.find("output").textContent]).toEqual([before + 1, 3, "0.350"]);
  await frame();
  expect(drawings(stage.main())).toBe(before + 1);
});

test("curves are made when the layout changes, and not when the picture is drawn again", async () => {
  const made = [];
  globalThis.Path2D = class extends globalThis.Path2D { constructor() { super(); made.push(this); } };
  const stage = show();
  const count = made.length;
  drags(stage, 0.2);
  await frame();
  hover(stage.main(), place("23.0@END"));
  expect([count, made.length]).toEqual([5 * 2 + 6, count]);
});

test("a view that is gone before the next frame draws nothing more", async () => {
  const stage = show();
  drags(stage, 0.3);
  const before = drawings(stage.main());
  stage.leave();
  await frame();
  expect(drawings(stage.main())).toBe(before);
});

test("the slider's keys move it and do not reach the notebook; others, and those with Ctrl, do", () => {
  const stage = show();
  const keys = ["End", "ArrowDown", "PageDown", "Home", "ArrowRight", "PageUp"];
  expect(keys.map((key) => press(slider(stage), key) && stage.model.get("threshold"))).toEqual([0.5, 0.49, 0.39, 0, 0.01, 0.11]);
  expect(stage.heard).toEqual([]);
  ["a", "Tab"].forEach((key) => press(slider(stage), key));
  press(slider(stage), "End", { ctrlKey: true });
  expect([stage.heard, stage.model.get("threshold")]).toEqual([["a", "Tab", "End"], 0.11]);
});

test("a pinned node has a frame of its own, while another one is looked at", () => {
  const stage = show({}, { node: "23.1@END" });
  expect(outlines(stage).filter(({ strokeStyle }) => strokeStyle === "#d9480f").length).toBe(1);
  hover(stage.main(), place("17.4@S2"));
  expect(outlines(stage).map(({ strokeStyle }) => strokeStyle).filter((colour) => colour === "#d9480f").length).toBe(1);
  expect(stage.read().startsWith("17.4 at S2")).toBe(true);
  tap(stage.main(), place("17.4@S2"));
  expect(stage.model.get("node")).toBe("17.4@S2");
  click(stage.main(), [2, 2]); // on nothing
  expect(stage.model.get("node")).toBe("17.4@S2");
});

test("it takes the width of its host, and is laid out again when that changes", () => {
  const host = watching();
  const stage = show();
  host.to(300);
  expect(stage.main().style.width).toBe("297px");
  host.to(100);
  expect(stage.main().style.width).toBe("209px"); // and is scrolled
});

test("names of circuits, roles and positions are never markup", () => {
  const stage = show({ names: [HOSTILE[2], HOSTILE[3]], legend: [[0, HOSTILE[3]]] });
  expect([stage.all("[role=radio]")[1].textContent, stage.find(".nb-sign-role").textContent, smuggled()]).toEqual([HOSTILE[2], HOSTILE[3], 0]);
});
