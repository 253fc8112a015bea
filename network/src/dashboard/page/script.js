"use strict";

// Asks for the status, then again and again for another one, and shows it. Texts of the relay's are
// only ever set as text.

const PAUSE_MS = 250; // Between two answers, so that a busy relay is not asked all the time.
const RETRY_MS = 2000;
const ATTEMPT_MS = 40000; // The relay answers after 25 s at the latest.
const WAITING_S = 15; // The relay says every 10 s for whom it waits, as long as it does.

const byId = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");

let shown = null; // The last status.
let lag = 0; // The relay's clock less ours, in seconds.
let failedSince = null;

/** Sets a text, unless it is there: what is set again is read out again. */
function say(id, text) {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** A time of the relay's, by the clock of this machine. */
const clock = (unixS) => new Date(1000 * (unixS - lag)).toLocaleTimeString();

// What is said of the model.

/** The figures of the model before a round, by key; those that it has. */
function before(round) {
  // AUROC comes with the error that its bins leave.
  const figures = Object.entries(round.before).map(([key, found]) => [key, found?.value ?? found]);
  return Object.fromEntries(figures.filter(([, value]) => value !== null));
}

/** The figures of the model that any of these rounds has: each has a column and a chart. */
function figures(rounds) {
  const keys = new Set(rounds.flatMap((round) => Object.keys(before(round))));
  return [...keys].map(figure);
}

// Where the relay stands.

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
  say("phase", phase(shown));
  byId("phase").className = isComplete() ? "here" : "";
  say("done-text", `${shown.rounds_done} of ${shown.rounds_wanted} rounds`);
  const since = isStopped()
    ? `; since ${clock(shown.phase_since_unix_s)}`
    : `; in this phase for ${duration(now - shown.phase_since_unix_s)}`;
  say("since", since);
  const waiting = shown.waiting_for;
  const waits = waiting !== null && now - waiting.told_unix_s < WAITING_S;
  byId("waiting").hidden = !waits;
  if (waits) {
    const others = "; others have sent their sums, so the round cannot go on without";
    const why = waiting.same_participants ? others : "";
    const names = waiting.names.join(", ");
    say("waiting", `Waiting for ${names} since ${clock(waiting.since_unix_s)}${why}.`);
  }
}

function showConnection() {
  // A relay that said that it stops, or has all rounds, is not missed.
  const missed = failedSince !== null && (shown === null || !(isStopped() || isComplete()));
  byId("connection").className = missed ? "gone" : "";
  if (missed) {
    const since = new Date(failedSince).toLocaleTimeString();
    say("connection", `The relay has not answered since ${since}`);
  } else if (shown) {
    say("connection", failedSince !== null || isStopped() ? "The relay has ended" : "Live");
  }
}

function showFigures() {
  const last = shown.rounds[shown.rounds.length - 1];
  const here = shown.nodes.filter((node) => node.connection === "connected").length;
  const rows = [];
  if (!isComplete()) rows.push(["Nodes connected", `${here} of ${shown.nodes.length}`]);
  if (last) {
    rows.push(["Nodes that took part", count(last.nodes)]);
    rows.push(["Training examples", count(last.examples)]);
    rows.push(["Time", `${last.seconds.toFixed(1)} s`]);
    for (const { key, name, show } of figures([last])) {
      rows.push([`${name} of the model before it`, show(before(last)[key])]);
    }
    if (isComplete()) rows.push(["SHA-256 of the model", hash(last.model)]);
  }
  const boxes = rows.map(([name, value]) => {
    const [box, description] = [element("div"), element("dd")];
    description.append(value);
    box.append(element("dt", name), description);
    return box;
  });
  say("figures-heading", last ? `Last complete round: ${last.round}` : "Before the first round");
  byId("figures").replaceChildren(...boxes);
}

function hash(model) {
  const code = element("code", model.slice(0, 8));
  code.title = model;
  return code;
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
    const [part, seeds] = isStopped()
      ? ["took part", "held seeds"]
      : ["takes part", "holds seeds"];
    const roles = [node.participant && part, node.holder && seeds].filter(Boolean);
    const [words, className] = CONNECTIONS[node.connection];
    // A relay that has stopped misses nobody.
    const connection = element("td", words, isStopped() ? "" : className);
    const name = element("th", node.name);
    name.scope = "row";
    row.append(name, element("td", node.organisation), connection, element("td", roles.join(", ")));
    return row;
  });
  byId("nodes").replaceChildren(...rows);
}

function showRounds() {
  byId("no-rounds").hidden = shown.rounds.length > 0;
  byId("rounds-table").hidden = shown.rounds.length === 0;
  const ofModel = figures(shown.rounds);
  const names = [
    "Round", "Nodes", "Examples", "Attempts", "Seconds",
    ...ofModel.map(({ name }) => `${name} before`),
  ];
  const columns = [
    ...names.map((name) => element("th", name, "number")),
    element("th", "Model after"),
  ];
  for (const column of columns) column.scope = "col";
  byId("rounds-columns").replaceChildren(...columns);
  const rows = [...shown.rounds].reverse().map((round) => {
    const [row, number] = [element("tr"), element("th", round.round, "number")];
    number.scope = "row";
    const found = before(round);
    const cells = [
      round.nodes, count(round.examples), round.attempts, round.seconds.toFixed(2),
      ...ofModel.map(({ key, show }) => key in found ? show(found[key]) : ""),
    ];
    const model = element("td");
    model.append(hash(round.model));
    row.append(number, ...cells.map((cell) => element("td", cell, "number")), model);
    return row;
  });
  byId("rounds").replaceChildren(...rows);
}

function showNotices() {
  byId("notices-section").hidden = shown.notices.length === 0;
  const items = [...shown.notices].reverse().map((notice) => {
    const item = element("li");
    const time = element("time", new Date(1000 * (notice.unix_s - lag)).toLocaleString());
    item.append(time, notice.text);
    return item;
  });
  byId("notices").replaceChildren(...items);
}

function showCharts() {
  const ofModel = figures(shown.rounds).filter(({ chart }) => chart !== false);
  byId("charts-section").hidden = ofModel.length === 0;
  const drawings = ofModel.map((how) => (width) => {
    // What a round says of the model before it is said of the model after the round before.
    const tested = shown.rounds.filter((round) => how.key in before(round));
    const points = tested.map((round) => [round.round - 1, before(round)[how.key]]);
    return chart(how, points, width);
  });
  arrange(byId("charts"), drawings);
}

function show() {
  document.title = `${shown.consortium}: ${shown.rounds_done} of ${shown.rounds_wanted} rounds`;
  say("consortium", shown.consortium);
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
addEventListener("resize", () => {
  if (shown) showCharts();
});
follow();
