"use strict";

// Asks for the status, then again and again for another one, and shows it. Texts of the relay's are only ever set as text.

const PAUSE_MS = 250; // Between two answers, so that a busy relay is not asked all the time.
const RETRY_MS = 2000;
const ATTEMPT_MS = 40000; // The relay answers after 25 s at the latest.
const WAITING_S = 15; // The relay says every 10 s for whom it waits, as long as it does.
const CHART = { width: 420, height: 150, left: 56, right: 12, top: 10, bottom: 24 };

const byId = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(2)} %`;
const count = (number) => number.toLocaleString("en");

let shown = null; // The last status.
let lag = 0; // The relay's clock less ours, in seconds.
let failedSince = null;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

const isComplete = () => shown.rounds_done >= shown.rounds_wanted;
const isStopped = () => shown.phase.name === "stopped";

function phase(status) {
  const round = status.rounds_done + 1;
  const of = `of ${status.rounds_wanted}`;
  const { name, attempt, asked } = status.phase;
  if (isComplete()) {
    const all = `Complete: all ${status.rounds_wanted} rounds are done`;
    return name === "stopped" ? all : `${all}; nodes take the last model`;
  }
  switch (name) {
    case "gathering": return `Waiting to begin round ${round} ${of}`;
    case "training": {
      const again = attempt > 1 ? `, attempt ${attempt}` : "";
      return `Round ${round} ${of}: ${asked} nodes train${again}`;
    }
    case "collecting": return `Round ${round} ${of}: shares and masked sums are on their way`;
    case "averaging": return `Round ${round} ${of}: averaging`;
    case "completed": return `Round ${status.rounds_done} ${of} is complete`;
    case "stopped":
      return `Stopped after round ${status.rounds_done} ${of}; start the relay again to go on`;
    default: return name;
  }
}

function showPhase() {
  const now = Date.now() / 1000 + lag;
  const since = duration(now - shown.phase_since_unix_s);
  byId("phase").textContent = `${phase(shown)} (${since})`;
  const waiting = shown.waiting_for;
  const waits = waiting !== null && now - waiting.told_unix_s < WAITING_S;
  byId("waiting").hidden = !waits;
  if (waits) {
    const why = waiting.same_participants ? "; others have sent their sums, so the round cannot go on without" : "";
    byId("waiting").textContent = `Waiting for ${waiting.names.join(", ")}, for ${duration(now - waiting.since_unix_s)} now${why}.`;
  }
}

function showConnection() {
  // A relay that said that it stops, or has all rounds, is not missed.
  const missed = failedSince !== null && (shown === null || !(isStopped() || isComplete()));
  const line = byId("connection");
  line.className = missed ? "gone" : "";
  if (missed) {
    line.textContent = `The relay does not answer, for ${duration((Date.now() - failedSince) / 1000)} now`;
  } else if (shown) {
    line.textContent = failedSince !== null || isStopped() ? "The relay has ended" : "live";
  }
}

function showFigures() {
  const last = shown.rounds[shown.rounds.length - 1];
  const here = shown.nodes.filter((node) => node.connection === "connected").length;
  const figures = [];
  if (!isComplete()) figures.push([`${here} of ${shown.nodes.length}`, "nodes are connected"]);
  if (last) {
    figures.push([count(last.examples), `examples in round ${last.round}`]);
    figures.push([`${last.seconds.toFixed(1)} s`, `for round ${last.round}`]);
    if (last.before.accuracy !== undefined) {
      figures.push([percent(last.before.accuracy), `accuracy of the model before round ${last.round}`]);
    }
    if (isComplete()) figures.push([last.model.slice(0, 8), "is the model's SHA-256"]);
  }
  const boxes = figures.map(([value, label]) => {
    const box = element("div");
    box.append(element("strong", value), element("span", label));
    return box;
  });
  byId("figures").replaceChildren(...boxes);
}

const CONNECTIONS = {
  away: ["not connected", ""],
  connected: ["connected", "here"],
  lost: ["connection lost", "gone"],
  left: ["has left, with the model", ""],
};

function showNodes() {
  const rows = shown.nodes.map((node) => {
    const row = element("tr");
    const roles = [node.participant && "takes part", node.holder && "holds seeds"].filter(Boolean);
    const [words, className] = CONNECTIONS[node.connection];
    row.append(
      element("td", node.name),
      element("td", node.organisation),
      // A relay that has stopped misses nobody.
      element("td", words, isStopped() ? "" : className),
      element("td", roles.join(", ")),
    );
    return row;
  });
  byId("nodes").replaceChildren(...rows);
}

function showRounds() {
  byId("no-rounds").hidden = shown.rounds.length > 0;
  byId("rounds-table").hidden = shown.rounds.length === 0;
  const rows = [...shown.rounds].reverse().map((round) => {
    const row = element("tr");
    const cells = [
      round.round, round.nodes, count(round.examples), round.attempts, round.seconds.toFixed(2),
      round.before.loss === null ? "" : round.before.loss.toFixed(4),
      round.before.accuracy === undefined ? "" : percent(round.before.accuracy),
    ];
    row.append(...cells.map((cell) => element("td", cell, "number")));
    const model = element("td");
    const hash = element("code", round.model.slice(0, 8));
    hash.title = round.model;
    model.append(hash);
    row.append(model);
    return row;
  });
  byId("rounds").replaceChildren(...rows);
}

function showNotices() {
  byId("notices-section").hidden = shown.notices.length === 0;
  const items = [...shown.notices].reverse().map((notice) => {
    const item = element("li");
    const time = element("time", new Date(1000 * notice.unix_s).toLocaleString());
    item.append(time, notice.text);
    return item;
  });
  byId("notices").replaceChildren(...items);
}

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Draws a curve through `points`, [round, value] each. */
function draw(chart, points, label) {
  const { width, height, left, right, top, bottom } = CHART;
  const [first, last] = [points[0][0], points[points.length - 1][0]];
  const values = points.map(([, value]) => value);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const labels = low === high ? [low] : [low, (low + high) / 2, high];
  if (low === high) [low, high] = [low - 1, high + 1];
  const x = (round) => left + (width - left - right) * (last === first ? 0.5 : (round - first) / (last - first));
  const y = (value) => top + (height - top - bottom) * (high - value) / (high - low);

  const parts = labels.flatMap((value) => [
    svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, label(value)),
  ]);
  for (const round of new Set([first, last])) {
    parts.push(svg("text", { x: x(round), y: height - 6, "text-anchor": "middle" }, round));
  }
  const line = points.map(([round, value]) => `${x(round).toFixed(1)},${y(value).toFixed(1)}`);
  parts.push(svg("polyline", { class: "curve", points: line.join(" ") }));
  if (points.length <= 50) {
    parts.push(...points.map(([round, value]) => svg("circle", { class: "point", cx: x(round), cy: y(value), r: 3 })));
  }
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
}

function showCharts() {
  // What a round says of the model before it is said of the model after the round before.
  const tested = shown.rounds.filter((round) => round.before.accuracy !== undefined);
  byId("charts").hidden = tested.length === 0;
  if (tested.length === 0) return;
  draw(byId("accuracy"), tested.map((round) => [round.round - 1, round.before.accuracy]), percent);
  draw(byId("loss"), tested.map((round) => [round.round - 1, round.before.loss]), (loss) => loss.toFixed(3));
}

function show() {
  document.title = `${shown.consortium}: ${shown.rounds_done} of ${shown.rounds_wanted} rounds`;
  byId("consortium").textContent = shown.consortium;
  byId("done").max = shown.rounds_wanted;
  byId("done").value = Math.min(shown.rounds_done, shown.rounds_wanted);
  showPhase();
  showFigures();
  showCharts();
  showNodes();
  showRounds();
  showNotices();
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** The status, or null where none is to be had. */
async function ask(query) {
  const controller = new AbortController();
  const limit = setTimeout(() => controller.abort(), ATTEMPT_MS);
  try {
    const response = await fetch(`/status.json${query}`, { signal: controller.signal });
    return response.ok ? await response.json() : null;
  } catch (error) {
    return null;
  } finally {
    clearTimeout(limit);
  }
}

async function follow() {
  for (;;) {
    // After a pause the relay may be another one, that counts from the beginning.
    const fresh = shown === null || failedSince !== null || isStopped();
    const status = await ask(fresh ? "" : `?seen=${shown.revision}`);
    if (status === null) {
      failedSince = failedSince || Date.now();
      showConnection();
      await pause(RETRY_MS);
      continue;
    }
    shown = status;
    lag = shown.now_unix_s - Date.now() / 1000;
    failedSince = null;
    show();
    showConnection();
    await pause(isStopped() ? RETRY_MS : PAUSE_MS);
  }
}

setInterval(() => {
  if (shown) showPhase();
  showConnection();
}, 1000);
follow();
