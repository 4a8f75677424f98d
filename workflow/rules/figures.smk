# Figures, drawn from tidy tables alone: no torch is needed here.


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
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        info=figure_info,
        code=figure_code,
    message:
        "Drawing {wildcards.card}/{wildcards.artefact}"
    script:
        "../scripts/plot_artefact.py"


rule redraw_artefact:
    input:
        tidy="results/recorded/{tier}/{card}/{artefact}.csv",
    output:
        png="results/figures/{tier}/{card}/{artefact}.png",
        svg="results/figures/{tier}/{card}/{artefact}.svg",
    log:
        "logs/{tier}/{card}/redraw_artefact/{artefact}.log",
    benchmark:
        "results/figures/{tier}/{card}/benchmarks/{artefact}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        info=figure_info,
        code=figure_code,
    message:
        "Redrawing the recorded {wildcards.card}/{wildcards.artefact} ({wildcards.tier})"
    script:
        "../scripts/plot_artefact.py"


rule figures:
    input:
        recorded_figures,
