# Helpers of all rules: validated config and cards, and the files that follow from them.
import functools
import os
import re
from pathlib import Path

from snakemake.exceptions import WorkflowError

from gnnip import cards, code, provenance, reference
from gnnip.errors import GnnipError

try:
    CONFIG = cards.check_config(config)
    CARDS = cards.resolve_all(CONFIG)
except GnnipError as error:
    # the sentence alone, without a traceback
    raise WorkflowError(str(error)) from None

USES_GPU = int(
    CONFIG.device == "cuda"
    or (CONFIG.device == "auto" and bool(provenance.gpu_names()))
)
# of this machine; a cluster's profile sets the threads of its jobs itself
ALL_CORES = workflow.resource_settings.cores or 1
RECORDED = Path("results/recorded")
# glibc otherwise returns the pages of every large tensor and takes them anew, cleared
for name, value in {
    "MALLOC_MMAP_MAX_": 0,
    "MALLOC_TRIM_THRESHOLD_": 30_000_000_000,
    "MALLOC_TOP_PAD_": 2**28,
}.items():
    os.environ.setdefault(name, str(value))

REFERENCE = "reference"  # name of the reference among the potentials of dynamics


@functools.cache
def card_at(name, tier):
    """Return a card at any tier, so that a path alone says what is asked for."""
    try:
        return cards.resolve(name, tier, CONFIG)
    except GnnipError as error:
        raise WorkflowError(str(error)) from None


def card_of(wildcards):
    return card_at(wildcards.card, wildcards.tier)


@functools.cache
def code_of(*modules):
    """Return the hash of the library code behind a rule, to be listed in its params."""
    return code.code_hash(modules)


# --- data sets ------------------------------------------------------------------------------------


def _names_of_datasets(drawn):
    """Return a pattern of the data sets that are drawn at once, or of those with trajectories."""
    found = {
        name
        for card in CARDS.values()
        for name, use in card.datasets.items()
        if drawn != bool(use.sizes)
    }
    return "|".join(sorted(found)) or "(?!)"


DRAWN = _names_of_datasets(drawn=True)
SAMPLED = _names_of_datasets(drawn=False)


def dataset_use(wildcards):
    """Return how the selected cards use a data set; the first card that names it decides."""
    for name in CONFIG.papers:
        card = card_at(name, wildcards.tier)
        if wildcards.dataset in card.datasets:
            return card.datasets[wildcards.dataset]
    raise WorkflowError(f"No selected card uses the data set '{wildcards.dataset}'.")


def trajectory_files(wildcards):
    needed = dataset_use(wildcards)
    return expand(
        "results/{tier}/trajectories/{dataset}/size-{size}_replica-{replica}/frames.npz",
        tier=wildcards.tier,
        dataset=wildcards.dataset,
        size=needed.sizes,
        replica=range(needed.replicas),
    )


def dataset_source(wildcards):
    """Return the file that a data set is copied from: generated or imported here, or an archive."""
    source = dataset_use(wildcards).source
    if source == "generate":
        return f"results/{wildcards.tier}/generated/{wildcards.dataset}.h5"
    if source != "archive":
        return f"results/{wildcards.tier}/imported/{wildcards.dataset}.h5"
    from gnnip.datasets import registry

    try:
        entry = registry.find_entry(wildcards.dataset)
        return str(Path("data") / entry["file"])
    except GnnipError as error:
        raise WorkflowError(str(error)) from None


def dataset_origin(wildcards):
    return dataset_use(wildcards).source


def published_entry(wildcards):
    """Return name and entry of the published set, so that a new checksum is downloaded anew."""
    from gnnip.datasets.published import find_published

    name = dataset_use(wildcards).published or wildcards.dataset
    try:
        return {"name": name} | find_published(name).model_dump(mode="json")
    except GnnipError as error:
        raise WorkflowError(str(error)) from None


def frames_to_import(wildcards):
    """Return the files of the user's folder, or the list of those that are downloaded."""
    wanted = dataset_use(wildcards)
    if wanted.source != "folder":
        return f"results/{wildcards.tier}/imported/{wildcards.dataset}.files.json"
    from gnnip.datasets.imports.folder import folder_files

    try:
        return [str(path) for path in folder_files(wanted.folder)]
    except GnnipError as error:
        raise WorkflowError(str(error)) from None


def import_source(wildcards):
    """Return how the files are read: the folder's settings, or nothing but the published name."""
    wanted = dataset_use(wildcards)
    if wanted.source == "folder":
        return {"folder": wanted.folder.model_dump(mode="json")}
    return {"published": published_entry(wildcards)["name"]}


def sampling_plan(wildcards):
    return dataset_use(wildcards).plan


def frames_to_verify(wildcards):
    return dataset_use(wildcards).verify_frames


def sampling_code(wildcards):
    return code_of(f"gnnip.sampling.{wildcards.dataset}")


# --- trainings ------------------------------------------------------------------------------------


@functools.cache
def _cells(card, tier, group):
    return {cell.name: cell for cell in card_at(card, tier).cells(group)}


def _plan_of(card, tier, group, name):
    resolved = card_at(card, tier)
    cell = _cells(card, tier, group).get(name) if group in resolved.trainings else None
    if cell is None:
        raise WorkflowError(
            f"Card {card} has no training {group}/{name} at tier {tier}."
        )
    return resolved.plan(group, cell)


def _plan(wildcards):
    return _plan_of(wildcards.card, wildcards.tier, wildcards.group, wildcards.cell)


def _trainings(wildcards):
    return f"results/{wildcards.tier}/{wildcards.card}/trainings"


def training_dataset(wildcards):
    return f"results/{wildcards.tier}/datasets/{_plan(wildcards).dataset}.h5"


def training_entry(wildcards):
    """Return the training as the trainer reads it; without folder and device, which it is free of."""
    data, trainings = training_dataset(wildcards), _trainings(wildcards)
    return _plan(wildcards).entry("", data, int(wildcards.seed), trainings)


def training_initial(wildcards):
    """Return the weights that a training starts from: earlier trainings of the same seed."""
    return [
        f"{_trainings(wildcards)}/{group}/{cell}/seed-{wildcards.seed}/model.safetensors"
        for group, cell in card_of(wildcards).earlier(_plan(wildcards))
    ]


def training_code(wildcards):
    """Hash the trainer and the one model that is trained: other models do not matter."""
    modules = card_of(wildcards).modules(_plan(wildcards))
    return code_of("gnnip.training.run", *modules)


def training_files(card, tier, groups, name, cells=None, seeds=None):
    """Return one file per training of the groups, optionally of some cells and seeds only."""
    resolved = card_at(card, tier)
    files = []
    for group in groups:
        for cell in _cells(card, tier, group).values():
            if cells and not cell.matches(
                {k: v for k, v in cells.items() if k in dict(cell.values)}
            ):
                continue
            for seed in seeds or resolved.seeds(group):
                files.append(
                    f"results/{tier}/{card}/trainings/{group}/{cell.name}/seed-{seed}/{name}"
                )
    return files


# --- steps and artefacts --------------------------------------------------------------------------


# Each of these takes the name of a step, or reads it off the wildcard `step`.


def _step(wildcards, name):
    return card_of(wildcards).steps[name or wildcards.step]


def step_dataset(name=None):
    """Return the input function that gives the data set of a step."""

    def dataset(wildcards):
        step = _step(wildcards, name)
        return (
            f"results/{wildcards.tier}/datasets/{step.dataset}.h5"
            if step.dataset
            else []
        )

    return dataset


def step_models(name=None):
    """Return the input function that gives the trained models of a step."""

    def models(wildcards):
        step = _step(wildcards, name)
        return training_files(
            wildcards.card,
            wildcards.tier,
            step.trainings,
            "model.safetensors",
            cells=step.cells,
            seeds=[0] if step.seeds == "first" else None,
        )

    return models


def step_options(name=None):
    """Return the params function that gives the options of a step."""

    def options(wildcards):
        return _step(wildcards, name).options

    return options


def step_predictions(name=None):
    """Return the input function that gives the predictions of a step's models."""

    def predictions(wildcards):
        models = step_models(name)(wildcards)
        return [str(Path(model).with_name("predictions.csv")) for model in models]

    return predictions


# --- dynamics: every potential is a job, named by the folder of its training ------------------------


def model_names(wildcards):
    """Return the names of the trained models of a step: the folders of their trainings."""
    trainings = _trainings(wildcards)
    models = step_models()(wildcards)
    return [str(Path(model).parent.relative_to(trainings)) for model in models]


def potential_names(wildcards):
    """Return the potentials of a step of dynamics: its trained models, then the reference."""
    moved = bool(_step(wildcards, None).options.get("reference"))
    return model_names(wildcards) + [REFERENCE] * moved


def dynamics_files(wildcards):
    """Return the trajectories of a step, in the order of its potentials."""
    return expand(
        "results/{tier}/{card}/dynamics/{step}/{potential}/trajectory.h5",
        tier=wildcards.tier,
        card=wildcards.card,
        step=wildcards.step,
        potential=potential_names(wildcards),
    )


def dynamics_motion(wildcards):
    return _step(wildcards, None).options.get("motion", {})


def _modules_of(card, tier, names):
    """Return the library modules of the models with these names."""
    modules = set()
    for group, cell, _ in (name.split("/") for name in names):
        plan = _plan_of(card, tier, group, cell)
        modules.update(card_at(card, tier).modules(plan))
    return sorted(modules)


def dynamics_code(wildcards):
    """Hash the engine and the one model that moves the atoms."""
    modules = _modules_of(wildcards.card, wildcards.tier, [wildcards.potential])
    return code_of("gnnip.evaluation.dynamics", *modules)


def conservation_code(wildcards):
    """Hash the engine and the models that move the atoms."""
    names = model_names(wildcards)
    modules = _modules_of(wildcards.card, wildcards.tier, names)
    text = _step(wildcards, None).options.get("reference")
    moved_by = [reference.calculator_module(text)] if text else []
    return code_of("gnnip.evaluation.conservation", *modules, *moved_by)


def reference_options(wildcards):
    """Return those options of a step that decide how its reference moves."""
    options = _step(wildcards, None).options
    keys = ("reference", "reference_archive", "motion", "reference_motion")
    return {key: options[key] for key in keys if key in options}


def reference_archive(wildcards):
    """Return the file of the reference's trajectories where the step names a registered one."""
    name = _step(wildcards, None).options.get("reference_archive")
    if not name:
        return []
    from gnnip.datasets import registry

    try:
        return str(Path("data") / registry.find_entry(name)["file"])
    except GnnipError as error:
        raise WorkflowError(str(error)) from None


def reference_code(wildcards):
    options = _step(wildcards, None).options
    if options.get("reference_archive"):
        return ""  # an archive is what it is, whatever becomes of the code
    moved_by = reference.calculator_module(options["reference"])
    return code_of("gnnip.evaluation.dynamics", moved_by)


def comparison_options(wildcards):
    """Return the options of a step of dynamics without what only moves the reference."""
    options = _step(wildcards, None).options
    return {key: value for key, value in options.items() if key != "reference_archive"}


def artefact_trainings(wildcards):
    """Return the files of the trainings behind an artefact."""
    groups = card_of(wildcards).artefacts[wildcards.artefact].trainings
    return [
        file
        for name in ("predictions.csv", "history.csv", "summary.json")
        for file in training_files(wildcards.card, wildcards.tier, groups, name)
    ]


def artefact_steps(wildcards):
    steps = card_of(wildcards).artefacts[wildcards.artefact].steps
    return expand(
        "results/{tier}/{card}/steps/{step}.csv",
        tier=wildcards.tier,
        card=wildcards.card,
        step=steps,
    )


def artefact_datasets(wildcards):
    """Return the data sets behind an artefact: its own and those of its trainings."""
    card = card_of(wildcards)
    artefact = card.artefacts[wildcards.artefact]
    names = {card.trainings[group].dataset for group in artefact.trainings}
    names = sorted(names | set(artefact.datasets))
    return expand(
        "results/{tier}/datasets/{dataset}.h5", tier=wildcards.tier, dataset=names
    )


def artefact_facts(wildcards):
    """Return what an artefact may know of the card, so that other edits do not redo it."""
    card = card_of(wildcards).model_dump(mode="json")
    artefact = card["artefacts"][wildcards.artefact]
    return {
        "id": card["id"],
        "reference": card["reference"],
        "tier": card["tier"],
        "datasets": list(card["datasets"]),
        "artefacts": {wildcards.artefact: {"datasets": artefact["datasets"]}},
        "trainings": {name: card["trainings"][name] for name in artefact["trainings"]},
        "steps": {name: card["steps"][name] for name in artefact["steps"]},
        "published": [
            {
                "artefact": block["artefact"],
                "unit": block["unit"],
                "values": block["values"],
            }
            for block in card["published"]
            if block["artefact"] == wildcards.artefact
        ],
    }


def artefact_code(wildcards):
    return code_of(f"gnnip.evaluation.{wildcards.card}")


def figure_info(wildcards):
    """Return what is written on a figure."""
    card = card_of(wildcards)
    artefact = card.artefacts[wildcards.artefact]
    return {
        "card": card.id,
        "tier": card.tier,
        "reference": card.reference,
        "label": artefact.label,
        "title": artefact.title,
        "claims": [
            claim.text
            for claim in card.claims.values()
            if wildcards.artefact in claim.artefacts
        ],
    }


def figure_code(wildcards):
    return code_of(f"gnnip.figures.{wildcards.card}")


def figure_label(wildcards):
    return card_of(wildcards).artefacts[wildcards.artefact].label


# --- verdicts and what is asked for -----------------------------------------------------------------


def artefact_files(suffix):
    """Return the input function that gives one file per artefact of the card."""

    def files(wildcards):
        return expand(
            "results/{tier}/{card}/artefacts/{artefact}.{suffix}",
            tier=wildcards.tier,
            card=wildcards.card,
            artefact=card_of(wildcards).artefacts,
            suffix=suffix,
        )

    return files


def resolved_card(wildcards):
    return card_of(wildcards).model_dump(mode="json")


def whole_card(wildcards):
    """Return the card with all of its artefacts, whichever were chosen for this run."""
    everything = CONFIG.model_copy(update={"artefacts": None})
    card = cards.resolve(wildcards.card, wildcards.tier, everything)
    return card.model_dump(mode="json")


def verdict_code(wildcards):
    return code_of("gnnip.evaluation.verdicts", f"gnnip.evaluation.{wildcards.card}")


def summary_files(wildcards):
    groups = card_of(wildcards).trainings
    return training_files(wildcards.card, wildcards.tier, groups, "summary.json")


def card_verdicts(wildcards):
    return expand(
        "results/{tier}/{card}/verdicts.json", tier=wildcards.tier, card=CONFIG.papers
    )


def verification_files():
    """Return the tables of recomputed labels; imported labels have nothing to be recomputed with."""
    names = sorted(
        {
            name
            for card in CARDS.values()
            for name in card.used_datasets()
            if card.datasets[name].source in ("archive", "generate")
        }
    )
    return expand(
        "results/{tier}/datasets/{dataset}.verification.csv",
        tier=CONFIG.tier,
        dataset=names,
    )


def final_files():
    """Return everything that `snakemake` makes when nothing else is asked for."""
    figures = [
        f"results/{CONFIG.tier}/{name}/artefacts/{artefact}.{suffix}"
        for name, card in CARDS.items()
        for artefact in card.artefacts
        for suffix in ("png", "svg")
    ]
    return [
        *verification_files(),
        *figures,
        *expand("results/{tier}/{card}/provenance.json", tier=CONFIG.tier, card=CARDS),
        f"results/{CONFIG.tier}/verdicts.csv",
    ]


def recorded_figures(wildcards):
    """Return every figure that the recorded tables allow to redraw."""
    files = []
    for table in sorted(RECORDED.glob("*/*/*.csv")):
        if table.name.endswith(".metrics.csv") or table.stem in ("verdicts", "labels"):
            continue
        stem = table.relative_to(RECORDED).with_suffix("")
        files += [f"results/figures/{stem}.png", f"results/figures/{stem}.svg"]
    return files


wildcard_constraints:
    tier="|".join(cards.TIERS),
    card="|".join(map(re.escape, cards.card_names())),
    dataset="[a-z][a-z0-9_]*",
    group="[a-z][a-z0-9_]*",
    artefact="[a-z][a-z0-9_]*",
    cell=cards.Cell.pattern,
    seed="[0-9]+",
    size="[0-9]+",
    replica="[0-9]+",
    step="dynamics(_[a-z0-9_]+)?",
    potential=f"[a-z][a-z0-9_]*/{cards.Cell.pattern}/seed-[0-9]+",
