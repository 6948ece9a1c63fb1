// Elements, numbers, and the data of this page. Text goes into the page as text nodes only.

const summary = JSON.parse(document.getElementById("summary").textContent);
const runs = summary.runs;
const judged = summary.measures.length > 0;
const state = { measure: summary.measures[0], base: 0, run: Math.min(1, runs.length - 1) };

/** An element with attributes, listeners (on…) and children; strings become text. */
function h(name, given = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

const at = (id) => document.getElementById(id);
const number = (value) => (value == null ? "–" : Number(value).toLocaleString("en"));
const score = (value) => (value == null ? "–" : value.toFixed(4));
const signed = (value) => (value == null ? "–" : (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(4));
const tone = (value) => (value > 0 ? "better" : value < 0 ? "worse" : "");
const several = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;
const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");

const COLOURS = ["#4269d0", "#e07b00", "#c2410c", "#0f8f83", "#2f8f3a", "#d6457f", "#8a5fd1", "#4f9bd6", "#9c6b4e", "#7d8590"];
const colour = (run) => COLOURS[run % COLOURS.length];
const swatch = (run) => h("span", { class: "swatch", style: `background:${colour(run)}`, "aria-hidden": "true" });

/** A choice of options [value, label]. */
function select(label, options, chosen, change) {
  const list = h("select", { onchange: (event) => change(event.target.value) },
    options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text)));
  return h("label", {}, label, list);
}

const ready = new Promise((resolve) => {
  if (document.readyState !== "loading") resolve();
  else document.addEventListener("DOMContentLoaded", resolve);
});

/** What stands behind a query, unpacked when it is asked for. */
async function block(place) {
  if (!at(`b${place}`)) await ready;
  const bytes = Uint8Array.from(atob(at(`b${place}`).textContent), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

/** What a query gains over the first run, or its value where there is none to compare with; null where unknown. */
function gain(place, run = state.run, base = state.base) {
  const values = summary.queries.values[state.measure];
  const value = values?.[run][place] ?? null;
  if (value == null || run === base) return value;
  return values[base][place] == null ? null : value - values[base][place];
}

/** Offer a file to save. */
function offer(name, blob) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
