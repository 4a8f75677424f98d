"""The page of results: what it says, that it is whole by itself, and how a browser shows it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata

import pytest

from gnnip.errors import ConfigError, DataError
from gnnip.page import charts, write_page
from gnnip.page.sources import by_paper, recorded
from gnnip.verdicts.pages import TIERS
from gnnip.verdicts.published import Tolerance
from gnnip.verdicts.verdict import NOT_RUN

SHOWN = "kang2024"


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    """The page of one card, and its sources."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        sources = [s for s in recorded(root / "results/recorded") if s.name == SHOWN]
        write_page(sources, path)
    return path, sources


def test_every_number_and_claim_stands_in_it_with_its_verdict(made):
    path, sources = made
    (body,) = re.findall(r'<table class="verdicts">.*?</table>', path.read_text(), re.DOTALL)
    rows = re.findall(r"<tr>\s*<td>.*?</tr>", body, re.DOTALL)
    chosen = by_paper(sources)[0].verdicts()
    assert len(rows) == len(chosen) > 20
    for row, (_, verdict) in zip(rows, chosen, strict=True):
        text = html.unescape(row)
        assert f">{verdict.verdict}</span>" in text
        assert verdict.reason in text


def test_what_a_larger_tier_measured_comes_before_what_a_smaller_one_did(made):
    paper = by_paper(made[1])[0]
    by_tier = {s.tier: {(v.artefact, v.quantity): v for v in s.verdicts} for s in paper.sources}
    for source, verdict in paper.verdicts():
        key = (verdict.artefact, verdict.quantity)
        larger = [tier for tier in by_tier if TIERS.index(tier) < TIERS.index(source.tier)]
        assert all(by_tier[t].get(key, verdict).verdict == NOT_RUN for t in larger)
    assert len({source.tier for source, _ in paper.verdicts()}) > 1


def test_what_the_jobs_of_each_rule_took_stands_in_it(made):
    path, sources = made
    (table,) = re.findall(r'<table class="small costs">.*?</table>', path.read_text(), re.DOTALL)
    for source in sources:
        (run,) = source.folder.glob("*provenance.json")
        for rule, entry in json.loads(run.read_text())["rules"].items():
            row = f"<td>{source.tier}</td><td>{rule}</td><td>{entry['jobs']}</td>"
            assert f"{row}<td>{entry['wall_s'] / 3600:.3f}</td>" in table


def test_it_takes_nothing_from_elsewhere(made):
    text = made[0].read_text()
    assert "default-src 'none'" in text  # a browser refuses what it would load
    assert not re.search(r'<(?:script|img|link)[^>]+(?:src|href)="(?!data:)', text)


def test_structures_are_in_the_form_of_the_viewer(made):
    (text,) = re.findall(r'id="structures">(.*?)</script>', made[0].read_text())
    shown = json.loads(text)[SHOWN]
    for structure in shown["structures"]:
        assert structure["size"] == len(structure["names"]) == len(structure["x"])
    assert len(shown["properties"]["shows"]["values"]) == len(shown["structures"])


def test_ratios_lie_on_a_logarithmic_axis_that_ends():
    assert charts.position(1.0) == pytest.approx(50.0)
    assert charts.position(2.0) - 50.0 == pytest.approx(50.0 - charts.position(0.5))
    assert (charts.position(1e-9), charts.position(1e9)) == (0.0, 100.0)


@pytest.mark.parametrize(
    ("tolerance", "bounds"),
    [
        (Tolerance(factor=4.0), (5.0, 20.0)),
        (Tolerance(relative=0.4), (8.0, 12.0)),
        (Tolerance(absolute=6.0), (7.0, 13.0)),
    ],
)
def test_tolerances_are_halved_in_their_own_sense(tolerance, bounds):
    assert tolerance.times(0.5).bounds(10.0) == pytest.approx(bounds)


def test_without_results_or_packages_it_says_so(made, monkeypatch, tmp_path):
    with pytest.raises(DataError, match="There is no result to show"):
        write_page([], tmp_path / "index.html")

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    monkeypatch.setattr("gnnip.page.write.facts", lambda paper: {})
    monkeypatch.setattr("gnnip.page.write.viewer_data", lambda paper: None)
    with pytest.raises(ConfigError, match=r"needs the package itables; run 'make install'"):
        write_page(made[1], tmp_path / "index.html")


def test_it_is_made_without_torch(root):
    code = "import gnnip.page, gnnip.page.write, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# --- in a browser ---------------------------------------------------------------------------------

PROBE = """
<script type="module">
setTimeout(() => {
  const shown = (table) => [...table.querySelectorAll("tbody tr")].map((r) => r.innerText);
  const table = document.querySelector("#kang2024 table.verdicts");
  const section = table.closest("section");
  const found = { rows: shown(table).length, wide: document.documentElement.scrollWidth };
  found.window = window.innerWidth;
  const papers = [...document.querySelectorAll(".papers tbody tr")];
  found.papers = papers.length;
  found.bottom = Math.max(...papers.map((r) => r.getBoundingClientRect().bottom));
  const button = section.querySelector(".filters button");
  button.click();
  found.chosen = shown(table).length;
  found.told = Number(button.innerText.split(" ")[0]);
  button.click();
  const words = section.querySelector(".filters input");
  words.value = "fig1b";
  words.dispatchEvent(new Event("input"));
  found.words = shown(table);
  words.value = "";
  words.dispatchEvent(new Event("input"));
  table.querySelector("thead th").click();
  const turn = document.querySelector("details.structures");
  turn.open = true;
  setTimeout(() => {
    const links = table.querySelectorAll("tbody tr td:first-child a");
    found.sorted = [...links].map((a) => a.innerText);
    const drawn = (node) => !!node.querySelector("canvas")
      || [...node.querySelectorAll("*")].some((e) => e.shadowRoot && drawn(e.shadowRoot));
    found.canvas = drawn(turn);
    window.parent.postMessage(JSON.stringify(found), "*");
  }, 5000);
}, 1500);
</script>
"""


# a window is never as narrow as a telephone, a frame can be
FRAME = """<pre id="told"></pre>
<iframe src="PAGE" style="border: 0; width: WIDTHpx; height: HEIGHTpx"></iframe>
<script>
window.addEventListener("message", (message) => {
  document.getElementById("told").textContent = message.data;
});
</script>
"""


def in_a_browser(page, width, height):
    """Return what the probe found, and what the browser complained about."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs Debian's chromium")
    with_probe = page.with_name(f"probed-{width}.html")
    with_probe.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    frame = page.with_name(f"frame-{width}.html")
    shown = FRAME.replace("PAGE", with_probe.name).replace("WIDTH", str(width))
    frame.write_text(shown.replace("HEIGHT", str(height)))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"]
    options += ["--enable-logging=stderr", "--enable-unsafe-swiftshader"]
    options += [f"--window-size={width},{height}"]
    run = subprocess.run(
        [browser, *options, "--virtual-time-budget=20000", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    (told,) = re.findall(r'<pre id="told">(.*?)</pre>', run.stdout, re.DOTALL)
    # a machine without a GPU draws in software, of which the browser's driver complains
    console = [line for line in run.stderr.splitlines() if ":CONSOLE" in line]
    console = [line for line in console if "GL Driver Message" not in line]
    return json.loads(html.unescape(told)), console


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_a_browser_shows_sorts_and_filters_it(root, tmp_path, monkeypatch, width, height):
    monkeypatch.chdir(root)
    write_page(recorded(root / "results/recorded"), tmp_path / "index.html")
    found, console = in_a_browser(tmp_path / "index.html", width, height)
    assert console == []
    assert found["papers"] == 5
    assert found["wide"] <= found["window"] == width
    if width > 1000:
        assert found["bottom"] <= height
    assert found["chosen"] == found["told"] < found["rows"]
    assert all("fig1b" in row for row in found["words"])
    assert found["sorted"] == sorted(found["sorted"])
    assert found["canvas"]
