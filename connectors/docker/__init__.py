"""Docker: its events, its containers, its health, and what may be done to containers.

`api.client` is the only module that speaks HTTP; everything else works on the port `engine.ports.docker.DockerApi`, which
`fake` fulfils in memory.
"""
