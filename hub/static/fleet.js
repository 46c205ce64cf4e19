"use strict";
/* fleet.js: the fleet: counts, search, filters, a sorted list in pages, kept live. */

const fleet = (() => {
  const PAGE = 100;
  const COUNTS = [["total", "agents", {}], ["connected", "connected", { connected: "true" }], ["healthy", "healthy", { healthy: "true", connected: "true" }],
    ["unhealthy", "unhealthy", { healthy: "false", connected: "true" }], ["applied", "applied", { config: "applied" }],
    ["applying", "applying", { config: "applying" }], ["failed", "failed", { config: "failed" }]];
  const COLUMNS = [["name", "Name"], ["health", "Health"], ["config", "Configuration"], ["version", "Version"], ["last_seen", "Last seen"], ["", "Attributes"]];
  let state = { search: "", selector: "", filter: "total", sort: "name", order: "asc", offset: 0 };
  let rows = new Map();
  let pending = 0, timer = 0, body = null, parts = {};

  function query() {
    const p = new URLSearchParams({ sort: state.sort, order: state.order, offset: state.offset, limit: PAGE });
    if (state.search) p.set("search", state.search);
    if (state.selector) p.set("selector", state.selector);
    for (const [key, value] of Object.entries(COUNTS.find((c) => c[0] === state.filter)[2])) p.set(key, value);
    return "agents?" + p;
  }

  function cells(agent) {
    return [
      el("a", { href: "#/agents/" + agent.uid }, agentName(agent)),
      el("div", {}, healthBadge(agent), agent.last_error && agent.connected ? el("div", { class: "small soft" }, agent.last_error.split("\n")[0].slice(0, 120)) : null),
      el("div", {}, configBadge(agent.config), el("div", { class: "small soft" }, configName(agent.config))),
      agent.version || "", when(agent.last_seen), chips(agent.attributes)];
  }

  function row(agent) {
    return tableRow(COLUMNS.map((c) => c[1]), cells(agent), { "data-uid": agent.uid });
  }

  function showCounts(counts) {
    if (!parts.counts) return;
    for (const [key] of COUNTS) parts.counts[key].textContent = counts[key] ?? 0;
  }

  async function load() {
    const mine = ++pending;
    try {
      const list = await api(query());
      if (mine !== pending || !body || !body.isConnected) return;
      rows = new Map();
      const made = list.items.map((a) => { const r = row(a); rows.set(a.uid, r); return r; });
      fill(body, ...made);
      showCounts(list.counts);
      const last = state.offset + list.items.length;
      parts.caption.textContent = list.total === 0 ? "" : `${state.offset + 1} to ${last} of ${list.total}`;
      parts.empty.hidden = list.total !== 0;
      parts.empty.textContent = list.counts.total === 0
        ? "No agent has come yet. Point one to this hub (its address is in the hub's log), and it appears here by itself."
        : "No agent fits.";
      parts.pager.hidden = list.total <= PAGE;
      parts.back.disabled = state.offset === 0;
      parts.next.disabled = last >= list.total;
      parts.fault.textContent = "";
    } catch (fault) {
      parts.fault.textContent = fault.message;
    }
  }

  /* Soon, and once for many changes. */
  function soon(ms) {
    clearTimeout(timer);
    timer = setTimeout(load, ms);
  }

  function set(change) {
    state = { ...state, offset: 0, ...change };
    for (const [key] of COUNTS) parts.buttons[key].setAttribute("aria-pressed", String(key === state.filter));
    for (const [key, button] of Object.entries(parts.sorts)) {
      button.textContent = COLUMNS.find((c) => c[0] === key)[1] + (key === state.sort ? (state.order === "asc" ? " \u25B2" : " \u25BC") : "");
      button.closest("th").setAttribute("aria-sort", key !== state.sort ? "none" : state.order === "asc" ? "ascending" : "descending");
    }
  }

  function show(main) {
    parts = { counts: {}, buttons: {}, sorts: {} };
    const counts = el("ul", { class: "counts", "aria-label": "Agents by state" }, COUNTS.map(([key, words]) => {
      parts.counts[key] = el("b", {}, "\u2013");
      parts.buttons[key] = el("button", { type: "button", "aria-pressed": "false", onclick: () => { set({ filter: key }); load(); } }, parts.counts[key], el("span", {}, words));
      return el("li", {}, parts.buttons[key]);
    }));
    const search = el("input", { type: "search", id: "search", value: state.search, placeholder: "name, version, uid, attribute", oninput: (e) => { set({ search: e.target.value.trim() }); soon(150); } });
    const selector = el("input", { type: "text", id: "selector", value: state.selector, placeholder: "host.name=web1,os.type=linux", spellcheck: "false", oninput: (e) => { set({ selector: e.target.value.trim() }); soon(300); } });
    const head = COLUMNS.map(([key, words]) => {
      if (!key) return words;
      parts.sorts[key] = el("button", { type: "button", onclick: () => { set({ sort: key, order: state.sort === key && state.order === "asc" ? "desc" : "asc" }); load(); } }, words);
      return parts.sorts[key];
    });
    body = el("tbody", { id: "fleet-rows" });
    parts.caption = el("caption", { "aria-live": "polite" });
    parts.empty = el("p", { class: "soft", hidden: true });
    parts.fault = el("p", { class: "error", role: "alert" });
    parts.back = el("button", { type: "button", onclick: () => { state.offset = Math.max(0, state.offset - PAGE); load(); } }, "Earlier");
    parts.next = el("button", { type: "button", onclick: () => { state.offset += PAGE; load(); } }, "Later");
    parts.pager = el("div", { class: "row pager", hidden: true }, parts.back, parts.next);
    fill(main, 
      el("h1", {}, "Fleet"), counts,
      el("section", { class: "card", "aria-label": "Agents" },
        el("div", { class: "row" },
          el("label", { class: "grow", for: "search" }, "Search", search),
          el("label", { class: "grow", for: "selector" }, "Selector", selector),
          el("a", { class: "button main", href: "#/configurations/new" }, "New configuration")),
        parts.fault,
        table(head, [], { caption: parts.caption, body }),
        parts.empty, parts.pager));
    set({ offset: state.offset });
    load();
  }

  /* Live changes: a row that is shown changes in its place; others may come into the list. */
  function news(kind, data) {
    if (!body || !body.isConnected) return;
    if (kind === "counts") showCounts(data);
    else if (kind === "agent" && rows.has(data.uid)) {
      const fresh = row(data), old = rows.get(data.uid);
      const focused = old.contains(document.activeElement);
      old.replaceWith(fresh);
      rows.set(data.uid, fresh);
      if (focused) fresh.querySelector("a").focus();
      if (state.filter !== "total") soon(1500);
    } else if (kind !== "assignment" && kind !== "configuration") soon(rows.size < PAGE ? 200 : 2000);
  }

  return { show, news };
})();
