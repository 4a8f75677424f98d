# The workflow itself is in workflow/; this file lets `snakemake` find it from the root.
include: "workflow/Snakefile"


workflow.default_target = "all"
