"use strict";
/* diff.js: two texts, line by line (Myers' algorithm, bounded), shown as one <pre>. */

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

  return { lines, block };
})();
