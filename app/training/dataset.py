"""The examples of a distillation: photographs to recover, and raw-like ones to be taught."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor

from app.errors import BadParameter
from app.networks.base import ThumbnailRecipe
from app.training.augment import (
    UNTOUCHED,
    Damage,
    Degradation,
    DegradeConfig,
    clipped_share,
    colours_at,
    cut_mix,
    pixel_indices,
    places_of,
    random_degradation,
    random_page,
    random_view,
    resize_square,
    to_gray,
)
from app.training.data import Photos, as_planes, draw, read_photo, save_whole
from app.training.ensemble import Teachers
from app.training.local_light import LocalLightConfig, random_light, relight


class Batch(NamedTuple):
    """B images: the inputs of the network, and the targets of P colours of each.

    Attributes:
        thumbnails: float32 (B, 3, S, S) in 0..1.
        colours: float32 (B, P, 3) in 0..1.
        targets: float32 (B, P, 3) in 0..1.
        places: float32 (B, P, 2) in 0..1, x and y in the image.
    """

    thumbnails: Tensor
    colours: Tensor
    targets: Tensor
    places: Tensor


class MixtureConfig(BaseModel):
    """Shares of a batch. The rest to 1 is taught: damaged, with targets by the teachers.

    Attributes:
        recover: share of examples whose target is the photograph before the damage.
        pages: share of drawn documents, screenshots and logos, to be left as they are.
        gray: share of all examples that are turned to black and white.
        cut_mixed: share of photographs of which a part is another photograph's.
        taught: damage of taught examples.
        clipped: largest share of clipped pixels of photographs to be taught: raw renderings have
            headroom, and a network would recognise damaged photographs by the lack of it.
        taught_size: side of the images that the teachers receive; BPAM's outputs at 192 pixels
            are as good as at 512, and cost a seventh.
        damaged: damage of those to recover.
        local: share of examples whose light differs within the image, to be recovered.
        light: the light of those.
        inverted: share of taught examples that get the inverse of the look which the teachers
            predict for the damaged photograph: what they take for raw, and turn into the original.
        before_inversion: that damage, which such an example itself has not.
        taught_local: share of taught examples whose light differs within the image, too.
        antialiased: share of photographs of which the student gets an antialiased thumbnail: its
            output then hardly depends on how the thumbnail was made.
        cached: how many batches of taught examples are kept and seen again: teachers cost more
            than the student. None makes new ones for every step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recover: float = Field(default=0.0, ge=0, le=1)
    pages: float = Field(default=0.0, ge=0, le=1)
    gray: float = Field(default=0.0, ge=0, le=1)
    cut_mixed: float = Field(default=0.0, ge=0, le=1)
    taught: DegradeConfig = DegradeConfig()
    clipped: float = Field(default=1.0, ge=0, le=1)
    taught_size: PositiveInt = 192
    damaged: DegradeConfig = DegradeConfig()
    local: float = Field(default=0.0, ge=0, le=1)
    light: LocalLightConfig = LocalLightConfig()
    inverted: float = Field(default=0.0, ge=0, le=1)
    before_inversion: DegradeConfig = DegradeConfig()
    taught_local: float = Field(default=0.0, ge=0, le=1)
    antialiased: float = Field(default=0.5, ge=0, le=1)
    cached: PositiveInt | None = None


class DistillationDataset:
    """Batches of a distillation: the same ones for a seed and a step."""

    def __init__(
        self,
        config: MixtureConfig,
        photos: Photos,
        teachers: Teachers,
        *,
        thumbnail: ThumbnailRecipe,
        batch: int,
        colours: int,
        smallest_view: float,
        seed: int,
        cache: Path,
    ) -> None:
        """Read the photographs.

        Raises:
            Problem: one of them cannot be read.
        """
        self._config, self._teachers, self._thumbnail = config, teachers, thumbnail
        self._size, self._colours, self._smallest = batch, colours, smallest_view
        self._seed, self._cache = seed, cache
        self._recover = round(config.recover * batch)
        self._pages = round(config.pages * batch)
        self._local = round(config.local * batch)
        self._taught = batch - self._recover - self._pages - self._local
        read = {path: as_planes(read_photo(path)) for path in photos.train}
        self._finished = [read[path] for path in photos.finished]
        self._raw_like = [it for it in read.values() if clipped_share(it) <= config.clipped]
        if not (self._finished and self._raw_like):
            raise BadParameter("too few photographs: all are stylised, or all are clipped")
        # Damage is the same for every seed, to compare runs.
        self.held_out = self.validation(photos.held_out, np.random.default_rng(0))
        cache.mkdir(parents=True, exist_ok=True)

    def batch(self, step: int) -> Batch:
        """Make the batch of a step."""
        rng = np.random.default_rng([self._seed, step])
        parts = [self._fresh(step, rng)] if self._taught < self._size else []
        if self._taught:
            parts.append(self._read_or_make(step))
        return Batch(*map(torch.cat, zip(*parts, strict=True)))

    def _fresh(self, step: int, rng: np.random.Generator) -> Batch:
        """Photographs to recover, and pages."""
        examples = [
            self._to_recover(view, random_degradation(self._config.damaged, rng), rng)
            for view in self._views(self._finished, self._recover, self._seed, step, rng)
        ]
        for view in self._views(self._finished, self._local, self._seed + 2, step, rng):
            shown = random_page(rng) if rng.random() < self._config.light.drawn else view
            examples.append(self._to_relight(shown, rng))
        examples += [self._to_recover(random_page(rng), UNTOUCHED, rng) for _ in range(self._pages)]
        return _collate(examples)

    def _views(
        self, photos: list[Tensor], count: int, seed: int, step: int, rng: np.random.Generator
    ) -> list[Tensor]:
        """Draw photographs, and a view of each; some get a part of the next one."""
        picked = draw(len(photos), count, seed, step) if count else []
        views = [random_view(photos[index], self._smallest, rng) for index in picked]
        return [
            cut_mix(view, other, rng) if rng.random() < self._config.cut_mixed else view
            for view, other in zip(views, views[1:] + views[:1], strict=True)
        ]

    def _read_or_make(self, step: int) -> Batch:
        """Return taught examples, made at their first use."""
        if self._config.cached is None:
            return self._make_taught(step)
        turn, step = divmod(step, self._config.cached)
        path = self._cache / f"{step}.pt"
        if not path.exists():
            _write(path, self._make_taught(step))
        batch = _read(path)
        # Mirrored every second time: the targets are the same, the thumbnails are new.
        return _mirror(batch) if turn % 2 else batch

    def _make_taught(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, step, 1])
        views = self._views(self._raw_like, self._taught, self._seed + 1, step, rng)
        light, share = self._config.light, self._config.taught_local
        if share:
            views = [
                relight(it, random_light(it, light, rng)) if rng.random() < share else it
                for it in views
            ]
        return self._teach(views, [self._make_raw_like(it, rng) for it in views], rng)

    def _make_raw_like(self, view: Tensor, rng: np.random.Generator) -> Damage:
        """Draw the damage of a taught example, uint8 (3, H, W)."""
        config = self._config
        if not config.inverted or rng.random() >= config.inverted:
            return random_degradation(config.taught, rng)
        damage, recipe = random_degradation(config.before_inversion, rng), self._teachers.thumbnail
        small = resize_square(view, recipe.size, antialias=recipe.antialias)
        return self._teachers.inverse(damage(small))

    def validation(self, files: list[Path], rng: np.random.Generator) -> dict[str, list[Batch]]:
        """Each of the photographs in three ways: untouched, to recover, and taught.

        Local light is a fourth.
        """
        batches: dict[str, list[Batch]] = {"untouched": [], "recover": [], "taught": []}
        damaged = self._config.damaged.model_copy(update={"untouched": 0.0})
        for path in files:
            image = as_planes(read_photo(path))
            worse = random_degradation(damaged, rng)
            raw = self._make_raw_like(image, rng)
            batches["untouched"].append(_collate([self._to_recover(image, UNTOUCHED, rng)]))
            batches["recover"].append(_collate([self._to_recover(image, worse, rng)]))
            batches["taught"].append(self._teach([image], [raw], rng))
        if self._local:
            batches["local"] = [
                _collate([self._to_relight(as_planes(read_photo(path)), rng)]) for path in files
            ]
        return batches

    def _to_recover(self, view: Tensor, damage: Degradation, rng: np.random.Generator) -> Batch:
        """Pair a damaged view uint8 (3, H, W) with itself before the damage."""
        small = self._student_thumbnail(view, rng)
        return self._pair(small / 255.0, damage(small), rng)

    def _to_relight(self, view: Tensor, rng: np.random.Generator) -> Batch:
        """Pair a view uint8 (3, H, W) in another light with itself."""
        config, small = self._config, self._student_thumbnail(view, rng)
        lit = relight(small, random_light(small, config.light, rng))
        damaged = rng.random() < config.light.damaged
        damage = random_degradation(config.damaged, rng) if damaged else UNTOUCHED
        return self._pair(small / 255.0, damage(lit), rng)

    def _pair(self, before: Tensor, after: Tensor, rng: np.random.Generator) -> Batch:
        """Make an example of a thumbnail (3, S, S) before and after damage."""
        size = self._thumbnail.size
        indices = pixel_indices(self._colours, size, rng)
        if rng.random() < self._config.gray:
            before, after = to_gray(before, 0), to_gray(after, 0)
        return Batch(
            after,
            colours_at(after, indices),
            colours_at(before, indices),
            places_of(indices, size),
        )

    def _teach(self, views: list[Tensor], damages: list[Damage], rng: np.random.Generator) -> Batch:
        """Make targets of damaged views by the teachers, which get thumbnails of their own."""
        recipe = self._teachers.thumbnail
        count, side = self._colours, self._config.taught_size
        shown, images, indices, students, grays = [], [], [], [], []
        for view, damage in zip(views, damages, strict=True):
            gray = bool(rng.random() < self._config.gray)
            finish = partial(to_gray, axis=0) if gray else _same
            thumbnail = resize_square(view, recipe.size, antialias=recipe.antialias)
            shown.append(finish(damage(thumbnail)))
            images.append(finish(damage(resize_square(view, side, antialias=False))))
            students.append(finish(damage(self._student_thumbnail(view, rng))))
            indices.append(pixel_indices(count, side, rng))
            grays.append(gray)
        where = torch.stack(indices)
        places = places_of(where, side)
        targets = self._teachers.predict(torch.stack(shown), torch.stack(images), where, places)
        finished = [
            to_gray(target, 1) if gray else target
            for target, gray in zip(targets, grays, strict=True)
        ]
        colours = [colours_at(*pair) for pair in zip(images, indices, strict=True)]
        return Batch(torch.stack(students), torch.stack(colours), torch.stack(finished), places)

    def _student_thumbnail(self, view: Tensor, rng: np.random.Generator) -> Tensor:
        antialias = bool(rng.random() < self._config.antialiased)
        return resize_square(view, self._thumbnail.size, antialias=antialias)


def _mirror(batch: Batch) -> Batch:
    x, y = batch.places.unbind(-1)
    places = torch.stack((1.0 - x, y), dim=-1)
    return batch._replace(thumbnails=batch.thumbnails.flip(-1), places=places)


def _same(image: Tensor) -> Tensor:
    return image


def _collate(examples: list[Batch]) -> Batch:
    return Batch(*map(torch.stack, zip(*examples, strict=True)))


def _write(path: Path, batch: Batch) -> None:
    """Write a batch in 8 bits: thumbnails and colours lie on these levels anyway, or nearly."""
    save_whole(path, [it.mul(255.0).round().byte() for it in batch])


def _read(path: Path) -> Batch:
    return Batch(*(it.float() / 255.0 for it in torch.load(path, weights_only=True)))
