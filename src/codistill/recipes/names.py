"""Names of codistill's recipes, quick to import; `registry.RECIPES` has the recipes."""

RECIPE_NAMES = (
    "bench",
    "debug",
    "dune-vitbase14-336",
    "dune-vitbase14-448",
    "dune-vitsmall14-336",
    "dune-vitsmall14-448",
    "generic-tiny",
    "real-mini",
    "table1-all-lp",
    "table1-all-sp",
    "table1-all-tp",
    "table1-in19k-lp",
    "table1-in19k-tp",
    "table2-full",
    "table2-generic",
    "table2-none",
    "unic",
    "world-debug",
    "world-demo",
)
