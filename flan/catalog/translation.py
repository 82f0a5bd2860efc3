"""Translation: one language pair a dataset, English on one side of each.

Direction. A dataset has one answer per example, and it is the English side: forward
templates translate `{foreign}` into English, and are scored with BLEU. The three inverted
templates of each pair turn the task around: they give the English text (`{answer}`) and
ask for `{foreign}`, so that both directions are trained, about 7 to 3. English is the
scored side because it makes the eight numbers comparable with each other: one target
language, and one tokenization inside BLEU. A corpus BLEU over a mixture of both
directions would be comparable with nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from flan.catalog.dataset import Fields, Row, Source, free_form
from flan.catalog.registry import register

WMT14 = "TFDS wmt14_translate 1.0.0, catalog"
WMT16 = "TFDS wmt16_translate 1.0.0, catalog"
PARA_CRAWL = "TFDS para_crawl, catalog (1.0.0)"


@dataclasses.dataclass(frozen=True)
class Pair:
    """What distinguishes one translation dataset from the others.

    Attributes:
      name, title: as in `Dataset`.
      language: the language that is not English.
      code: its key in a row; English is `en`.
      tfds, version, sizes, sizes_from: as in `Source`.
      corpus: what the texts are, for the description.
      foreign, english: a made-up row, for the description.
    """

    name: str
    title: str
    language: str
    code: str
    tfds: str
    version: str
    sizes: Mapping[str, int]
    sizes_from: str
    corpus: str
    foreign: str
    english: str

    @property
    def description(self) -> str:
        """The docstring of the pair's `to_fields`."""
        return (
            f"{self.title} ({self.tfds}): {self.language} to English.\n\n"
            f"{self.corpus}\n\n"
            f'Row:    {{"{self.code}": "{self.foreign}",\n'
            f'         "en": "{self.english}"}}\n'
            f"Fields: foreign, the {self.language} text; the answer is the English text.\n"
            "        Rows in which either side is empty are dropped."
        )


def to_fields_of(code: str) -> Callable[[Row], Fields | None]:
    """The `to_fields` of a pair: `foreign` is `row[code]`, the answer is `row["en"]`."""

    def to_fields(row: Row) -> Fields | None:
        foreign, english = row[code].strip(), row["en"].strip()
        return free_form(english, foreign=foreign) if foreign else None

    return to_fields


def _wmt_sizes(train: int, validation: int, test: int) -> Mapping[str, int]:
    return {"train": train, "validation": validation, "test": test}


_NEWS = "Training text of the WMT task; validation and test are its news translations"

PAIRS = (
    Pair(
        name="para_crawl_enes",
        title="ParaCrawl English-Spanish",
        language="Spanish",
        code="es",
        tfds="para_crawl/enes",
        version="1.2.0",
        sizes={"train": 21_987_267},
        sizes_from=PARA_CRAWL,
        corpus=(
            "Sentences of web pages that exist in both languages, aligned by machine, with some\n"
            "misaligned and garbled ones. There is a training split only; dev and test are cut from it."
        ),
        foreign="El desayuno se sirve de siete a diez.",
        english="Breakfast is served from seven to ten.",
    ),
    Pair(
        name="wmt14_enfr",
        title="WMT14 English-French",
        language="French",
        code="fr",
        tfds="wmt14_translate/fr-en",
        version="1.0.0",
        sizes=_wmt_sizes(40_836_876, 3_000, 3_003),
        sizes_from=WMT14,
        corpus=f"{_NEWS}\nof 2013 and 2014 (newstest2013, newstest2014).",
        foreign="Le pont sera fermé jusqu'en avril.",
        english="The bridge will be closed until April.",
    ),
    Pair(
        name="wmt16_csen",
        title="WMT16 Czech-English",
        language="Czech",
        code="cs",
        tfds="wmt16_translate/cs-en",
        version="1.0.0",
        sizes=_wmt_sizes(52_335_651, 2_656, 2_999),
        sizes_from=WMT16,
        corpus=f"{_NEWS}\nof 2015 and 2016 (newstest2015, newstest2016).",
        foreign="Most bude do dubna uzavřen.",
        english="The bridge will be closed until April.",
    ),
    Pair(
        name="wmt16_deen",
        title="WMT16 German-English",
        language="German",
        code="de",
        tfds="wmt16_translate/de-en",
        version="1.0.0",
        sizes=_wmt_sizes(4_548_885, 2_169, 2_999),
        sizes_from=WMT16,
        corpus=f"{_NEWS}\nof 2015 and 2016 (newstest2015, newstest2016).",
        foreign="Die Brücke bleibt bis April gesperrt.",
        english="The bridge will be closed until April.",
    ),
    Pair(
        name="wmt16_fien",
        title="WMT16 Finnish-English",
        language="Finnish",
        code="fi",
        tfds="wmt16_translate/fi-en",
        version="1.0.0",
        sizes=_wmt_sizes(2_073_394, 1_370, 6_000),
        sizes_from=WMT16,
        corpus=f"{_NEWS}\nof 2015 and 2016 (newstest2015; newstest2016 twice, with two sets of Finnish).",
        foreign="Silta on suljettu huhtikuuhun asti.",
        english="The bridge will be closed until April.",
    ),
    Pair(
        name="wmt16_roen",
        title="WMT16 Romanian-English",
        language="Romanian",
        code="ro",
        tfds="wmt16_translate/ro-en",
        version="1.0.0",
        sizes=_wmt_sizes(610_320, 1_999, 1_999),
        sizes_from=WMT16,
        corpus=f"{_NEWS}\nof 2016 (newsdev2016, newstest2016). Some rows lack the diacritics.",
        foreign="Podul va fi închis până în aprilie.",
        english="The bridge will be closed until April.",
    ),
    Pair(
        name="wmt16_ruen",
        title="WMT16 Russian-English",
        language="Russian",
        code="ru",
        tfds="wmt16_translate/ru-en",
        version="1.0.0",
        sizes=_wmt_sizes(2_516_162, 2_818, 2_998),
        sizes_from=WMT16,
        corpus=f"{_NEWS}\nof 2015 and 2016 (newstest2015, newstest2016).",
        foreign="Мост будет закрыт до апреля.",
        english="The bridge will be closed until April.",
    ),
    Pair(
        name="wmt16_tren",
        title="WMT16 Turkish-English",
        language="Turkish",
        code="tr",
        tfds="wmt16_translate/tr-en",
        version="1.0.0",
        sizes=_wmt_sizes(205_756, 1_001, 3_000),
        sizes_from=WMT16,
        corpus=f"{_NEWS}\nof 2016 (newsdev2016, newstest2016).",
        foreign="Köprü nisan ayına kadar kapalı kalacak.",
        english="The bridge will be closed until April.",
    ),
)


def _register(pair: Pair) -> None:
    to_fields = to_fields_of(pair.code)
    to_fields.__name__ = pair.name
    to_fields.__doc__ = pair.description
    has_test = "test" in pair.sizes
    register(
        name=pair.name,
        cluster="translation",
        title=pair.title,
        task_type="generation",
        fields=("foreign",),
        metrics=("bleu",),
        sources=(
            Source(
                pair.name,
                pair.tfds,
                pair.version,
                validation="validation" if has_test else None,
                test="test" if has_test else None,
                sizes=pair.sizes,
                sizes_from=pair.sizes_from,
            ),
        ),
    )(to_fields)


for _pair in PAIRS:
    _register(_pair)
