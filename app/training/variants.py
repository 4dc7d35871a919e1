"""The networks that are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from app.networks.store import Name
from app.training.config import NetworkConfig
from app.training.distil import DistilConfig


class Variant(NetworkConfig):
    """One of them.

    Attributes:
        fixed_matrices: as in `DistilConfig`.
        pca_of: a variant before it, with plain LUTs: this one is not trained, but is that one
            with its basis compressed to S and W afterwards.
    """

    fixed_matrices: bool = False
    pca_of: Name | None = None

    @property
    def shape(self) -> str:
        """N+S+W as the paper writes it, e.g. 20+05+20; -- is not compressed."""
        return "+".join(f"{it:02}" if it else "--" for it in (self.n, self.s, self.w))


class CompareConfig(BaseModel):
    """A comparison.

    Attributes:
        distil: the first network, and how all of them learn.
        variants: the others, by name.
        pairs: photos and what an expert made of them, for a last look; see `find_pairs`.
        report: a Markdown file; the plot is put beside it, as PNG.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    distil: DistilConfig
    variants: dict[Name, Variant]
    pairs: Path
    report: Path

    @property
    def networks(self) -> dict[str, Variant]:
        """All that are compared, by name."""
        shared = self.distil
        first = Variant(**shared.network.model_dump(), fixed_matrices=shared.fixed_matrices)
        return {shared.name: first, **self.variants}

    def recipe(self, name: str) -> DistilConfig:
        """How one of them is trained."""
        variant, shared = self.networks[name], self.distil
        # A second difference grows with the square of the step between lattice points, and the
        # loss squares it: on a coarser lattice the same curve would be dearer.
        step = (shared.network.d - 1) / (variant.d - 1)
        bending = shared.losses.bending / step**4
        return shared.model_copy(
            update={
                "name": name,
                "run": shared.run / name,
                "network": NetworkConfig(n=variant.n, s=variant.s, w=variant.w, d=variant.d),
                "fixed_matrices": variant.fixed_matrices,
                "losses": shared.losses.model_copy(update={"bending": bending}),
            }
        )

    def with_data(
        self, photos: Path | None = None, teachers: Path | None = None, pairs: Path | None = None
    ) -> Self:
        """The same comparison where folders lie elsewhere; the inventory lies with the photos."""
        distil = self.distil
        if photos is not None:
            inventory = distil.photos.inventory and photos / distil.photos.inventory.name
            there = distil.photos.model_copy(update={"folder": photos, "inventory": inventory})
            distil = distil.model_copy(update={"photos": there})
        if teachers is not None:
            distil = distil.model_copy(update={"teacher_store": teachers})
        return self.model_copy(update={"distil": distil, "pairs": pairs or self.pairs})
