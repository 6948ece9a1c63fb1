// One query: where its documents stand in each run, why, and the model calls behind that.

const SHOWN = 20;
let opened = null;

async function openQuery(place) {
  const dialog = at("query");
  opened = place;
  if (!dialog.open) dialog.showModal();
  const id = summary.queries.ids[place];
  if (history.state !== id) history.replaceState(id, "", `#q=${encodeURIComponent(id)}`);
  dialog.replaceChildren(bar(place), h("p", { class: "inside dim" }, "Opening …"));
  const told = await block(place);
  if (opened === place) showQuery(place, told);
}

function closeQuery() {
  if (opened != null && at(`row${opened}`)) at(`row${opened}`).focus();
  opened = null;
  history.replaceState(null, "", "#");
}

function bar(place) {
  const step = (by, text, name) => h("button", { type: "button", "aria-label": name, onclick: () => stepQuery(by) }, text);
  return h("div", { class: "top" },
    h("h2", { id: "query-title" }, `Query ${summary.queries.ids[place]}`),
    h("div", { class: "bar" }, step(-1, "← Previous", "Previous query"), step(1, "Next →", "Next query"),
      h("button", { type: "button", onclick: () => at("query").close() }, "Close")));
}

/** Go to the next query of the table, or the one before. */
function stepQuery(by) {
  const order = listed();
  const next = order[order.indexOf(opened) + by];
  if (next != null) openQuery(next);
}

function showQuery(place, told) {
  const present = told.runs.map((run, at) => at).filter((at) => told.runs[at]);
  const shown = told.runs[state.run] ? state.run : present[0];
  const good = present.some((at) => told.runs[at].ids.some((id) => told.grades[id] > 0));
  at("query").replaceChildren(bar(place), h("div", { class: "inside" },
    h("section", { "aria-label": "The query" }, h("div", { class: "text", dir: "auto" }, told.text || "Its text is not at hand."), values(place)),
    good && present.length > 0 && h("section", { "aria-label": "Where its relevant documents stand" },
      figure(`query ${summary.queries.ids[place]}`, "Each line is a relevant document that some run ranks, the stronger the higher its grade; red dots at the foot: not ranked.", (width) => slopes(width, told))),
    h("div", { class: "tabs", role: "group", "aria-label": "Run" }, present.map((run) =>
      h("button", { type: "button", "aria-pressed": String(run === shown), onclick: () => { state.run = run; showQuery(place, told); refresh(); } }, runs[run].name))),
    shown == null ? h("p", {}, "No run ranks this query.") : ranking(told, shown)));
}

function values(place) {
  if (!judged) return null;
  return h("p", { class: "dim" }, runs.map((run, at) => h("span", { style: "margin-right:1.2em" }, swatch(at), `${run.name} ${score(summary.queries.values[state.measure][at][place])}`)));
}

function ranking(told, shown) {
  const run = told.runs[shown];
  const found = new Set(run.ids);
  const list = h("ol", { class: "ranking" });
  const add = (end) => list.append(...run.ids.slice(list.children.length, end).map((id, index) => entry(told, run, id, index + list.children.length)));
  add(SHOWN);
  const more = run.ids.length > SHOWN && h("button", { type: "button", class: "more", onclick: (event) => { add(run.ids.length); event.target.remove(); } }, `Show all ${number(run.ids.length)}`);
  const lost = Object.entries(told.grades).filter(([id, grade]) => grade > 0 && !found.has(id));
  return [
    h("section", { "aria-label": `Ranking of ${runs[shown].name}` },
      run.rewritten && h("details", {}, h("summary", {}, "Searched for, as rewritten"), run.rewritten.map((text) => h("pre", { class: "text" }, text))),
      run.ids.length ? list : h("p", {}, "Nothing was found."), more,
      run.of > run.ids.length && h("p", { class: "dim" }, `The run goes on to rank ${number(run.of)}.`)),
    lost.length > 0 && h("section", {}, h("h3", {}, `${several(lost.length, "relevant document")} not among these`),
      h("ol", { class: "ranking" }, lost.slice(0, 50).map(([id]) => entry(told, { ids: [], before: [] }, id, null)))),
    run.calls?.length > 0 && calls(run),
  ];
}

function entry(told, run, id, index) {
  const grade = told.grades[id], [title, text] = told.docs[id] ?? ["", null], before = run.before[index];
  const own = run.scores?.[index];
  return h("li", {},
    h("div", { class: "rank" }, index == null ? "–" : index + 1, index != null && move(before, index + 1)),
    h("div", {},
      h("div", { class: "head" }, h("span", { class: "id text" }, id),
        grade != null && h("span", { class: grade > 0 ? "grade relevant" : "grade" }, `grade ${grade}`),
        own != null && h("span", { class: "dim" }, `score ${Number(own.toPrecision(4))}`),
        run.in?.[index]?.length > 0 && h("span", { class: "dim" }, `call ${run.in[index].map((call) => call + 1).slice(0, 8).join(", ")}`)),
      title && h("div", { class: "text", dir: "auto" }, h("b", {}, title)),
      text == null ? h("div", { class: "dim" }, "Its text is not at hand.") : passage(text),
      run.reasons?.[index] && h("div", { class: "why text", dir: "auto" }, h("b", {}, "why"), run.reasons[index])));
}

function passage(text) {
  const shown = h("div", { class: "passage short text", dir: "auto" }, text);
  if (text.length < 220) return shown;
  const more = h("button", { type: "button", class: "plain", "aria-expanded": "false", onclick: () => {
    const short = shown.classList.toggle("short");
    more.textContent = short ? "more" : "less";
    more.setAttribute("aria-expanded", String(!short));
  } }, "more");
  return [shown, more];
}

function move(before, rank) {
  if (!before) return h("small", { class: "dim" }, "new");
  if (before === rank) return h("small", { class: "dim" }, "=");
  return h("small", { class: tone(before - rank) }, `${before > rank ? "↑" : "↓"}${Math.abs(before - rank)} from ${before}`);
}

function calls(run) {
  return h("section", { "aria-label": "Model calls" }, h("h3", {}, several(run.calls.length, "model call")),
    run.calls.map((call, index) => {
      const usage = call.usage ?? {};
      const told = [`call ${index + 1}`, call.status.replace("_", " "), call.shown && `showed ${call.shown.length}`,
        usage.input && `${number(usage.input)} tokens in, ${number(usage.output ?? 0)} out`, call.seconds && `${call.seconds.toFixed(1)} s`, call.failure && `failed: ${call.failure}`];
      const body = h("div", {});
      return h("details", { ontoggle: () => { if (!body.childElementCount) body.append(...exchange(call)); } },
        h("summary", { class: call.status === "exact" ? "" : "worse" }, told.filter(Boolean).join(" · ")), body);
    }));
}

/** What was asked and what came back, as it was. */
function exchange(call) {
  const parts = call.messages.map((message) => [message.role, typeof message.content === "string" ? message.content : JSON.stringify(message.content)]);
  if (call.reason) parts.push(["thought", call.reason]);
  if (call.answer) parts.push(["answer", call.answer]);
  if (call.detail) parts.push(["what the engine said", call.detail]);
  if (!parts.length) parts.push(["", "The trace of this call is not at hand."]);
  return parts.flatMap(([name, text]) => [name && h("b", { class: "dim" }, name), h("pre", { class: "text", dir: "auto", tabindex: "0" }, text)]).filter(Boolean);
}
