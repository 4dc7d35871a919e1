"""Looks: predicted for an image or rebuilt from a token, and exported as LUT files."""

from __future__ import annotations

import gzip
from functools import partial
from time import monotonic
from typing import TypeAlias

import numpy as np
from cachetools import LRUCache

from app.errors import BadParameter, CorruptedLook
from app.luts.export import LutOptions, choose_size, encode_lut
from app.luts.formats.base import LutMetadata
from app.luts.lut3d import FINE_SIZE, Lut3D
from app.luts.token import LookToken
from app.networks.store import Model, ModelCard, ModelRegistry
from app.policies import BYTES_PER_PIXEL, LutPolicy
from app.serving.device import Device, Prediction
from app.serving.model_runners import ModelRunners
from app.serving.permit import Permit
from app.serving.results import ExportedLut, Look
from app.serving.thread_pool import PriorityThreadPool, priority_of

MAX_TABLE_VALUE = 100.0  # the codes of forged tokens must not reach values that overflow


def find_token_model(registry: ModelRegistry, token: str) -> tuple[Model, LookToken]:
    """Read a look token, and find the model that made it.

    Raises:
        MalformedLook, TruncatedLook, CorruptedLook: the token is not whole.
        UnknownLook: its model is not served.
    """
    content = LookToken.decode(token)
    model = registry.get_by_fingerprint(content.fingerprint)
    if content.code.size != model.network.code_size:
        raise CorruptedLook(
            f"The token holds {content.code.size} numbers; "
            f"{model.card.model_ref} takes {model.network.code_size}."
        )
    return model, content


async def rebuild_look(models: ModelRunners, token: str) -> Look:
    """Rebuild the look of a token.

    Raises:
        CorruptedLook: the numbers of the token are out of range.
        Problem: as `find_token_model`.
    """
    model, content = find_token_model(models.registry, token)
    await models.wait_until_warm()
    return Look(model.card, token, await decode_token(models.device, model, content))


async def decode_token(device: Device, model: Model, content: LookToken) -> Lut3D:
    """Rebuild the LUT of a look token, whose model is on the device.

    Raises:
        CorruptedLook: the numbers of the token are out of range.
    """
    try:
        lut = await device.decode(model.network, content.code)
    except ValueError as error:  # the numbers overflow
        raise CorruptedLook("The token's numbers make no LUT: they overflow.") from error
    if np.abs(lut.table).max() > MAX_TABLE_VALUE:
        raise CorruptedLook("The token's numbers make no LUT: its entries are out of range.")
    return lut


def check_model_of_look(registry: ModelRegistry, card: ModelCard, model: str | None) -> None:
    """Check that the model of a look, given by its card, is the one that was asked for as well.

    Raises:
        UnknownModel: there is no such model.
        BadParameter: the look was made by another model.
    """
    if model is None:
        return
    if registry.get(model).card.fingerprint != card.fingerprint:
        raise BadParameter(
            f"model={model} does not match the model of this look, {card.model_ref}."
        )


def to_look(model: Model, prediction: Prediction) -> Look:
    """Name a predicted LUT by its look token."""
    token = LookToken(model.card.fingerprint, prediction.code)
    return Look(model.card, token.encode(half=model.network.half_codes), prediction.lut)


GZIP_LEVEL = 1  # 970 KB of .cube become 430 KB in 11 ms; at level 9, 380 KB in 230 ms

BYTES_PER_ENTRY = 160  # of the table: measured for json and spi3d, which take most

Key: TypeAlias = tuple[str, LutOptions, bool]  # look token, options, whether with gzip


class LutCache(LRUCache[Key, ExportedLut]):
    """The most recently used LUT files; the key determines all of a file."""

    def __init__(self, policy: LutPolicy) -> None:
        super().__init__(policy.cache_bytes, getsizeof=_size_in_memory)

    def put(self, key: Key, file: ExportedLut) -> None:
        """Store a file, unless it is larger than the whole cache."""
        if _size_in_memory(file) <= self.maxsize:
            self[key] = file


def export_lut(look: Look, options: LutOptions, *, gzipped: bool = False) -> ExportedLut:
    """Encode the LUT of a look, in 10 ms to seconds: call it on a worker thread."""
    card = look.card
    metadata = LutMetadata(title=f"{card.name} look", model=card.model_ref, look=look.token)
    file = encode_lut(look.lut, options, metadata)
    body = gzip.compress(file.body, GZIP_LEVEL) if gzipped else file.body
    return ExportedLut(look, body, options.format, file.error)


def export_memory(model: Model, options: LutOptions) -> int:
    """Return the most bytes of memory that `export_lut` takes for a look of a model."""
    has_shaper = model.network.has_shaper
    size = choose_size(model.card.lut_size, has_shaper, options)
    if has_shaper and options.strength != 1:  # `Lut3D.at_strength` may resample the LUT first
        size = max(size, choose_size(FINE_SIZE, False, options))
    return BYTES_PER_ENTRY * size**3


def _size_in_memory(file: ExportedLut) -> int:
    return len(file.body) + file.look.lut.table.nbytes


class LutExporter:
    """Exports the LUTs of look tokens, and keeps the latest files."""

    def __init__(self, models: ModelRunners, workers: PriorityThreadPool, cache: LutCache) -> None:
        self._models = models
        self._workers = workers
        self._cache = cache

    def memory(self, token: str, options: LutOptions) -> int:
        """Return the most bytes of memory that `export` takes.

        Raises:
            Problem: the token is damaged, or its model is not served.
        """
        model, _ = find_token_model(self._models.registry, token)
        return export_memory(model, options)

    def find(self, token: str, options: LutOptions, *, gzipped: bool) -> ExportedLut | None:
        """Return a LUT that is kept, which needs no permit.

        Raises:
            Problem: the token is damaged, or its model is not served.
        """
        find_token_model(self._models.registry, token)
        return self._cache.get((token, options, gzipped))

    async def export(
        self, permit: Permit, token: str, options: LutOptions, *, gzipped: bool = False
    ) -> ExportedLut:
        """Rebuild the LUT of a look token, and export it.

        Raises:
            Problem: the token is damaged, its model is not served, or the deadline has passed.
        """
        async with permit.within_deadline():
            memory = self.memory(token, options)
            priority = priority_of(monotonic(), memory // BYTES_PER_PIXEL)
            await permit.reserve_memory(memory, priority)
            look = await rebuild_look(self._models, token)
            file = await self.encode(permit, look, options, priority, gzipped=gzipped)
            self._cache.put((token, options, gzipped), file)
            return file

    async def encode(
        self, permit: Permit, look: Look, options: LutOptions, priority: float, *, gzipped: bool
    ) -> ExportedLut:
        """Encode the LUT of a look on a worker thread; the memory is reserved."""
        exporting = partial(export_lut, look, options, gzipped=gzipped)
        return await permit.run_stage(self._workers, priority, "encode", exporting)

    def clear(self) -> None:
        """Drop the files that are kept."""
        self._cache.clear()
