"""Scenarios: how a test environment answers badly, slowly, late or not at all when it is asked to.

* `behaviours`: the catalogue of what can be done to an answer, as data.
* `sets`: the trigger numbers of the published simulators, by name.
* `form`: scenarios as JSON. `facts`: what a request says of itself. `running`: what is set in a running service.

Nothing here runs in a live service. Spec: 00 §4 ``scenario``; 10 §15; 20 §9.4; 40 §6.4; 50 §14.4; 70 §14.
"""
