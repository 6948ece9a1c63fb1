"""Makes docs/explain.svg: what the shipped small model says of one question of the generated world.

$ python docs/pictures.py
"""

import io
from pathlib import Path

from rich.console import Console

from whyrank import BM25, Listwise, Sampling, Transformers, load
from whyrank.rerank.answer.explain import explanation
from whyrank.retrieval.rewrite import HyDE, Rewritten

HERE = Path(__file__).parent
FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {terminal_width} {height}" role="img">
<title>whyrank explain</title>
<style>
text {{ font: {char_height}px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; }}
{styles}
</style>
<defs>{lines}</defs>
<rect width="100%" height="100%" rx="8" fill="#292929"/>
<g transform="translate(9, 12)">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def main() -> None:
    """Search, rerank, draw."""
    data, llm = load("world/composed").head(1), Transformers("tiny", device="cpu")
    found = Rewritten(BM25(), HyDE(llm, Sampling(max_tokens=400))).index(data.corpus).search(data.queries, k=20)
    (query,) = data.queries
    ranked = Listwise(llm).rank(query, [data.corpus[id] for id in found[query.id].ids])
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print(explanation(ranked, top=5))
    lines = console.export_text(clear=False).count("\n")
    svg = console.export_svg(code_format=FRAME.replace("{height}", str(30 + 25 * lines)), unique_id="w")
    (HERE / "explain.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
