# Where results come from, and the copy of them that is committed.


rule collect_provenance:
    input:
        verdicts="results/{tier}/{card}/verdicts.json",
        summaries=ask(RUN.summaries),
        datasets=ask(RUN.used_datasets),
    output:
        json="results/{tier}/{card}/provenance.json",
    log:
        "logs/{tier}/{card}/collect_provenance.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/collect_provenance.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        card=ask(RUN.whole_card),
        config=CONFIG.model_dump(mode="json"),
        benchmarks="results/{tier}/{card}/benchmarks",
        data_benchmarks="results/{tier}/datasets/benchmarks",
        data=ask(RUN.data_files),
        code=ask(RUN.codes),
    message:
        "Writing down where the results of {wildcards.card} come from"
    script:
        "../scripts/collect_provenance.py"


rule record_results:
    input:
        figures=ask(RUN.artefact_files("png", "svg")),
        tables=ask(RUN.artefact_files("csv", "metrics.csv")),
        verdicts="results/{tier}/{card}/verdicts.csv",
        verdicts_json="results/{tier}/{card}/verdicts.json",
        claims="results/{tier}/{card}/claims.csv",
        trainings="results/{tier}/{card}/trainings.csv",
        provenance="results/{tier}/{card}/provenance.json",
        lasting=ask(RUN.lasting_files),
    output:
        # the copies are no outputs: a recorded table must never be remade on its own
        manifest="results/{tier}/{card}/recorded.json",
    log:
        "logs/{tier}/{card}/record_results.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/record_results.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        card=ask(RUN.whole_card),
        claims=ask(RUN.claims_module),
        chosen=CONFIG.artefacts,
        every=CONFIG.keep_every,
    message:
        "Recording {wildcards.card} under results/recorded/{wildcards.tier}"
    script:
        "../scripts/record_results.py"


rule record:
    input:
        expand("results/{tier}/{card}/recorded.json", tier=CONFIG.tier, card=RUN.cards),
