"""The page in a real browser: nothing complains, every plot is drawn, recordings are heard, keys work, and nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import CHROMIUM, Browser, browser

from stablequant.jobs.evidence import Evidence
from stablequant.report.material import Material
from stablequant.report.page import page

EVIL = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">' onload='alert(1)"

#: Seconds of a player that was asked to play, and how far it came.
HEARD = """new Promise((done, failed) => {
  const player = document.querySelector('audio');
  player.onerror = () => failed(player.error.message);
  player.ontimeupdate = () => player.currentTime > 0.2 && done([player.duration, player.readyState]);
  player.muted = true;
  player.play();
})"""


@pytest.fixture(scope="module")
def tab(evidence: Evidence, summary: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The page of a run with a recording that int8 made worse, whose id and texts are hostile."""
    if not CHROMIUM:
        pytest.skip("no Chromium here")
    heard = evidence.test["float"].examples[0]
    row = {"id": heard.id, "audio": None, "text": EVIL, "float": EVIL, "int8": f"{EVIL} twice", "float_errors": 0.0}
    worse = [row | {"int8_errors": 1.0}, row | {"id": EVIL, "int8_errors": 1.0}]
    changed = summary | {"regressions": worse, "warnings": [EVIL]}
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(Material.of(evidence, changed)), encoding="utf-8")
    with browser() as found:
        found.open(path)
        yield found


def test_nothing_complains_and_nothing_hostile_runs(tab: Browser, evidence: Evidence) -> None:
    assert tab.run("document.title").startswith(evidence.model.path.name)
    assert tab.run("document.scripts.length + document.images.length") == 0
    assert tab.run("document.querySelectorAll('.regressions ins').length") >= 2
    assert tab.complaints == []


def test_a_script_that_got_in_would_not_run(tab: Browser) -> None:
    tab.run("document.body.append(Object.assign(document.createElement('script'), {text: \"document.title = 'run'\"}))")
    assert tab.run("document.title") != "run"
    assert "Content Security Policy" in tab.complaints.pop()


def test_every_plot_is_drawn(tab: Browser) -> None:
    sizes = tab.run(
        "[...document.querySelectorAll('svg[role=img]')].filter(s => s.checkVisibility())"
        ".map(s => [s.getBoundingClientRect().width, s.querySelectorAll('circle,rect,path,line').length])"
    )
    assert len(sizes) > 40
    assert all(width > 20 and marks > 0 for width, marks in sizes)


def test_a_recording_plays_whole(tab: Browser, evidence: Evidence) -> None:
    seconds = len(evidence.job.speech["test"].waveforms[0]) / 16000
    duration, ready = tab.run(HEARD)
    assert duration == pytest.approx(seconds, abs=0.15)
    assert ready >= 2


def test_keys_reach_the_filter_which_works_without_script(tab: Browser) -> None:
    tab.run("document.querySelector('summary').focus()")
    tab.press("Enter", 13, "\r")
    rows = "[...document.querySelectorAll('#layers tbody tr')].filter(r => r.checkVisibility()).length"
    every = tab.run(rows)
    kinds = tab.run("[...document.querySelectorAll('.filter input')].map(i => i.id)")
    assert kinds[0] == "kind-all"
    tab.run("document.getElementById('kind-all').focus()")
    shown = []
    for _ in kinds[1:]:
        tab.press("ArrowDown", 40)
        shown.append(tab.run(rows))
    assert every > 0
    assert sum(shown) == every


@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_runs_over_the_edge(tab: Browser, width: int) -> None:
    tab.size(width, 800, phone=width < 500)
    assert tab.run("document.documentElement.scrollWidth") <= width
