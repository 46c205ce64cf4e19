"use strict";
/* parts.js: small pieces that every view uses.  Whatever came from an agent goes into text nodes. */

/* An element: el("a", {href: "#/", class: "x", onclick: f}, "text", child, ...). */
function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (key === "class") e.className = value;
    else if (value === true) e.setAttribute(key, "");
    else e.setAttribute(key, String(value));
  }
  for (const child of children.flat()) {
    if (child === undefined || child === null || child === false) continue;
    e.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return e;
}

/* What a view shows, in place of what was there; null: nothing. */
function fill(where, ...children) {
  where.replaceChildren(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
}

function toast(text, bad = false) {
  const t = el("div", { class: bad ? "toast bad" : "toast" }, text), all = document.getElementById("toasts");
  for (const other of [...all.children]) if (other.textContent === text) other.remove();
  all.append(t);
  setTimeout(() => t.remove(), bad ? 9000 : 4000);
}

class Fault extends Error {
  constructor(status, body) {
    super(body && body.error && body.error.what ? body.error.what : `the hub answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

/* A request to the API; throws a Fault. */
async function api(path, method = "GET", body = undefined) {
  const response = await fetch("/api/v1/" + path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
  });
  const text = await response.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* not JSON: the status says enough */ }
  if (response.status === 401 && path !== "session") {
    await askToken();
    return api(path, method, body);
  }
  if (!response.ok) throw new Fault(response.status, value);
  return value;
}

let asking = null;

/* The token is asked for once, however many requests want it. */
function askToken() {
  asking ??= new Promise((resolve) => {
    const input = el("input", { type: "password", autocomplete: "current-password", required: true, id: "token" });
    const wrong = el("p", { class: "error", role: "alert" });
    const form = el("form", { method: "dialog" },
      el("h2", {}, "This hub asks for a token"),
      el("label", { for: "token" }, "Token", input), wrong,
      el("p", {}, el("button", { class: "main", type: "submit" }, "Go on")));
    const dialog = el("dialog", { "aria-label": "Token" }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await api("session", "POST", { token: input.value });
        dialog.close();
        dialog.remove();
        asking = null;
        resolve();
      } catch (fault) {
        wrong.textContent = fault.message;
        input.select();
      }
    });
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

/* Asks before something is done: resolves to true or false. */
function confirmed(title, text, verb, danger = false) {
  return new Promise((resolve) => {
    const done = (answer) => { dialog.close(); dialog.remove(); resolve(answer); };
    const dialog = el("dialog", { "aria-labelledby": "ask-title" },
      el("h2", { id: "ask-title" }, title), el("p", {}, text),
      el("div", { class: "row" },
        el("button", { class: danger ? "danger" : "main", id: "ask-yes", onclick: () => done(true) }, verb),
        el("button", { onclick: () => done(false) }, "Cancel")));
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); done(false); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/* A table whose rows become cards where there is no room for it.  heads: words, or elements with a name for
 * the cards; rows: [attributes, cells]. */
function table(heads, rows, more = {}) {
  return el("div", { class: "scroll", id: more.id }, el("table", { class: "stack" }, more.caption,
    el("thead", {}, el("tr", {}, heads.map((h) => el("th", { scope: "col" }, h)))),
    more.body ?? el("tbody", {}, rows.map(([attributes, cells]) => tableRow(heads, cells, attributes)))));
}

function tableRow(labels, cells, attributes = {}) {
  return el("tr", attributes, cells.map((c, i) => el("td", { class: i ? null : "name", "data-label": labels[i] }, c)));
}

/* ---- time */

function ago(iso) {
  if (!iso) return "never";
  const s = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  if (s < 5) return "now";
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

function exact(iso) {
  return iso ? new Date(iso).toLocaleString() : "";
}

/* Shown as "3 min ago", kept right each ten seconds by app.js. */
function when(iso) {
  return el("time", { datetime: iso || "", title: exact(iso), "data-ago": iso || "" }, ago(iso));
}

/* ---- states */

function healthBadge(agent) {
  if (!agent.connected) return el("span", { class: "badge" }, "gone");
  if (agent.healthy === null) return el("span", { class: "badge" }, "unknown");
  return el("span", { class: agent.healthy ? "badge good" : "badge bad" }, agent.healthy ? "healthy" : "unhealthy");
}

/* What the configuration's state is in one word: also what was offered and not yet answered. */
function configState(config) {
  if (config.due !== null && config.due_hash !== config.hash) return "offered";
  return config.status;
}

function configBadge(config) {
  const state = configState(config);
  const kind = { applied: "good", failed: "bad", applying: "busy", offered: "busy" }[state] || "";
  return el("span", { class: "badge " + kind, "data-state": state }, state === "none" ? "no remote" : state);
}

function configName(config) {
  return config.due === null ? "" : `${config.name ?? "?"} v${config.number}`;
}

function agentName(agent) {
  return agent.name || agent.uid;
}

function chips(attributes, most = 4) {
  const names = Object.keys(attributes).filter((n) => !["service.name", "service.version", "service.instance.id"].includes(n));
  const shown = names.slice(0, most).map((n) => el("span", { class: "chip" }, `${n}=${attributes[n]}`));
  if (names.length > most) shown.push(el("span", { class: "soft small" }, `+${names.length - most}`));
  return el("div", { class: "chips" }, shown);
}

/* A selector's text for one attribute: what stands in hub/selector.h. */
function selectorPair(name, value) {
  const safe = (t) => t.replace(/[\\,]/g, "\\$&");
  return `${safe(name)}=${safe(value)}`;
}

/* The lines of a text that the agent's own words are about: "file:12:5: words", "line 12", or by names. */
function faultLines(words, text) {
  const found = new Set(), lines = text.split("\n").length;
  for (const m of (words || "").matchAll(/(?:\bline\s+|\D:)(\d{1,6})(?=[:,\s]|$)/g)) if (Number(m[1]) <= lines) found.add(Number(m[1]));
  return found.size ? found : yaml.named(words || "", text);
}

function errorBlock(text) {
  return el("p", { class: "error" }, text);
}
