"""A release: every file with a checksum and a licence, and an RO-Crate that a validator takes."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tomllib
import zipfile
from datetime import UTC, datetime
from importlib.resources import files as packaged
from pathlib import Path
from urllib.parse import quote

import jsonschema
import pytest

import gnnip
from gnnip import release
from gnnip.config import papers
from gnnip.datasets.registry import load_registry
from gnnip.errors import ConfigError
from gnnip.files import read_yaml
from gnnip.release import LICENCES, METADATA, SUMS, Shipped, licence_of, licences
from gnnip.verdicts.recorded import MANIFEST

MADE = datetime(2026, 1, 1, tzinfo=UTC)
CONTEXT = "https://w3id.org/ro/crate/1.3/context"


@pytest.fixture(scope="module")
def tracked(root) -> dict[str, Shipped]:
    """The files that the next commit would ship, as they lie here."""
    if not (root / ".git").exists():
        pytest.skip("this is no clone of the repository")
    names = release._git(root, "ls-files", "-z").decode().split("\0")[:-1]
    return {n: Shipped((root / n).read_bytes()) for n in names if (root / n).exists()}


@pytest.fixture(scope="module")
def crate(tracked) -> dict:
    return release.metadata(tracked, MADE)


def entities(crate) -> dict:
    return {entity["@id"]: entity for entity in crate["@graph"]}


# --- licences -------------------------------------------------------------------------------------


def test_every_shipped_file_falls_under_a_licence_whose_text_is_there(root, tracked):
    stated = licences((root / LICENCES).read_text(encoding="utf-8"))
    used = {licence_of(path, stated) for path in tracked}
    texts = {path.stem for path in (root / "LICENSES").glob("*.txt")} | {"MIT"}
    assert used == texts
    assert (root / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    unused = [pattern.pattern for pattern, _ in stated if not any(map(pattern.fullmatch, tracked))]
    assert unused == []


def test_data_sets_have_the_licence_that_the_registry_states(root):
    stated = licences((root / LICENCES).read_text(encoding="utf-8"))
    for name, entry in load_registry(root / "data/registry.yaml").items():
        assert licence_of(f"data/{entry['file']}", stated) == entry["licence"], name


@pytest.mark.parametrize(
    ("path", "licence"),
    [
        ("src/a/b.py", "MIT"),
        ("src.py", None),
        ("data/a.h5", "CC0-1.0"),
        ("data/deep/a.h5", "MIT"),
        ("notes.txt", "MIT"),
        ("else/notes.txt", None),
    ],
)
def test_the_last_path_that_names_a_file_counts(path, licence):
    stated = licences(
        """
        version = 1
        [[annotations]]
        path = ["src/**", "data/**", "*.txt"]
        SPDX-License-Identifier = "MIT"
        [[annotations]]
        path = "data/*.h5"
        SPDX-License-Identifier = "CC0-1.0"
        """
    )
    if licence is None:
        with pytest.raises(ConfigError, match=f"states no licence of {path}; add it"):
            licence_of(path, stated)
    else:
        assert licence_of(path, stated) == licence


# --- RO-Crate -------------------------------------------------------------------------------------


def test_the_crate_has_every_file_with_its_checksum_and_licence(crate, tracked):
    found, stated = entities(crate), licences(tracked[LICENCES].content.decode())
    root = found["./"]
    for path, file in tracked.items():
        entity = found[quote(path)]
        assert entity["sha256"] == hashlib.sha256(file.content).hexdigest()
        assert int(entity["contentSize"]) == len(file.content)
        # parts without one have that of the whole
        licence = entity.get("license", root["license"])["@id"]
        assert found[licence]["name"] == licence_of(path, stated)
    assert {part["@id"] for part in root["hasPart"]} == set(map(quote, tracked))
    assert root["version"] == gnnip.__version__
    assert root["mainEntity"] == {"@id": "workflow/Snakefile"}
    assert found["data/sic.h5"]["description"].startswith("data set sic: ")
    figure = found["results/recorded/quick/kang2024/fig1b.png"]["description"]
    assert figure.startswith("Figure 1b: ")
    assert "(figure, card kang2024, tier quick)" in figure


def test_a_validator_takes_the_crate(tracked, tmp_path):
    """Offline: the context that the validator asks for ships with the package rocrate."""
    from rocrate_validator import models, services

    # one file of each kind, for the validator takes minutes for all
    kinds = {Path(path).suffix: path for path in sorted(tracked)}
    needed = ["workflow/Snakefile", "data/registry.yaml", "CITATION.cff", "requirements.txt"]
    needed += [LICENCES, *kinds.values()]
    few = {path: tracked[path] for path in needed}
    place = tmp_path / "crate"
    for path, file in few.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(file.content)
    crate = release.metadata(few, MADE)
    assert crate["@context"] == CONTEXT
    (place / METADATA).write_text(json.dumps(crate), encoding="utf-8")
    _keep_context(tmp_path / "cache")

    settings = services.ValidationSettings(
        rocrate_uri=str(place),
        profile_identifier="ro-crate-1.3",
        requirement_severity=models.Severity.REQUIRED,
        offline=True,
        cache_path=str(tmp_path / "cache"),
    )
    found = services.validate(settings).get_issues()
    assert [f"{issue.check.identifier}: {issue.message}" for issue in found] == []


def _keep_context(cache: Path) -> None:
    """Put the context of RO-Crate where the validator would keep it."""
    import urllib3
    from requests.adapters import BaseAdapter, HTTPAdapter
    from requests_cache import CachedSession

    class Installed(BaseAdapter):
        def send(self, request, **_):
            body = (packaged("rocrate") / "data/ro-crate.jsonld").read_bytes()
            raw = urllib3.HTTPResponse(
                io.BytesIO(body),
                {"Content-Type": "application/ld+json"},
                200,
                preload_content=False,
                request_url=request.url,
            )
            return HTTPAdapter().build_response(request, raw)

        def close(self):
            pass

    session = CachedSession(str(cache), backend="sqlite", expire_after=-1)
    session.mount("https://", Installed())
    assert json.loads(session.get(CONTEXT).text)["@id"] == CONTEXT
    session.close()


# --- the archive ----------------------------------------------------------------------------------


@pytest.fixture
def repository(root, tmp_path, tracked):
    """A repository with a few files of this one."""
    place = tmp_path / "repository"
    chosen = [n for n in tracked if n.startswith("papers/kang2024") or "/" not in n]
    chosen += ["workflow/Snakefile", "data/registry.yaml", "data/sic_md.h5", ".ci/run"]
    for name in chosen:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(tracked[name].content)
    (place / ".ci/run").chmod(0o755)
    git(place, "init", "-q")
    git(place, "add", "-A")
    git(place, "-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "all")
    return place


def git(place, *arguments):
    subprocess.run(["git", "-C", str(place), *arguments], check=True, capture_output=True)


def test_the_archive_can_be_checked_and_made_again(repository, tmp_path):
    archive = tmp_path / "a.zip"
    count = release.write_release(repository, archive)
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        opened.extractall(tmp_path / "unpacked")
        assert opened.getinfo(".ci/run").external_attr >> 16 & 0o777 == 0o755
    assert len(names) == count
    assert "data/sic_md.h5" in names
    check = ["sha256sum", "--check", "--strict", "--quiet", SUMS]
    subprocess.run(check, cwd=tmp_path / "unpacked", check=True)
    summed = (tmp_path / "unpacked" / SUMS).read_text(encoding="utf-8").splitlines()
    assert {line.split("  ")[1] for line in summed} == set(names) - {SUMS}
    again = tmp_path / "b.zip"
    release.write_release(repository, again)
    assert again.read_bytes() == archive.read_bytes()
    from rocrate.rocrate import ROCrate

    assert ROCrate(archive).mainEntity.id == "workflow/Snakefile"


def test_what_is_not_committed_is_not_released(repository, tmp_path):
    (repository / "README.md").write_text("else", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"README\.md and 0 other files have changes"):
        release.write_release(repository, tmp_path / "a.zip")
    with pytest.raises(ConfigError, match="in a clone of the repository"):
        release.write_release(tmp_path, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


# --- the files that catalogues read ---------------------------------------------------------------


def test_codecheck_lists_the_recorded_outputs_as_they_are(root):
    text = (root / "codecheck.yml").read_text(encoding="utf-8")
    assert text == release.codecheck(root)
    listed = [entry["file"] for entry in read_yaml(root / "codecheck.yml")["manifest"]]
    assert len(set(listed)) == len(listed)
    assert all((root / name).is_file() for name in listed)
    figures = {p.relative_to(root).as_posix() for p in root.glob("results/recorded/*/*/*.png")}
    assert figures <= set(listed)
    assert not [name for name in listed if name.endswith(MANIFEST)]


def test_the_catalogue_of_workflows_can_read_its_file(root):
    usage = read_yaml(root / ".snakemake-workflow-catalog.yml")["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    deployment = usage["software-stack-deployment"]
    assert set(deployment) == {"conda", "singularity", "singularity+conda"}
    rules = [p.read_text(encoding="utf-8") for p in (root / "workflow").rglob("*.smk")]
    assert deployment["conda"] == any("conda:" in text for text in rules)
    assert usage["report"] is any("report(" in text for text in rules)


PERSON = {
    "type": "object",
    "required": ["family-names", "given-names"],
    "additionalProperties": False,
    "properties": {key: {"type": "string"} for key in ("family-names", "given-names")},
}
ENTITY = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": {"type": "string"}},
}
AUTHORS = {"type": "array", "minItems": 1, "items": {"anyOf": [PERSON, ENTITY]}}
#: of the Citation File Format 1.2.0, what this file uses
CITATION = {
    "type": "object",
    "required": ["cff-version", "message", "title", "authors"],
    "additionalProperties": False,
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "message": {"type": "string"},
        "title": {"type": "string"},
        "abstract": {"type": "string"},
        "type": {"enum": ["software", "dataset"]},
        "authors": AUTHORS,
        "version": {"type": "string"},
        "license": {"enum": ["MIT"]},
        "keywords": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "references": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["authors", "title", "type"],
                "additionalProperties": False,
                "properties": {
                    "type": {"enum": ["article", "conference-paper", "report", "unpublished"]},
                    "title": {"type": "string"},
                    "authors": AUTHORS,
                    "year": {"type": "integer"},
                    "doi": {
                        "type": "string",
                        "pattern": r"^10\.\d{4,9}/[\w.:/;-]+$",
                    },
                },
            },
        },
    },
}


def test_the_citation_is_valid_and_cites_each_paper(root):
    cited = read_yaml(root / "CITATION.cff")
    jsonschema.validate(cited, CITATION)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cited["version"] == project["version"] == gnnip.__version__
    assert cited["license"] == project["license"]["text"]
    references = {reference["title"]: reference for reference in cited["references"]}
    cards = [papers.load_card(place) for place in papers.folders(None, root / "papers").values()]
    assert set(references) == {card.title for card in cards}
    for card in cards:
        reference = references[card.title]
        names = [f"{one['given-names']} {one['family-names']}" for one in reference["authors"]]
        assert names == card.authors
        assert reference.get("doi", "none") == card.doi
        assert str(reference["year"]) in re.findall(r"\d{4}", card.citation)
