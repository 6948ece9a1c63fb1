"""The report, to look at: `write_report` makes one HTML file of finished runs, which needs no network.

`systems` opens the runs, `summary` says what a reader sees first, `blocks` what stands behind each query, and `page`
puts both into a page, as data. Scripts, style and the charting library are in `assets`.
"""

from whyrank.view.report import write_report

__all__ = ["write_report"]
