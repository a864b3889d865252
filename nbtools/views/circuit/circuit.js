import {
  FONT, bytes, floats, follow, framed, keyboardOn, keys, node, number, put, repaint, resized, shorten, sized, theme,
} from "../shared.js";

const ROOM = 844; // width of the view, until the host tells
const [LEFT, RIGHT, TOP, FOOT] = [40, 12, 26, 46]; // around the nodes
const [LEAST, MOST] = [46, 96]; // width of a slot
const LETTER = 11; // height of q, k or v below a head
const [THINNEST, WIDEST] = [1, 6]; // edges
const COLOURS = ["#3f7fd0", "#d6604d"]; // of positive effects and of negative ones, which are also dashed
const [FAINT, PALE] = [0.35, 0.2]; // what is left of nodes without an edge, and of edges that another node has
const SLACK = 1e-6; // of the largest effect: numbers have travelled as float32
const SHOWN = ["both", "first", "second", "shared"];
const THROUGH = ["", "q", "k", "v"];
const NAMED = 4; // edges in a row of the read-out
const DASHES = [[], [], [4, 3]]; // outlines of nodes that both circuits have, only the first, only the second
const SMALL = FONT.replace("12px", "11px");

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// Slots are as wide as the host allows; what does not fit can be scrolled to.
export function layout({ wide, tall, row }, room = ROOM) {
  const slot = clamp(Math.floor((room - LEFT - RIGHT) / wide), LEAST, MOST);
  const [width, height] = [Math.ceil(LEFT + wide * slot + RIGHT), Math.ceil(TOP + tall * row + FOOT)];
  const at = (x, y) => [LEFT + x * slot, TOP + (tall - y) * row];
  return { slot, at, width, height, bottom: height - FOOT + 33 };
}

// The nodes and edges of a frame. `effects` are those of each circuit; a node that a circuit lacks, or an edge, has NaN.
export function opened(frame) {
  const [x, y, offsets, points, strengths, effects] =
    ["x", "y", "offsets", "points", "edge_effects", "node_effects"].map((name) => floats(frame[name]));
  const [shape, counts, nodeSide, edgeSide] = ["shape", "counts", "node_side", "edge_side"].map((name) => bytes(frame[name]));
  const ends = new Uint16Array(bytes(frame.ends).slice().buffer);
  const each = (values, at, count) => Array.from({ length: values.length / (count || 1) }, (_, circuit) => values[circuit * count + at]);
  const nodes = frame.nodes.map((label, at) =>
    ({ at, label, x: x[at], y: y[at], shape: shape[at], side: nodeSide[at], effects: each(effects, at, frame.nodes.length) }));
  let from = 0;
  const edges = Array.from(counts, (count, at) => {
    const path = Array.from({ length: count }, (_, step) => [points[2 * (from + step)], points[2 * (from + step) + 1]]);
    from += count;
    const [sender, receiver, through] = ends.subarray(3 * at, 3 * at + 3);
    return { at, sender, receiver, through, side: edgeSide[at], path, offset: offsets[at], effects: each(strengths, at, counts.length) };
  });
  return { nodes, edges, two: frame.names.length === 2 };
}

// Whether what both circuits have (0), only the first (1) or only the second (2) is on show.
export const among = (side, shown) => ({ first: side < 2, second: side !== 1, shared: side === 0 })[shown] ?? true;

// The effect with which an edge is drawn: of two circuits on show, the larger one.
export function strength({ effects }, shown) {
  if (shown === "first" || shown === "second") return effects[SHOWN.indexOf(shown) - 1];
  return effects.reduce((best, effect) => (Number.isFinite(effect) && !(Math.abs(effect) <= Math.abs(best)) ? effect : best), NaN);
}

export const kept = ({ edges }, { threshold, most, shown }) =>
  edges.filter((edge) => among(edge.side, shown) && Math.abs(strength(edge, shown)) >= threshold - SLACK * most);

// The node under a point, or undefined.
export const spot = ({ nodes }, box, shapes, x, y) => nodes.find((one) => {
  const [[left, top], { half, up, down }] = [box.at(one.x, one.y), shapes[one.shape]];
  return Math.abs(x - left) <= half && y >= top - up && y <= top + down;
});

// The node that a key leads to from another: up and down to the nearest of the next line; across in the same line, and
// from its end to the nearest node that lies more to that side than up or down. Undefined if the key does not move, the
// same node if there is none to move to.
export function led(key, from, nodes) {
  const [across, up] = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0], Home: [-1, 0], End: [1, 0] }[key] ?? [];
  if (across === undefined) return undefined;
  const [aside, apart] = ["x", "y"].map((name) => (one) => Math.round(1000 * Math.abs(one[name] - from[name])) / 1000);
  const line = nodes.filter((one) => one.y === from.y).sort((one, other) => (one.x - other.x) * across);
  if (key === "Home" || key === "End") return line.at(-1) ?? from;
  const ahead = nodes.toSorted((one, other) => one.x - other.x).filter((one) => (up ? (one.y - from.y) * up > 1e-4 : (one.x - from.x) * across > 1e-4 && aside(one) >= apart(one)));
  const far = (one) => (up ? 100 * apart(one) + aside(one) : 1000 * (one.y !== from.y) + aside(one) + 2 * apart(one));
  return ahead.reduce((best, one) => (far(one) < far(best) ? one : best), ahead[0] ?? from);
}

// How finely the threshold is set: about 200 steps, of a round size.
export const grain = (most) => 10 ** Math.floor(Math.log10(most / 100));
export const snapped = (value, most) => clamp(Number((Math.round(value / grain(most)) * grain(most)).toPrecision(9)), 0, most);

// Where a key moves the slider to; null if it does not.
export function slid(key, value, most) {
  const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };
  if (key in steps) return snapped(value + (steps[key] * most) / 50, most);
  return { Home: 0, End: most }[key] ?? null;
}

// What is to be read of a node: its role and effect, where its edges come from, and where they lead.
export function readout(frame, { nodes, edges, two }, at, there) {
  const value = (effects) => { // if both circuits have one, each with its name
    const [known, each] = [effects.filter(Number.isFinite), two && effects.every(Number.isFinite)];
    return known.map((effect, circuit) => (each ? `${frame.names[circuit]} ${number(effect)}` : number(effect))).join(", ");
  };
  const list = (found, end) => {
    const size = ({ effects }) => Math.max(...effects.map((effect) => Math.abs(effect) || 0));
    const far = (other) => (frame.places[other] === frame.places[at] || !frame.places[other] ? frame.texts[other] : frame.called[other]);
    const sorted = found.toSorted((one, other) => size(other) - size(one));
    const named = sorted.slice(0, NAMED).map((edge) => `${far(edge[end])} (${[THROUGH[edge.through], value(edge.effects)].filter(Boolean).join(", ")})`);
    return named.join(", ") + (found.length > NAMED ? ` and ${found.length - NAMED} more` : "");
  };
  const [into, out] = [there.filter(({ receiver }) => receiver === at), there.filter(({ sender }) => sender === at)];
  const effect = value(nodes[at].effects);
  const has = two ? ["in both", ...frame.names.map((name) => `only in ${name}`)][nodes[at].side] : "";
  return [
    frame.called[at], frame.roles[at], has, effect && `effect ${effect}`, into.length && `from ${list(into, "sender")}`,
    out.length && `to ${list(out, "receiver")}`, !into.length && !out.length && "no edge on show",
  ].filter(Boolean).join(" · ");
}

const sign = (kind, text, icon = "") => node("span", { class: `nb-sign nb-sign-${kind}` }, icon, text);

function icon({ points, half, up, down }) {
  const tall = up + down;
  const corners = points.map(([x, y]) => `${((x + half) / half) * 50}% ${((y + up) / tall) * 100}%`);
  return node("i", { style: `width: ${half}px; height: ${tall / 2}px; clip-path: polygon(${corners.join(", ")})`, "aria-hidden": "true" });
}

function legendOf({ label, most, legend, shapes, names, tally }) {
  const edges = [sign("wide", number(most)), sign("thin", number(most / 10)), sign("negative", "negative")];
  const who = ["shared", ...names.map((name) => `only ${name}`)];
  const sides = tally.map((count, side) => sign(`side-${side}`, `${who[side]} ${count}`, node("i", { "aria-hidden": "true" })));
  const group = (...children) => node("div", {}, ...children);
  return node("div", { class: "nb-legend" },
    group(node("span", {}, label), ...edges), group(...legend.map(([shape, role]) => sign("role", role, icon(shapes[shape])))),
    ...(tally.length ? [group(...sides)] : []));
}

function render({ model, el, signal }) {
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-roledescription": "circuit" });
  const slider = node("input", { type: "range", step: "any", min: "0" });
  const output = node("output");
  const cut = node("label", { class: "nb-cut" }, node("span", {}, "hide edges below"), slider, output);
  const choice = node("div", { class: "nb-choice", role: "radiogroup", "aria-label": "circuits on show" });
  const tools = node("div", { class: "nb-tools" }, cut, choice);
  const root = el.appendChild(node("div", { class: "nb nb-circuit" }, node("div", { class: "nb-circuit-scroll" }, canvas), tools));
  const [around, keyboard] = [framed(model, root, signal), keyboardOn(canvas, signal)];
  let frame, graph, box, pen, colours, outlines, curves, [room, hovered, cursor, coming, started] = [ROOM, null, null, 0, false];

  const shown = () => (graph.two ? model.get("shown") : "both");
  const threshold = () => clamp(model.get("threshold"), 0, frame.most);
  const there = () => graph.nodes.filter(({ side }) => among(side, shown()));
  const find = (label) => there().find((one) => one.label === label);
  const pinned = () => find(model.get("node"));
  // Where the keyboard is: where it was, or the node nearest to that place; else what is pinned, else the node on top.
  function here() {
    const nearest = (best, one) => (Math.hypot(one.x - cursor.x, one.y - cursor.y) < Math.hypot(best.x - cursor.x, best.y - cursor.y) ? one : best);
    if (!there().length) return undefined;
    if (cursor) return find(cursor.label) ?? there().reduce(nearest);
    return pinned() ?? there().reduce((best, one) => (one.y > best.y ? one : best));
  }
  const active = () => (hovered && find(hovered)) ?? (keyboard() ? here() : undefined) ?? pinned();

  function rebuild() {
    frame = model.get("_frame");
    graph = opened(frame);
    slider.max = frame.most;
    around.key(legendOf(frame));
    const named = frame.names.length === 1 && frame.names[0] ? ` of ${frame.names[0]}` : frame.names.length === 2 ? `s of ${frame.names.join(" and ")}` : "";
    canvas.setAttribute("aria-label", `circuit${named}: ${graph.nodes.length} nodes, ${graph.edges.length} edges`);
    offer();
    fit();
  }

  // Buttons for what of two circuits is on show; those that are there stay, and so does a focus on them.
  function offer() {
    choice.hidden = !graph.two;
    const texts = graph.two ? ["both", ...frame.names, "shared"] : [];
    while (choice.children.length > texts.length) choice.lastChild.remove();
    texts.forEach((text, at) => {
      const button = choice.children[at] ?? choice.appendChild(node("button", { type: "button", role: "radio", "data-shown": SHOWN[at] }));
      button.textContent = text;
    });
  }

  function fit(width = room) {
    box = layout(frame, (room = width));
    tools.style.maxWidth = `${Math.max(box.width, 320)}px`;
    outlines = graph.nodes.map((one) => [1, 0.82].map((size) => outline(one, size)));
    curves = graph.edges.map(curve);
    draw();
  }

  function outline({ x, y, shape }, size) {
    const [path, [left, top]] = [new Path2D(), box.at(x, y)];
    frame.shapes[shape].points.forEach(([dx, dy], at) => path[at ? "lineTo" : "moveTo"](left + size * dx, top + size * dy));
    path.closePath();
    return path;
  }

  // From the top of the sender to the bottom of the receiver, or to the letter below that; upright at each point.
  function curve({ sender, receiver, through, path, offset }) {
    const [below, above] = [sender, receiver].map((at) => frame.shapes[graph.nodes[at].shape]);
    const points = path.map(([x, y]) => box.at(x, y));
    points[0][1] -= below.up;
    points.at(-1)[0] += offset * above.half;
    points.at(-1)[1] += above.down + (through ? LETTER : 0);
    const made = new Path2D();
    made.moveTo(...points[0]);
    for (let at = 1; at < points.length; at++) {
      const [[x0, y0], [x1, y1]] = [points[at - 1], points[at]];
      made.bezierCurveTo(x0, (y0 + y1) / 2, x1, (y0 + y1) / 2, x1, y1);
    }
    return made;
  }

  function write(text, x, y, { colour = colours.muted, align = "center", font = SMALL } = {}) {
    [pen.fillStyle, pen.font, pen.textAlign, pen.textBaseline] = [colour, font, align, "middle"];
    pen.fillText(text, x, y);
  }

  function stroke(path, colour, width, dashes = []) {
    [pen.strokeStyle, pen.lineWidth] = [colour, width];
    pen.setLineDash(dashes);
    pen.stroke(path);
  }

  function drawGround() {
    for (const [label, y] of frame.rows) write(label, LEFT - 10, box.at(0, y)[1], { align: "right" });
    write("layer", LEFT - 10, box.bottom, { align: "right" });
    frame.columns.forEach(([name, middle, wide], at) => {
      const [x] = box.at(middle, 0);
      write(shorten(name, Math.floor(((wide + 0.5) * box.slot) / 6.6)), x, box.bottom, { colour: colours.fg, font: `bold ${SMALL}` });
      pen.fillStyle = colours.line;
      if (at) pen.fillRect(Math.round(x - (wide / 2 + 0.2) * box.slot), 4, 1, box.bottom);
    });
  }

  // Of two circuits an edge that both have is a double line, one that only the second has is beads on a string.
  function drawEdge(edge, alpha) {
    const [effect, path] = [strength(edge, shown()), curves[edge.at]];
    const [width, colour] = [THINNEST + (WIDEST - THINNEST) * Math.min(1, Math.abs(effect) / frame.most), COLOURS[Number(effect < 0)]];
    const [dashes, side] = [effect < 0 ? [8, 5] : [], graph.two && shown() === "both" ? edge.side : 1];
    pen.globalAlpha = alpha;
    if (side === 1) return stroke(path, colour, width, dashes);
    stroke(path, colour, side ? 1.2 : width + 3, dashes);
    if (!side) pen.globalAlpha = 1;
    if (!side) return stroke(path, colours.ground, width);
    pen.lineCap = "round";
    stroke(path, colour, width + 2, [0.01, 10]);
    pen.lineCap = "butt";
  }

  function drawNode(one, bright, held) {
    const [[path, within], side, { text }] = [outlines[one.at], graph.two ? one.side : 1, frame.shapes[one.shape]];
    pen.fillStyle = colours.ground;
    pen.fill(path);
    pen.globalAlpha = bright ? 1 : FAINT;
    const [colour, width] = [held ? colours.accent : colours.fg, held ? 2.5 : 1.5];
    stroke(path, colour, width, DASHES[side]);
    if (!side) stroke(within, colour, 1);
    const [x, y] = box.at(one.x, one.y);
    write(shorten(frame.texts[one.at], 7), x, y + text, { colour: colours.fg, font: held ? `bold ${SMALL}` : SMALL });
    pen.globalAlpha = 1;
  }

  function drawLetters(edges) {
    for (const { receiver, through, offset } of edges) {
      if (!through) continue;
      const [one, { half, down }] = [graph.nodes[receiver], frame.shapes[graph.nodes[receiver].shape]];
      const [x, y] = box.at(one.x, one.y);
      write(THROUGH[through], x + offset * half, y + down + LETTER / 2, { font: `bold ${SMALL.replace("11px", "10px")}` });
    }
  }

  function draw() {
    const [at, held, edges] = [active(), pinned(), kept(graph, { threshold: threshold(), most: frame.most, shown: shown() })];
    const touched = new Set(edges.filter(({ sender, receiver }) => !at || sender === at.at || receiver === at.at));
    const bright = new Set([...touched].flatMap(({ sender, receiver }) => [sender, receiver]).concat(at ? [at.at] : []));
    pen = sized(canvas, box.width, box.height);
    colours = { ...theme(root), ground: getComputedStyle(root).getPropertyValue("--nb-ground").trim() || "#fff" };
    drawGround();
    const size = (edge) => Math.abs(strength(edge, shown()));
    edges.sort((one, other) => touched.has(one) - touched.has(other) || size(other) - size(one));
    for (const edge of edges) drawEdge(edge, touched.has(edge) ? 1 : PALE);
    pen.globalAlpha = 1;
    const ports = new Map([...touched].map((edge) => [`${edge.receiver} ${edge.through}`, edge]));
    drawLetters(ports.values());
    for (const one of there()) drawNode(one, bright.has(one.at), one === held);
    if (at && at !== held) stroke(outlines[at.at][0], colours.fg, 3);
    tell(at, edges);
  }

  function tell(at, edges) {
    slider.value = threshold();
    output.textContent = number(threshold());
    slider.setAttribute("aria-valuetext", output.textContent);
    for (const button of choice.children) {
      const on = button.dataset.shown === shown();
      button.setAttribute("aria-checked", on);
      button.tabIndex = on ? 0 : -1;
    }
    around.read.textContent = at ? readout(frame, graph, at.at, edges) : "";
  }

  // While the slider is dragged the picture is drawn once for each frame of the screen.
  function later() {
    coming ||= requestAnimationFrame(() => {
      coming = 0;
      draw();
    });
  }
  signal?.addEventListener("abort", () => cancelAnimationFrame(coming));

  function pin(one) {
    const label = one && one !== pinned() ? one.label : "";
    hovered = null;
    label === model.get("node") ? draw() : put(model, "node", label);
  }

  function choose(next) {
    put(model, "shown", next);
    choice.querySelector("[aria-checked=true]")?.focus();
  }

  function cutAt(next) {
    if (next !== model.get("threshold")) put(model, "threshold", next);
    return true;
  }

  const listen = (target, event, handle) => target.addEventListener(event, handle, { signal });
  const under = ({ offsetX, offsetY }) => spot({ nodes: there() }, box, frame.shapes, offsetX, offsetY);
  const hover = (one) => {
    canvas.style.cursor = one ? "pointer" : "";
    if ((one?.label ?? null) === hovered) return;
    hovered = one?.label ?? null;
    draw();
  };
  listen(canvas, "pointermove", (event) => hover(under(event)));
  listen(canvas, "pointerleave", () => hover());
  for (const event of ["focus", "blur"]) listen(canvas, event, draw);
  listen(canvas, "click", (event) => under(event) && pin(under(event)));
  keys(canvas, ({ key }) => {
    const next = here() && led(key, here(), there());
    if (next) cursor = next;
    else if (key === "Enter" || key === " ") pin(here());
    else if (key === "Escape") pin();
    else return false;
    hovered = null;
    draw();
    return true;
  }, signal);
  listen(slider, "input", () => cutAt(snapped(Number(slider.value), frame.most)));
  keys(slider, ({ key }) => slid(key, threshold(), frame.most) !== null && cutAt(slid(key, threshold(), frame.most)), signal);
  listen(choice, "click", ({ target }) => target.dataset.shown && choose(target.dataset.shown));
  keys(choice, ({ key }) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
    if (step) choose(SHOWN.at((SHOWN.indexOf(shown()) + step) % SHOWN.length));
    return Boolean(step);
  }, signal);

  follow(model, ["_frame"], rebuild, signal);
  follow(model, ["node"], () => {
    cursor = pinned() ?? cursor;
    draw();
  }, signal);
  follow(model, ["shown"], draw, signal);
  follow(model, ["threshold"], () => started && later(), signal);
  started = true;
  repaint(draw, signal);
  resized(root, fit, signal);
}

export default { render };
