// The three nested logits of nbtools/training/three_logits.py once more, so that the page itself can train them at once,
// with or without a kernel. Two languages hold one formula here: tests/unit/test_three_logits_page.py holds them together.

import { number } from "../shared.js";

const [FARTHEST, TINY] = [700, Number.EPSILON]; // a logit beyond which exp() has no number; what is no slope but rounding
const [BEFORE, BRIEF] = [0.9, 10]; // of the way to a probability of 0.5; steps that are no plateau

export const CURVES = ["probability", "loss", "q1", "q2", "xi", "alpha", "beta"];
export const SETTING = ["pairs", "labels", "burstiness", "beta", "alpha", "xi", "lr", "steps"];

// Across, up, and the parameter that is held.
export const PLANES = { "xi, alpha": ["xi", "alpha", "beta"], "alpha, beta": ["alpha", "beta", "xi"], "xi, beta": ["xi", "beta", "alpha"] };

// How often each class can be among so many pairs: two classes or more, and no more than there are labels.
export function burstinesses(pairs, labels) {
  const all = Array.from({ length: Math.floor(pairs / 2) }, (_, at) => at + 1);
  return all.filter((times) => pairs % times === 0 && pairs / times <= labels);
}

// A setting in which each class has as many copies as are wished for, or the next lower number that divides the pairs.
export const fitted = (setting, wish) =>
  ({ ...setting, burstiness: Math.max(1, ...burstinesses(setting.pairs, setting.labels).filter((times) => times <= wish)) });

// What does not fit in a setting that was chosen with sliders; empty if all does.
export function misfit({ pairs, labels, burstiness }) {
  const classes = pairs / burstiness;
  return classes > labels ? `expected as many labels as classes or more, got ${classes} classes and ${labels} labels` : "";
}

const share = (logit, others) => 1 / (1 + others * Math.exp(Math.min(-logit, FARTHEST)));

// The attention of a label to the item before it, and that of the target to the right label.
export const firstOf = ({ pairs }, beta) => share(beta, pairs);
export const secondOf = ({ pairs, burstiness }, alpha, first) => share(alpha * first, pairs / burstiness - 1);

// In nats; `second` is the attention of the second layer.
export function lossOf({ pairs, labels, burstiness }, xi, second) {
  const classes = pairs / burstiness;
  const right = xi * second;
  const other = (xi * (1 - second)) / (classes - 1) + Math.log(classes - 1);
  const absent = Math.log(labels - classes);
  const most = Math.max(right, other, absent);
  return most + Math.log(Math.exp(right - most) + Math.exp(other - most) + Math.exp(absent - most)) - right;
}

// The derivatives of the loss by all three parameters, from what both layers attend to there.
export function gradient({ pairs, labels, burstiness }, { alpha, xi, q1, q2 }) {
  const classes = pairs / burstiness;
  const others = classes - 1;
  const right = xi * q2;
  const other = (xi * (1 - q2)) / others;
  const most = Math.max(right, other, 0);
  const weight = Math.exp(right - most);
  const rest = others * Math.exp(other - most);
  const total = weight + rest + (labels - classes) * Math.exp(-most);
  const miss = weight / total - 1;
  const wrong = rest / total / others;
  const inner = (miss - wrong) * xi * q2 * (1 - q2);
  return { beta: inner * alpha * q1 * (1 - q1), alpha: inner * q1, xi: miss * q2 + wrong * (1 - q2) };
}

// Whether training changes anything.
function leaves(setting) {
  const q1 = firstOf(setting, setting.beta);
  const by = gradient(setting, { ...setting, q1, q2: secondOf(setting, setting.alpha, q1) });
  return by.beta !== 0 || by.alpha !== 0 || Math.abs(by.xi) >= TINY;
}

// A training by plain gradient descent, from the first step to the last: curves by name, and what is said of them.
export function trained(setting) {
  const [moves, { lr, steps }] = [leaves(setting), setting];
  const curves = Object.fromEntries(CURVES.map((name) => [name, new Float64Array(steps + 1)]));
  const at = { beta: setting.beta, alpha: setting.alpha, xi: setting.xi, q1: 0, q2: 0, loss: 0 };
  for (let step = 0; step <= steps; step++) {
    at.q1 = firstOf(setting, at.beta);
    at.q2 = secondOf(setting, at.alpha, at.q1);
    at.loss = lossOf(setting, at.xi, at.q2);
    curves.probability[step] = Math.exp(-at.loss);
    curves.loss[step] = at.loss;
    curves.q1[step] = at.q1;
    curves.q2[step] = at.q2;
    curves.xi[step] = at.xi;
    curves.alpha[step] = at.alpha;
    curves.beta[step] = at.beta;
    if (!moves) continue;
    const by = gradient(setting, at);
    at.beta -= lr * by.beta;
    at.alpha -= lr * by.alpha;
    at.xi -= lr * by.xi;
  }
  return { setting, curves, moves, half: curves.probability.findIndex((value) => value > 0.5) };
}

const tally = (count) => count.toLocaleString("en-US");

const guess = ({ pairs, burstiness }) => `a guess among the ${pairs / burstiness} classes of the context: ${number(burstiness / pairs)}`;

// When the right label becomes probable, and how probable it was shortly before.
export function aboutRun({ setting, curves: { probability }, moves, half }) {
  const { beta, alpha, xi, steps } = setting;
  if (!moves) return `${beta || alpha || xi ? "the start" : "the origin"} is critical: nothing moves`;
  if (half < 0) return `P does not pass 0.5 in ${tally(steps)} steps: it ends at ${number(probability[steps])} (${guess(setting)})`;
  if (half === 0) return "P is above 0.5 from the start";
  const before = Math.floor(BEFORE * half);
  const plateau = `; plateau: still ${number(probability[before])} at step ${tally(before)} (${guess(setting)})`;
  return `P passes 0.5 at step ${tally(half)}${half > BRIEF ? plateau : ""}`;
}

// At which value the parameter is held that the landscape does not show.
export function aboutSlice({ curves }, plane, step) {
  const held = PLANES[plane][2];
  return `loss with ${held} held at ${number(curves[held][step])}, as at step ${tally(step)}`;
}
