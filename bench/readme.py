"""Put the measured tables into README.md and docs/, between markers; with --check, fail if they are out of date.

    python bench/readme.py [--check]

A table lives between `<!-- table KIND NAME -->` and `<!-- end -->`; KIND is a function named below, NAME a file of bench/results.
"""

from __future__ import annotations

import argparse
import re
import sys

import tables_speed
import tables_words
from tables import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TABLES = {
    "methods": tables_words.methods,
    "ablation": tables_words.ablation,
    "perturbation": tables_words.perturbation,
    "search_cost": tables_words.search_cost,
    "search_ablation": tables_words.search_ablation,
    "search_model": tables_words.search_model,
    "riding": tables_words.riding,
    "large": tables_speed.large,
    "sizes": tables_speed.sizes,
    "size_speeds": tables_speed.size_speeds,
    "size_cases": tables_speed.size_cases,
    "overhead": tables_speed.overhead,
    "benchmark": tables_speed.benchmark,
    "forms": tables_speed.forms,
    "roofline": tables_speed.roofline,
    "peers": tables_speed.peers,
}


def filled(text: str) -> str:
    """``text`` with every table made anew."""

    def table(match: re.Match[str]) -> str:
        kind, name = match[1].split()
        return f"<!-- table {kind} {name} -->\n{TABLES[kind](name)}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+ [\w.+-]+) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


def main() -> None:
    """Fill, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for page in PAGES:
        old = page.read_text()
        if (new := filled(old)) != old:
            stale.append(page.name)
            if not check:
                page.write_text(new)
    if check and stale:
        sys.exit(f"out of date: {', '.join(stale)}; run python bench/readme.py")


if __name__ == "__main__":
    main()
