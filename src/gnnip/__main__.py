"""The command line: `gnnip train | predict | evaluate | models | verdicts | ...`."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnip import __version__
from gnnip.errors import ConfigError, DataError
from gnnip.files import atomic_path, parse_yaml, write_json, write_text
from gnnip.terminal import answer, check_cores, columns

if TYPE_CHECKING:
    import pandas as pd

    from gnnip.datasets.imports.importer import ImportReport
    from gnnip.own.run import Run
    from gnnip.own.shipped import Shipped

ABOUT = "Train, judge and use potentials; run, record and show the papers."
RESULTS = Path("results")
SCHEMAS = Path("workflow/schemas")
README = Path("README.md")
START, END = "<!-- verdicts:start -->", "<!-- verdicts:end -->"
#: those of gnnip.config.schema, whose import would take longer than most commands
TIERS = ("smoke", "quick", "long", "paper")
#: every recorded verdict
VERDICTS = Path("docs/verdicts.md")
TOLERANCES_INTRODUCTION = (
    "Cards say where each tolerance comes from (`because`). To see how much depends on them, all "
    "numbers were judged again with every tolerance halved, and with every one doubled (a factor f "
    "becomes its root, or its square). The table counts the verdicts that change. "
    "A row that is open for another reason stays open: the last column counts the means that lie "
    "within the tolerance, whatever else keeps them from being decided. "
    "`python -m gnnip tolerances` draws the figure."
)
ALT = "Shares of verdicts of each paper with tolerances halved, as they are, and doubled"
FIGURE = "../results/recorded/tolerances.png"
VERDICTS_INTRODUCTION = (
    "Every published number and claim against the largest complete recorded run of its card. "
    "Larger runs that are recorded in part stand before it, with the rows that they made. "
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
TIER = argument("--tier", choices=TIERS, help="that of config.yaml if left out")
DEVICE = argument(
    "--device",
    default="auto",
    choices=["auto", "cpu", "cuda"],
    help="auto takes a GPU if there is one",
)
READ = argument(
    "--read",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="how the frames are read, as in docs/bring_your_data.md, e.g. energy=REF_energy",
)
THREADS = argument("--threads", type=int, help="threads of the CPU; those of torch if left out")


@command(
    "predict",
    argument("structures", help="any file that ASE reads, e.g. extended XYZ; in Angstrom"),
    argument(
        "--model",
        required=True,
        help="a trained potential: model.safetensors, or the folder of a training or of a run",
    ),
    argument("--ensemble", action="store_true", help="the mean and the spread of all seeds"),
    argument("--output", "-o", help="extended XYZ to write; standard output if left out"),
    DEVICE,
)
def predict(options: argparse.Namespace) -> int:
    """Write energies and forces of structures, by a trained potential, as extended XYZ.

    What the file holds stays; labels in it are called reference_energy, reference_forces and so on.
    With --ensemble the mean of all seeds is written, energy_spread (eV) and forces_spread (eV/A).

    Example: gnnip predict structures.xyz --model copper --output predicted.xyz
    """
    import ase.io

    from gnnip import load_calculator
    from gnnip.models.structure_files import predicted, write_structures

    calculator = load_calculator(options.model, options.device, ensemble=options.ensemble)
    frames, left_out = predicted(Path(options.structures), calculator)
    if options.output is None:
        ase.io.write("-", frames, format="extxyz")
    else:
        write_structures(options.output, frames)
        print(f"{len(frames)} structures with energies (eV) and forces (eV/A) in {options.output}")
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
    "train",
    argument(
        "frames",
        help="your frames: a file, a folder of files or a pattern in quotes; or the train.yaml of "
        "a run, which is repeated, or its folder, which is continued",
    ),
    argument("--model", help="a potential that 'gnnip models' lists, or package.module:Class"),
    argument("--cutoff", type=float, help="radius of the graph in Angstrom"),
    argument("--epochs", type=int, help="passes over the training frames; 100 if left out"),
    argument("--seeds", type=int, default=1, help="trainings with different weights: an ensemble"),
    argument("--split", choices=["random", "trajectory"], help="trajectory where frames say so"),
    argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the training or an option of the model, e.g. batch_size=8",
    ),
    READ,
    argument("--md", type=float, default=0.0, metavar="PS", help="dynamics of so many picoseconds"),
    argument("--temperature", type=float, default=300.0, help="of the dynamics, in Kelvin; 300"),
    argument("--output", "-o", help="folder of the run; named after frames and model if left out"),
    DEVICE,
    THREADS,
)
def train(options: argparse.Namespace) -> int:
    """Train a potential on your frames, and measure what it is worth.

    The folder has the weights, errors beside those of trivial predictors, learning curves, a parity
    plot, with --md a dynamics at constant energy, and index.html, which shows it all. The same
    command again continues what was interrupted.

    Example: gnnip train frames.xyz --model nequip --cutoff 5 --md 1
    """
    from gnnip.own.card import Choices, name_of
    from gnnip.own.page import write_run_page
    from gnnip.own.run import DESCRIPTION, carry_out
    from gnnip.own.train import describe, repeat

    frames = Path(options.frames)
    described = frames / DESCRIPTION if (frames / DESCRIPTION).is_file() else frames
    if described.suffix in (".yaml", ".yml"):
        run = repeat(described, Path(options.output or described.parent))
    else:
        if options.model is None:
            raise ConfigError(
                "train needs --model, for example --model nequip; see 'gnnip models'."
            )
        stated = {"cutoff": options.cutoff, "epochs": options.epochs}
        chosen = {key: value for key, value in stated.items() if value is not None}
        choices = Choices(
            options.model,
            chosen | _settings(options.set, "--set", "batch_size=8"),
            options.seeds,
            options.split,
            options.md,
            options.temperature,
        )
        own = name_of(frames.stem or "frames"), name_of(options.model)
        folder = Path(options.output or "_".join(own))
        read = _settings(options.read, "--read", "energy=REF_energy")
        run = describe(options.frames, read, choices, folder)
    carry_out(run, options.device, options.threads)
    _say_run(run)
    print(f"Open {write_run_page(run)} in a browser.")
    return 0


def _say_run(run: Run) -> None:
    """Print what came out of a run: errors, and the dynamics."""
    from gnnip.own.page import (
        ERROR_COLUMNS,
        dynamics_facts,
        error_rows,
        evaluations,
        training_words,
    )

    print("\n".join(training_words(run)))
    print(columns([ERROR_COLUMNS, *error_rows(evaluations(run))], "lr"))
    for facts in dynamics_facts(run):
        print(
            f"Dynamics of {facts['ps']:g} ps at constant energy: {facts['survived']} of "
            f"{facts['replicas']} replicas survived, largest drift {facts['largest_drift']:.2g} "
            "meV/atom/ps."
        )


@command(
    "models",
    argument("name", nargs="?", help="a trained potential, e.g. gijon2023/forces: its model card"),
)
def models(options: argparse.Namespace) -> int:
    """List the potentials that can be trained, and those that come trained; or tell all of one.

    A trained one is used by its name: gnnip predict water.xyz --model gijon2023/forces. Recorded at
    several tiers, the name stands for the first in the list.

    Example: gnnip models gijon2023/forces
    """
    from gnnip.catalogue import summaries
    from gnnip.own.shipped import find, shipped

    if options.name:
        print(find(options.name).model_card())
        return 0
    print("To be trained (gnnip train FRAMES --model NAME):")
    print(columns([[name, text] for name, text in summaries().items()], "l"))
    print("\nTrained (gnnip predict STRUCTURES --model NAME; errors beside the best null model):")
    error = "validation error, eV"
    rows = [["name", "tier", "model", "elements", "term", error, "share of null", "worth"]]
    rows += [_row_of(one) for one in shipped()]
    print(columns(rows, "lllllrrl"))
    return 0


def _row_of(one: Shipped) -> list[str]:
    from ase.data import chemical_symbols

    known, said = one.training, one.described
    error = f"{known['validation_error']:.3g}" if known else ""
    share = f"{100 * known['share_of_null']:.3g} %" if known else ""
    worth = "sound" if known.get("sound") else re.split("[:;]", str(known.get("reason", "")))[0]
    elements = "".join(chemical_symbols[z] for z in said["species"])
    name = one.name.removesuffix("/seed-0")
    term = str(said["training"].get("term", ""))
    return [name, one.tier, said["architecture"], elements, term, error, share, worth]


@command(
    "evaluate",
    argument("model", help="a saved potential, the folder of its seeds or of a run"),
    argument("frames", help="frames with labels, given as for train"),
    READ,
    argument(
        "--output", "-o", help="folder for the table and a parity plot; without it only print"
    ),
    DEVICE,
)
def evaluate(options: argparse.Namespace) -> int:
    """Tell the errors of a potential on frames with labels, and which frames are the worst.

    Errors of energies, of forces by element and of stresses stand beside those of a predictor that
    knows no geometry. Of several seeds the errors are means.

    Example: gnnip evaluate copper test.xyz --output evaluated
    """
    from gnnip.own.evaluate import evaluate_files, worst_rows, write_evaluation
    from gnnip.own.page import ERROR_COLUMNS, error_rows

    read = _settings(options.read, "--read", "energy=REF_energy")
    table = evaluate_files(options.model, options.frames, read, options.device)
    print(columns([ERROR_COLUMNS, *error_rows([table])], "lr"))
    print(columns([["worst frames", "RMSE", "energy error"], *worst_rows(table)], "lr"))
    if options.output:
        files = write_evaluation(table, Path(options.output))
        print("Written to " + " and ".join(map(str, files)) + ".")
    return 0


@command(
    "compare",
    argument("runs", nargs="+", help="folders of gnnip train"),
    argument("--output", "-o", help="figure of the learning curves to write, .png or .svg"),
)
def compare(options: argparse.Namespace) -> int:
    """Show the errors of several runs side by side, and their learning curves.

    Example: gnnip compare copper copper_pair --output curves.png
    """
    from gnnip.own.compare import comparison, curves, read_runs, same_test

    runs = read_runs(options.runs)
    print(columns(comparison(runs), "lr"))
    if not same_test(list(runs.values())):
        print("The runs were tested on different frames: small differences say nothing.")
    if options.output:
        from gnnip.artefacts import style

        if Path(options.output).suffix not in (".png", ".svg"):
            raise ConfigError(f"--output {options.output}: a figure is .png or .svg.")
        style.save(curves(runs), options.output)
        print(f"Written to {options.output}.")
    return 0


@command(
    "relax",
    argument("structures", help="any file that ASE reads"),
    argument("--model", required=True, help="a saved potential, or the folder of a run"),
    argument("--cell", action="store_true", help="relax the cell too, of crystals"),
    argument("--fmax", type=float, default=0.01, help="largest force that may stay, eV/A; 0.01"),
    argument("--steps", type=int, default=500, help="most steps for a structure; 500"),
    argument("--output", "-o", required=True, help="extended XYZ to write"),
    DEVICE,
)
def relax(options: argparse.Namespace) -> int:
    """Relax the structures of a file by a potential and write them as extended XYZ.

    Example: gnnip relax crystal.cif --model copper --cell --output relaxed.xyz
    """
    from gnnip import load_calculator
    from gnnip.models.structure_files import relaxed, write_structures

    calculator = load_calculator(options.model, device=options.device, dtype="float64")
    limits = (options.fmax, options.steps)
    frames = list(relaxed(Path(options.structures), calculator, options.cell, *limits))
    write_structures(options.output, frames)
    open_ = sum(not atoms.info["relaxed"] for atoms in frames)
    print(f"{len(frames)} structures in {options.output}, {open_} of them not relaxed.")
    return int(bool(open_))


@command(
    "md",
    argument("structure", help="any file that ASE reads; its first structure is moved"),
    argument("--model", required=True, help="a saved potential, a recorded one, or a run"),
    argument("--ps", type=float, default=1.0, help="duration in picoseconds; 1"),
    argument("--temperature", type=float, default=300.0, help="in Kelvin; 300"),
    argument("--time-step", type=float, default=1.0, help="in femtoseconds; 1"),
    argument("--thermostat", action="store_true", help="Langevin's; else the energy is constant"),
    argument("--every", type=float, default=50.0, help="femtoseconds between stored frames; 50"),
    argument("--limit", type=float, help="of the spread, eV/A; that of the run if left out"),
    argument("--stop", action="store_true", help="end where the spread is above the limit"),
    argument("--output", "-o", required=True, help="extended XYZ to write"),
    DEVICE,
)
def md(options: argparse.Namespace) -> int:
    """Move the atoms of a structure by a potential, and say where its seeds no longer agree.

    A run of several seeds is an ensemble. It warns where the spread of the forces on any atom is
    larger than in all frames that no seed learned from; with --stop it ends there, with status 1.

    Example: gnnip md crystal.cif --model copper --ps 2 --stop --output moved.xyz
    """
    import math

    import ase

    from gnnip import load_calculator
    from gnnip.datasets.imports.structures import structures
    from gnnip.models.structure_files import write_structures
    from gnnip.own.dynamics import Moves, is_ensemble, move, spread_limit

    calculator = load_calculator(options.model, device=options.device)
    limit = math.inf if options.limit is None else options.limit
    if is_ensemble(calculator) and options.limit is None:
        limit = spread_limit(options.model)
    elif options.stop and not is_ensemble(calculator):
        raise DataError(f"{options.model} has one seed, which has no spread; leave --stop out.")
    first = next(structures(Path(options.structure)), None)
    if not isinstance(first, ase.Atoms):
        raise DataError(f"{options.structure} has no structure to begin with; give another file.")
    moves = Moves(
        options.ps,
        options.temperature,
        options.time_step,
        options.thermostat,
        options.every,
        options.stop,
    )
    found = move(first, calculator, moves, limit)
    write_structures(options.output, found.frames)
    said = "" if options.thermostat else f", drift {found.drift():.2g} meV/atom/ps"
    print(f"{found.times[-1]:.4g} ps, {len(found.frames)} frames in {options.output}{said}.")
    return int(options.stop and not math.isnan(found.warned))


@command(
    "serve",
    argument("structure", help="any file that ASE reads: elements and cell of what is moved"),
    argument("--model", required=True, help="a saved potential, a recorded one, or a run"),
    argument("--host", help="of i-PI's socket; an address socket if given"),
    argument("--port", type=int, default=31415, help="of the address socket; 31415"),
    argument("--unix", metavar="NAME", help="name of a socket of this machine, /tmp/ipi_NAME"),
    DEVICE,
)
def serve(options: argparse.Namespace) -> int:
    """Give forces to i-PI, or another program with its protocol, until that ends.

    Example: gnnip serve start.xyz --model gijon2023/forces --unix gnnip
    """
    import ase
    from ase.calculators.socketio import SocketClient

    from gnnip import load_calculator
    from gnnip.datasets.imports.structures import structures

    if (options.host is None) == (options.unix is None):
        raise ConfigError("serve needs --host or --unix, whichever the server listens to.")
    atoms = next(structures(Path(options.structure)), None)
    if not isinstance(atoms, ase.Atoms):
        raise DataError(f"{options.structure} has no structure; give another file.")
    atoms.calc = load_calculator(options.model, device=options.device)
    where = {"host": options.host, "port": options.port} if options.host else {}
    client = SocketClient(unixsocket=options.unix, **where)
    client.run(atoms, use_stress=bool(atoms.pbc.all()))
    return 0


@command(
    "verdicts",
    CARDS,
    TIER,
    argument("--recorded", action="store_true", help="the committed run"),
    argument("--json", help="also write the rows to this file"),
    argument("--width", type=int, help="columns of the table"),
)
def verdicts(options: argparse.Namespace) -> int:
    """Print the verdict table of a tier: of the finished run, or of what is there so far.

    Example: gnnip verdicts --recorded --tier paper
    """
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
    """Say whether what the recorded runs keep outside git is here, and is what was recorded.

    Example: gnnip kept gijon2023 --tier quick
    """
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
    """Print the data sets of the registry, and the published ones that can be downloaded.

    Example: gnnip datasets --width 120
    """
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

    Example: gnnip download comp6_s66x8 --output comp6.h5
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
        print(f"Written to {output}, the report to {output}.import.json.")


@command(
    "import",
    argument("path", help="a file, a folder of files, or a pattern of them in quotes"),
    argument(
        "--format",
        required=True,
        help="extxyz, vasp, runner, neuralil, ani, gnnip (an archive), or ase for what ASE reads: "
        "trajectories, databases, outputs of Quantum ESPRESSO, FHI-aims and others",
    ),
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
    """Read frames of your own and write them as an archive, or only report what is in them.

    Example: gnnip import 'runs/*.traj' --format ase --output frames.h5
    """
    import tempfile

    from gnnip.datasets.imports.folder import import_folder
    from gnnip.datasets.imports.settings import FolderSource
    from gnnip.strict import validate

    stated = {"path": options.path, "format": options.format}
    values = {**stated, **_settings(options.set, "--set", "energy=REF_energy")}
    source = validate(FolderSource, values, "import")
    with tempfile.TemporaryDirectory() as scratch:
        report = import_folder(source, options.output or Path(scratch) / "frames.h5")
    _tell(report, options.output)
    return 0


def _settings(items: Sequence[str], flag: str, example: str) -> dict[str, Any]:
    """Return key=value pairs as a mapping; a dot in a key opens a group of settings."""
    values: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals:
            raise ConfigError(f"{flag} {item}: write key=value, for example {example}.")
        place = values
        *groups, last = key.split(".")
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{flag} {item}: '{group}' is no group of settings.")
        place[last] = _value(text)
    return values


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
    """Make a generated data set, or the dynamics of a reference, an archive.

    It is copied to data/, and its entry of the registry is written.

    Example: gnnip register sic results/paper/generated/sic.h5 --replace
    """
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
    """Print what cards will take by what was recorded: core-hours, disk; nothing is run.

    Example: gnnip cost kang2024 --tier paper
    """
    from gnnip.config import papers, preview
    from gnnip.config.schema import name_of

    config = papers.load_config()
    cards = list(dict.fromkeys(map(name_of, options.cards))) or config.papers
    print(preview.table([name_of(card) for card in cards], options.tier or config.tier, config))
    return 0


@command("runs")
def runs(options: argparse.Namespace) -> int:
    """Print the long runs of runs.yaml: their state, estimated and measured core-hours.

    Example: gnnip runs
    """
    from gnnip.runs.project import Project
    from gnnip.runs.table import table

    print(table(Project(Path.cwd())))
    return 0


@command(
    "long-run",
    argument("--cores", type=int, default=1, help="that each run may use; one if left out"),
)
def long_run(options: argparse.Namespace) -> int:
    """Work off runs.yaml behind all other work; started again, it goes on where it was stopped.

    Example: gnnip long-run --cores 2
    """
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
    """Copy what finished runs have made into the project, compared, registered and recorded.

    Example: gnnip bring-back kang2024_gold
    """
    from gnnip.runs.bring_back import bring_back
    from gnnip.runs.project import Project

    bring_back(Project(Path.cwd()), options.names, options.replace, print)
    return 0


@command("schema", argument("--check", action="store_true", help="fail if one is out of date"))
def schema(options: argparse.Namespace) -> int:
    """Write the JSON schemas of what users write and docs/kinds.md; with --check only compare.

    Example: gnnip schema --check
    """
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
    argument("--update", action="store_true", help="write what has changed"),
    argument("--check", action="store_true", help="fail if a page is out of date"),
)
def readme(options: argparse.Namespace) -> int:
    """Put the recorded verdicts between the README's markers and into docs/verdicts.md, and list
    the recorded outputs in codecheck.yml.

    With --check they are only compared.

    Example: gnnip readme --update
    """
    from gnnip.config import papers
    from gnnip.page import tolerances
    from gnnip.release import codecheck
    from gnnip.verdicts import pages

    text = README.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise ConfigError(f"{README} lacks the markers '{START}' and '{END}'.")
    head, rest = text.split(START, 1)
    tail = rest.split(END, 1)[1]
    recorded, places = RESULTS / "recorded", papers.folders(papers.load_config().cards)
    order = [name for name in papers.load_config().papers if name in places]
    table = tolerances.as_markdown(tolerances.of_records(recorded))
    cards = {name: papers.load_card(places[name]) for name in order}
    new = {
        README: f"{head}{START}\n{pages.overview(recorded, cards)}\n{END}{tail}",
        VERDICTS: f"# Verdicts\n\n{VERDICTS_INTRODUCTION}\n\n{pages.tables(recorded)}\n\n"
        f"## Other tolerances\n\n{TOLERANCES_INTRODUCTION}\n\n{table}\n\n![{ALT}]({FIGURE})\n",
        Path("codecheck.yml"): codecheck(Path()),
    }
    for path, wanted in new.items():
        same = path.exists() and path.read_text(encoding="utf-8") == wanted
        if options.check and not same:
            raise ConfigError(f"{path} is out of date; run 'python -m gnnip readme --update'.")
        if options.update and not same:
            write_text(path, wanted)
    return 0


@command(
    "page",
    argument(
        "--output",
        "-o",
        default=str(RESULTS / "recorded" / "index.html"),
        help="page to write; results/recorded/index.html",
    ),
)
def page(options: argparse.Namespace) -> int:
    """Write the page of the recorded results, which opens from the disk in any browser.

    Example: gnnip page --output results.html
    """
    from gnnip.page import write_page
    from gnnip.page.sources import recorded

    write_page(recorded(RESULTS / "recorded"), options.output)
    print(f"Open {options.output} in a browser.")
    return 0


@command("tolerances")
def judge_at_other_tolerances(options: argparse.Namespace) -> int:
    """Judge the recorded runs with all tolerances halved and doubled; write table and figure.

    Example: gnnip tolerances
    """
    from gnnip.artefacts import style
    from gnnip.page import tolerances

    place = RESULTS / "recorded"
    table = tolerances.of_records(place)
    write_text(place / "tolerances.csv", table.to_csv(index=False))
    style.save(tolerances.draw(table), place / "tolerances.png", place / "tolerances.svg")
    print(tolerances.as_markdown(table))
    return 0


@command(
    "fresh",
    argument("cards", nargs="*", help="cards; all recorded ones if left out"),
    TIER,
    argument("--first-seed", action="store_true", help="replay one seed of each training only"),
)
def fresh(options: argparse.Namespace) -> int:
    """Say whether the recorded results belong to the card, the data and the code that stand here.

    Each artefact is fresh, equivalent (training code has changed, and trains alike in its first
    steps), unknown (recorded before checksums were kept) or stale; the status is 1 if one is stale.

    Example: gnnip fresh cho2023 --tier quick
    """
    from gnnip import fresh

    stale = False
    for folder in fresh.records(RESULTS / "recorded"):
        tier, card = folder.parts[-2:]
        if options.tier not in (None, tier) or (options.cards and card not in options.cards):
            continue
        found = fresh.check_record(folder, RESULTS, options.first_seed)
        print(*fresh.lines(folder, found), sep="\n", flush=True)
        stale = stale or any(finding.state == fresh.STALE for finding in found)
    return int(stale)


@command("release", argument("--output", "-o", help="archive, dist/gnnip-<version>.zip"))
def release(options: argparse.Namespace) -> int:
    """Write an archive of the code, the recorded results and the data of the last commit, with
    checksums, licences and an RO-Crate.

    Example: gnnip release --output gnnip.zip
    """
    from gnnip.release import write_release

    target = Path(options.output or f"dist/gnnip-{__version__}.zip")
    count = write_release(Path(), target)
    print(f"{target}: {count} files, {target.stat().st_size / 1e6:.1f} MB")
    return 0


@command("judge")
def judge_recorded(options: argparse.Namespace) -> int:
    """Judge all recorded runs again, from their tables alone and by the cards as they are now.

    Example: gnnip judge
    """
    from gnnip.config import papers
    from gnnip.config.resolve import resolve
    from gnnip.verdicts import judge, show
    from gnnip.verdicts.record import rejudge
    from gnnip.verdicts.recorded import artefacts_of

    config = papers.load_config()
    found = sorted((RESULTS / "recorded").glob("*/*/verdicts.json"))
    if not found:
        raise DataError("There is no recorded run to judge; see results/recorded.")
    for path in found:
        tier, name = path.parts[-3:-1]
        place = papers.find(name, config.cards)
        card = resolve(name, tier, made=artefacts_of(path.parent))
        rejudge(path.parent, card, papers.module(place, "claims"))
        print(f"{tier}/{name}: {show.count(judge.read_verdicts(path))}")
    return 0


@command(
    "spec",
    CARDS,
    TIER,
    argument("--output", "-o", default="spec.json", help="file to write; spec.json"),
    DEVICE,
)
def spec(options: argparse.Namespace) -> int:
    """Write the trainings of a tier as a spec for `python -m gnnip.training.run --spec`.

    That runs them on a machine with torch and NumPy only. Bring the folder results/<tier> back, and
    the workflow goes on from there.

    Example: gnnip spec gijon2023 --tier paper --output spec.json
    """
    from gnnip.config import papers
    from gnnip.config.pipeline import Pipeline
    from gnnip.config.schema import name_of

    config = papers.load_config()
    tier = options.tier or config.tier
    names = list(dict.fromkeys(map(name_of, options.cards))) or config.papers
    run = Pipeline(config.model_copy(update={"tier": tier, "papers": names}))
    beside = Path(options.output).resolve().parent
    jobs = []
    for name, card in run.cards.items():
        trainings = RESULTS / tier / name / "trainings"
        for group, cell, seed, folder in run.trainings_made(name, tier):
            training = card.training(group, cell)
            data = RESULTS / tier / "datasets" / f"{training.dataset}.h5"
            own, frames, earlier = (os.path.relpath(p, beside) for p in (folder, data, trainings))
            jobs.append(training.entry(own, frames, seed, earlier, device=options.device))
    write_json(options.output, {"trainings": jobs})
    print(f"{len(jobs)} trainings of tier {tier} in {options.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gnnip", description=ABOUT)
    parser.add_argument("--version", action="version", version=f"gnnip {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (run, arguments) in _COMMANDS.items():
        text = (run.__doc__ or "").strip()
        sub = commands.add_parser(
            name,
            help=text.splitlines()[0],
            description=inspect.cleandoc(text),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        one_of = sub.add_mutually_exclusive_group(required=True) if name == "readme" else sub
        for names, options in arguments:
            one_of.add_argument(*names, **options)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a user's mistake is one line on stderr and status 2."""
    options = _parser().parse_args(arguments)
    if os.getcwd() not in map(os.path.abspath, sys.path):
        sys.path.append(os.getcwd())  # a model of one's own may lie where one is
    run: Command = options.run
    return answer(lambda: run(options), "gnnip")


if __name__ == "__main__":
    raise SystemExit(main())
