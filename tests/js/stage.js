// A view on a page, and a hand that uses it.

import { kernelModel, pageModel } from "./model.js";

// A notebook with a view in it, perhaps in the shadow of its host; `heard` are the keys that reach the notebook.
export function mount(view, traits, { kernel = true, shadow = false } = {}) {
  const heard = [];
  const notebook = document.createElement("div");
  notebook.addEventListener("keydown", (event) => heard.push(event.key));
  const host = notebook.appendChild(document.createElement("div"));
  const el = shadow ? host.attachShadow({ mode: "open" }).appendChild(document.createElement("div")) : host;
  document.body.append(notebook);
  const model = (kernel ? kernelModel : pageModel)(traits);
  const controller = new AbortController();
  view.render(kernel ? { model, el, signal: controller.signal } : { model, el });
  const find = (selector) => el.querySelector(selector);
  return {
    el, model, heard, find,
    all: (selector) => [...el.querySelectorAll(selector)],
    read: () => find(".nb-read").textContent,
    main: () => find("canvas[role=application]"),
    leave: () => controller.abort(),
  };
}

function send(target, made, at = {}) {
  for (const [name, value] of Object.entries(at)) Object.defineProperty(made, name, { value });
  target.dispatchEvent(made);
  return made;
}

const options = (more) => ({ bubbles: true, cancelable: true, composed: true, ...more });

export const press = (target, key, more) => send(target, new KeyboardEvent("keydown", options({ key, ...more })));
export const click = (target, [offsetX, offsetY] = [0, 0], more = {}) => send(target, new MouseEvent("click", options(more)), { offsetX, offsetY });
// A click as a mouse makes it, which leaves the focus behind.
export function tap(target, at = [0, 0], more = {}) {
  send(target, new PointerEvent("pointerdown", options()), { offsetX: at[0], offsetY: at[1] });
  target.focus();
  hover(target, at);
  click(target, at, more);
}
export const hover = (target, [offsetX, offsetY] = [0, 0]) => {
  send(target, new PointerEvent("pointerover", options()), { offsetX, offsetY });
  send(target, new PointerEvent("pointermove", options()), { offsetX, offsetY });
};
export const leave = (target) => send(target, new PointerEvent("pointerleave"));
export const drag = (target, ...places) => places.forEach(([offsetX, offsetY], step) =>
  send(target, new PointerEvent(step ? "pointermove" : "pointerdown", options({ buttons: 1 })), { offsetX, offsetY }));

// What is on a canvas now: the calls since it was last cleared.
export function picture(canvas, name) {
  const { calls } = canvas.getContext("2d");
  const now = calls.slice(calls.findLastIndex((call) => call.name === "clearRect") + 1);
  return name ? now.filter((call) => call.name === name) : now;
}

export const drawings = (canvas) => canvas.getContext("2d").calls.filter((call) => call.name === "clearRect").length;
export const written = (canvas) => picture(canvas, "fillText").map((call) => String(call.args[0]));
export const frames = (canvas) => picture(canvas, "strokeRect").map((call) => call.args);

// Everything that could have been made from a token that was taken for markup.
export const smuggled = () => document.querySelectorAll("script, img, s, bos, [onerror]").length + Number("hit" in window);

// A view that pins by two traits, as one that pins by a single trait, their pair: what holds for all views holds for it.
export const paired = (view, name, names) => ({
  render({ model, ...rest }) {
    const place = (trait) => names.indexOf(trait);
    const event = (heard) => (place(heard.replace("change:", "")) < 0 ? heard : `change:${name}`);
    const pair = {
      get: (trait) => (place(trait) < 0 ? model.get(trait) : model.get(name)[place(trait)]),
      set: (trait, value) => model.set(...(place(trait) < 0 ? [trait, value] : [name, model.get(name).with(place(trait), value)])),
      on: (heard, listen) => model.on(event(heard), listen),
      off: (heard, listen) => model.off(event(heard), listen),
    };
    view.render({ model: model.save_changes ? { ...pair, save_changes: model.save_changes } : pair, ...rest });
  },
});

// A browser that tells how wide things are: what it watches, and `to` for a new width of all that.
export function watching() {
  const watched = { elements: [], hear: [] };
  watched.to = (width) => watched.hear.forEach((hear) => hear([{ contentRect: { width } }]));
  globalThis.ResizeObserver = class {
    constructor(hear) { watched.hear.push(hear); }
    observe(element) { watched.elements.push(element); }
    disconnect() { watched.elements = []; }
  };
  return watched;
}
