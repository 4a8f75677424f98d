"""The command line: `python -m gnnip predict | verdicts | datasets | import | ...`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnip import __version__
from gnnip.errors import ConfigError, DataError
from gnnip.files import atomic_path, parse_yaml, write_json, write_text
from gnnip.terminal import answer, check_cores

if TYPE_CHECKING:
    import pandas as pd

    from gnnip.datasets.imports.importer import ImportReport

RESULTS = Path("results")
SCHEMAS = Path("workflow/schemas")
README = Path("README.md")
START, END = "<!-- verdicts:start -->", "<!-- verdicts:end -->"
#: those of gnnip.config.schema, whose import would take longer than most commands
TIERS = ("smoke", "quick", "long", "paper")
#: every recorded verdict
VERDICTS = Path("docs/verdicts.md")
VERDICTS_INTRODUCTION = (
    "Every published number and claim against the largest recorded run of its card; "
    "[metrics.md](metrics.md#verdicts) says what a verdict means. `make readme` writes this page."
)

Command = Callable[[argparse.Namespace], int]
Argument = tuple[tuple[str, ...], dict[str, Any]]
_COMMANDS: dict[str, tuple[Command, tuple[Argument, ...]]] = {}


def argument(*names: str, **options: Any) -> Argument:
    """Describe an argument as `argparse` takes it."""
    return names, options


def command(name: str, *arguments: Argument) -> Callable[[Command], Command]:
    """Make a function a command; its docstring is the help."""

    def register_command(run: Command) -> Command:
        _COMMANDS[name] = (run, arguments)
        return run

    return register_command


CARDS = argument("cards", nargs="*", help="cards; those of config.yaml if left out")
TIER = argument("--tier", choices=TIERS)
DEVICE = argument("--device", default="auto", choices=["auto", "cpu", "cuda"])


@command(
    "predict",
    argument("structures", help="any file that ASE reads, e.g. extended XYZ; in Angstrom"),
    argument("--model", required=True, help="a trained potential: model.safetensors"),
    argument("--output", "-o", help="extended XYZ to write; standard output if left out"),
    DEVICE,
)
def predict(options: argparse.Namespace) -> int:
    """Write energies and forces of structures, by a trained potential, as extended XYZ."""
    import ase.io

    from gnnip import load_calculator
    from gnnip.models.structure_files import predicted

    calculator = load_calculator(options.model, device=options.device)
    frames, left_out = predicted(Path(options.structures), calculator)
    if options.output is None:
        ase.io.write("-", frames, format="extxyz")
    else:
        target = options.output
        with atomic_path(target) as temporary:
            ase.io.write(temporary, frames, format="extxyz")
        print(f"{len(frames)} structures with energies (eV) and forces (eV/A) in {target}")
    return _say_left_out(left_out, options.output)


def _say_left_out(reasons: Mapping[int, str], output: str | None) -> int:
    """Say which frames were left out and why, beside the output too; return the exit status."""
    # not beside /dev/stdout and the like
    beside = Path(f"{output}.left_out.json") if output and Path(output).is_file() else None
    for frame, reason in reasons.items():
        print(f"gnnip: frame {frame} left out: {reason}", file=sys.stderr)
    if beside is not None and reasons:
        write_json(beside, {str(frame): reason for frame, reason in reasons.items()})
    elif beside is not None and beside.is_file():
        beside.unlink()  # of an earlier run
    return int(bool(reasons))


@command(
    "verdicts",
    CARDS,
    TIER,
    argument("--recorded", action="store_true", help="the committed run"),
    argument("--json", help="also write the rows to this file"),
    argument("--width", type=int, help="columns of the table"),
)
def verdicts(options: argparse.Namespace) -> int:
    """Print the verdict table of a tier: of the finished run, or of what is there so far."""
    from gnnip.config import papers
    from gnnip.config.resolve import resolve
    from gnnip.config.schema import name_of
    from gnnip.verdicts import judge, show
    from gnnip.verdicts.trainings import read_trainings

    config = papers.load_config()
    tier = options.tier or config.tier
    root = RESULTS / "recorded" if options.recorded else RESULTS
    rows = []
    names = list(dict.fromkeys(map(name_of, options.cards))) or config.papers
    if options.recorded and not options.cards:
        # cards of which nothing is recorded yet have no say
        names = [n for n in names if (root / tier / n / "verdicts.json").exists()] or names
    for name in names:
        finished = root / tier / name / "verdicts.json"
        if finished.exists():
            rows += judge.read_verdicts(finished)
            continue
        if options.recorded:
            raise DataError(f"No run of {name} is recorded at tier {tier}; see results/recorded.")
        card = resolve(name, tier, config)
        tests = papers.module(papers.find(name, config.cards), "claims")
        place = root / tier / name
        known = read_trainings(place / "trainings.csv")
        rows += judge.judge_folder(card, place / "artefacts", tests, known).verdicts
    if options.json:
        write_json(options.json, judge.to_json(rows))
    width = options.width or _terminal_width()
    print(show.format_table(rows, width))
    return 0


@command("kept", argument("cards", nargs="*", help="cards; all recorded ones if left out"), TIER)
def kept(options: argparse.Namespace) -> int:
    """Say whether what the recorded runs keep outside git is here, and is what was recorded."""
    from gnnip.verdicts.recorded import MANIFEST, RecordedRun

    damaged = False
    found = sorted(RESULTS.glob(f"recorded/{options.tier or '*'}/*/{MANIFEST}"))
    there = {path.parts[-2] for path in found}
    missing = [name for name in options.cards if name not in there]
    if missing or not found:
        what = f"of {missing[0]} keeps" if missing else "keeps"
        raise DataError(f"No recorded run {what} anything outside git; see results/recorded.")
    for path in found:
        tier, card = path.parts[-3:-1]
        if options.cards and card not in options.cards:
            continue
        run = RecordedRun.of(tier, card)
        entries, faults = run.manifest(), run.faults()
        size = sum(entry["bytes"] for entry in entries.values()) / 1e6
        said = f"{len(faults)} missing or changed" if faults else "all here"
        print(f"{tier}/{card}: {len(entries)} files, {size:.1f} MB, {said} ({run.kept})")
        print(*(f"  {fault}" for fault in faults[:5]), sep="\n", end="\n" if faults else "")
        damaged = damaged or bool(faults)
    return int(damaged)


def _terminal_width() -> int:
    return max(120, shutil.get_terminal_size((160, 24)).columns)


@command("datasets", argument("--width", type=int, help="columns of the tables"))
def datasets(options: argparse.Namespace) -> int:
    """Print the data sets of the registry, and the published ones that can be downloaded."""
    print(dataset_tables(options.width))
    return 0


def dataset_tables(width: int | None = None) -> str:
    """Return the tables of shipped and of published data sets, fitted to so many columns."""
    from gnnip.datasets import describe
    from gnnip.datasets.published import describe_published

    width = width or _terminal_width()
    return "\n".join(
        [
            "Shipped with the repository, or made by the pipeline (source: generate)",
            _fitted(describe(), width),
            "",
            "Published by others (source: download)",
            _fitted(describe_published(), width),
        ]
    )


def _fitted(table: pd.DataFrame, width: int) -> str:
    """Return a table as text; long words on level and licence are cut, then the title to fit."""

    def cut(column: str, room: int) -> list[str]:
        return [t if len(t) <= room else f"{t[: room - 1]}…" for t in map(str, table[column])]

    short = {column: cut(column, 30) for column in ("level", "licence") if column in table}
    table = table.assign(**short)
    taken = sum(
        max(len(text) for text in [column, *map(str, table[column])]) + 1
        for column in table.columns.astype(str)
        if column != "title"
    )
    return table.assign(title=cut("title", max(20, width - taken - 2))).to_string(index=False)


@command(
    "download",
    argument("name", help="a published data set, as `datasets` lists it"),
    argument("--output", "-o", help="archive to write; without it only the files are got"),
    argument(
        "--confirm", metavar="SHA256", help="first digits of the checksum you compared yourself"
    ),
)
def download(options: argparse.Namespace) -> int:
    """Download the files of a published data set and write its frames as an archive.

    What is there already is not downloaded again, and a broken transfer goes on where it stopped.
    """
    from gnnip.datasets import published

    entry = published.find_published(options.name)
    files = published.fetch_published(entry, confirm=options.confirm)
    for path in files:
        print(path)
    if options.output:
        _tell(published.import_published(options.name, options.output, files=files), options.output)
    return 0


def _tell(report: ImportReport, output: str | None) -> None:
    """Print what was read and left out; every frame with its reason goes beside the output."""
    print("\n".join(report.sentences()))
    if output:
        write_json(f"{output}.import.json", report.to_json())


@command(
    "import",
    argument("path", help="a file, or a folder of files"),
    argument("--format", required=True, help="extxyz, vasp, runner, neuralil or ani"),
    argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of docs/bring_your_data.md, e.g. energy=REF_energy or units.energy=Hartree",
    ),
    argument("--output", "-o", help="archive to write; without it only the report"),
)
def import_frames(options: argparse.Namespace) -> int:
    """Read frames of your own and write them as an archive, or only report what is in them."""
    import tempfile

    from gnnip.datasets.imports.folder import import_folder
    from gnnip.datasets.imports.settings import FolderSource
    from gnnip.strict import validate

    values: dict[str, object] = {"path": options.path, "format": options.format}
    for item in options.set:
        key, equals, text = item.partition("=")
        if not equals:
            raise ConfigError(f"--set {item}: write key=value, for example energy=REF_energy.")
        place = values
        *groups, last = key.split(".")
        for group in groups:
            inner = place.setdefault(group, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {item}: '{group}' is no group of settings.")
            place = inner
        place[last] = _value(text)
    source = validate(FolderSource, values, "import")
    with tempfile.TemporaryDirectory() as scratch:
        report = import_folder(source, options.output or Path(scratch) / "frames.h5")
    _tell(report, options.output)
    return 0


def _value(text: str) -> object:
    """Return what a value on the command line says in YAML; text that is none is a text."""
    try:
        return parse_yaml(text, "--set")
    except DataError:
        return text


@command(
    "register",
    argument("name", help="of the data set, or of the reference's trajectory"),
    argument(
        "file",
        help="what the workflow made: results/<tier>/generated/<name>.h5, or the trajectory.h5 of "
        "a reference",
    ),
    argument("--licence", default="CC0-1.0", help="CC0-1.0 if left out"),
    argument("--replace", action="store_true", help="an archive that is registered already"),
    argument("--rules", default="", help="that made the file, where not those of the workflow"),
)
def register(options: argparse.Namespace) -> int:
    """Copy a generated data set, or the dynamics of a reference, to data/ and write its registry
    entry: make it an archive."""
    from gnnip.datasets import registry
    from gnnip.datasets.store import read_frames
    from gnnip.md import is_trajectory

    registry.check_name(options.name, options.file, options.replace)
    if is_trajectory(options.file):
        return _register_trajectory(options)
    facts = read_frames(options.file).attributes
    missing = [key for key in ("title", "reference") if key not in facts]
    if missing:
        raise DataError(
            f"{options.file} does not state its {' and '.join(missing)}; only data sets that the "
            "pipeline labelled can be registered."
        )
    target = registry.registry_path().parent / f"{options.name}.h5"
    if Path(options.file).resolve() != target.resolve():
        with atomic_path(target) as temporary:
            shutil.copyfile(options.file, temporary)
    sampling, labelling = (
        float(facts.get(f"{key}_seconds", 0.0)) / 3600.0 for key in ("sampling", "labelling")
    )
    entry = registry.register(
        options.name,
        target,
        title=str(facts["title"]),
        reference=str(facts["reference"]),
        licence=options.licence,
        made={
            "rule": options.rules or "generate_trajectory, assemble_dataset",
            "command": f"snakemake --cores 2 --config tier=paper 'sources={{{options.name}: "
            f"generate}}' -- results/paper/datasets/{options.name}.h5",
            "cost": f"{sampling:.1f} core-hours of sampling, {labelling:.1f} of labelling",
        },
    )
    print(f"{target}: {entry['n_frames']} frames, {entry['bytes'] / 1e6:.1f} MB")
    return 0


def _register_trajectory(options: argparse.Namespace) -> int:
    from gnnip.datasets import registry
    from gnnip.md import pack_trajectory, read_facts
    from gnnip.measurements.dynamics import register_trajectory
    from gnnip.reference.engines import make_engine

    known, facts = registry.load_registry().get(options.name, {}), read_facts(options.file)
    place = Path(options.file).parts  # results/<tier>/<card>/dynamics/...
    run = f"tier={place[1]} papers={place[2]} " if place[0] == str(RESULTS) else ""
    target = registry.registry_path().parent / f"{options.name}.h5"
    pack_trajectory(options.file, target)
    entry = register_trajectory(
        options.name,
        target,
        title=known.get("title", f"Dynamics by {facts.get('potential', 'a potential')}"),
        reference=make_engine(facts["engine"]).reference if "engine" in facts else "exact",
        licence=options.licence,
        made={
            "rule": options.rules or "run_reference",
            "command": f"snakemake --cores 1 --config {run}"
            f"'sources={{{options.name}: generate}}' -- {options.file}",
        },
    )
    print(f"{target}: {entry['n_frames']} frames, {entry['bytes'] / 1e6:.1f} MB")
    return 0


@command("cost", CARDS, TIER)
def cost(options: argparse.Namespace) -> int:
    """Print what cards will take by what was recorded: core-hours, disk; nothing is run."""
    from gnnip.config import papers, preview
    from gnnip.config.schema import name_of

    config = papers.load_config()
    cards = list(dict.fromkeys(map(name_of, options.cards))) or config.papers
    print(preview.table([name_of(card) for card in cards], options.tier or config.tier, config))
    return 0


@command("runs")
def runs(options: argparse.Namespace) -> int:
    """Print the long runs of runs.yaml: their state, estimated and measured core-hours."""
    from gnnip.runs.project import Project
    from gnnip.runs.table import table

    print(table(Project(Path.cwd())))
    return 0


@command(
    "long-run",
    argument("--cores", type=int, default=1, help="that each run may use; one if left out"),
)
def long_run(options: argparse.Namespace) -> int:
    """Work off runs.yaml behind all other work; started again, it goes on where it was stopped."""
    from functools import partial

    from gnnip.runs.project import Project
    from gnnip.runs.work import work

    check_cores("--cores", options.cores)
    return min(work(Project(Path.cwd()), options.cores, partial(print, flush=True)), 1)


@command(
    "bring-back",
    argument("names", nargs="*", help="finished runs; all of them if left out"),
    argument("--replace", action="store_true", help="also files that the project has changed"),
)
def bring_back(options: argparse.Namespace) -> int:
    """Copy what finished runs have made into the project, compared, registered and recorded."""
    from gnnip.runs.bring_back import bring_back
    from gnnip.runs.project import Project

    bring_back(Project(Path.cwd()), options.names, options.replace, print)
    return 0


@command("schema", argument("--check", action="store_true", help="fail if one is out of date"))
def schema(options: argparse.Namespace) -> int:
    """Write the JSON schemas of what users write and docs/kinds.md; with --check only compare."""
    from gnnip.config.kinds_page import kinds_page
    from gnnip.config.schema import json_schema, schemas
    from gnnip.runs.entries import Runs

    texts = schemas() | {"runs.schema.json": json_schema(Runs)}
    files = {SCHEMAS / name: text for name, text in texts.items()}
    for path, text in (files | {Path("docs/kinds.md"): kinds_page()}).items():
        if options.check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            raise ConfigError(f"{path} is out of date; run 'python -m gnnip schema'.")
        if not options.check:
            write_text(path, text)
    return 0


@command(
    "readme",
    argument("--update", action="store_true"),
    argument("--check", action="store_true", help="fail if a page is out of date"),
)
def readme(options: argparse.Namespace) -> int:
    """Put the recorded verdicts between the README's markers and into docs/verdicts.md; with
    --check only compare."""
    from gnnip.config import papers
    from gnnip.verdicts import pages

    text = README.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise ConfigError(f"{README} lacks the markers '{START}' and '{END}'.")
    head, rest = text.split(START, 1)
    tail = rest.split(END, 1)[1]
    recorded, places = RESULTS / "recorded", papers.folders(papers.load_config().cards)
    order = [name for name in papers.load_config().papers if name in places]
    cards = {name: papers.load_card(places[name]) for name in order}
    new = {
        README: f"{head}{START}\n{pages.overview(recorded, cards)}\n{END}{tail}",
        VERDICTS: f"# Verdicts\n\n{VERDICTS_INTRODUCTION}\n\n{pages.tables(recorded)}\n",
    }
    for path, wanted in new.items():
        same = path.exists() and path.read_text(encoding="utf-8") == wanted
        if options.check and not same:
            raise ConfigError(f"{path} is out of date; run 'python -m gnnip readme --update'.")
        if options.update and not same:
            write_text(path, wanted)
    return 0


@command("page", argument("--output", "-o", default=str(RESULTS / "recorded" / "index.html")))
def page(options: argparse.Namespace) -> int:
    """Write the page of the recorded results, which opens from the disk in any browser."""
    from gnnip.page import write_page
    from gnnip.page.sources import recorded

    write_page(recorded(RESULTS / "recorded"), options.output)
    print(f"Open {options.output} in a browser.")
    return 0


@command("judge")
def judge_recorded(options: argparse.Namespace) -> int:
    """Judge all recorded runs again, from their tables alone and by the cards as they are now."""
    from gnnip.config import papers
    from gnnip.config.resolve import resolve
    from gnnip.verdicts import judge, show
    from gnnip.verdicts.record import rejudge

    config = papers.load_config()
    found = sorted((RESULTS / "recorded").glob("*/*/verdicts.json"))
    if not found:
        raise DataError("There is no recorded run to judge; see results/recorded.")
    for path in found:
        tier, name = path.parts[-3:-1]
        place = papers.find(name, config.cards)
        rejudge(path.parent, resolve(name, tier), papers.module(place, "claims"))
        print(f"{tier}/{name}: {show.count(judge.read_verdicts(path))}")
    return 0


@command("spec", CARDS, TIER, argument("--output", "-o", default="spec.json"), DEVICE)
def spec(options: argparse.Namespace) -> int:
    """Write the trainings of a tier as a spec for `python -m gnnip.training.run --spec`.

    That runs them on a machine with torch and NumPy only. Bring the folder results/<tier> back, and
    the workflow goes on from there.
    """
    from gnnip.config import papers
    from gnnip.config.resolve import resolve
    from gnnip.config.schema import name_of

    config = papers.load_config()
    tier = options.tier or config.tier
    beside = Path(options.output).resolve().parent
    jobs = []
    for name in list(dict.fromkeys(map(name_of, options.cards))) or config.papers:
        card = resolve(name, tier, config)
        trainings = RESULTS / tier / name / "trainings"
        for group, cell in ((g, cell) for g in card.trainings for cell in card.cells(g)):
            training = card.training(group, cell)
            data = RESULTS / tier / "datasets" / f"{training.dataset}.h5"
            jobs += [
                training.entry(
                    os.path.relpath(trainings / group / cell.name / f"seed-{seed}", beside),
                    os.path.relpath(data, beside),
                    seed,
                    os.path.relpath(trainings, beside),
                    device=options.device,
                )
                for seed in card.seeds(group)
            ]
    write_json(options.output, {"trainings": jobs})
    print(f"{len(jobs)} trainings of tier {tier} in {options.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gnnip", description=__doc__)
    parser.add_argument("--version", action="version", version=f"gnnip {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (run, arguments) in _COMMANDS.items():
        text = (run.__doc__ or "").strip()
        sub = commands.add_parser(name, help=text.splitlines()[0], description=text)
        sub.set_defaults(run=run)
        one_of = sub.add_mutually_exclusive_group(required=True) if name == "readme" else sub
        for names, options in arguments:
            one_of.add_argument(*names, **options)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a user's mistake is one line on stderr and status 2."""
    options = _parser().parse_args(arguments)
    run: Command = options.run
    return answer(lambda: run(options), "gnnip")


if __name__ == "__main__":
    raise SystemExit(main())
