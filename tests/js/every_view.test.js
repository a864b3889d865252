// What all views have in common. A new view adds a row.

import { describe, expect, test } from "vitest";
import attention, { layout } from "../../nbtools/views/attention/attention.js";
import headGrid from "../../nbtools/views/head_grid/head_grid.js";
import tokenStrip from "../../nbtools/views/token_strip/token_strip.js";
import { FORMS, HOSTILE, attentionFrame, gridFrame, stripFrame } from "./frames.js";
import { click, hover, leave, mount, picture, press, smuggled } from "./stage.js";

// `pin` is the trait that a click sets, `free` its value when nothing is pinned. `spot` is a place and `first` what a
// click there pins, or Enter before any arrow; `next` is what Enter pins after ArrowDown. The `larger` frame has a
// place that the usual one lacks, called `late`.
const VIEWS = [
  {
    name: "token strip", view: tokenStrip, frame: stripFrame, larger: { tokens: [...HOSTILE, "more"] },
    pin: "selected", free: null, first: 0, next: 1, late: 11, spot: ({ find }) => [find(".nb-token")],
  },
  {
    name: "head grid", view: headGrid, frame: gridFrame, larger: { layers: [4, 5, 6, 7, 8, 9], heads: [0, 1, 2, 3] },
    pin: "selected", free: [], first: ["4.0"], next: ["5.0"], late: ["9.3"], spot: ({ main }) => [main(), [29, 19]],
  },
  {
    name: "attention", view: attention, frame: attentionFrame, larger: { tokens: HOSTILE.slice(0, 9), heads: ["4.0", "6.0"] },
    pin: "query", free: null, first: 0, next: 1, late: 8, more: { head: "4.0" },
    spot: ({ main }) => [main(), [layout(7, 98).queries + 1, layout(7, 98).top + 1]],
  },
];

// All that can be seen or read out, canvases included, and the canvases drawn on those.
const drawn = (canvas) => picture(canvas).map((call) => ({ ...call, args: call.args.map((arg) => arg.getContext ? drawn(arg) : arg) }));
const look = ({ el, all }) => JSON.stringify([el.innerHTML, all("canvas").map(drawn)]);
const focused = ({ find }) => find("canvas[tabindex='0'], .nb-token[tabindex='0']");

describe.each(VIEWS)("$name:", ({ view, frame, larger, pin, free, first, next, late, more, spot }) => {
  const show = (traits, options) => mount(view, { _frame: frame(), [pin]: free, ...more, ...traits }, options);
  const pinned = (stage) => stage.model.get(pin);

  test("bytes in any form give the same picture", () => {
    const looks = Object.values(FORMS).map((form) => look(show({ _frame: frame({ form }) })));
    expect(new Set(looks).size).toBe(1);
  });

  test.each([["larger", {}, larger], ["smaller", larger, {}]])("a %s frame takes the place of the old one", (_, before, after) => {
    const stage = show({ _frame: frame(before) });
    stage.model.receive({ _frame: frame(after) });
    expect(look(stage)).toBe(look(show({ _frame: frame(after) })));
  });

  test.each([["frame", ["_frame", pin]], ["pin", [pin, "_frame"]]])("one message may change frame and pin, the %s first", (_, order) => {
    const state = { _frame: frame(larger), [pin]: late };
    const stage = show();
    stage.model.receive(Object.fromEntries(order.map((name) => [name, state[name]])));
    expect(look(stage)).toBe(look(show(state)));
  });

  test("a pin set from outside is shown as one that was there from the start", () => {
    const stage = show();
    const before = look(stage);
    stage.model.receive({ [pin]: next });
    expect(look(stage)).toBe(look(show({ [pin]: next })));
    expect(look(stage)).not.toBe(before);
    stage.model.receive({ [pin]: free });
    expect(look(stage)).toBe(before);
  });

  test("a click pins, saves and is shown; a click on what is pinned lets it go", () => {
    const stage = show();
    const before = look(stage);
    click(...spot(stage));
    expect([pinned(stage), stage.model.saves]).toEqual([first, 1]);
    expect(look(stage)).toBe(look(show({ [pin]: first })));
    click(...spot(stage));
    expect([pinned(stage), stage.model.saves, look(stage)]).toEqual([free, 2, before]);
  });

  test("a click elsewhere moves the pin", () => {
    const stage = show({ [pin]: next });
    click(...spot(stage));
    expect(pinned(stage)).toEqual(first);
  });

  test("hovering previews without pinning, and leaving restores the pin", () => {
    const stage = show({ [pin]: next });
    const before = [look(stage), stage.read()];
    hover(...spot(stage));
    expect(look(stage)).not.toBe(before[0]);
    expect(stage.read()).not.toBe(before[1]);
    expect([pinned(stage), stage.model.saves]).toEqual([next, 0]);
    stage.all("*").forEach(leave);
    expect([look(stage), stage.read()]).toEqual(before);
  });

  test.each([["Enter", "Enter"], ["Space", " "]])("%s pins where the arrows have led, and lets go", (_, key) => {
    const stage = show();
    press(focused(stage), key);
    expect([pinned(stage), stage.model.saves]).toEqual([first, 1]);
    press(focused(stage), "ArrowDown");
    press(focused(stage), key);
    expect(pinned(stage)).toEqual(next);
    press(focused(stage), key);
    expect(pinned(stage)).toEqual(free);
  });

  test("Esc lets go", () => {
    const stage = show({ [pin]: next });
    press(focused(stage), "Escape");
    expect([pinned(stage), stage.model.saves]).toEqual([free, 1]);
  });

  test("the view's keys do not reach the notebook, all others do", () => {
    const stage = show();
    for (const key of ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Enter", " ", "Escape"])
      expect([key, press(focused(stage), key).defaultPrevented]).toEqual([key, true]);
    expect(stage.heard).toEqual([]);
    for (const key of ["a", "j", "Tab", "F5"]) expect([key, press(focused(stage), key).defaultPrevented]).toEqual([key, false]);
    expect(stage.heard).toEqual(["a", "j", "Tab", "F5"]);
  });

  test("a new frame leaves the keyboard where it was", () => {
    const stage = show();
    focused(stage).focus();
    press(focused(stage), "ArrowDown");
    stage.model.receive({ _frame: frame(larger) });
    expect(document.activeElement).toBe(focused(stage));
    press(document.activeElement, "Enter");
    expect(pinned(stage)).toEqual(next);
  });

  test("no text is taken for markup", () => {
    const stage = show({ _frame: frame({ label: HOSTILE[3] }) });
    hover(...spot(stage));
    expect(smuggled()).toBe(0);
  });

  test("a page without a kernel pins, reads out and follows just the same", () => {
    const [page, live] = [show({}, { kernel: false }), show()];
    for (const stage of [page, live]) {
      click(...spot(stage));
      press(focused(stage), "ArrowDown");
      hover(...spot(stage));
    }
    expect([pinned(page), page.read(), look(page)]).toEqual([first, live.read(), look(live)]);
  });

  test("a view that is gone hears nothing and changes nothing", () => {
    const stage = show();
    const before = look(stage);
    stage.leave();
    expect(stage.model.listening()).toBe(0);
    stage.model.receive({ _frame: frame(larger), [pin]: next });
    hover(...spot(stage));
    click(...spot(stage));
    press(focused(stage), "Escape");
    press(focused(stage), "ArrowDown");
    stage.all("*").forEach((element) => element.dispatchEvent(new FocusEvent("focusin")) && leave(element));
    stage.all("button").forEach((button) => button.click() ?? press(button, "ArrowRight"));
    expect(look(stage)).toBe(before);
    expect([pinned(stage), stage.model.saves, stage.heard.slice(0, 2)]).toEqual([next, 0, ["Escape", "ArrowDown"]]);
  });
});
