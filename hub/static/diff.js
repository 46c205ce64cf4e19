"use strict";
/* diff.js: two texts, line by line (Myers' algorithm, bounded), shown as one <pre>; YAML in one form before. */

const diff = (() => {
  const MOST = 3000; /* edits; texts that differ more are shown as replaced */

  /* [[" ", "-" or "+", line], ...] */
  function lines(a, b) {
    const x = a.split("\n"), y = b.split("\n");
    let head = 0;
    while (head < x.length && head < y.length && x[head] === y[head]) head++;
    let tail = 0;
    while (tail < x.length - head && tail < y.length - head && x[x.length - 1 - tail] === y[y.length - 1 - tail]) tail++;
    const middle = edits(x.slice(head, x.length - tail), y.slice(head, y.length - tail));
    return [...x.slice(0, head).map((l) => [" ", l]), ...middle, ...x.slice(x.length - tail).map((l) => [" ", l])];
  }

  function replaced(x, y) {
    return [...x.map((l) => ["-", l]), ...y.map((l) => ["+", l])];
  }

  function edits(x, y) {
    const n = x.length, m = y.length;
    if (!n || !m || n + m > 40000) return replaced(x, y);
    const most = Math.min(n + m, MOST);
    let v = new Map([[1, 0]]);
    const trace = [];
    for (let d = 0; d <= most; d++) {
      trace.push(new Map(v));
      for (let k = -d; k <= d; k += 2) {
        let i = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1)) ? v.get(k + 1) ?? 0 : (v.get(k - 1) ?? 0) + 1;
        let j = i - k;
        while (i < n && j < m && x[i] === y[j]) { i++; j++; }
        v.set(k, i);
        if (i >= n && j >= m) return walk(trace, d, x, y);
      }
      if (d * trace.length > 2000000) break;
    }
    return replaced(x, y);
  }

  function walk(trace, d, x, y) {
    const out = [];
    let i = x.length, j = y.length;
    for (; d > 0; d--) {
      const v = trace[d];
      const k = i - j;
      const down = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1));
      const before = down ? k + 1 : k - 1;
      const from = v.get(before) ?? 0;
      while (i > from && j > from - before && i > 0 && j > 0 && x[i - 1] === y[j - 1]) { out.push([" ", x[--i]]); j--; }
      if (down) out.push(["+", y[--j]]);
      else out.push(["-", x[--i]]);
    }
    while (i > 0) out.push([" ", x[--i]]);
    return out.reverse();
  }

  function block(a, b) {
    const pre = document.createElement("pre");
    pre.tabIndex = 0;
    for (const [sign, text] of lines(a.replace(/\n$/, ""), b.replace(/\n$/, ""))) {
      const row = document.createElement("span");
      row.className = sign === "+" ? "line add" : sign === "-" ? "line del" : "line";
      row.append(sign + " ", ...yaml.line(text));
      pre.append(row);
    }
    return pre;
  }

  /* ---- YAML in one form: keys sorted, two blanks a level, without comments.  What agents tell of what they run
   * has their own order.  null: it has something that is not read here (anchors, blocks of text). */

  function plain(text) {
    let at = 0;
    const rows = [];
    const no = () => { throw new Error("not of this kind"); };

    function scalar(t) {
      const quoted = /^"([^"\\]*)"$|^'([^']*)'$/.exec(t);
      if (quoted) return quoted[1] ?? quoted[2];
      return /^["'|>&*!%@`?]|^---|: |:$/.test(t) ? no() : t;
    }

    /* [a, {b: c}] from a position; gives [node, position behind it] */
    function flow(t, i) {
      while (t[i] === " ") i++;
      const open = t[i];
      if (open !== "[" && open !== "{") {
        const m = /^(?:"[^"\\]*"|'[^']*'|[^,[\]{}"']*)/.exec(t.slice(i));
        return [scalar(m[0].trim()), i + m[0].length];
      }
      const node = open === "[" ? [] : new Map();
      const close = open === "[" ? "]" : "}";
      for (i++; ;) {
        while (t[i] === " " || t[i] === ",") i++;
        if (i >= t.length) no();
        if (t[i] === close) return [node, i + 1];
        let key = null, value;
        if (open === "{") {
          const m = /^("[^"\\]*"|'[^']*'|[^,:[\]{}"']+):(?= |$)/.exec(t.slice(i));
          if (!m) no();
          key = scalar(m[1].trim());
          i += m[0].length;
        }
        [value, i] = flow(t, i);
        if (key === null) node.push(value);
        else node.set(key, value);
      }
    }

    function value(t) {
      if (!/^[[{]/.test(t)) return scalar(t);
      const [node, end] = flow(t, 0);
      return end === t.length ? node : no();
    }

    function below(indent, listToo) {
      const next = rows[at];
      return next && (next.indent > indent || (listToo && next.indent === indent && /^-( |$)/.test(next.text))) ? nodes() : "";
    }

    let depth = 0;
    function nodes() {
      if (++depth > 50) no();
      const { indent } = rows[at], list = /^-( |$)/.test(rows[at].text), node = list ? [] : new Map();
      while (at < rows.length && rows[at].indent === indent && /^-( |$)/.test(rows[at].text) === list) {
        const row = rows[at];
        if (list) {
          const m = /^-( *)(.*)$/.exec(row.text);
          if (!m[2]) { at++; node.push(below(indent, false)); continue; }
          if (!/^[[{"']/.test(m[2]) && /:( |$)|^-( |$)/.test(m[2])) {
            rows[at] = { indent: indent + 1 + m[1].length, text: m[2] };
            node.push(nodes());
          } else { at++; node.push(value(m[2])); }
        } else {
          const m = /^("[^"\\]*"|'[^']*'|[^\s"'[\]{},#&*!|>%@`-][^:]*(?::[^: ][^:]*)*|-[^\s:]+)\s*:(?: +(.*))?$/.exec(row.text);
          if (!m || node.has(scalar(m[1]))) no();
          at++;
          node.set(scalar(m[1]), m[2] ? value(m[2]) : below(indent, true));
        }
      }
      depth--;
      return at < rows.length && rows[at].indent > indent ? no() : node;
    }

    function write(node, indent, out) {
      const pad = "  ".repeat(indent);
      const one = (head, n) => {
        if (typeof n === "string") out.push(`${head} ${n}`.trimEnd());
        else if (n instanceof Map ? n.size : n.length) { out.push(head); write(n, indent + 1, out); }
        else out.push(head + (n instanceof Map ? " {}" : " []"));
      };
      if (node instanceof Map) for (const key of [...node.keys()].sort()) one(`${pad}${key}:`, node.get(key));
      else for (const n of node) one(`${pad}-`, n);
      return out;
    }

    try {
      if (text.length > 200000) no(); // whoever wrote it: no more time than this
      for (const line of text.split("\n")) {
        const code = yaml.code(line).trimEnd();
        if (code.length > 500 || /^ *\t/.test(code)) no();
        if (code.trim()) rows.push({ indent: code.search(/\S/), text: code.trim() });
      }
      if (!rows.length) return "";
      const node = nodes();
      return at < rows.length ? null : write(node, 0, []).join("\n") + "\n";
    } catch { return null; }
  }

  return { lines, block, plain };
})();
