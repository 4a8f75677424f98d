"""The page put together: self-contained, so that it opens from the disk, anywhere and in years."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from gnnip.errors import ConfigError, DataError
from gnnip.files import write_text
from gnnip.page import charts
from gnnip.page.facts import BASELINE, FINDINGS, facts
from gnnip.page.sources import Source, by_paper
from gnnip.page.structures import viewer_data
from gnnip.verdicts.verdict import VERDICTS

TITLE = "Papers on graph neural network potentials, reproduced and judged"
#: of a page of all results, and of that of one run of a user's own
RESULTS_PAGE, RUN_PAGE = "page.html.j2", "run.html.j2"
#: bytes
_LARGEST = 15_000_000
#: what the page takes from installed packages, none of which is imported
_TABLE, _TABLE_STYLE = ("itables", "dt_bundle.js"), ("itables", "dt_bundle.css")
_VIEWER = ("chemiscope", "chemiscope.min.js")


def write_page(sources: Sequence[Source], path: str | Path) -> None:
    """Write one page on the cards behind `sources`.

    Raises DataError where there is no card, and for a page of more than 15 MB; ConfigError where a
    package that it is built of is missing.
    """
    papers = by_paper(list(sources))
    if not papers:
        raise DataError("There is no result to show; run the workflow, or record a run.")
    page = template(RESULTS_PAGE).render(
        title=TITLE,
        papers=[facts(paper) for paper in papers],
        structures={paper.best.card.id: _embedded(viewer_data(paper)) for paper in papers},
        findings=[*FINDINGS, BASELINE],
        verdicts=VERDICTS,
        position=charts.position,
        style=page_style(),
        script=Markup(_own("page.js")),
        table_style=Markup(_packaged(*_TABLE_STYLE)),
        table=_address(_packaged(*_TABLE)),
        viewer=Markup(_packaged(*_VIEWER).replace("</script", "<\\/script")),
    )
    size = len(page.encode())
    if size > _LARGEST:
        raise DataError(f"{path} would take {size / 1e6:.0f} MB, more than {_LARGEST / 1e6:.0f}.")
    write_text(path, page)


def template(name: str) -> jinja2.Template:
    """Return a template of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["slug"] = lambda text: text.replace(" ", "-")
    return environment.get_template(name)


def page_style() -> Markup:
    """Return the style sheet of all pages."""
    return Markup(_own("page.css"))


def _own(name: str) -> str:
    return resources.files("gnnip.page").joinpath(name).read_text(encoding="utf-8")


def _packaged(package: str, name: str) -> str:
    """Return a file of an installed package, which is not imported."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise ConfigError(
            f"The page of results needs the package {package}; run 'make install'."
        ) from None
    found = next((file for file in files if file.name == name), None)
    if found is None:
        raise ConfigError(f"The package {package} has no {name}; run 'make install'.")
    return found.read_text(encoding="utf-8")


def _address(script: str) -> str:
    return "data:text/javascript;base64," + base64.b64encode(script.encode()).decode()


def _embedded(value: Any) -> Markup:
    """Return JSON that may stand between script tags."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))
