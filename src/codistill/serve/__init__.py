"""The server of the live page and its REST API: one process, one port, one perception; see docs/live.md.

settings                        the limits of a server
app                             the ASGI application
tabs                            the WebSocket of a browser tab
messages, packets               the messages of client and server
intake                          bytes of pictures to pixels
worker                          the one thread that computes
answers, clouds                 a scene as arrays for a browser
rest                            the REST API under `/v1`
guard, body_limit, patience     access control, limits of requests, limits of connections
meters                          Prometheus metrics
pages, samples                  files and pictures that ship with the package
run                             starts the server
"""
