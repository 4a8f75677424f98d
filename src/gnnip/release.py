"""A release: one archive of code, recorded results and data, which says what each file is.

The archive holds the files of a commit, ro-crate-metadata.json (RO-Crate 1.3: what the files are,
their checksums and licences) and SHA256SUMS. The same commit gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import mimetypes
import re
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gnnip.config import papers
from gnnip.config.schema import Card
from gnnip.errors import ConfigError
from gnnip.files import atomic_path, parse_yaml, read_yaml

LICENCES, METADATA, SUMS = "REUSE.toml", "ro-crate-metadata.json", "SHA256SUMS"
#: what is published of an artefact, and of a run
_TABLES, _JUDGED = (".png", ".csv"), ("verdicts.csv", "claims.csv")
_AUTHORS = "#authors"
_WORKFLOW = "workflow/Snakefile"
_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_SPDX = "https://spdx.org/licenses/{}"
#: licences as RO-Crate wants them described
_DESCRIPTIONS = {
    "MIT": "Free use with the notice of copyright",
    "CC0-1.0": "No rights reserved",
}
#: suffixes that the standard library does not know
_FORMATS = {
    **dict.fromkeys((".yaml", ".yml", ".cff"), "application/yaml"),
    ".h5": "application/x-hdf5",
    ".toml": "application/toml",
    ".safetensors": "application/octet-stream",
    ".gz": "application/gzip",
    ".md": "text/markdown",
    ".json": "application/json",
    ".csv": "text/csv",
    ".cpp": "text/x-c",
}


@dataclass(frozen=True)
class Shipped:
    """A file of a commit."""

    content: bytes
    mode: int = 0o644

    @property
    def sha256(self) -> str:
        """The checksum, hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def write_release(root: Path, target: Path, commit: str = "HEAD") -> int:
    """Write the archive of a commit and return how many files it holds; ConfigError for changes
    that are not committed, or a file of which no licence is stated."""
    changed = _git(root, "status", "--porcelain", "--untracked-files=no").decode().split("\n")[:-1]
    if changed:
        raise ConfigError(
            f"{changed[0][3:]} and {len(changed) - 1} other files have changes that are not "
            "committed; a release is made of a commit, so commit them or take them back."
        )
    files = shipped(root, commit)
    made = datetime.fromtimestamp(int(_git(root, "log", "-1", "--format=%ct", commit)), UTC)
    text = json.dumps(metadata(files, made), indent=2, ensure_ascii=False) + "\n"
    files[METADATA] = Shipped(text.encode())
    sums = "".join(f"{file.sha256}  {name}\n" for name, file in sorted(files.items()))
    files[SUMS] = Shipped(sums.encode())
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name, made.timetuple()[:6])
            entry.external_attr = (0o100000 | file.mode) << 16
            archive.writestr(entry, file.content, zipfile.ZIP_DEFLATED)
    return len(files)


def _git(root: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    if done.returncode:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
        raise ConfigError(
            f"A release is made of a commit, and git does not give one ({said}); run this in a "
            "clone of the repository."
        )
    return done.stdout


def shipped(root: Path, commit: str = "HEAD") -> dict[str, Shipped]:
    """Return the files of a commit, by their path."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", commit))) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                files[member.name] = Shipped(content.read(), member.mode & 0o755)
    return files


# --- licences -------------------------------------------------------------------------------------


def licences(text: str) -> list[tuple[re.Pattern[str], str]]:
    """Return the patterns of paths in REUSE.toml and the licence of each, in their order."""
    found = []
    for annotation in tomllib.loads(text)["annotations"]:
        paths = annotation["path"]
        for path in [paths] if isinstance(paths, str) else paths:
            parts = (re.escape(part).replace(r"\*", "[^/]*") for part in path.split("**"))
            found.append((re.compile(".*".join(parts)), annotation["SPDX-License-Identifier"]))
    return found


def licence_of(path: str, stated: list[tuple[re.Pattern[str], str]]) -> str:
    """Return the licence of a shipped file; ConfigError where none is stated."""
    found = [licence for pattern, licence in stated if pattern.fullmatch(path)]
    if not found:
        raise ConfigError(f"{LICENCES} states no licence of {path}; add it to a path there.")
    return found[-1]


# --- RO-Crate -------------------------------------------------------------------------------------


def metadata(files: Mapping[str, Shipped], made: datetime) -> dict[str, Any]:
    """Return what an RO-Crate says of the files: a workflow, its data and its results.

    Needs the package rocrate, which `make install` brings.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    cited = parse_yaml(files["CITATION.cff"].content.decode(), "CITATION.cff")
    stated = licences(files[LICENCES].content.decode())
    described = dict(_descriptions(files))
    crate = ROCrate()
    used = sorted({licence_of(path, stated) for path in files})
    terms = {
        name: crate.add(
            ContextEntity(
                crate,
                _SPDX.format(name),
                properties={
                    "@type": "CreativeWork",
                    "name": name,
                    "description": _DESCRIPTIONS[name],
                    "url": _SPDX.format(name),
                },
            )
        )
        for name in used
    }
    authors = {"@type": "Organization", "name": cited["authors"][0]["name"]}
    by = crate.add(ContextEntity(crate, _AUTHORS, properties=authors))
    for path, file in sorted(files.items()):
        properties: dict[str, Any] = {
            "name": path,
            "description": described.get(path, f"{path.split('/')[0]}, a part of gnnip"),
            "contentSize": str(len(file.content)),
            "sha256": file.sha256,
            "encodingFormat": _format(path),
        }
        licence = licence_of(path, stated)
        if licence != cited["license"]:  # that of the whole holds for all parts without one
            properties["license"] = {"@id": terms[licence].id}
        if path == _WORKFLOW:
            version = _pinned("snakemake", files["requirements.txt"].content.decode())
            how = {"main": True, "lang": "snakemake", "lang_version": version}
            workflow = crate.add_workflow(dest_path=path, properties=properties, **how)
            about = {"@type": ["CreativeWork", "Profile"], "name": "ComputationalWorkflow"}
            workflow["conformsTo"] = crate.add(ContextEntity(crate, _PROFILE, properties=about))
        else:
            crate.add_file(dest_path=path, properties=properties)
    root = crate.root_dataset
    root["name"], root["description"] = cited["title"], cited["abstract"]
    root["version"], root["keywords"] = str(cited["version"]), ", ".join(cited["keywords"])
    root["license"], root["author"], root["publisher"] = terms[cited["license"]], by, by
    crate.datePublished = made
    generated: dict[str, Any] = crate.metadata.generate()
    return generated


def _pinned(package: str, requirements: str) -> str:
    """Return the version of a package in a lock file."""
    return next(
        line.partition("==")[2]
        for line in requirements.splitlines()
        if line.partition("==")[0] == package
    )


def _format(path: str) -> str:
    suffix = Path(path).suffix
    return _FORMATS.get(suffix) or mimetypes.guess_type(path)[0] or "text/plain"


def _descriptions(files: Mapping[str, Shipped]) -> Iterator[tuple[str, str]]:
    """Yield what data sets and recorded results are, by their path."""
    for name, entry in parse_yaml(files["data/registry.yaml"].content.decode(), "registry").items():
        yield f"data/{entry['file']}", f"data set {name}: {entry['title']}"
    cards = {
        path.split("/")[1]: Card.model_validate(parse_yaml(file.content.decode(), path))
        for path, file in files.items()
        if re.fullmatch(r"papers/\w+/card\.yaml", path)
    }
    for path in files:
        if said := described(path, cards):
            yield path, said


def described(path: str, cards: Mapping[str, Card]) -> str:
    """Return what a recorded result is, in words; empty for another file."""
    parts = path.split("/")
    if parts[:2] != ["results", "recorded"] or len(parts) != 5 or parts[3] not in cards:
        return ""
    artefacts, (stem, _, suffix) = cards[parts[3]].artefacts, parts[4].partition(".")
    where = f"card {parts[3]}, tier {parts[2]}"
    if parts[4] in _JUDGED:
        return f"{'Verdicts' if stem == 'verdicts' else 'Tests of the claims'}, {where}"
    if stem not in artefacts:
        return ""
    what = {"csv": "table", "metrics.csv": "numbers that are judged"}.get(suffix, "figure")
    return f"{artefacts[stem].label}: {artefacts[stem].title} ({what}, {where})"


# --- CODECHECK ------------------------------------------------------------------------------------


def codecheck(root: Path) -> str:
    """Return codecheck.yml: the outputs that somebody who checks the code should get again.

    Listed are the figures and tables of all recorded artefacts, and the verdicts.
    """
    import yaml

    cited = read_yaml(root / "CITATION.cff")
    places = papers.folders(None, root / papers.FOLDER)
    cards = {name: papers.load_card(place) for name, place in places.items()}
    recorded = sorted(path.relative_to(root) for path in root.glob("results/recorded/*/*/*.*"))
    manifest = [
        {"file": path.as_posix(), "comment": comment}
        for path in recorded
        if path.name in _JUDGED or (path.suffix in _TABLES and ".metrics" not in path.name)
        if (comment := described(path.as_posix(), cards))
    ]
    content = {
        "version": "https://codecheck.org.uk/spec/config/1.0/",
        "paper": {
            "title": cited["title"],
            "authors": [{"name": author["name"]} for author in cited["authors"]],
        },
        "manifest": manifest,
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return f"# Written by 'make readme' from the recorded results.\n{text}"
