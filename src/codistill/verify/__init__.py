"""Numbers against the published implementations: folders of recorded inputs, weights and outputs (docs/verify.md).

In: such a folder. Out: one `CheckResult` a recorded quantity. `suite` runs those parts of a suite whose files
exist; every other module is one suite, or part of one.
"""
