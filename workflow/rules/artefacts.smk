# Tables and figures: figures are drawn from tidy tables alone, no torch is needed there.


rule tabulate_artefact:
    input:
        ask(RUN.artefact_inputs),
    output:
        tidy=report(
            "results/{tier}/{card}/artefacts/{artefact}.csv",
            category="{card}",
            subcategory="Tables",
            labels={"artefact": "{artefact}", "what": "tidy table"},
        ),
        metrics="results/{tier}/{card}/artefacts/{artefact}.metrics.csv",
    log:
        "logs/{tier}/{card}/tabulate_artefact/{artefact}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/tabulate_artefact/{artefact}.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        facts=ask(RUN.artefact_facts),
        code=ask(RUN.artefact_code),
    message:
        "Tabulating {wildcards.card}/{wildcards.artefact}"
    script:
        "../scripts/tabulate_artefact.py"


rule plot_artefact:
    input:
        tidy="results/{tier}/{card}/artefacts/{artefact}.csv",
    output:
        png=report(
            "results/{tier}/{card}/artefacts/{artefact}.png",
            caption="../report/artefact.rst",
            category="{card}",
            subcategory="Figures",
            labels={"artefact": "{artefact}", "what": "figure"},
        ),
        svg="results/{tier}/{card}/artefacts/{artefact}.svg",
    log:
        "logs/{tier}/{card}/plot_artefact/{artefact}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/plot_artefact/{artefact}.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        info=ask(RUN.figure_info),
        code=ask(RUN.figure_code),
    message:
        "Drawing {wildcards.card}/{wildcards.artefact}"
    script:
        "../scripts/plot_artefact.py"


use rule plot_artefact as redraw_artefact with:
    input:
        tidy=ancient("results/recorded/{tier}/{card}/{artefact}.csv"),
    output:
        png="results/figures/{tier}/{card}/{artefact}.png",
        svg="results/figures/{tier}/{card}/{artefact}.svg",
    log:
        "logs/{tier}/{card}/redraw_artefact/{artefact}.log",
    benchmark:
        "results/figures/{tier}/{card}/benchmarks/{artefact}.tsv"
    localrule: True
    params:
        info=ask(RUN.recorded_figure_info),
        code=ask(RUN.recorded_figure_code),
        content=ask(RUN.recorded_content),
    message:
        "Redrawing the recorded {wildcards.card}/{wildcards.artefact} ({wildcards.tier})"


rule figures:
    input:
        RUN.recorded_figures,
