// What all views have in common. A new view adds a row here, and a file for what it alone does.

import { describe, expect, test } from "vitest";
import attention, { layout } from "../../nbtools/views/attention/attention.js";
import bars from "../../nbtools/views/bars/bars.js";
import circuit, { layout as circuitLayout } from "../../nbtools/views/circuit/circuit.js";
import direction, { layout as directionLayout } from "../../nbtools/views/direction/direction.js";
import headGrid from "../../nbtools/views/head_grid/head_grid.js";
import landscape, { layout as landscapeLayout, pixel } from "../../nbtools/views/landscape/landscape.js";
import lensGrid, { layout as lensLayout } from "../../nbtools/views/lens_grid/lens_grid.js";
import norms, { layout as normsLayout } from "../../nbtools/views/norms/norms.js";
import patchGrid, { layout as patchLayout } from "../../nbtools/views/patch_grid/patch_grid.js";
import scrubber, { layout as scrubberLayout } from "../../nbtools/views/scrubber/scrubber.js";
import tokenStrip from "../../nbtools/views/token_strip/token_strip.js";
import {
  FORMS, HOSTILE, attentionState, barsFrame, circuitFrame, directionFrame, gridFrame, landscapeFrame, lensFrame, normsFrame, patchFrame,
  scrubberFrame, settingsFrame, stripFrame,
} from "./frames.js";
import { click, drawings, hover, leave, mount, paired, picture, press, smuggled, tap } from "./stage.js";

// `pin` is the trait that a click sets, `free` its value when nothing is pinned. `spot` is a place, and `first` what
// a click there pins, or Enter before any arrow; `next` is what Enter pins after ArrowDown. A `larger` frame has
// something that the usual one lacks, which a pin calls `late`. What is `painted` has colours that no style sheet sets.
const VIEWS = [
  {
    name: "token strip", view: tokenStrip, state: (options) => ({ _frame: stripFrame(options) }),
    larger: { tokens: [...HOSTILE, "more"] },
    pin: "selected", free: null, first: 0, next: 1, late: 11, spot: ({ find }) => [find(".nb-token")],
  },
  {
    name: "head grid", view: headGrid, state: (options) => ({ _frame: gridFrame(options) }), painted: true,
    larger: { layers: [4, 5, 6, 7, 8, 9], heads: [0, 1, 2, 3] },
    pin: "selected", free: [], first: ["4.0"], next: ["5.0"], late: ["9.3"], spot: ({ main }) => [main(), [29, 19]],
  },
  {
    name: "grid of settings", view: headGrid, state: (options) => ({ _frame: settingsFrame(options) }), painted: true,
    larger: { layers: ["4", "2", "1"], heads: ["0.5", "16", "1024", "2048"] },
    pin: "selected", free: [], first: ["4, 0.5"], next: ["2, 0.5"], late: ["1, 2048"], spot: ({ main }) => [main(), [70, 36]],
  },
  {
    name: "attention", view: attention, state: attentionState, painted: true,
    larger: { tokens: HOSTILE.slice(0, 9), pages: [["4.0", "4.1", "4.2"], ["6.0"]] },
    pin: "query", free: null, first: 0, next: 1, late: 8, more: { head: "4.0", _wanted: -1 },
    spot: ({ main }) => [main(), [layout(7, 98).queries + 1, layout(7, 98).top + 1]],
  },
  {
    name: "bars", view: bars, state: (options) => ({ _frame: barsFrame(options) }), larger: { tokens: [...HOSTILE, "more"] },
    pin: "selected", free: null, first: "<bos>", next: "<s>", late: "more", spot: ({ find }) => [find(".nb-row")],
  },
  {
    name: "lens grid", view: paired(lensGrid, "cell", ["layer", "position"]), painted: true,
    state: (options) => ({ _frame: lensFrame(options) }), larger: { layers: [-1, 4, 5, 7, 9], tokens: HOSTILE.slice(0, 8) },
    pin: "cell", free: [null, null], first: [7, 15], next: [5, 15], late: [9, 17],
    spot: ({ main }) => [main(), [lensLayout(4, 6).right - 2, 21]],
  },
  {
    name: "patch grid", view: paired(patchGrid, "cell", ["layer", "column"]), painted: true, more: { _layer: null, _position: null, _head: null },
    state: (options) => ({ _frame: patchFrame(options) }), larger: { layers: [3, 4, 5, 7, 9], tokens: HOSTILE.slice(0, 8) },
    pin: "cell", free: [null, null], first: [7, 15], next: [5, 15], late: [9, 17],
    spot: ({ main }) => [main(), [patchLayout(patchFrame()).right - 2, 7]],
  },
  {
    name: "direction", view: direction, state: (options) => ({ _frame: directionFrame(options) }), painted: true,
    larger: { parts: ["v", "row", "null", "v along row"], shares: [-1, 0, 0.5, 1, 2, 3] },
    pin: "share", free: 0, first: 1, next: 0.5, late: 3,
    spot: ({ main }) => [main(), [40 + (2 / 3) * directionLayout(directionFrame()).plot, 60]],
  },
  {
    name: "circuit", view: circuit, state: (options) => ({ _frame: circuitFrame(options) }), painted: true,
    larger: { left: [], names: ["IOI", "colored objects"] },
    pin: "node", free: "", first: "logits", next: "23.0@END", late: "24.4@END", more: { threshold: 0, shown: "both" },
    spot: ({ main }) => [main(), circuitLayout(circuitFrame()).at(2.4, 3)],
  },
  {
    name: "scrubber", view: scrubber, state: (options) => ({ _frame: scrubberFrame(options) }), painted: true,
    larger: { names: ["loss", "sink", "drain", "gap"], steps: [0, 10, 100, 200, 400, 900], queries: HOSTILE.slice(0, 6), tokens: HOSTILE },
    pin: "step", free: 0, first: 400, next: 200, late: 900,
    spot: ({ main }) => [main(), [scrubberLayout(scrubberFrame()).panels[0].right, scrubberLayout(scrubberFrame()).panels[0].top]],
  },
  {
    name: "norms", view: paired(norms, "cell", ["layer", "position"]), painted: true,
    state: (options) => ({ _frame: normsFrame(options) }), larger: { layers: [3, 4, 5, 7, 9], tokens: HOSTILE.slice(0, 8) },
    pin: "cell", free: [null, null], first: [7, 15], next: [5, 15], late: [9, 17],
    spot: ({ main }) => [main(), [normsLayout(normsFrame()).right - 2, 26]],
  },
  {
    name: "landscape", view: landscape, state: (options) => ({ _frame: landscapeFrame(options) }), painted: true,
    larger: { columns: 7, rows: 5, steps: [0, 10, 100, 200, 400, 900] },
    pin: "step", free: 0, first: 400, next: 200, late: 900,
    spot: ({ main }) => [main(), pixel(landscapeLayout(), [4 / 9, 2 / 3])],
  },
];

const OWN_KEYS = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Enter", " ", "Escape"];
const OTHER_KEYS = ["a", "j", "Tab", "F5"];

// All that can be seen or read, canvases included, and the canvases drawn on those.
const seen = (value) => (value.getContext ? picture(value).map((call) => ({ ...call, args: call.args.map(seen) })) : value);
const look = ({ el, all }) => JSON.stringify([el.innerHTML, all("canvas").map(seen)]);
const hand = ({ find }) => find("canvas[tabindex='0'], .nb-token[tabindex='0'], .nb-row[tabindex='0']");

describe.each(VIEWS)("$name:", ({ view, state, larger, pin, free, first, next, late, more, spot }) => {
  const show = (traits, options) => mount(view, { title: "", [pin]: free, ...more, ...state(), ...traits }, options);
  const pinned = (stage) => stage.model.get(pin);

  test("bytes in any form give the same picture", () => {
    const looks = Object.values(FORMS).map((form) => look(show(state({ form }))));
    expect(new Set(looks).size).toBe(1);
  });

  test("a frame of another size takes the place of the old one", () => {
    const stage = show();
    for (const options of [larger, {}]) {
      stage.model.receive(state(options));
      expect(look(stage)).toBe(look(show(state(options))));
    }
  });

  test("one message may bring a frame and a pin into it, in any order", () => {
    const message = Object.entries({ ...state(larger), [pin]: late });
    for (const order of [message, message.toReversed()]) {
      const stage = show();
      stage.model.receive(Object.fromEntries(order));
      expect(look(stage)).toBe(look(show(Object.fromEntries(message))));
    }
  });

  test("a pin set from outside is shown as one that was there from the start", () => {
    const stage = show();
    const before = look(stage);
    stage.model.receive({ [pin]: next });
    expect(look(stage)).not.toBe(before);
    expect(look(stage)).toBe(look(show({ [pin]: next })));
    stage.model.receive({ [pin]: free });
    expect(look(stage)).toBe(before);
  });

  test("a click pins, saves and is shown; a click on what is pinned lets it go", () => {
    const [stage, before] = [show({ [pin]: next }), look(show())];
    click(...spot(stage));
    expect([pinned(stage), stage.model.saves]).toEqual([first, 1]);
    expect(look(stage)).toBe(look(show({ [pin]: first })));
    click(...spot(stage));
    expect([pinned(stage), stage.model.saves, look(stage)]).toEqual([free, 2, before]);
  });

  test("hovering previews without pinning, and leaving restores what is pinned", () => {
    const stage = show({ [pin]: next });
    const before = [look(stage), stage.read()];
    hover(...spot(stage));
    expect(stage.read()).not.toBe(before[1]);
    expect([pinned(stage), stage.model.saves]).toEqual([next, 0]);
    stage.all("*").forEach(leave);
    expect([look(stage), stage.read()]).toEqual(before);
  });

  test("Enter and Space pin where the arrows have led, and let go, as Esc does", () => {
    const stage = show();
    const use = (...keys) => keys.map((key) => press(hand(stage), key) && pinned(stage)).at(-1);
    expect([use("Enter"), use("ArrowDown", " "), use(" "), use("Enter")]).toEqual([first, next, free, next]);
    expect([use("Escape"), use("Escape")]).toEqual([free, free]);
    expect(stage.model.saves).toBeGreaterThanOrEqual(5);
  });

  test("its own keys do not reach the notebook, all others do", () => {
    const stage = show();
    const prevented = (keys) => keys.filter((key) => press(hand(stage), key).defaultPrevented);
    expect([prevented(OWN_KEYS), stage.heard]).toEqual([OWN_KEYS, []]);
    expect([prevented(OTHER_KEYS), stage.heard]).toEqual([[], OTHER_KEYS]);
  });

  test("keys with Ctrl, Alt or Meta are the notebook's, and do nothing", () => {
    const stage = show({ [pin]: next });
    hand(stage).focus();
    const before = look(stage);
    for (const held of ["ctrlKey", "altKey", "metaKey"])
      for (const key of OWN_KEYS) expect(press(hand(stage), key, { [held]: true }).defaultPrevented).toBe(false);
    expect([pinned(stage), stage.model.saves, stage.heard.length]).toEqual([next, 0, 3 * OWN_KEYS.length]);
    expect(look(stage)).toBe(before);
  });

  test("after clicks it shows what is pinned, not where the keyboard would be", () => {
    const [stage, before] = [show(), look(show())];
    tap(...spot(stage));
    stage.all("*").forEach(leave);
    expect(look(stage)).toBe(look(show({ [pin]: first })));
    tap(...spot(stage));
    stage.all("*").forEach(leave);
    expect([document.activeElement === spot(stage)[0], look(stage)]).toEqual([true, before]);
  });

  test.each([false, true])("a new frame leaves the keyboard where it was (in a shadow: %s)", (shadow) => {
    const stage = show({}, { shadow });
    hand(stage).focus();
    press(hand(stage), "ArrowDown");
    stage.model.receive(state(larger));
    expect(stage.el.getRootNode().activeElement).toBe(hand(stage));
    press(hand(stage), "Enter");
    expect(pinned(stage)).toEqual(next);
  });

  test("the keyboard stays inside a smaller frame", () => {
    const last = [larger, {}].map((options) => {
      const stage = show(state(options));
      hand(stage).focus();
      for (let at = 0; at < 12; at++) ["ArrowDown", "ArrowRight"].forEach((key) => press(hand(stage), key));
      stage.model.receive(state());
      press(hand(stage), "Enter");
      return [pinned(stage), stage.read()];
    });
    expect(last[0]).toEqual(last[1]);
  });

  test("the keyboard takes over from the pointer", () => {
    const reads = [true, false].map((hovered) => {
      const stage = show();
      hand(stage).focus();
      if (hovered) hover(...spot(stage));
      press(hand(stage), "ArrowDown");
      return stage.read();
    });
    expect(reads[0]).toBe(reads[1]);
  });

  test("no text is taken for markup", () => {
    const usual = state();
    const stage = show({ ...usual, _frame: { ...usual._frame, label: HOSTILE[3] }, title: HOSTILE[2] });
    hover(...spot(stage));
    expect([".nb-legend span", ".nb-title"].map((place) => stage.find(place).textContent)).toEqual([HOSTILE[3], HOSTILE[2]]);
    expect(smuggled()).toBe(0);
  });

  test("a title stands above it, and takes no room when there is none", () => {
    const stage = show();
    expect(stage.find(".nb").firstChild).toMatchObject({ className: "nb-title", hidden: true });
    stage.model.receive({ title: "Effects" });
    expect(stage.find(".nb").firstChild).toMatchObject({ textContent: "Effects", hidden: false });
  });

  test("a button gives it the full screen where there is one", () => {
    const asked = [];
    HTMLElement.prototype.requestFullscreen = function () { asked.push(this); };
    const stage = show();
    const button = stage.find(".nb-full");
    button.focus();
    stage.model.receive(state(larger));
    expect([stage.find(".nb-full"), document.activeElement]).toEqual([button, button]);
    button.click();
    delete HTMLElement.prototype.requestFullscreen;
    expect(asked).toEqual([stage.find(".nb")]);
  });

  test("Enter and Space press its buttons, and do not reach the notebook", () => {
    HTMLElement.prototype.requestFullscreen = () => {};
    const stage = show();
    delete HTMLElement.prototype.requestFullscreen;
    const buttons = stage.all("button");
    const prevented = buttons.flatMap((button) => ["Enter", " "].map((key) => press(button, key).defaultPrevented));
    expect([new Set(prevented), stage.heard]).toEqual([new Set([false]), []]);
    ["a", "Tab"].forEach((key) => press(buttons.at(-1), key));
    press(buttons.at(-1), "Enter", { ctrlKey: true });
    expect(stage.heard).toEqual(["a", "Tab", "Enter"]);
  });

  test("a page without a kernel pins and reads out just the same", () => {
    const [page, live] = [show({}, { kernel: false }), show()];
    [page, live].forEach((stage) => click(...spot(stage)));
    expect([pinned(page), page.read(), look(page)]).toEqual([first, live.read(), look(live)]);
  });

  test("a view that is gone hears nothing and changes nothing", () => {
    const stage = show();
    const before = look(stage);
    stage.leave();
    expect(stage.model.listening()).toBe(0);
    stage.model.receive({ ...state(larger), [pin]: next });
    hover(...spot(stage));
    for (const element of stage.all("*")) {
      click(element, spot(stage)[1]);
      OWN_KEYS.forEach((key) => press(element, key));
      ["focus", "focusin", "blur"].forEach((name) => element.dispatchEvent(new FocusEvent(name, { bubbles: true })));
      leave(element);
    }
    expect([pinned(stage), stage.model.saves, look(stage) === before]).toEqual([next, 0, true]);
    expect(stage.heard).toHaveLength(OWN_KEYS.length * stage.all("*").length);
  });
});

const PAINTED = VIEWS.filter(({ painted }) => painted);

test.each(PAINTED)("$name: is painted again when the page turns dark", async ({ view, state, pin, free, more }) => {
  const { main, leave: go } = mount(view, { title: "", [pin]: free, ...more, ...state() });
  const before = drawings(main());
  await document.body.setAttribute("class", "dark");
  expect(drawings(main())).toBe(before + 1);
  go();
  await document.body.removeAttribute("class");
  expect(drawings(main())).toBe(before + 1);
});
