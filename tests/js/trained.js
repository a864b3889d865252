// What the page makes of some settings, for tests/unit/test_three_logits_page.py: JSON in, JSON out.

import { readFileSync } from "node:fs";
import { curvesFrame, drawnSteps, landscapeFrame, surfaceOf } from "../../nbtools/views/three_logits/frames.js";
import { aboutRun, aboutSlice, burstinesses, fitted, misfit, trained } from "../../nbtools/views/three_logits/model.js";

const listed = (value) => {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, listed(part)]));
};

function made({ setting, plane, scale, notes, keep, wish }) {
  const run = trained(setting);
  const step = keep ?? (run.half < 0 ? setting.steps : run.half);
  const drawn = drawnSteps(run, step);
  const given = { lut: [], notes };
  return {
    curves: run.curves, half: run.half, step, said: [aboutRun(run), aboutSlice(run, plane, step)], surface: surfaceOf(run, plane, step),
    landscape: landscapeFrame(run, drawn, plane, step, given), scrubber: curvesFrame(run, drawn, scale, given),
    fits: [burstinesses(setting.pairs, setting.labels), fitted(setting, wish).burstiness, misfit({ ...setting, labels: 3 })],
  };
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf-8")).map((one) => listed(made(one)))));
