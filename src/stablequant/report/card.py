"""README.md: the model card, in the form that the Hugging Face hub reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from stablequant.jobs.evidence import Evidence
from stablequant.report import formats
from stablequant.report.template import environment
from stablequant.runtime.registry import file_names

#: How well-known licences begin, and what the hub calls them.
LICENCES = (("MIT License", "mit"), ("Apache License", "apache-2.0"), ("BSD 3-Clause License", "bsd-3-clause"))


def card(evidence: Evidence, summary: dict[str, Any]) -> str:
    """The card, from what a run found and its summary."""
    frontend = evidence.model.frontend
    # Markdown, so no HTML escaping; what comes from outside goes through ``code`` and ``text``.
    env = environment(escape=False)
    env.filters.update(code=code, text=text, fence=fence)
    return env.get_template("card.md").render(
        front_matter=front_matter(evidence, summary),
        s=summary,
        plan=evidence.plan,
        words=formats,
        title=formats.short_name(evidence.plan.model.name),
        verdict=formats.verdict(summary),
        methods=[
            (formats.method(n, r), r) for n, r in (*summary["methods"].items(), ("int8_file", summary["int8_file"]))
        ],
        bare=summary["data"]["references"] == "float32",
        nats=evidence.plan.settings.search.objective == "divergence",
        files=list(file_names(frontend.head.graphs).values()),
        graphs=frontend.head.graphs,
        sampling_rate=frontend.sampling_rate,
    )


def front_matter(evidence: Evidence, summary: dict[str, Any]) -> str:
    """The YAML that the hub indexes, without its ``---`` lines. What is not known is left out."""
    import yaml

    name = evidence.plan.model.name
    local = Path(name).exists()
    data: dict[str, Any] = {
        "license": licence(evidence.model.path),
        # A folder's path can look like a hub id, and would then name somebody else's model.
        "base_model": None if local else name,
        "base_model_relation": None if local else "quantized",
        "pipeline_tag": "automatic-speech-recognition",
        "library_name": "onnx",
        "tags": ["stablequant", "onnx", "int8", summary["widths"], evidence.model.family],
    }
    if summary["data"]["references"] == "text":
        results = [_result(evidence, summary)]
        data["metrics"] = ["wer", "cer"]
        data["model-index"] = [{"name": f"{formats.short_name(name)} int8", "results": results}]
    kept = {key: value for key, value in data.items() if value is not None}
    dumped: str = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100)
    return dumped


def _result(evidence: Evidence, summary: dict[str, Any]) -> dict[str, Any]:
    sources = evidence.plan.data["test"].sources
    dataset = next((source.split(":")[1] for source in sources if source.startswith("hf:")), "local")
    file = summary["int8_file"]
    return {
        "task": {"type": "automatic-speech-recognition", "name": "Automatic Speech Recognition"},
        "dataset": {"type": dataset, "name": ", ".join(sources), "split": "test"},
        "metrics": [
            {"type": "wer", "name": "WER %, int8", "value": file["wer"]},
            {"type": "cer", "name": "CER %, int8", "value": file["cer"]},
        ],
    }


def licence(folder: Path) -> str | None:
    """The checkpoint's licence as the hub calls it: from its README's front matter, else from its LICENSE file."""
    import yaml

    readme = folder / "README.md"
    if readme.is_file():
        found = re.match(
            r"---\s*\n(.*?)\n---\s*(\n|$)", readme.read_text(encoding="utf-8", errors="replace"), re.DOTALL
        )
        try:
            fields = yaml.safe_load(found.group(1)) if found else None
        except yaml.YAMLError:
            fields = None
        if isinstance(fields, dict) and isinstance(fields.get("license"), str):
            return str(fields["license"])
    file = folder / "LICENSE"
    if file.is_file():
        beginning = file.read_text(encoding="utf-8", errors="replace")[:400]
        return next((name for start, name in LICENCES if start in beginning), None)
    return None


def code(value: object) -> str:
    """``value`` as a span of code, whatever backticks it holds."""
    line = " ".join(str(value).split())
    ticks = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    # A bar would end the cell of a table even within code.
    return f"{ticks}{pad}{line}{pad}{ticks}".replace("|", "\\|")


def text(value: object) -> str:
    """``value`` as plain words: what Markdown or HTML would read as markup is escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(str(value).split()))


def fence(value: object, language: str = "") -> str:
    """``value`` as a block of code, whatever backticks it holds."""
    ticks = "`" * max(3, max((len(run) for run in re.findall("`+", str(value))), default=0) + 1)
    return f"{ticks}{language}\n{value}\n{ticks}"
