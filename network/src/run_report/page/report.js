
// Draws the charts of a report from the data in it.

const data = JSON.parse(document.getElementById("data").textContent);

/** Draws which share of each group is of a class, by the probability that the group got. */
function calibration({ place, class: name, groups }, number, width) {
  const height = 260;
  const [wide, tall] = area(width, height);
  const x = (share) => MARGIN + wide * share;
  const y = (share) => MARGIN + tall * (1 - share);
  const fifths = [0, 0.2, 0.4, 0.6, 0.8, 1];
  const { picture, inside } = plot({
    width, height, across: "predicted, in %",
    rows: fifths.map((share) => [tall * (1 - share), `${100 * share} %`]),
    columns: fifths.map((share) => [wide * share, 100 * share]),
  });
  inside.append(svg("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
  const most = Math.max(...groups.map(({ examples }) => examples));
  for (const { predicted, observed, examples } of groups) {
    const [cx, cy] = [x(predicted), y(observed.value)];
    const [y1, y2] = [y(observed.low), y(observed.high)];
    inside.append(
      svg("line", { class: "interval", x1: cx, x2: cx, y1, y2 }),
      svg("circle", { class: "point", cx, cy, r: 2 + 4 * Math.sqrt(examples / most) }),
    );
  }
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  const told = groups.map(({ predicted, observed }) => {
    return `${percent(observed.value)} where ${percent(predicted)} is predicted`;
  });
  const text = `Observed share of ${name} by its predicted probability: ${told.join(", ")}`;
  return captioned(`${place}-${number}`, `${name}: observed by predicted`, picture, text);
}

function draw() {
  for (const { place, figures } of data.curves) {
    const drawings = figures.map(([key, points]) => (width) => {
      return chart({ ...figure(key), key: `${place}-${key}` }, points, width);
    });
    arrange(document.getElementById(place), drawings);
  }
  for (const place of new Set(data.calibration.map((of) => of.place))) {
    const those = data.calibration.filter((of) => of.place === place);
    const drawings = those.map((of, number) => (width) => calibration(of, number, width));
    arrange(document.getElementById(place), drawings);
  }
}

addEventListener("resize", draw);
draw();
