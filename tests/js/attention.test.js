import { expect, test } from "vitest";
import view, { layout, moved, pooled, refitted, revealed, spot, strands, unpack } from "../../nbtools/views/attention/attention.js";
import { LUT, attentionState, level } from "./frames.js";
import { click, drag, drawings, frames, hover, leave, mount, picture, press, tap, watching, written } from "./stage.js";

// The longest of the seven tokens takes 14 letters of 7 pixels; cells have 24.
const BOX = layout(7, 98);
const row = (at) => BOX.top + 24 * at + 12;
const cell = (query, key) => [BOX.matrix + 24 * key + 12, row(query)];
const show = (options, traits, how) =>
  mount(view, { ...attentionState(options), head: "4.0", query: null, title: "", _wanted: -1, ...traits }, how);
const buttons = (stage) => stage.all("[data-head]");
const heads = (stage) => buttons(stage).map((button) => button.dataset.head);
const pixels = (drawn) => [...picture(drawn.args[0], "putImageData")[0].args[0].data];
const matrix = (stage) => picture(stage.main(), "drawImage")[0];
const ends = (stage, name) => picture(stage.main(), name).map((call) => call.args);
const opaque = (index) => [...LUT.slice(3 * index, 3 * index + 3), 255];
const pattern = (head) => Array.from({ length: 49 }, (_, at) => opaque(level(head, Math.floor(at / 7), at % 7))).flat();
const numbered = (count) => ({ tokens: Array.from({ length: count }, (_, at) => `t${at}`), pages: [["4.0"]] });

test("keys, lines, queries and matrix stand side by side; many tokens have small cells without names", () => {
  const places = { top: 53.5, lines: 54, queries: 144, matrix: 202, width: 331, height: 153.5 };
  expect(layout(4, 50)).toEqual({ count: 4, widest: 50, shown: 4, cell: 24, named: true, label: 50, letters: 14, ...places });
  expect(layout(4, 200).top).toBe(106);
  const sizes = [1, 18, 19, 40, 41, 128].map((count) => layout(count, 9)).map((box) => [box.cell, box.named]);
  expect(sizes).toEqual([[24, true], [24, true], [23, true], [11, true], [10, false], [3, false]]);
});

test("of more than 128 tokens 40 are shown", () => {
  expect([128, 129].map((count) => layout(count, 9).shown)).toEqual([128, 40]);
  expect(layout(129, 9)).toMatchObject({ count: 129, cell: 11, named: true, width: 9 + 4 + 90 + 9 + 8 + 440 + 5 + 8 });
});

test("where there is less room, lines get shorter, then cells smaller, then names, then cells down to 3 pixels", () => {
  const natural = layout(20, 90);
  const at = (room) => [layout(20, 90, room)].map((box) => [box.queries - box.lines, box.label, box.cell, box.width].join())[0];
  expect([at(Infinity), at(natural.width)]).toEqual(["90,90,22,775", "90,90,22,775"]);
  expect([at(774), at(725), at(724), at(505)]).toEqual(["40,90,22,725", "40,90,22,725", "40,90,21,705", "40,90,11,505"]);
  expect([at(504), at(420), at(419)]).toEqual(["40,56,15,500", "40,56,11,420", "40,56,10,400"]);
  expect([at(260), at(259), at(0)]).toEqual(["40,56,3,260", "40,56,3,260", "40,56,3,260"]);
  expect(layout(20, 90, 400)).toMatchObject({ shown: 20, named: false, letters: 8, matrix: 60 + 40 + 64, height: 56 * 0.87 + 214 });
  const fits = (count, room) => [layout(count, 97, room)].every(({ width, cell }) => width <= room || cell === 3);
  for (const count of [1, 7, 40, 128, 300]) for (let room = 0; room < 1200; room++) expect(fits(count, room)).toBe(true);
});

test("no layout leads to another, whatever the host makes of its size", () => {
  const settled = (box, host) => {
    for (let round = 0; round < 9; round++) {
      const next = refitted(box, host(box));
      if (next === box) return round;
      box = next;
    }
    return Infinity;
  };
  const hosts = {
    "has its own width": (room) => () => room,
    "hugs the view": (room) => (box) => Math.min(box.width, room),
    "has a scroll bar beside a tall view": (room) => (box) => (box.height > 400 ? room - 17 : room),
  };
  for (const host of Object.values(hosts))
    for (let room = 300; room < 1000; room++)
      for (const widest of [40, 97])
        for (const start of [Infinity, 700, 500, 300]) expect(settled(layout(20, widest, start), host(room))).toBeLessThan(4);
  const box = layout(20, 60, 500);
  expect([490, 529, 530].map((room) => refitted(box, room).cell - box.cell)).toEqual([0, 0, 1]);
});

test("a small room has short names", () => {
  const host = watching();
  const stage = show();
  host.to(350);
  expect(written(stage.main()).filter((text) => text.startsWith("<"))).toEqual(["<bos>", "<s>", "</scrip…", "<img·sr…"].flatMap((text) => [text, text, text]));
});

test("it is drawn again when the room lets its cells have another size, and only then", () => {
  const host = watching();
  const stage = show(numbered(20));
  const [natural, before] = [matrix(stage).args[7], drawings(stage.main())];
  const after = (room) => [host.to(room), matrix(stage).args[7], drawings(stage.main()) - before].slice(1);
  expect([natural, after(2000), after(515), after(513), after(2000)]).toEqual([440, [440, 0], [400, 1], [400, 1], [440, 2]]);
});

test("a point is on a cell, a query, a key or nothing, counted from where the window begins", () => {
  const box = { ...layout(4, 50), count: 200 };
  const on = (from, ...points) => points.map(([x, y]) => Object.entries(spot(box, x, y, from) ?? {}).join(" "));
  const cells = ["query,0 key,0", "query,0 key,0", "query,0 key,1", "query,1 key,0", "query,3 key,2"];
  expect(on(undefined, [202, 53.5], [225.9, 77.4], [226, 53.5], [202, 77.5], [273.9, 149.4])).toEqual(cells);
  expect(on(undefined, [298, 53.5], [202, 149.5], [202, 53.4], [143.9, 77.5], [54, 77.5], [0, 53.4])).toEqual(Array(6).fill(""));
  expect(on(undefined, [144, 77.5], [201.9, 77.5], [0, 149.4], [53.9, 77.5]).join("; "))
    .toBe("query,1 key,; query,1 key,; query, key,3; query, key,1");
  expect(on({ query: 100, key: 7 }, [226, 53.5], [144, 77.5], [0, 77.5]).join("; "))
    .toBe("query,100 key,8; query,101 key,; query, key,8");
});

test("the window moves as little as is needed, and not beyond the prompt", () => {
  const to = (query, key) => Object.values(revealed({ count: 200, shown: 40 }, { query: 10, key: 100 }, { query, key })).join();
  expect([to(10, 139), to(49, null), to(null, 100)]).toEqual(["10,100", "10,100", "10,100"]);
  expect([to(50, 140), to(9, 99), to(0, 199)]).toEqual(["11,101", "9,99", "0,160"]);
});

test("causal levels get their empty half back, full ones are taken as they are", () => {
  const packed = Uint8Array.of(1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16);
  const causal = [0, 1].map((head) => [...unpack(packed, head, 3, true)]);
  expect(causal).toEqual([[1, 0, 0, 2, 3, 0, 4, 5, 6], [11, 0, 0, 12, 13, 0, 14, 15, 16]]);
  expect([0, 2].map((head) => [...unpack(packed, head, 2, false)])).toEqual([[1, 2, 3, 4], [13, 14, 15, 16]]);
});

test("in a small picture the strongest of each block survives", () => {
  expect([...pooled([1, 9, 2, 3, 4, 8, 5, 6, 7], 3, 2)]).toEqual([9, 8, 6, 7]);
  expect([...pooled([1, 2, 3, 4], 2, 2)]).toEqual([1, 2, 3, 4]);
});

test("lines are those of a query, those into a key, or all, if they are strong enough and in the window", () => {
  const shares = [255, 0, 0, 51, 204, 0, 10, 11, 234]; // 1; 0.2, 0.8; 0.039, 0.043, 0.918
  const box = { count: 3, shown: 3 };
  const pairs = (...more) => strands(shares, ...more).map(([query, key]) => `${query}${key}`).join(" ");
  expect(pairs(box, null)).toBe("00 10 11 22");
  expect([0, 2].map((query) => pairs(box, { query, key: null }))).toEqual(["00", "21 22"]);
  expect([0, 1].map((key) => pairs(box, { query: null, key }))).toEqual(["00 10", "11 21"]);
  expect(strands(shares, box, { query: 1, key: 0 })).toEqual([[1, 0, 0.2], [1, 1, 0.8]]);
  expect(pairs({ count: 3, shown: 2 }, null, { query: 1, key: 0 })).toBe("10 11");
});

test("arrows lead one cell on and stop at the edges; other keys lead nowhere", () => {
  const from = (query, key) => ["Right", "Left", "Down", "Up"].map((way) =>
    Object.values(moved(`Arrow${way}`, { query, key }, 3)).join());
  expect(from(1, 1)).toEqual(["1,2", "1,0", "2,1", "0,1"]);
  expect([from(0, 0), from(2, 2)]).toEqual([["0,1", "0,0", "1,0", "0,0"], ["2,2", "2,1", "2,2", "1,2"]]);
  expect(moved("End", { query: 1, key: 1 }, 3)).toBeNull();
});

test.each([["causal", true], ["full", false]])("the matrix has a row for each query, from %s levels", (_, causal) => {
  const drawn = matrix(show({ causal }, { head: "5.1" }));
  expect(pixels(drawn)).toEqual(pattern(3));
  expect(drawn.args.slice(1)).toEqual([0, 0, 7, 7, BOX.matrix, BOX.top, 168, 168]);
  expect([drawn.imageSmoothingEnabled, drawn.globalAlpha]).toEqual([false, 1]);
});

test("each token is written as key, as query and above the matrix, literally", () => {
  const texts = ["<bos>", "<s>", "</script><scr…", "<img·src=x·on…", "↵", "·", "⇥"];
  expect(written(show().main())).toEqual(texts.flatMap((text) => [text, text, text]));
});

test("the pinned query has its row framed, its name in bold, and lines from its keys, strong as the attention", () => {
  const stage = show({}, { query: 2 });
  const bold = picture(stage.main(), "fillText").filter((call) => call.font.startsWith("bold"));
  expect(bold.map((call) => call.args)).toEqual([["</script><scr…", BOX.queries + 4, row(2), 104]]);
  expect(frames(stage.main())).toEqual([[BOX.matrix, BOX.top + 48, 168, 24]]);
  const strokes = picture(stage.main(), "stroke").map((call) => [call.globalAlpha.toFixed(2), call.lineWidth.toFixed(2)]);
  expect(ends(stage, "moveTo")).toEqual([0, 1, 2].map((key) => [BOX.lines, row(key)]));
  expect(ends(stage, "lineTo")).toEqual([0, 1, 2].map(() => [BOX.queries, row(2)]));
  expect(strokes).toEqual([["0.23", "0.70"], ["0.23", "0.71"], ["1.00", "3.00"]]);
});

test("a prompt of many tokens has lines and names only where the hand is", () => {
  const [full, none] = [64, 65].map((count) => ends(show(numbered(count)), "stroke").length);
  expect([full > 64, none]).toEqual([true, 0]);
  expect(written(show(numbered(65), { query: 30 }).main())).toEqual(["t30"]);
});

test("the read-out names what the pointer is on", () => {
  const stage = show();
  const places = [cell(4, 2), cell(2, 4), [BOX.queries + 1, row(5)], [1, row(6)], [BOX.lines + 1, row(3)]];
  expect(places.map((at) => hover(stage.main(), at) ?? stage.read())).toEqual([
    "query 4 “↵” → key 2 “</script><script>x”  0.09", "query 2 “</script><script>x” → key 4 “↵”  0.00",
    "query 5 “·” → most to key 5 “·”  1.00", "into key 6 “⇥”", "",
  ]);
});

test("the read-out follows the head, and knows what a full level stands for", () => {
  const stage = show({ vmax: 0.5 }, { query: 5 });
  expect(stage.read()).toBe("query 5 “·” → most to key 5 “·”  0.50");
  stage.model.receive({ head: "5.0" });
  expect(stage.read()).toBe("query 5 “·” → most to key 1 “<s>”  0.46");
});

test("a range of small numbers has as many lines, and digits that tell them apart", () => {
  const strokes = [1, 0.1, 0.002].map((vmax) => picture(show({ vmax }).main(), "stroke").map((call) => [call.globalAlpha, call.lineWidth]));
  expect([strokes[0].length > 6, strokes[1], strokes[2]]).toEqual([true, strokes[0], strokes[0]]);
  const reads = [0.1, 0.0999, 0.002, 0.00002].map((vmax) => show({ vmax }, { query: 5, head: "5.0" }).read().split("  ")[1]);
  expect(reads).toEqual(["0.09", "0.092", "0.002", "1.84e−5"]);
});

test("each head of the layer has a button with its pattern; the one on show is checked and in the order of Tab", () => {
  const stage = show({}, { head: "5.1" });
  expect(buttons(stage).map((button) => button.textContent)).toEqual(["5.0", "5.1", "5.2"]);
  expect(buttons(stage).map((button) => button.getAttribute("aria-checked"))).toEqual(["false", "true", "false"]);
  expect(buttons(stage).map((button) => button.tabIndex)).toEqual([-1, 0, -1]);
  expect(pixels(picture(buttons(stage)[2].firstChild, "drawImage")[0])).toEqual(pattern(4));
});

test("a click on a button shows its head and keeps the pinned query; beside the buttons it does nothing", () => {
  const stage = show({}, { query: 5 });
  stage.find(".nb-heads").click();
  expect([stage.model.get("head"), stage.model.saves]).toEqual(["4.0", 0]);
  buttons(stage)[1].lastChild.click();
  expect([stage.model.get("head"), stage.model.get("query"), stage.model.saves]).toEqual(["4.1", 5, 1]);
  expect(stage.main().getAttribute("aria-label")).toBe("attention of head 4.1 over 7 tokens");
  expect(pixels(matrix(stage))).toEqual(pattern(1));
});

test("arrows lead from button to button, around the ends; other keys reach the notebook", () => {
  const stage = show({}, { head: "5.0" });
  buttons(stage)[0].focus();
  const found = ["Left", "Up", "Right", "Down"].map((way) =>
    press(document.activeElement, `Arrow${way}`).defaultPrevented && document.activeElement.dataset.head);
  expect([found, stage.model.get("head"), stage.heard]).toEqual([["5.2", "5.1", "5.2", "5.0"], "5.0", []]);
  expect([press(document.activeElement, "Escape").defaultPrevented, stage.heard]).toEqual([false, ["Escape"]]);
});

test("layers are turned by button and key, to the same head if there is one, and not beyond the last", () => {
  const stage = show({}, { head: "5.2" });
  const [earlier, later] = stage.all(".nb-turn");
  const turns = [() => later.click(), () => earlier.click(), () => earlier.click(), () => press(stage.main(), "PageDown"),
    () => press(stage.main(), "PageUp")].map((turn) => [turn(), stage.model.get("head")][1]);
  expect(turns).toEqual(["5.2", "4.1", "4.1", "5.1", "4.1"]);
  expect([heads(stage), pixels(matrix(stage)), stage.heard]).toEqual([["4.0", "4.1"], pattern(1), []]);
});

test("what there is no choice of has no buttons, and an unknown head gives way to the first of its layer", () => {
  const hidden = (pages) => [".nb-bar", ".nb-turn"].map((place) => show({ pages }).find(place).hidden);
  expect([[["4.0"]], [["4.0", "4.1"]], [["4.0"], ["5.0"]]].map(hidden)).toEqual([[true, true], [false, true], [false, false]]);
  const stage = show({}, { head: "5.1" });
  stage.model.receive({ head: "9.9" });
  expect(stage.find("[aria-checked=true]").dataset.head).toBe("5.0");
});

test("a layer that has not come is asked for, and drawn when it comes", () => {
  const [whole, part] = [attentionState(), attentionState({ sent: [0] })];
  const stage = show({}, { ...part, query: 5 });
  expect(stage.model.get("_wanted")).toBe(-1);
  stage.model.receive({ head: "5.1" });
  expect([stage.model.get("_wanted"), stage.model.saves > 0, stage.read()]).toEqual([1, true, "…"]);
  stage.model.receive({ _pages: { serial: part._frame.serial - 1, levels: whole._pages.levels } });
  expect(stage.read()).toBe("…"); // those were of another frame
  stage.model.receive({ _pages: { serial: part._frame.serial, levels: { 1: whole._pages.levels[1] } } });
  expect(stage.read()).toBe("query 5 “·” → most to key 2 “</script><script>x”  0.88");
  expect(pixels(picture(buttons(stage)[2].firstChild, "drawImage")[0])).toEqual(pattern(4));
  stage.model.receive({ head: "4.1" });
  expect([stage.model.get("_wanted"), pixels(matrix(stage))]).toEqual([1, pattern(1)]);
  stage.model.receive({ _frame: whole._frame });
  expect(stage.read()).toBe("…"); // what came before was of another frame
});

test("a page without a kernel asks for nothing and says that the layer was left out", () => {
  const stage = show({ sent: [0] }, { head: "5.0" }, { kernel: false });
  expect([stage.model.get("_wanted"), stage.read()]).toEqual([-1, expect.stringContaining("left out")]);
});

test("a long prompt has a window that follows pin and arrows, and an overview that moves it", () => {
  const [stage, started] = [show(numbered(200)), show(numbered(200), { query: 100 })];
  const overview = stage.find(".nb-overview");
  const from = ({ main }) => picture(main(), "drawImage")[0].args.slice(1, 5).join();
  Array(41).fill("ArrowDown").forEach((key) => press(stage.main(), key));
  expect([from(started), from(stage)]).toEqual(["61,61,40,40", "0,2,40,40"]);
  stage.model.receive({ query: 100 });
  expect(from(stage)).toBe("61,61,40,40");
  drag(overview, [100, 150]);
  hover(overview, [0, 0]); // the pointer passes without a button down
  expect([from(stage), frames(overview)]).toEqual(["80,130,40,40", [[80, 130, 40, 40]]]);
  drag(overview, [100, 150], [199, 1]);
  expect(from(stage)).toBe("160,0,40,40");
  expect(pixels(picture(overview, "drawImage")[0])).toHaveLength(4 * 200 * 200);
  expect([overview.hidden, show().find(".nb-overview").hidden]).toEqual([false, true]);
});

test("a pin from outside takes both sides of the window along, and the keyboard; one by hand leaves the window", () => {
  const stage = show(numbered(200), { query: 150 });
  const from = () => picture(stage.main(), "drawImage")[0].args.slice(1, 3).join();
  const windows = [20, null, 100].map((query) => [stage.model.receive({ query }), from()][1]);
  expect(windows).toEqual(["20,20", "20,20", "61,61"]);
  press(stage.main(), "ArrowDown");
  expect([stage.read().split(" →")[0], from()]).toEqual(["query 101 “t101”", "61,62"]);
  drag(stage.find(".nb-overview"), [30, 170]);
  expect(from()).toBe("10,150");
  const box = layout(200, 28);
  click(stage.main(), [box.matrix + 5.5 * box.cell, box.top + 2.5 * box.cell]);
  expect([from(), stage.model.get("query")]).toEqual(["10,150", 152]);
  press(stage.main(), "ArrowRight");
  expect([from(), stage.read().split("  ")[0]]).toEqual(["10,150", "query 152 “t152” → key 16 “t16”"]);
});

test("the keyboard goes on from what was clicked, also if that is one token", () => {
  const stage = show();
  const after = (...at) => [tap(stage.main(), at), press(stage.main(), "ArrowRight"), stage.read().match(/\d+ “/g).join("")][2];
  const clicked = [after(...cell(3, 1)), after(BOX.queries + 1, row(5)), after(1, row(4))];
  expect(clicked).toEqual(["3 “2 “", "5 “3 “", "5 “5 “"]);
});

test("a key that pins a query brings it into the window", () => {
  const stage = show(numbered(200), { query: 100 });
  drag(stage.find(".nb-overview"), [0, 0]);
  press(stage.main(), "Enter");
  press(stage.main(), "Enter");
  expect([stage.model.get("query"), picture(stage.main(), "drawImage")[0].args[2]]).toEqual([100, 61]);
});

test("a mouse that has let go leaves all lines", () => {
  const [stage, all] = [show(), ends(show(), "moveTo")];
  tap(stage.main(), [1, row(3)]); // a key, which is not pinned
  leave(stage.main());
  expect([ends(stage, "moveTo"), frames(stage.main()), stage.read()]).toEqual([all, [], ""]);
});

test("a new frame or layer leaves the focus on the button of the head on show, and takes none", () => {
  const [whole, part] = [attentionState(), attentionState({ sent: [1] })];
  const stage = show({}, { head: "5.0" });
  stage.model.receive(whole);
  expect(document.activeElement).toBe(document.body);
  buttons(stage)[0].focus();
  press(document.activeElement, "ArrowRight");
  stage.model.receive(part);
  expect(document.activeElement).toBe(buttons(stage)[1]);
  stage.model.receive({ head: "4.1" });
  stage.model.receive({ _pages: { ...whole._pages, serial: part._frame.serial } });
  expect([document.activeElement, heads(stage)]).toEqual([buttons(stage)[1], ["4.0", "4.1"]]);
});

test("where there is one layer, Page Up and Page Down are the notebook's", () => {
  const stage = show({ pages: [["4.0", "4.1"]] });
  const prevented = ["PageUp", "PageDown"].map((key) => press(stage.main(), key).defaultPrevented);
  expect([prevented, stage.heard]).toEqual([[false, false], ["PageUp", "PageDown"]]);
});

test("a click on a cell pins its query; on a key or beside the tokens it pins nothing", () => {
  const stage = show();
  for (const nowhere of [[1, row(3)], [BOX.lines + 1, row(3)], [BOX.width, row(3)]]) click(stage.main(), nowhere);
  expect(stage.model.saves).toBe(0);
  click(stage.main(), cell(3, 1));
  expect(stage.model.get("query")).toBe(3);
});

test("the pointer on a key shows the lines that lead into it", () => {
  const stage = show();
  hover(stage.main(), [1, row(2)]);
  expect(ends(stage, "moveTo")).toEqual([2, 3, 4, 5, 6].map(() => [BOX.lines, row(2)]));
  expect(ends(stage, "lineTo")).toEqual([2, 3, 4, 5, 6].map((query) => [BOX.queries, row(query)]));
  expect(frames(stage.main())).toEqual([[BOX.matrix + 48, BOX.top, 24, 168]]);
});

test("the keyboard has a cell that is seen until the focus goes", () => {
  const stage = show();
  stage.main().focus();
  expect(stage.read()).toBe("query 0 “<bos>” → key 0 “<bos>”  1.00");
  press(stage.main(), "ArrowDown");
  expect(stage.read()).toBe("query 1 “<s>” → key 0 “<bos>”  0.08");
  hover(stage.main(), cell(4, 2));
  press(stage.main(), "Escape");
  expect(stage.read()).toBe("query 1 “<s>” → key 0 “<bos>”  0.08");
  press(stage.main(), "ArrowDown");
  stage.main().blur();
  expect([frames(stage.main()), stage.read()]).toEqual([[], ""]);
});
