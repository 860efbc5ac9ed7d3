// The console: a list that is asked again every two seconds, and one chosen migration that is followed over a WebSocket.
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, props = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
};
const words = (status) => status.replace("_", " ");
const told = (m) => words(m.status) + (m.rolled_back && m.status === "failed" ? ", rolled back" : "");
const clock = (text) => (text ? new Date(text + "Z").toLocaleString() : "–");
const seconds = (n) => {
  if (n == null) return "–";
  const s = Math.round(n), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return h ? `${h}h ${m}m` : m ? `${m}m ${s % 60}s` : `${s}s`;
};

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(letter(body.error, answer)), { body });
  return body;
}
const send = (path, body) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) });

function letter(error, answer) {
  if (!error) return `The server answered ${answer.status}`;
  const lines = [error.message];
  for (const bad of error.details.validation_errors || []) lines.push(`${bad.field}: ${bad.message}`);
  for (const bad of error.details.failed_checks || []) lines.push(`${bad.check}: ${bad.error}${bad.suggestion ? `. ${bad.suggestion}` : ""}`);
  return lines.join("\n");
}

let chosen = null;
let stream = null;
let retry = 0;

// ---- the list

async function refresh() {
  try {
    const filter = $("filter").value;
    const all = await ask("/migrations/?limit=200" + (filter ? `&status_filter=${filter}` : ""));
    paintRows(all);
    const health = await fetch("/health").then((r) => r.json());
    $("health").textContent = `${health.status} · version ${health.version}`;
  } catch {
    $("health").textContent = "the server does not answer; trying again";
  }
}

function paintRows(all) {
  const focused = document.activeElement?.dataset?.id;
  $("empty").hidden = all.length > 0;
  $("rows").replaceChildren(...all.map((m) => {
    const open = make("button", { type: "button", className: "link", textContent: m.name, onclick: () => choose(m.id) });
    open.dataset.id = m.id;
    const bar = make("progress", { max: 100, value: m.progress });
    bar.setAttribute("aria-label", `${m.name}: ${m.progress}%`);
    const status = make("span", { className: `status ${m.status}`, textContent: told(m) });
    const cells = [open, m.source_type, m.destination_type, status, make("span", {}, bar, ` ${m.progress.toFixed(1)}%`), clock(m.created_at)];
    return make("tr", { className: m.id === chosen ? "chosen" : "" }, ...cells.map((c) => make("td", {}, c)));
  }));
  if (focused) document.querySelector(`[data-id="${focused}"]`)?.focus();
}

// ---- one migration

async function choose(id) {
  close();
  chosen = id;
  $("detail").hidden = false;
  location.hash = id;
  try {
    const detail = await ask(`/migrations/${id}`);
    $("detail-title").textContent = detail.name;
    $("route").textContent = `${detail.source} → ${detail.destination}`;
    paint(await ask(`/migrations/${id}/status`));
    $("detail").focus();
    await readLog();
    follow(id);
  } catch (error) {
    tell(error.message);
  }
}

function close() {
  chosen = null;
  if (stream) stream.close();
  stream = null;
  $("detail").hidden = true;
  history.replaceState(null, "", location.pathname);
}

function follow(id) {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/migrations/${id}`);
  stream = socket;
  let ended = false;
  socket.onmessage = (message) => {
    retry = 0;
    const status = JSON.parse(message.data);
    ended = ["completed", "failed", "cancelled", "rolled_back", "stuck"].includes(status.status);
    if (chosen !== id) return;
    paint(status);
    if (status.events.some((e) => e.event !== "migration.progress")) readLog();
  };
  socket.onclose = () => {
    if (chosen === id && stream === socket && !ended) setTimeout(() => chosen === id && follow(id), Math.min(10000, 500 * 2 ** retry++));
  };
}

function paint(s) {
  const changed = $("detail-status").textContent !== told(s);
  $("detail-status").textContent = told(s);
  $("detail-status").className = `status ${s.status}`;
  if (changed) tell(`Migration ${told(s)}`);
  $("progress").value = s.progress;
  $("percent").textContent = `${s.progress.toFixed(1)}%`;
  const at = s.current_operation;
  $("now").textContent = [s.current_step, at && `${at.source}${at.destination ? ` → ${at.destination}` : ""} (${at.progress.toFixed(0)}%)`].filter(Boolean).join(" · ");
  $("error").hidden = !s.error;
  $("error").textContent = s.error ? `${s.error.message}${s.error.retryable ? " (may succeed when tried again)" : ""}` : "";
  const p = s.performance_metrics;
  const numbers = {
    Files: `${p.files_transferred} of ${p.files_total}`, Rows: `${p.rows_transferred} of ${p.rows_total}`, Data: `${p.data_transferred} of ${p.data_total}`,
    "Rate now": p.transfer_rate_current, "Rate on average": p.transfer_rate_average, Time: seconds(s.duration), Steps: `${s.steps_completed} of ${s.steps_total}`, Backup: s.backup_id || "–",
  };
  $("numbers").replaceChildren(...Object.entries(numbers).map(([name, value]) => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }))));
  $("steps").replaceChildren(...s.steps.map((step) => make("li", { className: step.status, textContent: `${step.title} – ${step.status}${step.duration != null ? ` (${seconds(step.duration)})` : ""}` })));
  paintActions(s);
}

const ACTIONS = [
  { word: "Start", path: "start", when: ["created", "scheduled"], strong: true },
  { word: "Pause", path: "pause", when: ["running"] },
  { word: "Resume", path: "resume", when: ["paused"], strong: true },
  { word: "Try again", path: "resume", when: ["failed"], strong: true },
  { word: "Cancel", path: "cancel", when: ["created", "scheduled", "running", "paused"], danger: "Cancel this migration? What was done stays until you roll it back." },
  { word: "Roll back", path: "rollback", when: ["completed", "failed", "cancelled", "paused"], danger: "Take this migration back? The destination becomes what it was before." },
  { word: "Resolve", path: "resolve", when: ["stuck"], strong: true },
];

function paintActions(s) {
  const key = `${s.id} ${told(s)}`;
  if ($("actions").dataset.key === key) return;
  $("actions").dataset.key = key;
  const buttons = ACTIONS.filter((a) => !s.rolled_back && a.when.includes(s.status)).map((a) =>
    make("button", { type: "button", textContent: a.word, className: a.strong ? "strong" : a.danger ? "danger" : "", onclick: (event) => act(a, s.id, event.target) }));
  if (["completed", "rolled_back"].includes(s.status)) buttons.push(make("a", { href: `/migrations/${s.id}/report?format=html`, target: "_blank", textContent: "Report" }));
  $("actions").replaceChildren(...buttons);
}

async function act(action, id, button) {
  if (action.danger && !confirm(action.danger)) return;
  button.disabled = true;
  tell(`${action.word}…`);
  try {
    tell((await send(`/migrations/${id}/${action.path}`)).message);
    paint(await ask(`/migrations/${id}/status`));
    if (!stream || stream.readyState > 1) follow(id);
  } catch (error) {
    $("error").hidden = false;
    $("error").textContent = error.message;
  }
  button.disabled = false;
  refresh();
}

let reading = false;
async function readLog() {
  if (reading || !chosen) return;
  reading = true;
  try {
    const level = $("level").value;
    const { logs } = await ask(`/migrations/${chosen}/logs?limit=200` + (level ? `&level=${level}` : ""));
    $("log").replaceChildren(...logs.map((l) => make("li", { className: l.level }, make("time", { textContent: clock(l.timestamp) }), make("b", { textContent: l.level }), make("span", { textContent: l.message }))));
  } catch (error) {
    tell(error.message);
  }
  reading = false;
}

const tell = (text) => { $("says").textContent = text; };

// ---- a new one

const SAMPLE = {
  name: "My site",
  source: { type: "static", host: "old.example.com", username: "user", password: "…", host_key: "SHA256:…", paths: { web_root: "/var/www/html" } },
  destination: { type: "aws-s3", region: "us-east-1", bucket: "my-new-website" },
};

async function offer(path, describe) {
  const box = $("answer");
  let body;
  try { body = JSON.parse($("document").value); } catch (error) { box.textContent = `This is not JSON: ${error.message}`; return; }
  box.textContent = "…";
  try { box.textContent = await describe(await send(path, body)); } catch (error) { box.textContent = error.message; }
}

$("new").onclick = () => {
  if (!$("document").value) $("document").value = JSON.stringify(SAMPLE, null, 2);
  $("answer").textContent = "";
  $("create").showModal();
};
$("check").onclick = () => offer("/validate/", (v) => [
  v.can_proceed ? `Good: ${v.checks_passed} of ${v.checks_performed} checks passed. Estimated duration: ${v.estimated_duration}` : `${v.checks_failed} of ${v.checks_performed} checks failed:`,
  ...v.errors, ...v.warnings.map((w) => `Warning: ${w}`),
].join("\n"));
$("plan").onclick = () => offer("/migrations/dry-run", (plan) => JSON.stringify(plan, null, 2));
$("make").onclick = () => offer("/migrations/", async (made) => {
  $("create").close();
  await refresh();
  choose(made.id);
  return "";
});

$("close").onclick = close;
$("filter").onchange = refresh;
$("level").onchange = readLog;
refresh();
setInterval(() => document.hidden || refresh(), 2000);
if (location.hash.length > 1) choose(location.hash.slice(1));
