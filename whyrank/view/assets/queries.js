// The table of queries: search, filter, sort.

const PAGE = 200;
const view = { search: "", filter: "all", sort: "order", down: true, shown: PAGE };

const FILTERS = {
  all: ["all", () => true],
  better: ["better", (place) => gain(place) > 1e-9],
  worse: ["worse", (place) => gain(place) < -1e-9],
  none: ["nothing relevant was judged", (place) => summary.queries.relevant[place] === 0],
  odd: ["calls failed or were mended", (place) => summary.queries.odd.some((run) => run[place] > 0)],
};

const SORTS = {
  order: ["as in the data", (place) => -place],
  id: ["id", null],
  gain: ["gain", (place) => gain(place) ?? -Infinity],
  relevant: ["relevant documents", (place) => summary.queries.relevant[place]],
  odd: ["odd calls", (place) => Math.max(...summary.queries.odd.map((run) => run[place]))],
};

/** The queries that are shown, in order, by their places in the data. */
function listed() {
  const words = view.search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = summary.queries.ids.map((_, place) => place).filter((place) => {
    const text = `${summary.queries.ids[place]} ${summary.queries.texts[place]}`.toLowerCase();
    return words.every((word) => text.includes(word)) && FILTERS[view.filter][1](place);
  });
  const by = view.sort.startsWith("run") ? (place) => summary.queries.values[state.measure][Number(view.sort.slice(3))][place] ?? -1 : SORTS[view.sort][1];
  const collator = new Intl.Collator("en", { numeric: true });
  found.sort(by ? (one, two) => by(two) - by(one) : (one, two) => -collator.compare(summary.queries.ids[one], summary.queries.ids[two]));
  return view.down ? found : found.reverse();
}

function filters() {
  const offered = Object.entries(FILTERS).filter(([name]) => judged || name === "all" || name === "odd")
    .filter(([name]) => (name !== "better" && name !== "worse") || runs.length > 1)
    .filter(([name]) => name !== "odd" || summary.queries.odd.flat().some((count) => count > 0));
  at("filters").replaceChildren(
    h("label", {}, "Search", h("input", { type: "search", id: "search", value: view.search, oninput: (event) => { view.search = event.target.value; view.shown = PAGE; table(); } })),
    offered.length > 1 ? select("Show", offered.map(([name, [text]]) => [name, text]), view.filter, (value) => { view.filter = value; view.shown = PAGE; table(); }) : "",
    h("span", { id: "count", class: "dim", role: "status" }));
}

function sortable(key, text) {
  const active = view.sort === key;
  const press = () => {
    view.down = active ? !view.down : key !== "id";
    view.sort = key;
    table();
    at("table").querySelector(`[data-key="${key}"]`).focus();
  };
  return h("th", { scope: "col", class: key === "text" ? "left" : "", "aria-sort": active ? (view.down ? "descending" : "ascending") : "none" },
    h("button", { type: "button", "data-key": key, onclick: press }, text, active ? (view.down ? " ↓" : " ↑") : ""));
}

function table() {
  const order = listed();
  const compared = judged && state.run !== state.base;
  const odd = summary.queries.odd.flat().some((count) => count > 0);
  const head = h("tr", {}, sortable("id", "Id"), h("th", { scope: "col", class: "left" }, "Query"),
    judged && sortable("relevant", "Relevant"), judged && runs.map((run, at) => sortable(`run${at}`, shortened(run.name, 18))),
    compared && sortable("gain", "Gain"), odd && sortable("odd", "Odd calls"));
  const rows = order.slice(0, view.shown).map((place) => h("tr", {},
    h("td", {}, h("button", { type: "button", id: `row${place}`, onclick: () => openQuery(place) }, summary.queries.ids[place])),
    h("td", { class: "wide" }, h("span", { class: "text", dir: "auto" }, summary.queries.texts[place])),
    judged && h("td", {}, summary.queries.relevant[place]),
    judged && runs.map((_, at) => h("td", {}, score(summary.queries.values[state.measure][at][place]))),
    compared && h("td", { class: tone(gain(place)) }, signed(gain(place))),
    odd && h("td", {}, Math.max(...summary.queries.odd.map((run) => run[place])) || "")));
  const more = order.length > view.shown && h("button", { type: "button", class: "more", onclick: () => { view.shown += 5 * PAGE; table(); } }, `Show more of ${number(order.length)}`);
  at("table").replaceChildren(...[
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of queries" }, h("table", {}, h("thead", {}, head), h("tbody", {}, rows))), more].filter(Boolean));
  at("count").textContent = `${number(order.length)} of ${number(summary.queries.ids.length)} queries`;
}
