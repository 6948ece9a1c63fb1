// Put the page together, and listen.

function refresh() {
  controls();
  overview();
  table();
}

function change(chosen) {
  Object.assign(state, chosen);
  refresh();
}

function follow() {
  const id = decodeURIComponent(/^#q=(.*)$/.exec(location.hash)?.[1] ?? "");
  const place = summary.queries.ids.indexOf(id);
  if (place >= 0) openQuery(place);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key === "/" && opened == null) { at("search").focus(); event.preventDefault(); }
  if (event.key === "j" && opened != null) stepQuery(1);
  if (event.key === "k" && opened != null) stepQuery(-1);
});
at("query").addEventListener("close", closeQuery);

const { data } = summary;
const names = runs.map((run) => run.name);
at("title").textContent = names.length > 3 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more` : names.join(", ");
document.title = `${at("title").textContent} on ${data.name}`;
at("about").textContent = [`on ${data.name}`, several(data.queries, "query").replace("querys", "queries"), data.documents && several(data.documents, "document"), data.protocol].filter(Boolean).join(" · ");
filters();
refresh();
follow();
