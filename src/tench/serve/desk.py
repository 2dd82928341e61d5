"""What happens between a request and its answer: taken in, decoded, given to the models, each step bounded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from tench.answering import Answer
from tench.answering import Answering as Network
from tench.serve import answers as said
from tench.serve import looking
from tench.serve.decoding import Decoder, within
from tench.serve.forms import Upload, uploads
from tench.serve.intake import Intake
from tench.serve.limits import Limits
from tench.serve.models import Models, Served
from tench.serve.refusals import Refusal
from tench.serve.watching import Watch

Pixels = NDArray[np.uint8]


class Desk:
    """Everything that endpoints use."""

    def __init__(self, models: Models, limits: Limits | None = None, runs: Path | None = None) -> None:
        self.models = models
        self.limits = limits or Limits()
        self.intake = Intake(self.limits)
        self.decoder = Decoder(self.limits)
        self.watch = Watch(runs)

    def close(self) -> None:
        """Begin nothing more; what is being computed ends by itself."""
        self.decoder.close()
        self.models.close()

    def model(self, model_id: str) -> Served:
        """The model of that id. Raises Refusal."""
        found = self.models.find(model_id)
        if found is None:
            known = ", ".join(model.id for model in self.models.all)
            raise Refusal(404, "no_such_model", f"There is no model '{model_id[:100]}'; there are {known}.")
        return found

    def listed(self, ids: str | None) -> list[Served]:
        """The models of a list with commas, each once; None: all. Raises Refusal."""
        return self.models.all if ids is None else [self.model(one) for one in dict.fromkeys(ids.split(","))]

    @asynccontextmanager
    async def uploads(self, request: Request, most: int) -> AsyncIterator[list[Upload]]:
        """The pictures that came with a request, at most `most`, held until the block ends. Raises Refusal."""
        async with self.intake.body(request) as body:
            content_type = request.headers.get("content-type", "")
            yield await within(self.limits.answer_s, self.decoder.pool.submit(uploads, content_type, body, most))

    async def predict(self, request: Request, ids: str | None, top: int) -> said.Answers:
        """What the models say of each picture. Raises Refusal, for a picture that cannot be used only where it is the only one."""
        models = self.listed(ids)
        async with self.uploads(request, self.limits.max_photos) as photos:
            wanted = [model.answering.preprocessing for model in models]
            decoded = await asyncio.gather(*(self.decoder.pixels(photo, wanted) for photo in photos), return_exceptions=True)
            good, errors = _sorted_out(photos, decoded)
            if errors and len(photos) == 1:
                raise errors[0][1]
            found = await self._answers(models, good, top) if good else []
            return said.Answers(answers=found, errors=[_unusable(photo, error) for photo, error in errors])

    async def _answers(self, models: Sequence[Served], good: Sequence[tuple[Upload, list[Pixels]]], top: int) -> list[said.Answer]:
        """Picture by picture, and for each model by model."""
        stacks = [np.stack([pixels[number] for _, pixels in good]) for number in range(len(models))]
        work = [model.work(_timed, model.answering, stack, top) for model, stack in zip(models, stacks, strict=True)]
        of_models = await asyncio.gather(*(within(self.limits.answer_s, one) for one in work))
        return [
            _said(photo.name, model, answers[i], ms)
            for i, (photo, _) in enumerate(good)
            for model, (answers, ms) in zip(models, of_models, strict=True)
        ]

    async def explain(self, request: Request, model_id: str, class_id: str | None) -> said.HeatMap:
        """A heat map of one picture. Raises Refusal."""
        model = self.model(model_id)
        async with self.uploads(request, 1) as photos:
            pixels = await self._pixels(model, photos[0])
            return await within(self.limits.answer_s, model.work(looking.heat_map, model, pixels, class_id))

    async def way(self, request: Request, model_id: str) -> said.Way:
        """One picture's way through the layers. Raises Refusal."""
        model = self.model(model_id)
        async with self.uploads(request, 1) as photos:
            pixels = await self._pixels(model, photos[0])
            return await within(self.limits.answer_s, model.work(looking.way, model, pixels))

    async def filters(self, model_id: str) -> said.Filters:
        """A model's first filters. Raises Refusal."""
        model = self.model(model_id)
        return await within(self.limits.answer_s, model.work(looking.filters, model))

    async def _pixels(self, model: Served, photo: Upload) -> Pixels:
        return (await self.decoder.pixels(photo, [model.answering.preprocessing]))[0]


Decoded = list[Pixels] | BaseException


def _sorted_out(
    photos: Sequence[Upload], decoded: Sequence[Decoded]
) -> tuple[list[tuple[Upload, list[Pixels]]], list[tuple[Upload, Refusal]]]:
    """Pictures with their pixels, and pictures with what is wrong with them."""
    good: list[tuple[Upload, list[Pixels]]] = []
    errors: list[tuple[Upload, Refusal]] = []
    for photo, found in zip(photos, decoded, strict=True):
        if isinstance(found, Refusal):
            errors.append((photo, found))
        elif isinstance(found, BaseException):
            raise found
        else:
            good.append((photo, found))
    return good, errors


def _unusable(photo: Upload, error: Refusal) -> said.Unusable:
    return said.Unusable(photo=photo.name, code=error.code, message=error.message)


def _timed(network: Network, pixels: Pixels, top: int) -> tuple[list[Answer], float]:
    """Answers to `pixels`, uint8 (n, height_px, width_px, 3), and the milliseconds each took."""
    began = perf_counter()
    found = network.answers(pixels, top)
    return found, 1000 * (perf_counter() - began) / len(pixels)


def _said(photo: str | None, model: Served, answer: Answer, ms: float) -> said.Answer:
    return said.Answer(photo=photo, model=model.id, ms=ms, **answer.as_dict())
