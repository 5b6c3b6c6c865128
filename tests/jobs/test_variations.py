"""Whose noise is blended into a picture's own, and how far that can go."""

from config.catalogue import Catalogue
from domain.errors import Code
from domain.request import MAX_VARIATIONS
from jobs.variations import Strength, varied
from tests.cogs.jobs import made

OFFERS = Catalogue.load().offers()


def test_each_generation_adds_one_seed_that_is_in_it_only_once() -> None:
    request = made(seed=7).request
    for _ in range(MAX_VARIATIONS):
        request = varied(request, Strength.SUBTLE)
    assert len({request.seed, *(variation.seed for variation in request.variations)}) == MAX_VARIATIONS + 1


def test_the_worker_takes_so_many_generations_and_names_its_limit() -> None:
    request = made(seed=7).request
    for _ in range(MAX_VARIATIONS):
        request = varied(request, Strength.STRONG)
    assert OFFERS["worker:tiny"].objections(request) == []
    [objection] = OFFERS["worker:tiny"].objections(varied(request, Strength.STRONG))
    assert objection.code is Code.OPTION_OUT_OF_RANGE
    assert objection.parameters["maximum"] == MAX_VARIATIONS


def test_hosted_offers_take_none() -> None:
    request = varied(made(model="hidream-i1-dev").request, Strength.SUBTLE)
    hosted = [offer for key, offer in OFFERS.items() if key.endswith(":hidream-i1-dev") and offer.backend != "worker"]
    assert hosted
    for offer in hosted:
        assert [error.code for error in offer.objections(request)] == [Code.NO_OFFER]
    assert OFFERS["worker:hidream-i1-dev"].objections(request) == []
