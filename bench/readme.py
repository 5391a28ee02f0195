"""Put the measured tables into README.md and docs/, between markers; with --check, fail if they are out of date.

    python bench/readme.py [--check]

A table lives between `<!-- table KIND NAME -->` and `<!-- end -->`; KIND is a module of bench/tables, NAME a file of
bench/results, or several or a part of one, as that module has it.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module

from result_path import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


def filled(text: str) -> str:
    """``text`` with every table made anew."""

    def table(match: re.Match[str]) -> str:
        kind, name = match[1].split()
        made = import_module(f"tables.{kind}").table(name)
        return f"<!-- table {kind} {name} -->\n{made}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+ [\w.+/,-]+) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


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
