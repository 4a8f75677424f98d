"""Names in the tables of an ablation: what a card calls {data set}_{arm} is told apart by both.

`materials` are the data sets that the option of this name lists. Without them a group keeps its
name, which is then the arm.
"""

from __future__ import annotations

from collections.abc import Collection


def divide(name: str, materials: Collection[str]) -> tuple[str, str]:
    """Return material and arm of a group, or of a potential (group/cell/seed-0); the material is
    empty where the name begins with none."""
    group = name.split("/")[0]
    for material in materials:
        if group.startswith(f"{material}_"):
            return material, group.removeprefix(f"{material}_")
    return "", group


def names(groups: Collection[str], materials: Collection[str]) -> dict[str, str]:
    """Return what metrics call each group: the arm where all are of one material."""
    several = len({divide(group, materials)[0] for group in groups}) > 1
    return {group: group if several else divide(group, materials)[1] for group in groups}
