"use strict";
/* yaml.js: YAML shown in colours, line by line.  Only text nodes are made: nothing of it is markup. */

const yaml = (() => {
  function span(kind, text) {
    if (!kind) return document.createTextNode(text);
    const s = document.createElement("span");
    s.className = kind;
    s.textContent = text;
    return s;
  }

  /* Where a comment begins in this line, or its length: "#" after a blank, outside of quotes. */
  function commentAt(line) {
    let quote = "";
    for (let i = 0; i < line.length; i++) {
      const c = line[i];
      if (quote) {
        if (c === "\\" && quote === '"') i++;
        else if (c === quote) quote = "";
      } else if (c === '"' || c === "'") quote = c;
      else if (c === "#" && (i === 0 || line[i - 1] === " " || line[i - 1] === "\t")) return i;
    }
    return line.length;
  }

  function value(text) {
    const bare = text.trim();
    if (/^["']/.test(bare)) return "s";
    if (/^[-+]?(\d[\d_]*)(\.\d+)?([eE][-+]?\d+)?$/.test(bare) || /^(true|false|null|~|yes|no)$/i.test(bare)) return "n";
    return "";
  }

  /* The parts of one line, as nodes. */
  function line(text) {
    const at = commentAt(text);
    const code = text.slice(0, at);
    const nodes = [];
    const key = /^(\s*(?:- +)*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s#:"'{}[\],&*!|>%@`-][^:#]*?|-?[\w./-]+)(\s*:)(?=\s|$)/.exec(code);
    if (key) {
      nodes.push(span("", key[1]), span("k", key[2]), span("", key[3]));
      const rest = code.slice(key[0].length);
      if (rest) nodes.push(span(value(rest), rest));
    } else {
      const item = /^(\s*(?:- +)+)(.*)$/.exec(code);
      if (item) nodes.push(span("", item[1]), span(value(item[2]), item[2]));
      else if (code) nodes.push(span(value(code), code));
    }
    if (at < text.length) nodes.push(span("c", text.slice(at)));
    return nodes;
  }

  /* A <pre> of the text; faults: line numbers (from 1) that are marked. */
  function block(text, faults = new Set()) {
    const pre = document.createElement("pre");
    pre.tabIndex = 0;
    const lines = text.replace(/\n$/, "").split("\n");
    const colours = lines.length <= 5000;
    lines.forEach((content, i) => {
      const row = document.createElement("span");
      row.className = faults.has(i + 1) ? "line fault" : "line";
      const no = span("no", String(i + 1));
      no.setAttribute("aria-hidden", "true");
      row.append(no, ...(colours ? line(content) : [span("", content)]));
      pre.append(row);
    });
    return pre;
  }

  return { line, block };
})();
