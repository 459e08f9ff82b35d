"""The edge: the only place that speaks HTTP.

It owns the HTTP shape of the contracts: routes, JSON, server-sent events, errors. It never decides
anything about agents, tools or models, keeps no state, and calls the services by gRPC only.
"""
