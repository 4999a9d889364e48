// The page: downloads as they come, and the models that are ready.
//
// The stream says what happens now. The lists say what it leaves out: downloads that failed long ago, the
// messages of those that wait, and the models. Everything that came from outside is shown as text, never as
// HTML. Addresses are relative, so that the page works below a base path.

import { explain } from "./ref.js";
import { annotation, manifests, mounted } from "./use.js";

const SILENCE_MS = 45_000; // three heartbeats of the gateway: the connection is dead, though nobody said so
const SHORTEST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 30_000;
const REFRESH_MS = 500;
const ANNOUNCE_MS = 5_000; // a screen reader is not to be flooded
const TELLING = new Set(["Downloading", "Verifying"]); // states whose numbers say all there is to say

const byId = (id) => document.getElementById(id);
const lists = document.querySelector("main"); // "known" once the lists have been read: an empty one is empty
const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));

// --- The HTTP API

function stored(key) {
  return { get: () => sessionStorage.getItem(key) ?? "", set: (value) => sessionStorage.setItem(key, value) };
}
const token = stored("token");
const scope = stored("namespace"); // the namespace to show; empty: all that the token may see

async function request(path, { method = "GET", query = {}, headers = {}, ...more } = {}) {
  const given = Object.entries({ namespace: scope.get(), ...query }).filter(([, value]) => value);
  const authorization = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  const search = given.length ? `?${new URLSearchParams(given)}` : "";
  const response = await fetch(`v1/models${path}${search}`, {
    method, headers: { ...authorization, ...headers }, cache: "no-store", ...more,
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({})); // a proxy in between answers in HTML
  const detail = problem.detail ?? `the gateway can't be reached: ${response.status} ${response.statusText}`;
  throw Object.assign(new Error(detail), { status: response.status });
}

const get = async (path, query) => (await request(path, { query })).json();
const remove = (path, query) => request(path, { method: "DELETE", query });
const send = (method, path, document, query) =>
  request(path, { method, query, headers: { "Content-Type": "application/json" }, body: JSON.stringify(document) });
const start = (wanted) => send("POST", "/download", wanted);
const address = (id) => `/downloads/${encodeURIComponent(id)}`;

// --- The stream, read with fetch because an EventSource can't send a token

let connection = new AbortController();

// Ends when another token takes over, or when this one is refused.
async function follow({ signal }) {
  const place = { lastId: "", retry: 1000 }; // where to go on, and how long to wait first
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      for await (const event of events(place, signal)) {
        failures = 0;
        show("Live");
        hear(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 || error.status === 403) return askForToken(error.message);
    }
    if (signal.aborted) return;
    show("Reconnecting…");
    await pause(Math.min(place.retry * 2 ** failures, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2));
  }
}

async function* events(place, signal) {
  const cut = new AbortController();
  let deadline = 0;
  const alive = () => {
    clearTimeout(deadline);
    deadline = setTimeout(() => cut.abort(), SILENCE_MS);
  };
  const headers = { Accept: "text/event-stream", ...(place.lastId && { "Last-Event-ID": place.lastId }) };
  try {
    alive();
    const { body } = await request("/download/progress", { headers, signal: AbortSignal.any([signal, cut.signal]) });
    for await (const block of blocks(body, alive)) {
      if (/^\d+$/.test(block.retry ?? "")) place.retry = Math.max(Number(block.retry), SHORTEST_WAIT_MS);
      if (block.id !== undefined) place.lastId = block.id;
      if (block.data) yield { name: block.event ?? "message", data: JSON.parse(block.data) };
    }
  } finally {
    clearTimeout(deadline);
  }
}

// The fields between two blank lines (WHATWG HTML, "Server-sent events"). A comment is a field without a name.
async function* blocks(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let block = {};
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      const [, name, text] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (line === "") {
        yield block;
        block = {};
      } else {
        block[name] = name === "data" && "data" in block ? `${block.data}\n${text}` : text;
      }
    }
  }
}

// --- What is known: the stream's word, and the lists where it has none

const downloads = new Map(); // download_id -> the newest that was said of it
const told = new Set(); // what the stream has told of since the lists were last asked for: newer than they are
let caughtUp = false; // what happened before the first `sync` is no news

function hear({ name, data }) {
  if (name === "sync") {
    const there = new Set(data.ids);
    for (const [id, one] of downloads) if (!there.has(id) && !one.error) forget(id); // long failed: the lists know
    caughtUp = true;
    refresh();
  } else if (name === "deleted") {
    told.add(data.download_id);
    forget(data.download_id);
    refresh();
  } else if (["progress", "complete", "error"].includes(name)) {
    told.add(data.download_id);
    if (caughtUp) announceChange(data);
    take(data);
  }
}

function take(data) {
  const before = downloads.get(data.download_id);
  const same = before?.state === data.state;
  if (data.path) {
    forget(data.download_id);
    refresh();
    return;
  }
  const message = data.error ?? data.message ?? (same ? before.message : undefined);
  if (message === undefined && !TELLING.has(data.state)) refresh();
  downloads.set(data.download_id, { ...data, message });
  drawDownload(downloads.get(data.download_id));
}

function forget(id) {
  downloads.delete(id);
  downloadCards.drop(id);
}

const refresh = coalesced(async () => {
  const asker = connection;
  told.clear();
  const [listed, ready] = await Promise.all([get("/downloads", { all: true }), get("")]);
  if (asker !== connection) return; // another token has taken over meanwhile
  const there = new Set(listed.downloads.map((one) => one.download_id));
  for (const id of downloads.keys()) if (!there.has(id) && !told.has(id)) forget(id);
  for (const one of listed.downloads) if (!one.path && !told.has(one.download_id)) fill(one);
  modelCards.keep(new Set(ready.models.map((one) => one.download_id)));
  for (const model of ready.models) drawModel(model);
  lists.classList.add("known");
});

// What the lists add: a download that the stream leaves out, or why a known one waits. They never take a bar back.
function fill(listed) {
  const known = downloads.get(listed.download_id);
  if (!known) take(listed);
  else if (known.state === listed.state) take({ ...known, message: listed.message });
}

// However often it is asked for, the work runs once at a time, and at most every REFRESH_MS.
function coalesced(work) {
  let asked = false;
  let running = false;
  async function run() {
    running = true;
    while (asked) {
      await pause(REFRESH_MS);
      asked = false;
      await work().catch(() => {}); // the stream meets the same trouble, and shows it
    }
    running = false;
  }
  return () => {
    asked = true;
    if (!running) run();
  };
}

// --- What is seen

class Cards {
  #cards = new Map();

  constructor(name, wire) {
    this.list = byId(`${name}s`);
    this.empty = byId(`no-${name}s`);
    this.heading = byId(`${name}s-title`);
    this.template = byId(name).content.firstElementChild;
    this.wire = wire; // gives a new card's buttons their work
  }

  has(id) {
    return this.#cards.has(id);
  }

  at(id) {
    if (!this.has(id)) {
      const card = this.template.cloneNode(true);
      this.#cards.set(id, card);
      this.wire(card, id);
      this.list.append(card);
      this.empty.hidden = true;
    }
    return this.#cards.get(id);
  }

  keep(ids) {
    for (const id of this.#cards.keys()) if (!ids.has(id)) this.drop(id);
  }

  drop(id) {
    const card = this.#cards.get(id);
    if (card?.contains(document.activeElement)) this.heading.focus(); // the keyboard is not thrown to the top
    card?.remove();
    this.#cards.delete(id);
    this.empty.hidden = this.#cards.size > 0;
  }
}

const downloadCards = new Cards("download", (card, id) => {
  const one = () => downloads.get(id);
  onClick(card, ".again", () => {
    const { model_ref, namespace, name, endpoint } = one();
    return start({ model_ref, namespace, name, ...(endpoint && { spec: { endpoint } }) });
  });
  onClick(card, ".pause", () => {
    const { namespace, state } = one();
    return send("PATCH", address(id), { spec: { suspend: state !== "Suspended" } }, { namespace });
  });
  onClick(card, ".remove", async () => {
    const { model_ref: ref, namespace } = one();
    const { reclaim_policy: policy } = await get(`${address(id)}/details`, { namespace });
    const bytes = policy === "Delete" ? "What has come of it is deleted." : "What is published of it stays on the volume.";
    if (confirm(`${card.querySelector(".remove").textContent} the download of ${ref}? ${bytes}`)) {
      await remove(address(id), { namespace });
    }
  });
  showFacts(card, () => [id, one().namespace], () => []);
});

const readyModels = new WeakMap(); // card -> its model
const modelCards = new Cards("model", (card) => {
  const { dataset } = card;
  onClick(card, ".copy", () => copy(card.querySelector(".path"), "Path"));
  onClick(card, ".copy-annotation", () => copy(card.querySelector(".annotation"), "Annotation"));
  onClick(card, ".copy-manifest", () => copy(card.querySelector(".manifest"), "Manifest"));
  card.querySelector(".use").addEventListener("toggle", () => drawUse(card));
  card.querySelector("select").addEventListener("change", () => drawUse(card));
  onClick(card, ".remove", () => {
    if (confirm(`Delete ${dataset.ref} and its file from the volume? Whoever uses it loses it.`)) {
      const { ref, namespace, endpoint } = dataset;
      return remove("", { model_ref: ref, namespace, ...(endpoint && { endpoint }) });
    }
  });
  showFacts(card, () => [dataset.id, dataset.namespace], () => {
    const { ref, digest, revision } = dataset;
    return [explain(ref)[0], ["Digest", digest || "one of each file, in the catalog"], ["Revision", revision || "none"]];
  });
});

// What is known of a model, its conditions and its events: asked for when they are to be seen.
function showFacts(card, of, known) {
  const details = card.querySelector("details");
  const facts = card.querySelector(".facts");
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    facts.textContent = "…";
    try {
      const [id, namespace] = of();
      const told = factsOf(await get(`${address(id)}/details`, { namespace }));
      const list = Object.assign(document.createElement("dl"), { className: "parts" });
      list.append(...terms(known()));
      facts.replaceChildren(list, ...told);
    } catch (error) {
      facts.textContent = error.message;
    }
  });
}

function terms(pairs) {
  return pairs.flatMap(([name, text]) => [element("dt", name), element("dd", text)]);
}

function factsOf(told) {
  const { conditions, events, attempts, next_retry_time: next, reclaim_policy: policy } = told;
  const summary = `Attempts: ${attempts}. Reclaim policy: ${policy}.${next ? ` Tried again at ${next}.` : ""}`;
  const happened = events?.map((event) => [event.last_seen, event.reason, event.message, `${event.count} ×`]);
  return [
    element("p", summary),
    table("Conditions", ["Type", "Status", "Reason", "Message", "Since"],
      conditions.map((one) => [one.type, one.status, one.reason, one.message, one.since])),
    happened
      ? table("Events", ["Last seen", "Reason", "Message", "Count"], happened)
      : element("p", "Events: you may not list them."),
  ];
}

function table(title, names, rows) {
  if (!rows.length) return element("p", `${title}: none.`);
  const made = document.createElement("table");
  made.createCaption().textContent = title;
  const head = made.createTHead().insertRow();
  for (const name of names) head.append(Object.assign(element("th", name), { scope: "col" }));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((text, column) => {
      const cell = line.insertCell();
      cell.textContent = text;
      cell.dataset.label = names[column];
    });
  }
  return made;
}

function element(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}

function onClick(card, selector, work) {
  const button = card.querySelector(selector);
  button.addEventListener("click", () => working(card, button, work));
}

// One press, one piece of work; what goes wrong is told where it was asked for.
async function working(place, button, work) {
  const problem = place.querySelector(".problem");
  problem.textContent = "";
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    problem.textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

function drawDownload(data) {
  const card = downloadCards.at(data.download_id);
  const failed = data.error !== undefined;
  const waiting = data.queue_position ? `, number ${data.queue_position}` : "";
  card.classList.toggle("failed", failed);
  write(card, ".ref", data.model_ref);
  write(card, ".state", data.state + waiting);
  write(card, ".place", `${data.namespace}/${data.name}`);
  write(card, ".numbers", failed && !data.bytes ? "" : numbers(data));
  write(card, ".message", TELLING.has(data.state) ? "" : data.message ?? "");
  write(card, ".remove", failed ? "Delete" : "Cancel");
  const going = data.state === "Terminating"; // nothing stops a deletion
  card.querySelector(".again").hidden = !failed;
  card.querySelector(".pause").hidden = failed || going;
  card.querySelector(".remove").hidden = going;
  write(card, ".pause", data.state === "Suspended" ? "Resume" : "Pause");
  drawBar(card.querySelector("progress"), data);
  card.querySelector("progress").hidden = failed && !data.bytes; // as the numbers
  for (const button of card.querySelectorAll("button")) label(button, `${button.textContent}: ${data.model_ref}`);
  label(card.querySelector("summary"), `Details: ${data.model_ref}`);
  sift(card);
}

function drawBar(bar, data) {
  if (data.state === "Resolving" && data.total === null) bar.removeAttribute("value"); // not known yet
  else bar.value = data.percent;
  label(bar, data.model_ref);
}

function drawModel(model) {
  const card = modelCards.at(model.download_id);
  const { download_id: id, model_ref: ref, namespace, endpoint, digest, revision } = model;
  Object.assign(card.dataset, { id, ref, namespace, endpoint: endpoint ?? "", digest: digest ?? "", revision: revision ?? "" });
  write(card, ".ref", model.model_ref);
  write(card, ".size", size(model.size_bytes));
  write(card, ".place", `${model.namespace}/${model.name} on claim ${model.claim}`);
  write(card, ".path", model.path);
  write(card, ".projector", model.projector ?? "");
  card.querySelector(".companion").hidden = !model.projector;
  for (const button of card.querySelectorAll("button")) label(button, `${button.textContent}: ${model.model_ref}`);
  label(card.querySelector("summary"), `Details: ${model.model_ref}`);
  label(card.querySelector(".use summary"), `Use it: ${model.model_ref}`);
  readyModels.set(card, model);
  drawUse(card);
  sift(card);
}

// What is needed to serve a model, made when it is to be seen.
function drawUse(card) {
  if (!card.querySelector(".use").open) return;
  const model = readyModels.get(card);
  const choice = card.querySelector("select");
  const all = manifests(model);
  if (!choice.options.length) choice.append(...all.map(({ engine }) => new Option(engine, engine)));
  const chosen = all.find(({ engine }) => engine === choice.value);
  write(card, ".annotation", annotation(model));
  write(card, ".mounted", mounted(model));
  write(card, ".note", chosen.note);
  write(card, ".manifest", chosen.text);
}

// --- Search

const SEARCHED = [".ref", ".state", ".place", ".path", ".projector"];

function sift(card) {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = SEARCHED.map((part) => card.querySelector(part)?.textContent ?? "").join(" ").toLowerCase();
  const hidden = !words.every((word) => text.includes(word));
  if (card.hidden !== hidden) card.hidden = hidden;
}

function search() {
  const cards = [...document.querySelectorAll(".card")];
  cards.forEach(sift);
  const seen = cards.filter((card) => !card.hidden).length;
  byId("found").textContent = byId("search").value ? `${seen} of ${cards.length} shown` : "";
}

byId("search").addEventListener("input", search);
byId("search").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  byId("search").value = "";
  search();
});
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byId("search").focus();
});

function write(card, selector, text) {
  const element = card.querySelector(selector);
  if (element.textContent !== text) element.textContent = text;
}

function label(element, text) {
  if (element.ariaLabel !== text) element.ariaLabel = text;
}

function numbers(data) {
  if (data.total === null) return "";
  const parts = [`${data.percent} %`, `${size(data.bytes)} of ${size(data.total)}`];
  if (data.bytes_per_second !== null) parts.push(`${size(data.bytes_per_second)}/s`);
  if (data.eta_seconds !== null) parts.push(`${duration(data.eta_seconds)} left`);
  return parts.join(" · ");
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  const value = bytes / 1024 ** step;
  return `${value >= 10 || step === 0 ? Math.floor(value) : value.toFixed(1)} ${units[step]}`;
}

function duration(seconds) {
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

// Browsers give pages the clipboard only over https or on localhost: elsewhere the text is marked, ready for a key.
async function copy(element, what) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(element.textContent);
    announce(`${what} copied`);
  } else {
    getSelection().selectAllChildren(element);
    announce(`${what} selected; copy it with your keyboard`);
  }
}

function announceChange(data) {
  const isNew = downloads.get(data.download_id)?.state !== data.state && !modelCards.has(data.download_id);
  if (isNew && data.path) announce(`${data.model_ref} is ready`);
  else if (isNew && data.error !== undefined) announce(`${data.model_ref} failed: ${data.error}`);
}

const unsaid = [];
let speaking = false;
async function announce(text) {
  unsaid.push(text);
  if (speaking) return;
  speaking = true;
  while (unsaid.length) {
    const [now, more] = [unsaid.splice(0, 3), unsaid.splice(0).length];
    byId("announcements").textContent = now.join(". ") + (more ? `. And ${more} more` : "");
    await pause(ANNOUNCE_MS);
  }
  speaking = false;
}

function show(text) {
  const place = byId("connection");
  if (place.textContent !== text) place.textContent = text;
  place.classList.toggle("live", text === "Live");
}

// --- Who looks, and what they ask for

function openLogin(problem) {
  byId("login").hidden = false;
  byId("change-token").ariaExpanded = "true";
  byId("login").querySelector(".problem").textContent = problem;
  byId("scope").value = scope.get();
  byId("token").focus();
}

function closeLogin() {
  byId("login").hidden = true;
  byId("change-token").ariaExpanded = "false";
}

function askForToken(problem) {
  show("Not connected");
  openLogin(token.get() ? `Refused: ${problem}` : "");
}

// What one token has shown is not for the next.
function begin() {
  connection.abort();
  connection = new AbortController();
  caughtUp = false;
  for (const id of [...downloads.keys()]) forget(id);
  modelCards.keep(new Set());
  lists.classList.remove("known");
  byId("namespace").value = scope.get();
  follow(connection);
}

byId("ref").addEventListener("input", explainRef);

function explainRef() {
  byId("ref-parts").replaceChildren(...terms(explain(byId("ref").value)));
}

byId("login").addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !token.get()) return;
  closeLogin();
  byId("change-token").focus();
});

byId("change-token").addEventListener("click", () => (byId("login").hidden ? openLogin("") : closeLogin()));

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(byId("token").value.trim());
  scope.set(byId("scope").value.trim());
  byId("token").value = "";
  closeLogin();
  begin();
});

byId("start").addEventListener("submit", (event) => {
  event.preventDefault();
  const [ref, namespace] = [byId("ref").value.trim(), byId("namespace").value.trim()];
  const spec = byId("projector").checked ? { projector: "Auto" } : {};
  working(byId("start"), event.submitter ?? byId("start").querySelector("button"), async () => {
    await start({ model_ref: ref, ...(namespace && { namespace }), spec });
    byId("ref").value = "";
    byId("projector").checked = false;
    explainRef();
    announce(`Download of ${ref} asked for`);
  });
});

begin();
