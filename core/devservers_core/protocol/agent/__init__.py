"""The exchange between the operator and the agent in a server's pod.

The operator posts a signed plan to each running server's agent, and the agent answers with a report. Both hold
durations in whole seconds, never times: the clocks of a pod and of the operator may differ.
"""
