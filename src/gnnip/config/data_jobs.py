"""The cards of a workflow, and what follows from them for data sets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnnip import code
from gnnip.config.resolve import ResolvedCard, resolve, resolve_all
from gnnip.config.schema import Config, DatasetUse
from gnnip.datasets import registry
from gnnip.datasets.references import modules_behind
from gnnip.errors import ConfigError
from gnnip.receipts import content_hash

#: what reads the frames that trajectories start from; the rule loads it where there are any
STARTS_READER = "gnnip.datasets.gathering"


def archive(name: str) -> str:
    """Return the file of a registered archive."""
    return str(Path("data") / registry.find_entry(name)["file"])


class Cards:
    """The selected cards at the selected tier, and any other card that a path asks for."""

    def __init__(
        self,
        config: Config,
        scripts: Path = Path("workflow/scripts"),
        cards: dict[str, ResolvedCard] | None = None,
    ) -> None:
        """Resolve the cards; ConfigError names what does not fit together.

        `scripts` is the folder of the jobs' scripts, whose code counts as that of the library.
        `cards` are taken as they are, such as those of a record.
        """
        self.config, self.scripts = config, scripts
        self.sources: dict[str, list[str]] = {}  # of each hash of code, the modules
        self.cards = resolve_all(config) if cards is None else cards
        self._resolved: dict[tuple[str, str], ResolvedCard] = {
            (name, config.tier): card for name, card in self.cards.items()
        }

    @functools.cache  # noqa: B019 (it lives as long as the process)
    def code_of(self, rule: str, *modules: str) -> str:
        """Hash the code behind a result, to be listed in the params of its rule: the modules, and
        the rule's script with all that it imports."""
        sources = [str((self.scripts / f"{rule}.py").resolve()), *modules]
        found = code.code_hash(sources)
        self.sources[found] = sources
        return found

    def code(self, rule: str) -> Any:
        """Return the params function of the code of a rule that loads nothing by its name."""
        return lambda wildcards: self.code_of(rule)

    def card_at(self, name: str, tier: str) -> ResolvedCard:
        """Return a card at any tier, so that a path alone says what is asked for."""
        if (name, tier) not in self._resolved:
            self._resolved[name, tier] = resolve(name, tier, self.config)
        return self._resolved[name, tier]

    def card(self, wildcards: Any) -> ResolvedCard:
        """Return the card of a job."""
        return self.card_at(wildcards.card, wildcards.tier)

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

    def starts(self, wildcards: Any) -> list[str]:
        """Return the data set from whose frames the trajectories of another start, if they do."""
        name = self.dataset(wildcards).starts
        return [f"results/{wildcards.tier}/datasets/{name}.h5"] if name else []

    def dataset_made(self, wildcards: Any) -> list[str]:
        """Return the file that a data set is copied from where it is generated or imported here."""
        source = self.dataset(wildcards).source
        if source == "archive":
            return []
        folder = "generated" if source == "generate" else "imported"
        return [f"results/{wildcards.tier}/{folder}/{wildcards.dataset}.h5"]

    def dataset_archive(self, wildcards: Any) -> list[str]:
        """Return the file that a data set is copied from where it is a registered archive."""
        archived = self.dataset(wildcards).source == "archive"
        return [archive(wildcards.dataset)] if archived else []

    def dataset_origin(self, wildcards: Any) -> dict[str, str]:
        """Return where a data set comes from, and the content of an archive."""
        content = content_hash(*self.dataset_archive(wildcards))
        return {"source": self.dataset(wildcards).source, "content": content}

    def published_entry(self, wildcards: Any) -> dict[str, Any]:
        """Return name and entry of the published set: a new checksum is downloaded anew."""
        from gnnip.datasets.published import find_published

        name = self.dataset(wildcards).published or wildcards.dataset
        return {"name": name} | find_published(name).model_dump(mode="json")

    def frames_to_import(self, wildcards: Any) -> list[str]:
        """Return the files of the user's folder, or the list of those that are downloaded."""
        use = self.dataset(wildcards)
        if use.folder is None or use.source != "folder":
            return [f"results/{wildcards.tier}/imported/{wildcards.dataset}.files.json"]
        from gnnip.datasets.imports.folder import folder_files

        return [str(path) for path in folder_files(use.folder)]

    def import_source(self, wildcards: Any) -> dict[str, Any]:
        """Return how files are read: the folder's settings with the content of its files, or
        nothing but the published name."""
        use = self.dataset(wildcards)
        if use.folder is None or use.source != "folder":
            return {"published": self.published_entry(wildcards)["name"]}
        content = content_hash(*self.frames_to_import(wildcards))
        return {"folder": use.folder.model_dump(mode="json"), "content": content}

    def of_dataset(self, value: Callable[[DatasetUse], Any]) -> Any:
        """Return the function that gives a value of how a data set is used."""
        return lambda wildcards: value(self.dataset(wildcards))

    def data_code(self, rule: str) -> Any:
        """Return the params function of the code of a rule that samples, labels or verifies: the
        sampler and the engines are loaded by their names."""

        def code_behind(wildcards: Any) -> str:
            use = self.dataset(wildcards)
            modules = modules_behind(wildcards.dataset, dict(use.plan))
            reader = [STARTS_READER] if use.starts else []
            return self.code_of(rule, *modules, *reader)

        return code_behind
