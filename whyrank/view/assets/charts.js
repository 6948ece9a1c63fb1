// Charts, drawn by Observable Plot as SVG; each can be saved.

const style = { fontSize: "12px", fontFamily: "inherit" };

/** A figure with a chart, its caption, and buttons that save it. */
function figure(name, caption, draw) {
  const place = h("div", {});
  const show = () => {
    const width = Math.max(280, Math.min(1180, place.clientWidth || 600));
    place.replaceChildren(named(draw(width)));
  };
  new ResizeObserver(debounced(show)).observe(place);
  const save = h("div", { class: "save" },
    h("button", { type: "button", "aria-label": `Save ${name} as SVG`, onclick: () => saveSvg(name, place) }, "SVG"),
    h("button", { type: "button", "aria-label": `Save ${name} as PNG`, onclick: () => savePng(name, place) }, "PNG"));
  return h("figure", {}, place, h("figcaption", {}, caption), save);
}

/** A chart as one picture with a name: what its marks are called says nothing to those who only hear it. */
function named(chart) {
  chart.setAttribute("role", "img");
  for (const part of chart.querySelectorAll("[aria-label], [aria-description]")) {
    part.removeAttribute("aria-label");
    part.removeAttribute("aria-description");
  }
  return chart;
}

/** A function that waits for a frame, and runs where the width has changed. */
function debounced(show) {
  let width = -1;
  return ([entry]) => {
    const found = Math.round(entry.contentRect.width);
    if (found && found !== width) {
      width = found;
      requestAnimationFrame(show);
    }
  };
}

function standalone(place) {
  const svg = place.querySelector("svg").cloneNode(true);
  const style = getComputedStyle(document.body);
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("style", `color:${style.color};background:${style.backgroundColor};font-family:sans-serif`);
  return new XMLSerializer().serializeToString(svg);
}

function saveSvg(name, place) {
  offer(`${name}.svg`, new Blob([standalone(place)], { type: "image/svg+xml" }));
}

function savePng(name, place) {
  const size = place.querySelector("svg").getBoundingClientRect();
  const address = URL.createObjectURL(new Blob([standalone(place)], { type: "image/svg+xml" }));
  const image = new Image();
  image.onload = () => {
    const canvas = h("canvas", { width: 2 * size.width, height: 2 * size.height });
    const pen = canvas.getContext("2d");
    pen.scale(2, 2);
    pen.drawImage(image, 0, 0, size.width, size.height);
    URL.revokeObjectURL(address);
    canvas.toBlob((blob) => offer(`${name}.png`, blob));
  };
  image.src = address;
}

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const labels = (width) => (name) => shortened(name, width < 480 ? 16 : 34);
const margin = (names, width) =>
  Math.min(width < 480 ? 130 : 270, 16 + 7.2 * Math.max(...names.map((name) => labels(width)(name).length)));

/** The range of values on an axis, with room where all are nearly the same. */
function extent(values, least = 0.05) {
  const low = Math.min(...values), high = Math.max(...values);
  return high - low >= least ? [low, high] : [low - least / 2, high + least / 2];
}

/** Means with intervals, a row for each run. */
function intervals(width) {
  const rows = runs.map((run, at) => ({ name: run.name, at, mean: run.means[state.measure] })).filter((row) => row.mean);
  return Plot.plot({
    style, width, height: 62 + 30 * rows.length, marginBottom: 42, marginLeft: margin(rows.map((row) => row.name), width), marginRight: 50,
    ariaLabel: `${state.measure} of each run with its interval`,
    x: { grid: true, label: state.measure, nice: true, domain: extent(rows.flatMap((row) => row.mean)) },
    y: { label: null, domain: rows.map((row) => row.name), tickFormat: labels(width), tickSize: 0 },
    marks: [
      Plot.ruleY(rows, { y: "name", x1: (row) => row.mean[1], x2: (row) => row.mean[2], stroke: (row) => colour(row.at), strokeWidth: 3 }),
      Plot.dot(rows, { y: "name", x: (row) => row.mean[0], fill: (row) => colour(row.at), r: 5 }),
      Plot.text(rows, { y: "name", x: (row) => row.mean[2], text: (row) => score(row.mean[0]), dx: 8, textAnchor: "start" }),
    ],
  });
}

/** What each query gains, sorted; a click opens the query. */
function gains(width) {
  const found = summary.queries.ids.map((id, place) => ({ id, place, gain: gain(place) })).filter((one) => one.gain != null);
  found.sort((one, two) => two.gain - one.gain);
  found.forEach((one, rank) => { one.rank = rank; });
  const alone = state.run === state.base;
  const chart = Plot.plot({
    style, width, height: 260, marginLeft: 46,
    ariaLabel: "Gain of each query, sorted",
    x: { axis: null, domain: [-0.5, found.length - 0.5] },
    y: { grid: true, domain: extent([0, ...found.map((one) => one.gain)]), label: alone ? state.measure : `gain in ${state.measure}` },
    marks: [
      Plot.rectY(found, {
        x1: (one) => one.rank - 0.5, x2: (one) => one.rank + 0.5, y1: 0, y2: "gain", insetLeft: width / found.length > 4 ? 0.5 : 0,
        fill: (one) => (alone ? "var(--mark)" : one.gain >= 0 ? "var(--better)" : "var(--worse)"),
      }),
      Plot.ruleY([0]),
      Plot.tip(found, Plot.pointerX({
        x: "rank", y: "gain", title: (one) => `${one.id}\n${shortened(summary.queries.texts[one.place], 90)}\n${alone ? score(one.gain) : signed(one.gain)}`,
        fill: "var(--card)",
      })),
    ],
  });
  chart.style.cursor = "pointer";
  chart.addEventListener("click", () => { if (chart.value) openQuery(chart.value.place); });
  return chart;
}

/** From which ranks to which relevant documents went. */
function flow(width) {
  const cells = runs[state.run].flow.map(([before, after, count]) => ({ before: summary.bins[before], after: summary.bins[after], count, up: before - after }));
  const size = Math.min(width, 560);
  return Plot.plot({
    style, width: size, height: 300, marginLeft: 104, marginBottom: 44,
    ariaLabel: "Relevant documents by their rank before and after",
    x: { domain: summary.bins, label: "rank after" },
    y: { domain: summary.bins, label: "rank before" },
    opacity: { type: "sqrt", domain: [0, Math.max(1, ...cells.map((cell) => cell.count))], range: [0.08, 0.55] },
    marks: [
      Plot.cell(cells, { x: "after", y: "before", inset: 1, fillOpacity: "count", fill: (cell) => (cell.up > 0 ? "var(--better)" : cell.up < 0 ? "var(--worse)" : "var(--dim)") }),
      Plot.text(cells, { x: "after", y: "before", text: (cell) => number(cell.count), fill: "currentColor" }),
    ],
  });
}

/** Quality against what it took. */
function costs(width, cost) {
  const rows = runs.map((run, at) => ({ name: run.name, at, cost: cost.of(run), mean: run.means[state.measure] })).filter((row) => row.mean && row.cost != null);
  return Plot.plot({
    style, width, height: 280, marginBottom: 42, marginLeft: 50, marginRight: 60, marginTop: 26,
    ariaLabel: `${state.measure} against ${cost.name}`,
    x: { grid: true, label: cost.name, nice: true, zero: true, tickFormat: "~s" },
    y: { grid: true, label: state.measure, nice: true, domain: extent(rows.flatMap((row) => row.mean)) },
    marks: [
      Plot.ruleX(rows, { x: "cost", y1: (row) => row.mean[1], y2: (row) => row.mean[2], stroke: (row) => colour(row.at), strokeWidth: 2 }),
      Plot.dot(rows, { x: "cost", y: (row) => row.mean[0], r: 6, fill: (row) => colour(row.at), stroke: "var(--card)" }),
      Plot.text(rows, { x: "cost", y: (row) => row.mean[0], text: (row) => labels(width)(row.name), dx: 9, textAnchor: "start", stroke: "var(--card)", fill: "currentColor" }),
    ],
  });
}

const OUTCOMES = { exact: "#2f8f5b", repaired: "#c99a06", truncated: "#e07b00", no_answer: "#b5532a", failed: "#b02a2a" };

/** Model calls by how they came out. */
function outcomes(width) {
  const rows = runs.filter((run) => Object.keys(run.statuses).length).flatMap((run) =>
    Object.entries(run.statuses).filter(([, count]) => count).map(([status, count]) => ({ name: run.name, status, count })));
  const names = [...new Set(rows.map((row) => row.name))];
  return Plot.plot({
    style, width, height: 62 + 34 * names.length, marginBottom: 42, marginLeft: margin(names, width),
    ariaLabel: "Model calls of each run by how they came out",
    x: { grid: true, label: "model calls" },
    y: { label: null, domain: names, tickFormat: labels(width), tickSize: 0 },
    marks: [
      Plot.barX(rows, Plot.stackX({ y: "name", x: "count", fill: (row) => OUTCOMES[row.status], order: Object.keys(OUTCOMES), inset: 3,
        title: (row) => `${row.name}: ${row.status} ${number(row.count)}`, tip: { fill: "var(--card)" } })),
    ],
  });
}

/** Where the relevant documents of a query stand, before and in each run. */
function slopes(width, told) {
  const shown = told.runs[state.run], columns = [];
  if (shown?.handed) columns.push(["before", new Map(shown.ids.map((id, at) => [id, shown.before[at]]).filter(([, rank]) => rank))]);
  told.runs.forEach((run, at) => { if (run) columns.push([runs[at].name, new Map(run.ids.map((id, rank) => [id, rank + 1]))]); });
  const deepest = Math.max(10, ...told.runs.map((run) => run?.ids.length ?? 0)) + 8;
  const points = Object.entries(told.grades).filter(([id, grade]) => grade > 0 && columns.some(([, ranks]) => ranks.has(id))).flatMap(([id, grade]) =>
    columns.map(([name, ranks]) => ({ id, grade, name, rank: ranks.get(id) ?? deepest, found: ranks.has(id) })));
  const top = Math.max(...points.map((point) => point.grade));
  return Plot.plot({
    style, width, height: 320, marginLeft: 44, marginRight: 90, marginTop: 30, marginBottom: 10,
    ariaLabel: "Ranks of the relevant documents in each run",
    x: { type: "point", domain: columns.map(([name]) => name), axis: "top", label: null, tickFormat: labels(Math.min(width, width / columns.length * 2.2)), tickSize: 0 },
    y: { type: "log", domain: [deepest, 1], label: "rank", ticks: [1, 2, 3, 5, 10, 20, 50, 100].filter((rank) => rank < deepest), tickFormat: "d", grid: true },
    marks: [
      Plot.line(points, { x: "name", y: "rank", z: "id", stroke: "var(--mark)", strokeOpacity: (point) => 0.25 + 0.65 * point.grade / top, strokeWidth: 1.6 }),
      Plot.dot(points, { x: "name", y: "rank", r: 3.5, fill: (point) => (point.found ? "var(--mark)" : "var(--worse)") }),
      Plot.tip(points, Plot.pointer({ x: "name", y: "rank", fill: "var(--card)", title: (point) => `${point.id}\ngrade ${point.grade}\n${point.found ? `rank ${point.rank}` : "not found"} in ${point.name}` })),
    ],
  });
}
