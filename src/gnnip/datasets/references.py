"""What labels a data set, in one word: exact, published, dft or xtb; and the code that does.

The word is known before the set is there, from where it comes (`reference_of`), and is written into
every archive that the pipeline makes (`stated_reference`). `xtb` stands for GFN-xTB and whatever
else is cheap, `exact` for a model of the project's own, solved to the accuracy that the set states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import ConfigError, DataError, nearest
from gnnip.reference.engines import engine_module, make_engine
from gnnip.sampling.plans import make_plan

SOURCES = ("archive", "generate", "download", "folder")
#: data sets whose samplers (`gnnip.sampling.<name>`) label them too, by a model of their own
OWN_MODELS = ("au_mgo", "point_charges", "water_anion", "water_anion_ladder", "water_anion_pimd")


def reference_of(
    name: str,
    source: str,
    *,
    published: str | None = None,
    folder: Any = None,
    plan: Mapping[str, Any] | None = None,
) -> str:
    """Return the reference of a data set that a card names.

    source : archive (then it is that of the registry), generate (of the engine that the sampling
    `plan` of the card labels with), download (published; `published` names the entry, by default
    that of the same name) or folder (what the settings `folder`, a FolderSource or a mapping, say).

    Raises ConfigError for an unknown source or plan, DataError for a set that is not registered.
    """
    if source == "archive":
        from gnnip.datasets.registry import find_entry

        return str(find_entry(name)["reference"])
    if source == "download":
        from gnnip.datasets.published import find_published

        find_published(published or name)
        return "published"
    if source == "folder":
        from gnnip.datasets.imports.settings import FolderSource

        return FolderSource.model_validate(folder).reference
    if source != "generate":
        raise ConfigError(f"There is no source '{source}' of data sets{nearest(source, SOURCES)}.")
    if name in OWN_MODELS:
        return "exact"
    return make_engine(_engines(name, plan or {})[-1]).reference


def stated_reference(frames: FrameArrays) -> str:
    """Return the reference that an archive states of itself.

    Archives of before the attribute `reference` say it by their engine or labeller. Raises
    DataError for one that says nothing.
    """
    facts = frames.attributes
    if "reference" in facts:
        return str(facts["reference"])
    if "engine" in facts:
        return make_engine(str(facts["engine"])).reference
    if facts.get("labeller") in OWN_MODELS:
        return "exact"
    if facts.get("labeller") == "imported":
        return "published"
    raise DataError(
        "The data set does not say what labelled it; give it the attribute reference (exact, "
        "published, dft or xtb)."
    )


def modules_behind(name: str, plan: Mapping[str, Any]) -> list[str]:
    """Return the library modules that are loaded by name to generate a set or verify its labels.

    They are the sampler and the engines that the sampling `plan` of the card names; what those
    import is not listed.
    """
    sampler = f"gnnip.sampling.{name}"
    if name in OWN_MODELS:
        return [sampler]
    return sorted({sampler, *map(engine_module, _engines(name, plan))})


def _engines(name: str, plan: Mapping[str, Any]) -> list[str]:
    """Return the engines that move the atoms and that label, as texts."""
    # other changes may need the size of the trajectory, which no engine depends on
    asked = {key: plan[key] for key in ("preset", "engine", "label_engine") if key in plan}
    chosen = make_plan(name, None, 0, asked)
    return [chosen.engine, chosen.label_engine or chosen.engine]
