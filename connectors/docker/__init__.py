"""The Docker engine: its events, its containers, its health, and what may be done to containers.

`client` is the only module that speaks HTTP; everything else works on the port `engine.ports.docker.ContainerEngine`, which
`fake` fulfils in memory.
"""
