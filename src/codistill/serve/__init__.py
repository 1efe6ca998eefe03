"""The live page and its REST API: one process, one port, one perception; see docs/live.md.

`settings` what is allowed · `app` the ASGI application · `tabs` a browser tab's WebSocket · `messages`, `packets` what
travels · `intake` bytes to pixels · `worker` the one thread that computes · `answers`, `clouds` a scene as arrays for a
browser · `rest` `/v1` · `guard`, `body_limit`, `patience` who is let in, and for how long · `meters` Prometheus ·
`pages`, `samples` what ships with the package · `run` the server.
"""
