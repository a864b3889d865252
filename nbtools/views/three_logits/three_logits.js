import { follow, headed, node } from "../shared.js";
import landscape from "../landscape/landscape.js";
import scrubber from "../scrubber/scrubber.js";
import { curvesFrame, drawnSteps, landscapeFrame } from "./frames.js";
import { PLANES, SETTING, aboutRun, aboutSlice, burstinesses, fitted, misfit, trained } from "./model.js";

const even = (low, high, apart) => Array.from({ length: Math.round((high - low) / apart) + 1 }, (_, at) => (Math.round(low / apart) + at) * apart);
const STARTS = even(-40, 120, 1).map((twentieth) => twentieth / 20);
const RATES = [-3, -2, -1].flatMap((power) => [1, 1.5, 2, 3, 5, 7].map((part) => Number(`${part}e${power}`)));

// What a slider offers, and what is written beside it.
const DIALS = {
  pairs: ["pairs N", even(2, 32, 1)],
  labels: ["labels L", even(2, 128, 1)],
  burstiness: ["burstiness", []],
  beta: ["start beta", STARTS],
  alpha: ["start alpha", STARTS],
  xi: ["start xi", STARTS],
  lr: ["learning rate", [...RATES, 1]],
  steps: ["steps", even(500, 20_000, 500)],
};
const SCALES = ["linear", "log"];
const MOVES = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End", "Enter", " ", "Escape"];

const unlike = (some, others) => some.length !== others.length || some.some((one, at) => one !== others[at]);

// What a view takes for its model, in the page alone.
function stand(state) {
  const heard = {};
  const made = {
    get: (name) => state[name],
    set: (name, value) => made.receive({ [name]: value }),
    on: (event, listen) => (heard[event] ??= []).push(listen),
    off: (event, listen) => (heard[event] = (heard[event] ?? []).filter((other) => other !== listen)),
    receive(news) {
      const changed = Object.keys(news).filter((name) => news[name] !== state[name]);
      Object.assign(state, news);
      changed.forEach((name) => [...(heard[`change:${name}`] ?? [])].forEach((listen) => listen()));
    },
  };
  return made;
}

// A slider over some numbers, with the one that is chosen beside it.
function dial(name, choose, listen) {
  const [input, output] = [node("input", { type: "range", min: "0", step: "1" }), node("output")];
  const [text, round] = DIALS[name];
  let offered = [];
  listen(input, "input", () => choose(name, offered[input.value]));
  return {
    part: node("div", { class: "nb-dial" }, node("label", {}, node("span", {}, text), input), output),
    input,
    put(value, more) {
      offered = [...new Set([...round, ...more, value])].sort((one, other) => one - other);
      [input.max, input.disabled] = [offered.length - 1, offered.length < 2];
      input.value = offered.indexOf(value);
      output.textContent = (Number.isInteger(value) ? value.toLocaleString("en-US") : String(Number(value.toPrecision(6)))).replaceAll("-", "−");
      input.setAttribute("aria-valuetext", output.textContent);
    },
  };
}

function menu(name, text, options, choose, listen) {
  const select = node("select", { "aria-label": text }, ...options.map(([value, shown]) => node("option", { value }, shown)));
  listen(select, "change", () => choose(name, select.value));
  return { select, part: node("label", { class: "nb-menu" }, text, select) };
}

function render({ model, el, signal }) {
  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  const pick = () => Object.fromEntries(SETTING.map((name) => [name, model.get(name)]));
  const [hills, curves] = [stand({ title: "", step: 0 }), stand({ title: "", step: 0 })];
  let [run, drawn, wish, coming, before] = [null, null, model.get("burstiness"), 0, {}];

  const dials = Object.fromEntries(SETTING.map((name) => [name, dial(name, choose, listen)]));
  const plane = menu("plane", "landscape", Object.keys(PLANES).map((name) => [name, `over ${name}`]), choose, listen);
  const scale = menu("scale", "step axis", SCALES.map((name) => [name, name]), choose, listen);
  const says = node("div", { class: "nb-says-run", role: "status" });
  const [left, right] = [node("div"), node("div")];
  const root = el.appendChild(node("div", { class: "nb nb-three" },
    node("div", { class: "nb-dials" }, ...SETTING.map((name) => dials[name].part)), says,
    node("div", { class: "nb-two" }, node("div", {}, plane.part, left), node("div", {}, scale.part, right))));
  headed(model, root, signal);

  function send(changes) {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes?.();
  }

  // Take what was chosen, all that follows from it in one message; or say why not, and put everything back.
  function choose(name, value) {
    const often = name === "burstiness" ? value : wish;
    const next = fitted({ ...pick(), [name]: value }, often);
    const error = misfit(next);
    if (!error) wish = often;
    send(error ? { error } : { burstiness: next.burstiness, step: Math.min(model.get("step"), next.steps), [name]: value, error: "" });
    later();
  }

  // Whether something is drawn from other things than before.
  function differs(what, ...from) {
    const other = unlike(before[what] ?? [], from);
    before[what] = from;
    return other;
  }

  function update() {
    const wished = model.get("burstiness");
    if (wished !== fitted(pick(), wish).burstiness) wish = wished; // one that follows from others is no other wish
    const setting = fitted(pick(), wish);
    const step = Math.max(0, Math.min(model.get("step"), setting.steps));
    if (differs("run", ...Object.values(setting))) [run, drawn] = [trained(setting), null];
    if (!drawn?.includes(step)) drawn = drawnSteps(run, step);
    draw(setting, step);
    for (const name of SETTING) dials[name].put(setting[name], name === "burstiness" ? burstinesses(setting.pairs, setting.labels) : []);
    [plane.select.value, scale.select.value] = [model.get("plane"), model.get("scale")];
    says.textContent = model.get("error") ? `⚠ ${model.get("error")}` : aboutRun(run);
  }

  function draw(setting, step) {
    const [over, axis, given] = [model.get("plane"), model.get("scale"), model.get("_frame")];
    const news = { title: aboutSlice(run, over, step), step };
    if (differs("hills", drawn, over, run.curves[PLANES[over][2]][step])) news._frame = landscapeFrame(run, drawn, over, step, given);
    hills.receive(news);
    curves.receive({ step, ...(differs("curves", drawn, axis) ? { _frame: curvesFrame(run, drawn, axis, given) } : {}) });
  }

  // However much changes, it is drawn once for each frame of the screen.
  function later() {
    coming ||= requestAnimationFrame(() => {
      coming = 0;
      update();
    });
  }

  update();
  landscape.render({ model: hills, el: left, signal });
  scrubber.render({ model: curves, el: right, signal });
  for (const part of [hills, curves])
    part.on("change:step", () => part.get("step") !== model.get("step") && choose("step", part.get("step")));
  for (const part of [...SETTING.map((name) => dials[name].input), plane.select, scale.select])
    listen(part, "keydown", (event) => { // the notebook has its own use for these
      if (MOVES.includes(event.key) && !(event.ctrlKey || event.metaKey || event.altKey)) event.stopPropagation();
    });
  follow(model, [...SETTING, "step", "plane", "scale", "error"], later, signal);
  signal?.addEventListener("abort", () => cancelAnimationFrame(coming));
}

export default { render };
