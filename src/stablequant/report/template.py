"""The templates that ship with the package."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(*, escape: bool = True) -> Environment:
    """Templates of the report room; ``escape`` turns on HTML autoescaping. A name that is not there is an error."""
    return Environment(
        loader=PackageLoader("stablequant", "report"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
