"use strict";

// The figures of a model and their charts, for the operator's page and the report of a run. Texts
// are only ever set as text.

// How figures of the model are shown that are not plain numbers.
const SHARE = { scale: 100, unit: " %", digits: 2 };
const FIGURES = {
  accuracy: SHARE,
  majority: { ...SHARE, name: "Most frequent class", chart: false },
  balanced_accuracy: SHARE,
  sensitivity: { ...SHARE, chart: false },
  specificity: { ...SHARE, chart: false },
  precision: { ...SHARE, chart: false },
  f1: { ...SHARE, chart: false },
  auroc: { name: "AUROC", digits: 3 },
  brier: { chart: false },
  mae: { name: "MAE" },
  rmse: { name: "RMSE" },
  r2: { name: "R²", digits: 3 },
};

// Between the edges of a picture and its plot, in pixels.
const EDGES = { left: 62, right: 14, top: 8, bottom: 40 };
const MARGIN = 4;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** How to show the figure with this key. */
function figure(key) {
  const words = key.replaceAll("_", " ");
  const name = words.charAt(0).toUpperCase() + words.slice(1);
  const how = { key, name, scale: 1, unit: "", digits: 4, ...FIGURES[key] };
  how.show = (value) => `${(how.scale * value).toFixed(how.digits)}${how.unit}`;
  return how;
}

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/**
 * The range of most values. Up to a quarter of them, those farthest from the middle one, are left
 * out where each time the rest spans less than half, so that a first round or a bad one does not
 * press all others into a line. The newest value stays.
 */
function range(values) {
  const newest = values[values.length - 1];
  const span = (sorted) => sorted[sorted.length - 1] - sorted[0];
  let kept = [...values].sort((a, b) => a - b);
  const middle = kept[Math.floor(kept.length / 2)];
  let rest = kept;
  for (let left = Math.floor(values.length / 4); left > 0; left -= 1) {
    const lowest = middle - rest[0] > rest[rest.length - 1] - middle;
    const next = lowest ? rest.slice(1) : rest.slice(0, -1);
    if (newest < next[0] || newest > next[next.length - 1]) break;
    if (span(next) < span(rest) / 2) kept = next;
    rest = next;
  }
  return [kept[0], kept[kept.length - 1]];
}

/** Round numbers around `low` to `high`, in about `most` steps. */
function ticks(low, high, most) {
  const width = high - low || Math.abs(low) / 10 || 1;
  const power = 10 ** Math.floor(Math.log10(width / most));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power * most >= width);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return { step, values: Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step) };
}

/**
 * An empty plot so wide and high: a line for each row, [pixels from the top, text], a text for each
 * column, [pixels from the left, text], and what runs from left to right. What is put into its
 * `inside` is cut off at its edges, `MARGIN` pixels away from the outermost rows and columns.
 */
function plot({ width, height, rows, columns, across }) {
  const { left, right, top, bottom } = EDGES;
  const parts = rows.flatMap(([at, text]) => [
    svg("line", { class: "grid", x1: left, x2: width - right, y1: top + at, y2: top + at }),
    svg("text", { x: left - 6, y: top + at + 4, "text-anchor": "end" }, text),
  ]);
  for (const [at, text] of columns) {
    const place = { x: left + at, y: height - bottom + 18, "text-anchor": "middle" };
    parts.push(svg("text", place, text));
  }
  const [wide, tall] = area(width, height);
  const middle = { x: left + wide / 2, y: height - 4, "text-anchor": "middle" };
  parts.push(svg("text", middle, across));
  const inside = svg("svg", {
    x: left - MARGIN, y: top - MARGIN, width: wide + 2 * MARGIN, height: tall + 2 * MARGIN,
  });
  const picture = svg("svg", { role: "img", width, height, viewBox: `0 0 ${width} ${height}` });
  picture.append(...parts, inside);
  return { picture, inside };
}

/** What is left of a width and a height within the edges of a plot. */
function area(width, height) {
  const { left, right, top, bottom } = EDGES;
  return [Math.max(1, width - left - right), height - top - bottom];
}

/** A picture under its name, with its text for those who do not see it. */
function captioned(id, name, picture, text) {
  const [drawn, caption] = [element("figure"), element("figcaption", name)];
  caption.id = `chart-${id}`;
  drawn.setAttribute("aria-labelledby", caption.id);
  picture.setAttribute("aria-label", text);
  drawn.append(caption, picture);
  return drawn;
}

/** Draws the curve of a figure through `points`, [round, value] each. */
function chart({ key, name, scale, unit, show }, points, width) {
  const height = 190;
  const [wide, tall] = area(width, height);
  const [low, high] = range(points.map(([, value]) => value));
  const lines = ticks(scale * low, scale * high, 4);
  const [floor, ceiling] = [lines.values[0], lines.values[lines.values.length - 1]];
  const y = (value) => tall * (ceiling - scale * value) / (ceiling - floor);
  const [first, last] = [points[0][0], points[points.length - 1][0]];
  const x = (round) => last === first ? wide / 2 : wide * (round - first) / (last - first);
  const digits = Math.max(0, -Math.floor(Math.log10(lines.step) + 1e-9));

  const rows = lines.values.map((value) => {
    return [y(value / scale), `${value.toFixed(digits)}${unit}`];
  });
  const steps = ticks(first, last, Math.max(2, Math.floor(wide / 60)));
  const rounds = last === first ? [first] : steps.values;
  const columns = rounds
    .filter((at) => Number.isInteger(at) && at >= first && at <= last)
    .map((round) => [x(round), round]);
  const { picture, inside } = plot({ width, height, rows, columns, across: "after round" });
  const at = ([round, value]) => [x(round), y(value)].map((place) => (MARGIN + place).toFixed(1));
  inside.append(svg("polyline", { class: "curve", points: points.map(at).join(" ") }));
  if (points.length <= 50) {
    for (const [cx, cy] of points.map(at)) {
      inside.append(svg("circle", { class: "point", cx, cy, r: 3 }));
    }
  }

  const outside = points.filter(([, value]) => scale * value < floor || scale * value > ceiling);
  const told = ([round, value]) => `${show(value)} after round ${round}`;
  const ends = points.length === 1
    ? told(points[0])
    : `from ${told(points[0])} to ${told(points[points.length - 1])}`;
  const drawn = captioned(key, name, picture, `${name} of the model by round, ${ends}`);
  if (outside.length > 0) {
    const few = outside.slice(0, 3).map(told).join(", ");
    const more = outside.length > 3 ? ` and ${outside.length - 3} more` : "";
    drawn.append(element("p", `Outside of the picture: ${few}${more}.`, "note"));
  }
  return drawn;
}

/** Fills a grid with drawings, each of which is made for the width that the grid has for it. */
function arrange(place, drawings) {
  if (place.childElementCount !== drawings.length) {
    place.replaceChildren(...drawings.map(() => element("figure")));
  }
  if (drawings.length === 0) return;
  const width = place.firstElementChild.clientWidth;
  place.replaceChildren(...drawings.map((draw) => draw(width)));
}
