"""What labels a data set: known before it is there, stated by its archive, and the code behind."""

from dataclasses import replace

import pytest
import yaml

from gnnip.datasets import registry, store
from gnnip.datasets.assembly import draw_structures
from gnnip.datasets.references import OWN_MODELS, modules_behind, reference_of, stated_reference
from gnnip.errors import ConfigError, DataError
from gnnip.reference import engines

SETS = {
    "ani": "dft",
    "au_mgo": "exact",
    "au_mgo_dft": "dft",
    "ean": "xtb",
    "gese2": "xtb",
    "gese2_dft": "dft",
    "hfo2": "xtb",
    "p4": "xtb",
    "point_charges": "exact",
    "sic": "xtb",
    "sic_dft": "dft",
    "water_anion": "exact",
    "water_anion_ladder": "exact",
    "water_anion_pimd": "exact",
}
SHIPPED = sorted(SETS.keys() & registry.load_registry().keys())


def uses_in_cards():
    """Return (name, use) of every data set that a card names, also where a tier changes it."""
    uses = []
    for path in (registry.registry_path().parents[1] / "papers").rglob("*.yaml"):
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
        sets = card.get("datasets", {})
        own = {name: use for name, use in sets.items() if not use.get("optional")}
        uses += list(own.items())
        for tier in card.get("tiers", {}).values():
            uses += [(n, {**sets[n], **c}) for n, c in tier.get("datasets", {}).items() if c]
    return uses


def test_every_data_set_of_the_cards_has_its_reference():
    assert {name for name, _ in uses_in_cards()} == set(SETS)
    for name, use in uses_in_cards():
        # the miniatures of sets by CP2K, which few have, are by xTB
        small = name.endswith("_dft") and use.get("plan") == {"preset": "smoke"}
        wanted = "xtb" if small else SETS[name]
        assert reference_of(name, use["source"], plan=use.get("plan")) == wanted


@pytest.mark.parametrize("name", SHIPPED)
def test_registry_archive_and_plan_name_the_same_reference(name):
    archive = registry.registry_path().parent / registry.find_entry(name)["file"]
    frames = store.read_frames(archive)
    said = [reference_of(name, "archive"), reference_of(name, "generate"), stated_reference(frames)]
    # an archive from before the attribute was written says it by its engine or labeller
    frames.attributes.pop("reference", None)
    assert {*said, stated_reference(frames)} == {SETS[name]}


def test_drawn_structures_state_their_reference(tmp_path):
    plan = {"distances": [4.0], "train_draws": 1, "test_draws": 0, "margin": 4.0}
    assert reference_of("point_charges", "generate", plan=plan) == SETS["point_charges"]
    frames = store.read_frames(draw_structures("point_charges", plan, tmp_path / "p.h5"))
    assert frames.attributes["reference"] == stated_reference(frames) == "exact"


def test_the_card_decides_what_labels():
    changed = {"label_engine": "cp2k", "sizes": [8]}
    assert reference_of("sic", "generate", plan=changed) == "dft"
    assert reference_of("ani", "generate", plan={"label_engine": "ase:emt"}) == "xtb"
    assert reference_of("mine", "download", published="sic_tersoff") == "published"
    folder = {"path": "frames", "format": "extxyz"}
    assert reference_of("mine", "folder", folder=folder) == "published"
    assert reference_of("mine", "folder", folder={**folder, "reference": "dft"}) == "dft"
    for arguments, error, message in (
        (("sick", "archive"), DataError, "did you mean 'sic'"),
        (("ani_2", "download"), DataError, "No published data set"),
        (("sic", "generat"), ConfigError, "no source 'generat' of data sets, did you mean"),
    ):
        with pytest.raises(error, match=message):
            reference_of(*arguments)


def test_archives_that_say_nothing_are_named(made_frames):
    silent = replace(made_frames(), attributes={})
    with pytest.raises(DataError, match="does not say what labelled it; give it the attribute"):
        stated_reference(silent)
    for attributes, word in (
        ({"labeller": "imported"}, "published"),
        ({"labeller": "au_mgo"}, "exact"),
        ({"labeller": "engine", "engine": "pyscf"}, "dft"),
        ({"labeller": "au_mgo", "reference": "xtb"}, "xtb"),
    ):
        assert stated_reference(replace(made_frames(), attributes=attributes)) == word


@pytest.mark.parametrize("name", SETS)
def test_the_code_behind_a_set_is_its_sampler_and_its_engines(name):
    engines_of = {
        "ani": ("xtb", "pyscf"),
        "au_mgo_dft": ("cp2k",),
        "gese2_dft": ("xtb", "cp2k"),
        "sic_dft": ("xtb", "cp2k"),
        **dict.fromkeys(OWN_MODELS, ()),
    }
    wanted = [f"gnnip.reference.{engine}" for engine in engines_of.get(name, ("xtb",))]
    assert modules_behind(name, {}) == sorted([f"gnnip.sampling.{name}", *wanted])


@pytest.mark.parametrize("engine", engines.names())
def test_every_engine_counts_as_mover_and_as_labeller(engine):
    text = "ase:emt" if engine == "ase" else engine
    module = engines.engine_module(text)
    assert module in modules_behind("sic", {"preset": "smoke", "engine": text})
    assert module in modules_behind("sic", {"label_engine": text})
    assert module in modules_behind("ani", {"label_engine": text, "molecules": ["HCN"]})
