"""The cards of a workflow, and what follows from them for data sets."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from gnnip import code
from gnnip.config.resolve import ResolvedCard, resolve, resolve_all
from gnnip.config.schema import Config, DatasetUse
from gnnip.datasets import registry
from gnnip.datasets.references import modules_behind
from gnnip.errors import ConfigError
from gnnip.files import sha256


@functools.cache
def code_of(*modules: str) -> str:
    """Return the hash of the code behind a result, to be listed in the params of its rule."""
    return code.code_hash(modules)


def archive(name: str) -> str:
    """Return the file of a registered archive."""
    return str(Path("data") / registry.find_entry(name)["file"])


class Cards:
    """The selected cards at the selected tier, and any other card that a path asks for."""

    def __init__(self, config: Config) -> None:
        """Resolve the cards; ConfigError names what does not fit together."""
        self.config = config
        self.cards = resolve_all(config)
        self._resolved: dict[tuple[str, str], ResolvedCard] = {}

    def card_at(self, name: str, tier: str) -> ResolvedCard:
        """Return a card at any tier, so that a path alone says what is asked for."""
        if (name, tier) not in self._resolved:
            self._resolved[name, tier] = resolve(name, tier, self.config)
        return self._resolved[name, tier]

    def card(self, wildcards: Any) -> ResolvedCard:
        """Return the card of a job."""
        return self.card_at(wildcards.card, wildcards.tier)

    def resolved_card(self, wildcards: Any) -> dict[str, Any]:
        """Return the card of a job as plain values."""
        return self.card(wildcards).model_dump(mode="json")

    def whole_card(self, wildcards: Any) -> dict[str, Any]:
        """Return the card with all of its artefacts, whichever were chosen for this run."""
        everything = self.config.model_copy(update={"artefacts": None})
        return resolve(wildcards.card, wildcards.tier, everything).model_dump(mode="json")


class DataJobs(Cards):
    """The jobs that make data sets."""

    def datasets(self, drawn: bool) -> str:
        """Return a pattern of the data sets that are drawn at once, or of those of trajectories."""
        found = {
            name
            for card in self.cards.values()
            for name, use in card.datasets.items()
            if drawn != bool(use.sizes)
        }
        return "|".join(sorted(found)) or "(?!)"

    def dataset(self, wildcards: Any) -> DatasetUse:
        """Return how the selected cards use a data set; the first card that names it decides."""
        for name in self.config.papers:
            card = self.card_at(name, wildcards.tier)
            if wildcards.dataset in card.datasets:
                return card.datasets[wildcards.dataset]
        raise ConfigError(f"No selected card uses the data set '{wildcards.dataset}'.")

    def trajectories(self, wildcards: Any) -> list[str]:
        """Return the sampled trajectories that a data set is made of."""
        use = self.dataset(wildcards)
        folder = f"results/{wildcards.tier}/trajectories/{wildcards.dataset}"
        return [
            f"{folder}/size-{size}_replica-{replica}/frames.npz"
            for size in use.sizes
            for replica in range(use.replicas)
        ]

    def dataset_source(self, wildcards: Any) -> str:
        """Return the file a data set is copied from: generated or imported here, or an archive."""
        source = self.dataset(wildcards).source
        if source == "generate":
            return f"results/{wildcards.tier}/generated/{wildcards.dataset}.h5"
        if source != "archive":
            return f"results/{wildcards.tier}/imported/{wildcards.dataset}.h5"
        return archive(wildcards.dataset)

    def dataset_origin(self, wildcards: Any) -> dict[str, str]:
        """Return where a data set comes from; of an archive also its registered checksum."""
        source = self.dataset(wildcards).source
        if source != "archive":
            return {"source": source}
        entry = registry.find_entry(wildcards.dataset)
        return {"source": source, "sha256": str(entry["sha256"])}

    def published_entry(self, wildcards: Any) -> dict[str, Any]:
        """Return name and entry of the published set: a new checksum is downloaded anew."""
        from gnnip.datasets.published import find_published

        name = self.dataset(wildcards).published or wildcards.dataset
        return {"name": name} | find_published(name).model_dump(mode="json")

    def frames_to_import(self, wildcards: Any) -> str | list[str]:
        """Return the files of the user's folder, or the list of those that are downloaded."""
        use = self.dataset(wildcards)
        if use.folder is None or use.source != "folder":
            return f"results/{wildcards.tier}/imported/{wildcards.dataset}.files.json"
        from gnnip.datasets.imports.folder import folder_files

        return [str(path) for path in folder_files(use.folder)]

    def import_source(self, wildcards: Any) -> dict[str, Any]:
        """Return how files are read: the folder's settings with the content of its files, or
        nothing but the published name."""
        use = self.dataset(wildcards)
        if use.folder is None or use.source != "folder":
            return {"published": self.published_entry(wildcards)["name"]}
        files = self.frames_to_import(wildcards)
        content = {path: sha256(path) for path in files}
        return {"folder": use.folder.model_dump(mode="json"), "content": content}

    def sampling_plan(self, wildcards: Any) -> dict[str, Any]:
        """Return the fields of the sampling plan that the card states."""
        return dict(self.dataset(wildcards).plan)

    def frames_to_verify(self, wildcards: Any) -> int:
        """Return how many labels are recomputed."""
        return self.dataset(wildcards).verify_frames

    def sampling_code(self, wildcards: Any) -> str:
        """Hash what makes and labels the structures of a generated set."""
        return code_of(*modules_behind(wildcards.dataset, self.sampling_plan(wildcards)))

    def verification_code(self, wildcards: Any) -> str:
        """Hash what recomputes labels."""
        modules = modules_behind(wildcards.dataset, self.sampling_plan(wildcards))
        return code_of("gnnip.datasets.verification", *modules)
