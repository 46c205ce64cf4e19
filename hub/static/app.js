"use strict";
/* app.js: which view is shown, live changes from the hub, and time that goes on. */

const main = document.getElementById("main");
const live = document.getElementById("live");

async function events() {
  fill(main, el("p", { class: "soft" }, "Reading\u2026"));
  const list = await api("events?limit=200");
  fill(main, el("h1", {}, "Events"), el("section", { class: "card", "aria-label": "Events" },
    list.items.length ? el("ol", { class: "timeline" }, list.items.map((e) => el("li", {},
      el("time", { datetime: e.time, title: ago(e.time) }, exact(e.time)), el("span", { class: "badge" }, e.kind),
      el("span", { class: "mono" }, el("a", { href: "#/agents/" + e.uid }, e.uid.slice(0, 8)), " ", e.text)))) : el("p", { class: "soft" }, "Nothing has happened yet.")));
}

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, id] = path.split("/");
  const parameters = new URLSearchParams(query || "");
  const nav = { "": "fleet", agents: "fleet", configurations: "configurations", events: "events" }[view] ?? "fleet";
  for (const a of document.querySelectorAll("[data-nav]")) {
    if (a.dataset.nav === nav) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  if (view === "agents" && id) agentView.show(main, id);
  else if (view === "configurations") editor.show(main, id, parameters);
  else if (view === "events") events().catch((fault) => fill(main, errorBlock(fault.message)));
  else fleet.show(main);
  document.title = { configurations: "Configurations", events: "Events", agents: "Agent" }[view] ? `${{ configurations: "Configurations", events: "Events", agents: "Agent" }[view]} \u2013 opamphub` : "opamphub";
}

function state(kind, words) {
  live.className = "live " + kind;
  document.getElementById("live-text").textContent = words;
}

function news(kind, data) {
  fleet.news(kind, data);
  agentView.news(kind, data);
  editor.news(kind, data);
}

function listen() {
  const source = new EventSource("/api/v1/stream");
  source.addEventListener("open", () => state("on", "live"));
  source.addEventListener("error", () => {
    state("off", "the hub does not answer");
    if (source.readyState === EventSource.CLOSED) setTimeout(async () => { await api("openapi.json").catch(() => null); listen(); }, 3000);
  });
  for (const kind of ["agent", "gone", "counts", "configuration", "assignment", "settings", "reset", "back", "hello"]) {
    source.addEventListener(kind, (event) => news(kind, JSON.parse(event.data)));
  }
}

window.addEventListener("hashchange", () => { route(); main.focus({ preventScroll: true }); window.scrollTo(0, 0); });
setInterval(() => {
  for (const t of document.querySelectorAll("[data-ago]")) t.textContent = ago(t.dataset.ago);
}, 10000);
route();
listen();
