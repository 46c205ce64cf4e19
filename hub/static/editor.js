"use strict";
/* editor.js: configurations: the list, the editor with its checks, sending, and how it goes on. */

const editor = (() => {
  const EXAMPLE = "receivers:\n  nop:\nexporters:\n  nop:\nservice:\n  pipelines:\n    traces:\n      receivers: [nop]\n      exporters: [nop]\n";
  let parts = {}, watched = null, timer = 0, checking = 0;

  /* ---- the list */

  async function list(main) {
    fill(main, el("p", { class: "soft" }, "Reading\u2026"));
    const [configurations, assignments] = await Promise.all([api("configurations"), api("assignments")]);
    fill(main, 
      el("div", { class: "row" }, el("h1", { class: "grow" }, "Configurations"), el("a", { class: "button main", href: "#/configurations/new" }, "New configuration")),
      el("section", { class: "card", "aria-label": "Configurations" },
        configurations.items.length ? table(["Name", "Versions", "Made", ""], configurations.items.map((c) => [{}, [
          el("a", { href: "#/configurations/" + c.id }, c.name), c.versions, when(c.created),
          el("button", { type: "button", class: "danger", onclick: () => remove(c) }, "Delete")]])) : el("p", { class: "soft" }, "There is none yet.")),
      el("section", { class: "card", "aria-label": "Assignments" }, el("h2", {}, "Assignments"),
        el("p", { class: "soft small" }, "An agent runs what is assigned to it by its uid, or else the newest assignment whose selector fits."),
        assignments.items.length ? table(["For", "Version", "State", "By", "When", ""], inForce(assignments.items).map(([a, counts]) => [{ class: counts ? "" : "superseded" }, [
          el("span", { class: "mono" }, a.agent ? el("a", { href: "#/agents/" + a.agent }, a.agent) : a.selector || "all agents"),
          a.version, el("span", { class: counts ? "badge good" : "badge" }, counts ? "in force" : "superseded"), a.author, when(a.created),
          el("button", { type: "button", class: "danger", onclick: () => unassign(a, main) }, "Delete")]]), { id: "assignments" }) : el("p", { class: "soft" }, "There is none yet.")));
  }

  /* Of those for the same agent or selector only the newest counts. */
  function inForce(items) {
    const seen = new Set();
    return [...items].sort((a, b) => b.id - a.id).map((a) => {
      const key = a.agent ? "agent " + a.agent : "selector " + a.selector;
      const counts = !seen.has(key);
      seen.add(key);
      return [a, counts];
    });
  }

  async function remove(c) {
    if (!await confirmed("Delete the configuration?", `\u201C${c.name}\u201D is not listed any more. Agents that it is assigned to keep running it.`, "Delete", true)) return;
    await api("configurations/" + c.id, "DELETE").catch((f) => toast(f.message, true));
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  }

  async function unassign(a, main) {
    if (!await confirmed("Delete the assignment?", "Agents that ran by it are offered nothing by it any more; they keep what they run until something else is assigned.", "Delete", true)) return;
    await api("assignments/" + a.id, "DELETE").catch((f) => toast(f.message, true));
    list(main);
  }

  /* ---- the editor */

  function gutter(faults) {
    const lines = parts.text.value.split("\n").length;
    const rows = [];
    for (let i = 1; i <= lines; i++) rows.push(el("div", { class: faults && faults.has(i) ? "fault" : "" }, i));
    fill(parts.gutter, ...rows);
    parts.gutter.scrollTop = parts.text.scrollTop;
  }

  function goTo(line) {
    const before = parts.text.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    parts.text.focus();
    parts.text.setSelectionRange(before, before);
    parts.text.scrollTop = Math.max(0, (line - 4) * 20);
  }

  /* YAML's errors, by line, before anything is sent.  True: none. */
  async function check() {
    const mine = ++checking;
    const result = await api("check", "POST", { files: files() }).catch((f) => ({ problems: [{ what: f.message }] }));
    if (mine !== checking) return false;
    const problems = result.problems;
    gutter(new Set(problems.map((p) => p.line)));
    fill(parts.problems, ...problems.map((p) => el("li", {},
      p.line ? el("button", { type: "button", onclick: () => goTo(p.line) }, `line ${p.line}, column ${p.column}`) : null, " ", el("span", { class: "error" }, p.what))));
    parts.good.hidden = problems.length > 0;
    return problems.length === 0;
  }

  function files() {
    return { "": { content_type: "text/yaml", body: parts.text.value } };
  }

  function target() {
    return parts.who.value === "agent" ? { agent: parts.agent.value.trim() } : { selector: parts.who.value === "all" ? "" : parts.selector.value.trim() };
  }

  async function showDifference() {
    const t = target();
    let runs = "", words = "";
    try {
      if (t.agent) {
        const agent = await api("agents/" + t.agent);
        runs = agent.config.due ? Object.values((await api("versions/" + agent.config.due)).files)[0]?.body ?? "" : "";
        words = agent.config.due ? `against ${configName(agent.config)}, which ${agentName(agent)} is to run now` : "nothing was sent to this agent yet";
      } else if (parts.base) {
        runs = parts.base;
        words = "against the version that was opened";
      } else words = "there is nothing to compare with: it is a new configuration";
    } catch (fault) { words = fault.message; }
    fill(parts.difference, el("h2", {}, "Difference"), el("p", { class: "soft small" }, words), diff.block(runs, parts.text.value));
  }

  async function send() {
    parts.send.disabled = true;
    parts.fault.textContent = "";
    try {
      if (!await check()) throw new Error("The YAML has errors: mend them first (they are listed below the text).");
      const t = target();
      if ("agent" in t && !t.agent) throw new Error("Say to which agent: its uid.");
      let id = parts.id;
      if (!id) {
        const name = parts.name.value.trim();
        if (!name) throw new Error("Give the configuration a name.");
        const known = (await api("configurations")).items.find((c) => c.name === name);
        id = known ? known.id : (await api("configurations", "POST", { name })).id;
      }
      const version = await api(`configurations/${id}/versions`, "POST", { files: files(), comment: parts.comment.value });
      const assignment = await api("assignments", "POST", { version: version.id, ...t });
      watch(assignment.id, version.id);
    } catch (fault) {
      parts.fault.textContent = fault.message;
    }
    parts.send.disabled = false;
  }

  /* ---- live progress */

  function watch(assignment, version) {
    watched = { assignment, version };
    parts.progress.hidden = false;
    progress();
    parts.progress.scrollIntoView({ block: "nearest" });
  }

  async function progress() {
    if (!watched || !parts.progress || !parts.progress.isConnected) return;
    const { assignment, version } = watched;
    let p;
    try { p = await api(`assignments/${assignment}/progress`); } catch { return; }
    const bar = el("div", { class: "bar", role: "img", "aria-label": `${p.applied} applied, ${p.applying} applying, ${p.failed} failed, ${p.waiting} offered, of ${p.total}` });
    for (const kind of ["applied", "applying", "failed"]) {
      const s = el("span", { class: kind });
      s.style.width = p.total ? `${100 * p[kind] / p.total}%` : "0";
      bar.append(s);
    }
    const state = p.total === 0 ? "nobody" : p.failed ? "failed" : p.applied === p.total ? "applied" : p.applying ? "applying" : "offered";
    const counts = ["waiting", "applying", "applied", "failed"].filter((k) => p[k]).map((k) => k === "waiting" ? `${p.waiting} offered${p.away ? ` (${p.away} of them not connected)` : ""}` : `${p[k]} ${k}`);
    const kind = { failed: "bad", applied: "good", applying: "busy", offered: "busy" }[state] || "";
    const failures = p.failed ? await failed(version) : [];
    fill(parts.progress, 
      el("div", { class: "row" }, el("h2", {}, "Progress"), el("span", { class: "badge " + kind, id: "progress-state", "data-state": state }, state === "nobody" ? "no agent fits" : state)),
      bar,
      el("p", { class: "small soft" }, p.total ? `${p.total} ${p.total === 1 ? "agent" : "agents"}: ${counts.join(", ")}` : "Agents that come later and fit are sent it."),
      failures);
  }

  /* The agents' own words, beside the line of what was sent where they tell one. */
  async function failed(version) {
    const list = (await api("agents?config=failed&limit=20")).items.filter((a) => a.config.due === version && a.config.due_hash === a.config.hash);
    const all = new Set();
    const text = parts.text.value;
    for (const a of list) for (const line of faultLines(a.config.error, text)) all.add(line);
    if (all.size) gutter(all);
    return el("div", { id: "failures" }, list.map((a) => el("div", {}, el("a", { href: "#/agents/" + a.uid }, agentName(a)), errorBlock(a.config.error || "failed"),
      [...faultLines(a.config.error, text)].slice(0, 3).map((l) =>
        el("p", { class: "mono" }, el("button", { type: "button", onclick: () => goTo(l) }, `line ${l}`), " ", text.split("\n")[l - 1])))));
  }

  /* ---- making it */

  function whoChanged() {
    parts.agentLabel.hidden = parts.who.value !== "agent";
    parts.selectorLabel.hidden = parts.who.value !== "selector";
    count();
  }

  /* How many are meant, before it is sent. */
  async function count() {
    const t = target();
    if ("agent" in t) { parts.count.textContent = ""; return; }
    try {
      const n = (await api("agents?limit=0&selector=" + encodeURIComponent(t.selector))).total;
      parts.count.textContent = n === 1 ? "1 agent fits now" : `${n} agents fit now`;
    } catch (fault) { parts.count.textContent = fault.message; }
  }

  async function edit(main, id, parameters) {
    let configuration = null, versions = [], body = EXAMPLE, agents = [];
    if (id) {
      configuration = await api("configurations/" + id);
      versions = configuration.items;
      const wanted = Number(parameters.get("version")) || configuration.latest;
      if (wanted) body = Object.values((await api("versions/" + wanted)).files)[0]?.body ?? "";
    }
    agents = (await api("agents?limit=200&sort=name")).items;
    const agent = parameters.get("agent") || "";
    parts = { id, base: configuration ? body : "" };
    watched = null;
    parts.name = el("input", { type: "text", id: "name", maxlength: 128, value: configuration ? configuration.name : agent ? agentName(agents.find((a) => a.uid === agent) || { uid: agent }) : "", disabled: Boolean(configuration), required: true });
    parts.comment = el("input", { type: "text", id: "comment", maxlength: 1024, placeholder: "why" });
    parts.who = el("select", { id: "who", onchange: whoChanged }, [["agent", "one agent"], ["selector", "agents by selector"], ["all", "all agents"]].map(([v, w]) => el("option", { value: v, selected: (agent ? "agent" : "selector") === v }, w)));
    parts.agent = el("input", { type: "text", id: "agent", value: agent, list: "agents", spellcheck: "false", placeholder: "uid" });
    parts.selector = el("input", { type: "text", id: "to", spellcheck: "false", placeholder: "host.name=web1,os.type=linux", oninput: () => { clearTimeout(timer); timer = setTimeout(count, 300); } });
    parts.agentLabel = el("label", { class: "grow", for: "agent" }, "Agent", parts.agent);
    parts.selectorLabel = el("label", { class: "grow", for: "to" }, "Selector", parts.selector);
    parts.count = el("p", { class: "small soft", "aria-live": "polite" });
    parts.text = el("textarea", { id: "text", spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off", "aria-label": "Configuration, YAML",
      oninput: () => { gutter(); clearTimeout(timer); timer = setTimeout(check, 400); }, onscroll: () => { parts.gutter.scrollTop = parts.text.scrollTop; } });
    parts.text.value = body;
    parts.gutter = el("div", { class: "gutter", "aria-hidden": "true" });
    parts.problems = el("ul", { id: "problems", "aria-live": "polite" });
    parts.good = el("p", { class: "small soft", hidden: true }, "No error of YAML. Whether the agent can run it, the agent finds out before it switches.");
    parts.fault = el("p", { class: "error", role: "alert", id: "send-fault" });
    parts.send = el("button", { type: "button", class: "main", id: "send", onclick: send }, "Send");
    parts.difference = el("section", { class: "card", "aria-label": "Difference" }, el("h2", {}, "Difference"), el("button", { type: "button", id: "compare", onclick: showDifference }, "Compare with what runs"));
    parts.progress = el("section", { class: "card", id: "progress", "aria-label": "Progress", "aria-live": "polite", hidden: true });
    fill(main, 
      el("p", { class: "small" }, el("a", { href: "#/configurations" }, "Configurations"), " / ", configuration ? configuration.name : "new"),
      el("h1", {}, configuration ? configuration.name : "New configuration"),
      el("section", { class: "card", "aria-label": "Editor" },
        el("div", { class: "row" }, el("label", { class: "grow", for: "name" }, "Name", parts.name), el("label", { class: "grow", for: "comment" }, "Comment", parts.comment)),
        el("h3", {}, "Text"),
        el("div", { class: "editor" }, parts.gutter, parts.text), parts.problems, parts.good),
      el("section", { class: "card", "aria-label": "Send" },
        el("div", { class: "row" }, el("label", { for: "who" }, "Send to", parts.who), parts.agentLabel, parts.selectorLabel, parts.send), parts.count, parts.fault,
        el("datalist", { id: "agents" }, agents.map((a) => el("option", { value: a.uid }, agentName(a))))),
      parts.progress, parts.difference,
      versions.length ? el("section", { class: "card", "aria-label": "Versions" }, el("h2", {}, "Versions"),
        table(["Number", "By", "When", "Comment", "Hash"], versions.map((v) => [{}, [
          el("a", { href: `#/configurations/${id}?version=${v.id}` }, "v" + v.number), v.author, when(v.created), v.comment, el("span", { class: "mono" }, v.hash.slice(0, 12))]]))) : null);
    gutter();
    whoChanged();
    check();
  }

  async function show(main, id, parameters) {
    try {
      if (id === undefined) await list(main);
      else await edit(main, id === "new" ? 0 : Number(id), parameters);
    } catch (fault) {
      fill(main, el("h1", {}, "Configurations"), errorBlock(fault.message));
    }
  }

  function news(kind) {
    if (watched && (kind === "agent" || kind === "counts" || kind === "reset")) {
      clearTimeout(timer);
      timer = setTimeout(progress, 50);
    }
  }

  return { show, news };
})();
