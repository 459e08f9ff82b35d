"""A look at a service from outside, without running it: its settings, and what they lead to.

`python -m services.chassis.inspection services.inference config` is what `runplane config` and
`runplane doctor` ask for each service. Nothing here changes anything, but `migrate`.
"""
