"""Which containers no action may touch. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

LABEL = "dockwarden.protect"
_YES = frozenset({"true", "1", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Protection:
    """Protects by the label `dockwarden.protect=true`, and by patterns (`*`, `?`, `[…]`) for names and images."""

    names: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    def covers(self, *, name: str, image: str, labels: Mapping[str, str]) -> bool:
        """True when this container is protected."""
        if labels.get(LABEL, "").strip().lower() in _YES:
            return True
        return any(fnmatchcase(name, pattern) for pattern in self.names) or any(
            fnmatchcase(image, pattern) for pattern in self.images
        )
