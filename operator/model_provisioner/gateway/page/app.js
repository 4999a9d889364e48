// The page: downloads as they come, models that are ready. Everything that came from outside is shown as text.
// Addresses are relative, so that the page works below a base path.

const byId = (id) => document.getElementById(id);
const downloads = new Map(); // download_id -> the newest data of its events
const cards = new Map(); // download_id -> its element
let lastEventId = "";

const token = {
  get: () => sessionStorage.getItem("token") ?? "",
  set: (value) => sessionStorage.setItem("token", value),
};

async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.detail ?? response.statusText), { status: response.status });
}

// Server-sent events over fetch, because an EventSource can't send a token.
async function* events(signal) {
  const headers = { Accept: "text/event-stream" };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (lastEventId) headers["Last-Event-ID"] = lastEventId;
  const response = await fetch("v1/models/download/progress", { headers, signal, cache: "no-store" });
  if (!response.ok) {
    const answer = await response.json();
    throw Object.assign(new Error(answer.detail), { status: response.status });
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => split(line)));
      if (fields.id) lastEventId = fields.id;
      if (fields.event) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

function split(line) {
  const at = line.indexOf(": ");
  return [line.slice(0, at), line.slice(at + 2)];
}

async function follow() {
  for (let failures = 0; ; failures += 1) {
    try {
      for await (const event of events()) {
        failures = 0;
        connected("Live");
        take(event);
      }
      connected("Reconnecting…");
    } catch (error) {
      connected(error.status ? "Not connected" : "Reconnecting…");
      if (error.status === 401 || error.status === 403) return askForToken(error.message);
    }
    await new Promise((wake) => setTimeout(wake, Math.min(500 * 2 ** failures, 15000) * (0.5 + Math.random() / 2)));
  }
}

function take({ name, data }) {
  if (name === "sync") {
    for (const id of [...downloads.keys()]) if (!data.ids.includes(id)) forget(id);
  } else if (name === "deleted") {
    forget(data.download_id);
    listModels();
  } else if (name !== "started" && name !== "failed") {
    downloads.set(data.download_id, data);
    if (name === "complete") {
      forget(data.download_id);
      announce(`${data.model_ref} is ready`);
      listModels();
    } else {
      draw(data, name === "error");
    }
  }
  byId("no-downloads").hidden = cards.size > 0;
}

function forget(id) {
  downloads.delete(id);
  cards.get(id)?.remove();
  cards.delete(id);
}

function draw(data, failed) {
  const card = cards.get(data.download_id) ?? addCard(data.download_id);
  const bar = card.querySelector("progress");
  card.classList.toggle("failed", failed);
  card.querySelector(".ref").textContent = data.model_ref;
  card.querySelector(".state").textContent = data.queue_position ? `${data.state}, number ${data.queue_position}` : data.state;
  card.querySelector(".numbers").textContent = numbers(data);
  card.querySelector(".message").textContent = failed ? data.error : "";
  bar.value = data.percent;
  bar.setAttribute("aria-label", `${data.model_ref}: ${data.percent} %`);
}

function addCard(id) {
  const card = byId("download").content.firstElementChild.cloneNode(true);
  card.querySelector("button").addEventListener("click", () => cancel(id));
  cards.set(id, card);
  byId("downloads").append(card);
  return card;
}

async function cancel(id) {
  const { model_ref: ref } = downloads.get(id);
  if (!confirm(`Cancel and delete the download of ${ref}?`)) return;
  try {
    await call("DELETE", `v1/models/downloads/${encodeURIComponent(id)}`);
  } catch (error) {
    cards.get(id).querySelector(".message").textContent = error.message;
  }
}

async function listModels() {
  const { models } = await call("GET", "v1/models");
  byId("models").replaceChildren(...models.map(modelCard));
  byId("no-models").hidden = models.length > 0;
}

function modelCard(model) {
  const card = byId("model").content.firstElementChild.cloneNode(true);
  card.querySelector(".ref").textContent = model.model_ref;
  card.querySelector(".state").textContent = [model.namespace, model.claim, size(model.size_bytes)].join(" · ");
  card.querySelector(".path").textContent = model.path;
  card.querySelector("button").addEventListener("click", async () => {
    await navigator.clipboard.writeText(model.path);
    announce("Path copied");
  });
  return card;
}

function numbers(data) {
  const parts = [`${data.percent} %`];
  if (data.total !== null) parts.push(`${size(data.bytes)} of ${size(data.total)}`);
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
  if (seconds < 60) return `${seconds} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

let announced = 0;
function announce(text) {
  if (Date.now() - announced < 5000) return; // a screen reader is not to be flooded
  announced = Date.now();
  byId("announcements").textContent = text;
}

function connected(text) {
  if (byId("connection").textContent !== text) byId("connection").textContent = text;
}

function askForToken(problem) {
  byId("login").hidden = false;
  byId("login").querySelector(".problem").textContent = token.get() ? problem : "";
  byId("token").focus();
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(byId("token").value.trim());
  byId("token").value = "";
  byId("login").hidden = true;
  begin();
});

byId("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = byId("start").querySelector(".problem");
  problem.textContent = "";
  try {
    await call("POST", "v1/models/download", { model_ref: byId("ref").value.trim() });
    byId("ref").value = "";
  } catch (error) {
    problem.textContent = error.message;
  }
});

function begin() {
  listModels().catch(() => {}); // the stream tells what is wrong
  follow();
}

begin();
