"""Compare codistill with the published implementations, by recorded inputs, weights and outputs (docs/verify.md).

In: a folder of such records. Out: one `CheckResult` per recorded quantity. `suite` runs those parts of a suite whose
files exist; every other module is one suite, or part of one.
"""
