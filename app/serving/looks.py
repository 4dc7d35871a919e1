"""Looks: predicted for an image or rebuilt from a token, and exported as LUT files."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import TypeAlias

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from app.errors import BadParameter, CorruptedLook, MappedLook
from app.luts.export import LutOptions, choose_size, encode_lut, require_one_table
from app.luts.formats.base import LutMetadata
from app.luts.local_lut import AnyLut, LocalLut
from app.luts.lut3d import FINE_SIZE
from app.luts.token import LookToken
from app.networks.store import Model, ModelCard, ModelRegistry
from app.policies import BYTES_PER_PIXEL, LutPolicy
from app.serving.device import Device, Prediction
from app.serving.model_runners import ModelRunners
from app.serving.permit import Permit
from app.serving.results import ExportedLut, Look
from app.serving.thread_pool import PriorityThreadPool, priority_of

MAX_TABLE_VALUE = 100.0  # the codes of forged tokens must not reach values that overflow


@dataclass(frozen=True)
class TokenLook:
    """A look token that was read, and its model.

    Attributes:
        text: the token.
        model: the model that made it.
        content: of the token.
    """

    text: str
    model: Model
    content: LookToken


def read_token(registry: ModelRegistry, token: str) -> TokenLook:
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
    if content.map is not None and content.map.shape != model.network.map_shape:
        raise CorruptedLook(f"The token holds a map that {model.card.model_ref} does not take.")
    return TokenLook(token, model, content)


async def rebuild_look(models: ModelRunners, given: TokenLook, *, with_map: bool = False) -> Look:
    """Rebuild the look of a token.

    Args:
        models: on the device.
        given: the token.
        with_map: whether the map of a local look is needed, too.

    Raises:
        MappedLook: the token lacks the map that is needed.
        CorruptedLook: the numbers of the token are out of range.
    """
    model, content = given.model, given.content
    if with_map and content.map is None and model.network.is_local:
        raise MappedLook("The token holds the LUTs of the look without their map.")
    await models.wait_until_warm()
    return Look(model.card, given.text, await decode_token(models.device, model, content))


async def decode_token(device: Device, model: Model, content: LookToken) -> AnyLut:
    """Rebuild the LUT of a look token, whose model is on the device.

    If the token lacks the map of a local look, the first table has all shares.

    Raises:
        CorruptedLook: the numbers of the token are out of range.
    """
    try:
        lut = await device.decode(model.network, full_code(model, content))
    except ValueError as error:  # the numbers overflow
        raise CorruptedLook("The token's numbers make no LUT: they overflow.") from error
    tables = lut.tables if isinstance(lut, LocalLut) else (lut,)
    if max(np.abs(it.table).max() for it in tables) > MAX_TABLE_VALUE:
        raise CorruptedLook("The token's numbers make no LUT: its entries are out of range.")
    return lut


def check_model_of_look(registry: ModelRegistry, card: ModelCard, model: str | None) -> None:
    """Check that the model of a look, given by its card, is the requested one as well.

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


def full_code(model: Model, content: LookToken) -> NDArray[np.float32]:
    """Return the code of a look token with the cells of the map, zeros if it has none."""
    cells = np.zeros(model.network.map_size, np.float32)
    if content.map is not None:
        cells[:] = content.map.ravel() / np.float32(255)
    return np.concatenate((content.code, cells))


def make_token(model: Model, code: NDArray[np.float32]) -> LookToken:
    """Make the look token of a code with the cells of its map, as `full_code` returns it."""
    weights, cells = np.split(code, [model.network.code_size])
    shape = model.network.map_shape
    if shape is None:
        return LookToken(model.card.fingerprint, weights, None)
    # Sums of shares are rounded, as `Network.quantise` does: each share rounded alone, those of a
    # mean of codes could exceed 255 in all.
    sums = np.rint(cells.reshape(shape).cumsum(axis=0).clip(0.0, 1.0) * 255)
    return LookToken(
        model.card.fingerprint, weights, np.diff(sums, axis=0, prepend=0).astype(np.uint8)
    )


def to_look(model: Model, code: NDArray[np.float32], lut: AnyLut) -> Look:
    """Name a LUT by its look token."""
    token = make_token(model, code).encode(half=model.network.half_codes)
    return Look(model.card, token, lut)


def adapt_look(given: Look, model: Model, prediction: Prediction) -> Look:
    """Mix the tables of a local look by the map that is predicted for another image."""
    if not isinstance(given.lut, LocalLut) or not isinstance(prediction.lut, LocalLut):
        raise TypeError("the look has no map")
    content = LookToken.decode(given.token)
    code = np.concatenate((content.code, prediction.code[content.code.size :]))
    return to_look(model, code, replace(prediction.lut, tables=given.lut.tables))


GZIP_LEVEL = 1  # higher levels take much longer for files that are little smaller

BRIEF_SIZE = 65  # points per axis, whose file takes up to half a second
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
    exact = None if isinstance(look.lut, LocalLut) else look.token  # of which look it is the LUT
    metadata = LutMetadata(title=f"{card.name} look", model=card.model_ref, look=exact)
    file = encode_lut(look.lut, options, metadata)
    body = gzip.compress(file.body, GZIP_LEVEL) if gzipped else file.body
    return ExportedLut(look, body, options.format, file.error)


def export_memory(model: Model, options: LutOptions) -> int:
    """Return the most bytes of memory that `export_lut` takes for a look of a model.

    Raises:
        MappedLook: as `require_one_table`.
    """
    require_one_table(model.card.model_ref, is_local=model.network.is_local, options=options)
    has_shaper = model.network.has_shaper
    size = choose_size(model.card.lut_size, has_shaper, options)
    if has_shaper and options.strength != 1:  # `Lut3D.at_strength` may resample the LUT first
        size = max(size, choose_size(FINE_SIZE, False, options))
    return BYTES_PER_ENTRY * size**3


def is_brief_export(model: Model, options: LutOptions) -> bool:
    """Return whether `export_lut` takes less than a second for a look of a model."""
    return export_memory(model, options) <= BYTES_PER_ENTRY * BRIEF_SIZE**3


def _size_in_memory(file: ExportedLut) -> int:
    return len(file.body) + file.look.lut.nbytes


class LutExporter:
    """Exports the LUTs of look tokens, and keeps the latest files."""

    def __init__(self, models: ModelRunners, workers: PriorityThreadPool, cache: LutCache) -> None:
        self._models = models
        self._workers = workers
        self._cache = cache

    def read(self, token: str) -> TokenLook:
        """Read a look token; raises the problems of `read_token`."""
        return read_token(self._models.registry, token)

    def find(self, look: TokenLook, options: LutOptions, *, gzipped: bool) -> ExportedLut | None:
        """Return a LUT that is kept, which needs no permit."""
        return self._cache.get((look.text, options, gzipped))

    async def export(
        self, permit: Permit, look: TokenLook, options: LutOptions, *, gzipped: bool = False
    ) -> ExportedLut:
        """Rebuild the LUT of a look token, and export it.

        Raises:
            Problem: the token makes no LUT, or the deadline has passed.
        """
        async with permit.within_deadline():
            memory = export_memory(look.model, options)
            brief = is_brief_export(look.model, options)
            priority = priority_of(monotonic(), memory // BYTES_PER_PIXEL, brief=brief)
            await permit.reserve_memory(memory, priority)
            rebuilt = await rebuild_look(self._models, look, with_map=True)
            file = await self.encode(permit, rebuilt, options, priority, gzipped=gzipped)
            self._cache.put((look.text, options, gzipped), file)
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
