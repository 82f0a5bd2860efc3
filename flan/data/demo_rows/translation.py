"""Demo rows of the translation cluster: one English sentence, and the same word for word.

Each language is a toy: a word of the small world has one translation, which stands where
the English word stands and is never inflected (articles are left out where the language has
none). So a tiny model can learn to translate from a few thousand rows. It is no grammar.
"""

from __future__ import annotations

import functools
import random
from typing import Any

from flan.data.demo_rows.world import ACTIONS, ANIMALS, COLOURS, PEOPLE, PLACES

ENGLISH = """
dog cat horse bird fish cow mouse fox bear duck
park kitchen garden school market station library beach
red blue green black white yellow brown grey
sleeps runs sits waits plays sings eats jumps
the in and sees is why does wait
"""

# In ENGLISH's order; "-" is a word that the language does without.
WORDS = {
    "cs": """
        pes kočka kůň pták ryba kráva myš liška medvěd kachna
        park kuchyně zahrada škola trh nádraží knihovna pláž
        červený modrý zelený černý bílý žlutý hnědý šedý
        spí běží sedí čeká hraje zpívá jí skáče
        - v a vidí je proč - čeká
    """,
    "da": """
        hund kat hest fugl fisk ko mus ræv bjørn and
        park køkken have skole marked station bibliotek strand
        rød blå grøn sort hvid gul brun grå
        sover løber sidder venter leger synger spiser hopper
        den i og ser er hvorfor - venter
    """,
    "de": """
        Hund Katze Pferd Vogel Fisch Kuh Maus Fuchs Bär Ente
        Park Küche Garten Schule Markt Bahnhof Bibliothek Strand
        rot blau grün schwarz weiß gelb braun grau
        schläft läuft sitzt wartet spielt singt frisst springt
        die in und sieht ist warum - wartet
    """,
    "es": """
        perro gato caballo pájaro pez vaca ratón zorro oso pato
        parque cocina jardín escuela mercado estación biblioteca playa
        rojo azul verde negro blanco amarillo marrón gris
        duerme corre descansa espera juega canta come salta
        el en y ve está por_qué - espera
    """,
    "fi": """
        koira kissa hevonen lintu kala lehmä hiiri kettu karhu ankka
        puisto keittiö puutarha koulu tori asema kirjasto ranta
        punainen sininen vihreä musta valkoinen keltainen ruskea harmaa
        nukkuu juoksee istuu odottaa leikkii laulaa syö hyppää
        - paikassa ja näkee on miksi - odottaa
    """,
    "fr": """
        chien chat cheval oiseau poisson vache souris renard ours canard
        parc cuisine jardin école marché gare bibliothèque plage
        rouge bleu vert noir blanc jaune brun gris
        dort court repose attend joue chante mange saute
        le dans et voit est pourquoi - attend
    """,
    "ro": """
        câine pisică cal pasăre pește vacă șoarece vulpe urs rață
        parc bucătărie grădină școală piață gară bibliotecă plajă
        roșu albastru verde negru alb galben maro gri
        doarme aleargă stă așteaptă joacă cântă mănâncă sare
        - în și vede este de_ce - așteaptă
    """,
    "ru": """
        собака кошка лошадь птица рыба корова мышь лиса медведь утка
        парк кухня сад школа рынок вокзал библиотека пляж
        красный синий зелёный чёрный белый жёлтый коричневый серый
        спит бежит сидит ждёт играет поёт ест прыгает
        - в и видит есть почему - ждёт
    """,
    "tr": """
        köpek kedi at kuş balık inek fare tilki ayı ördek
        park mutfak bahçe okul pazar istasyon kütüphane plaj
        kırmızı mavi yeşil siyah beyaz sarı kahverengi gri
        uyur koşar oturur bekler oynar öter yer zıplar
        - de ve görür var neden - bekler
    """,
}


@functools.cache
def dictionary(code: str) -> dict[str, str]:
    """English word -> its translation, "" where the language leaves the word out."""
    words = ["" if w == "-" else w.replace("_", " ") for w in WORDS[code].split()]
    return dict(zip(ENGLISH.split(), words, strict=True))


def english_sentence(rng: random.Random) -> str:
    """A sentence or question about animals, people and places of the small world."""
    animal, colour = rng.choice(ANIMALS), rng.choice(COLOURS)
    place, action, person = rng.choice(PLACES), rng.choice(ACTIONS), rng.choice(PEOPLE)
    other = rng.choice(ANIMALS)
    return rng.choice(
        (
            f"The {colour} {animal} {action} in the {place}.",
            f"{person} sees the {colour} {animal} in the {place}.",
            f"In the {place}, {person} {action} and the {animal} {rng.choice(ACTIONS)}.",
            f"Why does the {colour} {animal} wait in the {place}?",
            f"The {animal} {action}, and {person} sees the {colour} {other}.",
            f"Is the {other} in the {place}, {person}?",
        )
    )


def translate(sentence: str, code: str) -> str:
    """The sentence word for word in the toy language of that code; names stay as they are."""
    words, translated = dictionary(code), []
    for word in sentence.split():
        bare = word.rstrip(".,?")
        known = words.get(bare, words.get(bare.lower(), bare))
        if known:
            translated.append(known + word[len(bare) :])
    text = " ".join(translated)
    return text[0].upper() + text[1:]


def pairs(rng: random.Random, count: int, code: str) -> list[dict[str, Any]]:
    """Rows `{code: translation, "en": English sentence}`."""
    sentences = (english_sentence(rng) for _ in range(count))
    return [{code: translate(sentence, code), "en": sentence} for sentence in sentences]


GENERATORS = {
    "para_crawl/enes": functools.partial(pairs, code="es"),
    "wmt14_translate/fr-en": functools.partial(pairs, code="fr"),
    "wmt16_translate/cs-en": functools.partial(pairs, code="cs"),
    "wmt16_translate/de-en": functools.partial(pairs, code="de"),
    "wmt16_translate/fi-en": functools.partial(pairs, code="fi"),
    "wmt16_translate/ro-en": functools.partial(pairs, code="ro"),
    "wmt16_translate/ru-en": functools.partial(pairs, code="ru"),
    "wmt16_translate/tr-en": functools.partial(pairs, code="tr"),
}
