import { floats, focused, follow, framed, keys, node, number, put, shorten, step, visible } from "../shared.js";

const LONGEST = 28; // letters of a name

// Where a value lies on the axis, in percent; what lies beyond is at its end.
export function place(value, { vmin, vmax }) {
  return Math.max(0, Math.min(100, ((value - vmin) / (vmax - vmin)) * 100));
}

// The row of a pin, which is a text, or a text and #id; -1 if it is not here.
export function rowOf(frame, pin) {
  if (pin === null) return -1;
  const named = frame.tokens.findIndex((token, at) => token + frame.marks[at] === pin);
  return named >= 0 ? named : frame.ids.findIndex((id, at) => `${frame.tokens[at]}#${id}` === pin);
}

const written = (value) => (Number.isFinite(value) ? number(value) : "absent");

export function readout(frame, values, at) {
  const name = `“${visible(frame.tokens[at])}”${frame.marks[at]}`;
  const [first, second] = values.map((run) => run[at]);
  if (values.length === 1) return `${name}  ${written(first)}`;
  const change = second - first;
  const said = Number.isFinite(change) ? `   change ${change < 0 ? "" : "+"}${written(change)}` : "";
  return `${name}  ${written(first)} → ${written(second)}${said}`;
}

function lane(value, run, frame) {
  const zero = place(0, frame);
  const note = node("span", { class: "nb-amount" }, written(value));
  if (!Number.isFinite(value)) {
    note.classList.add("nb-absent");
    note.style.left = `${zero}%`;
    return node("span", { class: "nb-lane" }, note);
  }
  const end = place(value, frame);
  const bar = node("span", { class: `nb-fill nb-run${run}` });
  bar.style.left = `${Math.min(zero, end)}%`;
  bar.style.width = `${Math.abs(end - zero)}%`;
  const [low, high] = [frame.vmin, frame.vmax].map(Math.fround); // as exact as the value is
  const beyond = value > high ? "» " : value < low ? "« " : "";
  note.prepend(beyond);
  note.style[value < 0 ? "right" : "left"] = `${value < 0 ? 100 - end : end}%`;
  return node("span", { class: "nb-lane" }, bar, note);
}

function row(frame, values, at) {
  const name = node("span", { class: "nb-name" }, shorten(visible(frame.tokens[at]), LONGEST) || " ");
  if (frame.marks[at]) name.append(node("span", { class: "nb-mark" }, frame.marks[at]));
  const whose = (which) => node("span", { class: "nb-heard" }, ` ${frame.names[which] ?? ""} `); // for those who hear it
  const lanes = values.flatMap((run, which) => [whose(which), lane(run[at], which, frame)]);
  const track = node("span", { class: "nb-track" }, ...lanes);
  return node("div", { class: "nb-row", role: "option", tabindex: at ? "-1" : "0" }, name, track);
}

// Round numbers along the axis; their lines lie behind the bars of every row.
function axis(frame) {
  const track = node("span", { class: "nb-track" });
  for (const tick of frame.ticks) {
    const text = node("span", {}, String(tick).replace("-", "−"));
    text.style.left = `${place(tick, frame)}%`;
    track.append(text);
  }
  return node("div", { class: "nb-axis", "aria-hidden": "true" }, node("span"), track);
}

function lines(frame) {
  const colour = (tick) => `linear-gradient(var(--nb-${tick ? "line" : "muted"}) 0 0)`;
  const line = (tick) => `${colour(tick)} ${place(tick, frame)}% 0 / 1px 100% no-repeat`;
  return [...frame.ticks].sort((one, other) => (one !== 0) - (other !== 0)).map(line).join(", ");
}

function namesOf(frame) {
  const legend = node("span", { class: "nb-legend" }, node("span", {}, frame.label));
  const swatch = (run) => node("span", { class: `nb-swatch nb-run${run}` });
  frame.names.forEach((name, run) => legend.append(swatch(run), node("span", {}, name)));
  legend.hidden = !legend.textContent;
  return legend;
}

function render({ model, el, signal }) {
  let frame, values;
  let rows = [];
  const list = node("div", { class: "nb-rows", role: "listbox" });
  const plot = node("div", { class: "nb-plot" }, list);
  const root = node("div", { class: "nb nb-bars" }, plot);
  el.append(root);
  const around = framed(model, root, signal);

  const pinned = () => rowOf(frame, model.get("selected"));
  // a pin may arrive before the frame that has its token
  const say = (at) => (around.read.textContent = at in frame.tokens ? readout(frame, values, at) : "");
  const pin = (at) => put(model, "selected", at === pinned() ? null : frame.tokens[at] + frame.marks[at]);

  function rebuild() {
    frame = model.get("_frame");
    const [all, count] = [floats(frame.values), frame.tokens.length];
    values = Array.from({ length: all.length / count }, (_, run) => all.subarray(run * count, (run + 1) * count));
    const held = rows.findIndex(focused);
    rows = frame.tokens.map((_, at) => row(frame, values, at));
    root.classList.toggle("nb-signed", frame.vmin < 0);
    root.style.setProperty("--nb-lines", lines(frame));
    list.setAttribute("aria-label", frame.label || "tokens");
    list.replaceChildren(...rows);
    plot.replaceChildren(list, axis(frame));
    around.key(namesOf(frame));
    mark();
    if (held >= 0) focus(Math.min(held, rows.length - 1));
  }

  function mark() {
    rows.forEach((option, at) => option.setAttribute("aria-selected", String(at === pinned())));
    say(pinned());
  }

  function focus(at) {
    rows.forEach((option, other) => option.setAttribute("tabindex", other === at ? "0" : "-1"));
    rows[at].focus();
  }

  const at = (event) => rows.indexOf(event.target.closest?.(".nb-row"));
  const listen = (name, handle) => root.addEventListener(name, handle, { signal });
  listen("pointerover", (event) => say(at(event) >= 0 ? at(event) : pinned()));
  listen("pointerleave", () => say(pinned()));
  listen("focusin", (event) => at(event) >= 0 && say(at(event)));
  listen("click", (event) => at(event) >= 0 && pin(at(event)));
  keys(root, (event) => {
    const here = at(event);
    if (here < 0) return false;
    const next = step(event.key, here, rows.length);
    if (next !== null) focus(next);
    else if (event.key === "Enter" || event.key === " ") pin(here);
    else if (event.key === "Escape") put(model, "selected", null);
    else return false;
    return true;
  }, signal);

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["selected"], mark, signal);
}

export default { render };
