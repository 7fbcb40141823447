"""The operator of devservers: reconciles DevServers and DevServerUsers.

`api` has the kinds, `build` turns them into manifests, `observe` turns what exists into a status, `reconcile` brings
both together through a Lister and a Client, and `runtime` is the process around it.
"""
