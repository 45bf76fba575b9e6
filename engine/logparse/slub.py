"""The lines by which the slab allocator says that it got no memory (mm/slub.c, slab_out_of_memory). Pure.

`SLUB: Unable to allocate memory on node -1 (gfp=0x8020)`, from 4.2 on `…, gfp=0x…(GFP_…)`, from 6.11 on `on CPU 0 (of node 0) on
node -1`; then `  cache: NAME, object size: …`. Kernels before 4.5 that account kernel memory by cgroup put the cgroup's id and
name behind the cache's: `kmalloc-192(33:<container id>)` (memcg_create_kmem_cache in mm/memcontrol.c).
"""

import re

from engine.logparse.cgroups import describe
from engine.logparse.reading import Fields, found_fields

_FAILURE = re.compile(
    r"SLUB: Unable to allocate memory on (?:CPU \d{1,6} \(of node -?\d{1,6}\) on )?node (?P<node>-?\d{1,6})"
    r"(?:,? \(?gfp=(?P<gfp>0x[0-9a-f]{1,16}))?",
    re.ASCII,
)
_CACHE = re.compile(
    r"cache: (?P<cache>.{1,128}?)(?:\((?P<memcg_css_id>\d{1,10}):(?P<memcg_name>.{0,255}?)\))?, "
    r"object size: (?P<object_size>\d{1,10})\b",
    re.ASCII,
)
_ID = re.compile(r"[0-9a-f]{12,64}", re.ASCII)


def read_failure(text: str) -> Fields | None:
    """`node` and `gfp` of the first line, None for any other."""
    found = _FAILURE.match(text) if text.startswith("SLUB: ") else None
    return None if found is None else found_fields(found.groupdict(), frozenset({"node"}))


def read_cache(text: str) -> Fields | None:
    """Cache, object size (bytes) and cgroup of the second line, None for any other."""
    if (found := _CACHE.match(text)) is None:
        return None
    fields = found_fields(found.groupdict(), frozenset({"memcg_css_id", "object_size"}))
    name = found["memcg_name"] or ""
    return fields | ({"container_id": name} if _ID.fullmatch(name) else describe(name))
