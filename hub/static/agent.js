"use strict";
/* agent.js: one agent: health, description, effective configuration, what was offered, history. */

const agentView = (() => {
  let uid = "", main = null, timer = 0, tab = "effective", offered = { id: null, version: null };

  function healthNode(name, h) {
    const state = h.healthy ? "good" : "bad";
    const words = h.status || (h.healthy ? "healthy" : "unhealthy");
    const children = Object.entries(h.component_health_map || {});
    return el("li", {},
      el("div", { class: "row" }, el("span", { class: "badge " + state }, words), el("span", { class: "mono" }, name)),
      h.last_error ? errorBlock(h.last_error) : null,
      children.length ? el("ul", {}, children.sort((a, b) => a[0].localeCompare(b[0])).map(([n, c]) => healthNode(n, c))) : null);
  }

  function health(agent) {
    if (!agent.health) return el("p", { class: "soft" }, "The agent has not told its health.");
    return el("ul", { class: "tree" }, healthNode(agentName(agent), agent.health));
  }

  function list(object) {
    const names = Object.keys(object || {}).sort();
    if (!names.length) return el("p", { class: "soft" }, "none");
    return el("dl", {}, names.flatMap((n) => [el("dt", {}, n), el("dd", { class: "mono" }, typeof object[n] === "string" ? object[n] : JSON.stringify(object[n]))]));
  }

  function components(node) {
    return el("ul", { class: "tree" }, Object.entries(node || {}).sort((a, b) => a[0].localeCompare(b[0])).map(([name, c]) =>
      el("li", {}, el("span", { class: "mono" }, name),
        c.metadata ? el("span", { class: "soft small" }, " " + Object.entries(c.metadata).map(([k, v]) => `${k}=${v}`).join(" ")) : null,
        c.sub_component_map ? components(c.sub_component_map) : null)));
  }

  function text(files) {
    return Object.entries(files || {}).map(([name, f]) => (name ? `# ---- ${name}\n` : "") + (f.body ?? `# not text: ${f.hex}`)).join("\n");
  }

  async function offeredText(agent) {
    if (agent.config.due === null) return null;
    if (offered.id !== agent.config.due) offered = { id: agent.config.due, version: await api("versions/" + agent.config.due) };
    return text(offered.version.files);
  }

  async function configPane(agent) {
    const runs = agent.effective ? text(agent.effective.files) : "";
    const wanted = await offeredText(agent);
    const forms = wanted !== null && Object.keys(agent.effective?.files || {}).length === 1 && Object.keys(offered.version.files).length === 1 ? [diff.plain(wanted), diff.plain(runs)] : [null];
    const inOrder = forms.includes(null) ? null : forms;
    const faults = agent.config.status === "failed" ? faultLines(agent.config.error, wanted || "") : new Set();
    const panes = {
      effective: ["Effective", () => runs ? yaml.block(runs) : el("p", { class: "soft" }, "The agent has not told what it runs.")],
      offered: ["Offered", () => wanted === null ? el("p", { class: "soft" }, "Nothing is assigned to this agent.") : yaml.block(wanted, faults)],
      difference: ["Difference", () => wanted === null || !runs ? el("p", { class: "soft" }, "There is nothing to compare.") : el("div", {},
        el("p", { class: "soft small" }, "\u2212 offered, + what the agent runs: the agent adds what opampd, local files and its defaults bring."
          + (inOrder ? " Both are shown with their keys in order, without comments." : "")), inOrder ? diff.block(...inOrder) : diff.block(wanted, runs))],
    };
    const pane = el("div", { id: "config-pane", role: "tabpanel" });
    const tabs = Object.entries(panes).map(([key, [words, make]]) => el("button", {
      type: "button", role: "tab", id: "tab-" + key, "aria-selected": String(key === tab), "aria-controls": "config-pane",
      onclick: (e) => { tab = key; for (const b of tabs) b.setAttribute("aria-selected", String(b === e.currentTarget)); fill(pane, make()); },
    }, words));
    fill(pane, panes[tab][1]());
    return el("div", {}, el("div", { class: "tabs", role: "tablist", "aria-label": "Configuration" }, tabs), pane);
  }

  function facts(agent) {
    const c = agent.connection;
    const rows = [["Health", healthBadge(agent)], ["Last error", agent.last_error ? errorBlock(agent.last_error) : null],
      ["Configuration", el("span", {}, configBadge(agent.config), " ", configName(agent.config))],
      ["Its words", agent.config.error ? el("div", { id: "config-error" }, errorBlock(agent.config.error)) : null],
      ["Started", agent.started ? when(agent.started) : null], ["Last seen", when(agent.last_seen)], ["First seen", when(agent.first_seen)],
      ["Connection", agent.connected ? `${c.transport} from ${c.address}${c.credential ? ` as ${c.credential}` : ""}` : `gone: ${c.gone_why || "?"}`],
      ["Version", agent.version], ["Instance uid", el("span", { class: "mono" }, agent.uid)]];
    return el("dl", { id: "facts" }, rows.filter((r) => r[1]).flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]));
  }

  function history(events) {
    const names = { connected: "good", healthy: "good", applied: "good", disconnected: "", unhealthy: "bad", failed: "bad", "not sent": "bad" };
    return el("ol", { class: "timeline", id: "history" }, events.map((e) => el("li", {},
      el("time", { datetime: e.time, title: ago(e.time) }, exact(e.time)),
      el("span", {}, el("span", { class: "badge " + (names[e.kind] ?? "busy") }, e.kind)),
      el("span", { class: e.kind === "failed" ? "error" : "mono" }, e.text))));
  }

  async function restart(agent) {
    if (!await confirmed("Restart the agent?", `The process of ${agentName(agent)} is ended and started again with the configuration that it runs.`, "Restart")) return;
    try {
      await api(`agents/${agent.uid}/commands`, "POST", { type: "restart" });
      toast("The command to restart was sent.");
    } catch (fault) { toast(fault.message, true); }
  }

  async function resend(agent) {
    try {
      await api(`agents/${agent.uid}/commands`, "POST", { type: "resend" });
      toast(`${configName(agent.config)} was sent again.`);
    } catch (fault) { toast(fault.message, true); }
  }

  async function forget(agent) {
    if (!await confirmed("Forget this agent?", "All that the hub knows of it is deleted. It comes back when it connects again.", "Forget", true)) return;
    try {
      await api("agents/" + agent.uid, "DELETE");
      location.hash = "#/";
    } catch (fault) { toast(fault.message, true); }
  }

  /* The view may be another one by the time an answer is there. */
  const shown = (which) => main && which === uid && location.hash === "#/agents/" + uid;

  async function load() {
    const wanted = uid;
    let agent, events;
    try {
      [agent, events] = await Promise.all([api("agents/" + uid), api(`agents/${uid}/events?limit=100`)]);
    } catch (fault) {
      if (shown(wanted)) fill(main, el("h1", {}, "Agent"), errorBlock(fault.message), el("p", {}, el("a", { href: "#/" }, "Back to the fleet")));
      return;
    }
    const pane = await configPane(agent);
    if (!shown(wanted)) return;
    const can = (name) => agent.capabilities.includes(name);
    const focused = document.activeElement && main.contains(document.activeElement) ? document.activeElement.id : "";
    fill(main, 
      el("p", { class: "small" }, el("a", { href: "#/" }, "Fleet"), " / ", agentName(agent)),
      el("div", { class: "row" }, el("h1", { class: "grow" }, agentName(agent)),
        el("a", { class: "button main", id: "edit", href: "#/configurations/new?agent=" + agent.uid }, "Configure"),
        el("button", { type: "button", id: "restart", disabled: !agent.connected || !can("AcceptsRestartCommand"), title: can("AcceptsRestartCommand") ? "" : "The agent does not take restart commands", onclick: () => restart(agent) }, "Restart"),
        el("button", { type: "button", class: "danger", id: "forget", onclick: () => forget(agent) }, "Forget")),
      el("div", { class: "grid" },
        el("section", { class: "card", "aria-label": "State" }, el("h2", {}, "State"), facts(agent)),
        el("section", { class: "card", "aria-label": "Health" }, el("h2", {}, "Health"), health(agent))),
      el("section", { class: "card", "aria-label": "Configuration" },
        el("div", { class: "row" }, el("h2", { class: "grow" }, "Configuration"),
          agent.config.due === null ? null : el("button", { type: "button", id: "resend", disabled: !agent.connected || !can("AcceptsRemoteConfig"), title: `Offers ${configName(agent.config)} once more, as after the reason why it failed was mended`, onclick: () => resend(agent) }, "Send again")),
        pane),
      el("div", { class: "grid" },
        el("section", { class: "card", "aria-label": "Description" }, el("h2", {}, "Description"),
          el("h3", {}, "Identifying"), list(agent.description && agent.description.identifying_attributes),
          el("h3", {}, "Other"), list(agent.description && agent.description.non_identifying_attributes),
          el("h3", {}, "Capabilities"), el("div", { class: "chips" }, agent.capabilities.map((c) => el("span", { class: "chip" }, c)))),
        el("section", { class: "card", "aria-label": "Components" }, el("h2", {}, "Components"),
          agent.components ? components(agent.components.components) : el("p", { class: "soft" }, "The agent has not told its components."),
          agent.packages ? el("div", {}, el("h3", {}, "Packages"), list(agent.packages.packages)) : null)),
      el("section", { class: "card", "aria-label": "History" }, el("h2", {}, "History"), history(events.items)));
    if (focused) document.getElementById(focused)?.focus();
  }

  function show(where, which) {
    main = where;
    uid = which;
    fill(main, el("p", { class: "soft" }, "Reading\u2026"));
    load();
  }

  function news(kind, data) {
    if (!main || !main.isConnected || location.hash !== "#/agents/" + uid) return;
    if ((kind === "agent" || kind === "gone") && data.uid !== uid) return;
    if (kind === "counts" || kind === "configuration") return;
    if (document.querySelector("dialog[open]") || window.getSelection().toString()) return;
    clearTimeout(timer);
    timer = setTimeout(load, 100);
  }

  return { show, news };
})();
