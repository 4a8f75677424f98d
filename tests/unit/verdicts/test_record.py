"""Some artefacts of a run join what is recorded."""

import json

from kang2024_run import kang_run, perfect, short_sighted
from made_up_run import ROOT

from gnnip.config.resolve import resolve
from gnnip.verdicts.judge import read_verdicts
from gnnip.verdicts.record import record
from gnnip.verdicts.verdict import NOT_RUN

CARD = resolve("kang2024", "paper", folder=ROOT / "papers")
CLAIMS = "kang2024.claims"


def files_of(folder, rule, artefacts):
    """The files that the workflow hands over after a run of some artefacts."""
    run, found = kang_run(folder / "run", rule), []
    for name in artefacts:
        tidy, metrics = run.table(name)
        for suffix, text in (
            (".csv", tidy.to_csv(index=False)),
            (".metrics.csv", metrics.to_csv(index=False)),
            (".png", "picture"),
            (".svg", "picture"),
        ):
            found.append(folder / f"{name}{suffix}")
            found[-1].write_text(text, encoding="utf-8")
    for name in ("provenance.json", "verdicts.csv", "verdicts.json"):
        found.append(folder / name)
        found[-1].write_text(json.dumps({"of": artefacts}), encoding="utf-8")
    return found


def test_artefacts_join_and_all_is_judged_again(tmp_path):
    target = tmp_path / "recorded"
    for number, (rule, names) in enumerate(
        ((perfect, ["fig1b"]), (short_sighted, ["fig1c"]), (perfect, ["fig1c"]))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        record(files_of(folder, rule, names), target, CARD, CLAIMS, names)
        verdicts = {v.quantity: v.verdict for v in read_verdicts(target / "verdicts.json")}
        assert verdicts["interpolates"] == "reproduced"
        # the last run of an artefact is the one that counts
        expected = (NOT_RUN, "deviates", "reproduced")[number]
        assert verdicts["extrapolates"] == expected
        assert verdicts["atomic_energy_small"] == NOT_RUN
    present = {path.name for path in target.iterdir()}
    assert {"fig1b.provenance.json", "fig1c.provenance.json", "fig1b.png", "fig1c.csv"} <= present
    assert "provenance.json" not in present


def test_a_whole_run_replaces_everything(tmp_path):
    target = tmp_path / "recorded"
    target.mkdir()
    (target / "fig1e.csv").write_text("old", encoding="utf-8")
    record(files_of(tmp_path, perfect, ["fig1b"]), target, CARD, CLAIMS, None)
    assert not (target / "fig1e.csv").exists()
    assert json.loads((target / "provenance.json").read_text()) == {"of": ["fig1b"]}
