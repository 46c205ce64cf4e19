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

  function code(text) {
    return text.slice(0, commentAt(text));
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

  /* ---- where a name stands: by indentation, as people write it; what is in one line stays in that line */

  /* The block below a path of keys: {line, end}, lines from 1, or null.  No path: all of it. */
  function find(lines, path) {
    let from = 0, end = lines.length, above = -1, at = 0;
    for (const key of path) {
      let deep = -1, found = -1;
      for (let i = from; i < end && found < 0; i++) {
        const m = /^(\s*(?:- +)*)(?:"([^"]*)"|'([^']*)'|([^\s#"'][^#]*?))\s*:(?=\s|$)/.exec(lines[i].slice(0, 300));
        if (!m || m[1].length <= above) continue;
        if (deep < 0 || m[1].length < deep) deep = m[1].length;
        if (m[1].length === deep && (m[2] ?? m[3] ?? m[4]) === key) found = i;
      }
      if (found < 0) return null;
      above = deep;
      at = found + 1;
      from = found + 1;
      for (let i = from; i < end; i++) if (/\S/.test(lines[i]) && !/^\s*#/.test(lines[i]) && /^\s*/.exec(lines[i])[0].length <= above) end = i;
    }
    return { line: at, end };
  }

  /* The first line of that block in which a name stands as a word, or else where the block begins. */
  function within(lines, path, name) {
    const block = find(lines, path);
    if (!block) return 0;
    const word = new RegExp("(^|[^\\w/.-])" + name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + "($|[^\\w/.-])");
    for (let i = block.line; i < block.end; i++) if (word.test(code(lines[i]))) return i + 1;
    return block.line;
  }

  /* A Collector's words give no line, but the section and the name: the lines that they mean. */
  function named(words, text) {
    const lines = text.split("\n"), found = new Set();
    let base = null, count = 0, left = 20; // anybody's words: no more time than this
    const add = (path, name) => {
      if (left-- <= 0) return;
      const line = name ? within(lines, path, name) : find(lines, path)?.line;
      if (line) found.add(line);
    };
    const settle = () => { if (base && found.size === count) add(base); base = null; };
    for (const whole of words.split("\n").slice(0, 100)) {
      const said = whole.slice(0, 1000);
      let m;
      if ((m = /'([\w.]+)' unknown type: "([^"]+)"/.exec(said)) || (m = /'([\w.]+)' in "([^"]+)"/.exec(said))) {
        settle();
        add([...m[1].split("."), m[2]]);
      } else if ((m = /(\w+(?:::[\w/.-]+)+): (.*)/.exec(said))) {
        settle();
        const name = /references \w+ "([^"]+)"/.exec(m[2]);
        add(m[1].split("::"), name?.[1]);
      } else if ((m = /'(\w+)' error reading configuration for "([^"]+)"/.exec(said))) {
        settle();
        base = [m[1], m[2]];
        count = found.size;
      }
      if (!base) continue;
      if ((m = /has invalid keys: (.+)$/.exec(said))) for (const key of m[1].split(/,\s*/)) add(base, key);
      else if ((m = /invalid scraper key: (\S+)/.exec(said))) add(base, m[1]);
      else if ((m = /^'([\w.-]+)' (?!decoding failed|has invalid|error reading)/.exec(said))) add([...base, ...m[1].split(".")]);
    }
    settle();
    return found;
  }

  return { line, block, code, named };
})();
