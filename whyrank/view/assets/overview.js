// What stands above the queries: systems, gains, what moved, what it took.

function controls() {
  const names = runs.map((run, at) => [at, run.name]);
  const shown = [];
  if (summary.measures.length > 1)
    shown.push(select("Measure", summary.measures.map((name) => [name, name]), state.measure, (value) => change({ measure: value })));
  if (judged && runs.length > 1) {
    shown.push(select("Run", names, state.run, (value) => change({ run: Number(value) })));
    shown.push(select("against", names, state.base, (value) => change({ base: Number(value) })));
  }
  shown.push(h("button", { type: "button", id: "theme", onclick: turn }, "Light or dark"));
  at("controls").replaceChildren(...shown);
}

function turn() {
  const root = document.documentElement;
  const dark = root.style.colorScheme ? root.style.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.style.colorScheme = dark ? "light" : "dark";
}

function overview() {
  const moved = judged && runs[state.run].flow.length > 0;
  const asked = runs.some((run) => Object.keys(run.statuses).length);
  const cost = judged && costKinds()[0];
  at("overview").replaceChildren(
    section("systems", "Systems", systems(), judged && runs.length > 1 && figure("systems", "Means over all judged queries, with 95 % bootstrap intervals.", intervals)),
    ...(judged ? [section("gains", gainsTitle(), figure("gains", "One bar for each query, sorted. A click opens the query.", gains))] : []),
    h("div", { class: "pair" },
      moved && section("flow", `What moved: ${runs[state.run].name}`, figure("flow", "How many relevant documents went from which ranks to which; green is up, red is down; the last range has those, too, that were not found.", flow)),
      cost && section("cost", "Cost and quality", figure("cost", "Up and to the left is better.", (width) => costs(width, cost))),
      asked && section("calls", "Model calls", key(), figure("calls", "How well the models kept to the form that was asked for.", outcomes), failures())));
}

const section = (id, title, ...content) => h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), content);

function gainsTitle() {
  if (state.run === state.base) return `${state.measure} of each query: ${runs[state.run].name}`;
  const found = summary.queries.ids.map((_, place) => gain(place)).filter((one) => one != null);
  const better = found.filter((one) => one > 1e-9).length, worse = found.filter((one) => one < -1e-9).length;
  return `${runs[state.run].name} against ${runs[state.base].name}: ${better} better, ${found.length - better - worse} equal, ${worse} worse`;
}

function systems() {
  const asked = runs.some((run) => run.spent.calls), paid = runs.some((run) => run.spent.cost), timed = runs.some((run) => run.seconds != null);
  const head = ["Run", ...summary.measures, ...(judged && runs.length > 1 ? [`Δ ${state.measure}`] : []), ...(judged ? ["Judged@10"] : []),
    ...(asked ? ["Calls", "Tokens in", "out"] : []), ...(paid ? ["Cost"] : []), ...(timed ? ["Seconds"] : [])];
  const rows = runs.map((run, at) => h("tr", {},
    h("td", { class: "left" }, swatch(at), run.name, run.spec && run.spec !== run.name && h("details", {}, h("summary", { class: "dim", "aria-label": `How ${run.name} was made` }, "made by"), h("code", { class: "text" }, run.spec))),
    summary.measures.map((measure) => h("td", {}, score(run.means[measure]?.[0]), run.means[measure] && h("div", { class: "dim" }, `${score(run.means[measure][1])} – ${score(run.means[measure][2])}`))),
    judged && runs.length > 1 && difference(run),
    judged && h("td", {}, run.judged == null ? "–" : share(run.judged, 1), run.missing > 0 && h("div", { class: "worse" }, `${several(run.missing, "query").replace("querys", "queries")} missing`)),
    asked && ["calls", "input_tokens", "output_tokens"].map((name) => h("td", {}, run.spent.calls ? number(run.spent[name]) : "–")),
    paid && h("td", {}, run.spent.cost ? run.spent.cost.toFixed(4) : "–"),
    timed && h("td", {}, run.seconds == null ? "–" : number(Math.round(run.seconds * 10) / 10))));
  const remarks = runs.flatMap((run) => run.remarks.map((remark) => h("li", { class: "text" }, `${run.name}: ${remark}`)));
  return [h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of systems" },
    h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows))),
  remarks.length > 0 && h("ul", { class: "remarks" }, remarks)];
}

function difference(run) {
  const told = run.against[state.measure];
  if (!told) return h("td", { class: "dim" }, "the first");
  return h("td", {}, h("span", { class: tone(told.difference) }, signed(told.difference)), h("div", { class: "dim" }, `p ${told.p < 0.0001 ? "< .0001" : told.p.toFixed(4)}`));
}

/** What may stand on the axis of cost: the first that is known of some run. */
function costKinds() {
  const kinds = [
    { name: "cost", of: (run) => run.spent.cost ?? 0 },
    { name: "tokens", of: (run) => (run.spent.input_tokens ?? 0) + (run.spent.output_tokens ?? 0) },
    { name: "seconds", of: (run) => run.seconds },
  ];
  return kinds.filter((kind) => runs.length > 1 && runs.some((run) => kind.of(run) > 0));
}

const key = () => h("p", {}, Object.entries(OUTCOMES).filter(([status]) => runs.some((run) => run.statuses[status])).map(([status, fill]) =>
  h("span", { style: "margin-right:1em" }, h("span", { class: "swatch", style: `background:${fill}`, "aria-hidden": "true" }), status.replace("_", " "))));

function failures() {
  const found = runs.flatMap((run) => Object.entries(run.failures).map(([kind, count]) => h("li", {}, `${run.name}: ${several(count, "call")} failed, ${kind}`)));
  return found.length > 0 && h("ul", { class: "remarks" }, found);
}
