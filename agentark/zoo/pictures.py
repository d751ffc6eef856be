"""Pictures in the zoo's training: chats about them, and how they are packed for a network with a vision tower."""

from __future__ import annotations

from random import Random

from agentark import pictures
from agentark.engines import images
from agentark.mas import prompts
from agentark.tasks import mini_pictures

from . import corpus
from .exercises import Exercise

VISION_START, IMAGE, VISION_END = "<|vision_start|>", images.IMAGE, "<|vision_end|>"
DESCRIBED = 0.4  # share of the chats about pictures that say what is in some of the cells: at most so many,
MOST_ASKED, FULL = 6, 0.6  # and of these, at least so large a share not empty, which most cells are
DEBATED = 0.3  # share of the others in which peers have answered already, once debates are learnt


def exercise(rng: Random) -> Exercise:
    """A new training problem about a picture."""
    case, problem = next(mini_pictures.stream("pretrain", rng))
    return Exercise(mini_pictures.TASK.name, problem, lambda: mini_pictures.solve(case, rng),
                           lambda: mini_pictures.spoil(case, rng))  # fmt: skip


def describing(rng: Random) -> corpus.Example:
    """A picture and what is in some of its cells, which are named by their letters, as lines of peers are to be quoted.

    It teaches the vision tower more than one count does.
    """
    case, _ = next(mini_pictures.stream("pretrain", rng))
    named = dict(zip(pictures.LETTERS, map(mini_pictures.single, pictures.cells(case.picture)), strict=True))
    full = [letter for letter, what in named.items() if what != mini_pictures.NOTHING]
    asked = [rng.choice(full if rng.random() < FULL else [*named]) for _ in range(rng.randint(1, MOST_ASKED))]
    question = prompts.user_turn(f"Quote {', '.join(asked)}.", case.picture)
    said = ", ".join(f"{letter} {named[letter]}" for letter in asked)
    return corpus.Example([*question, {"role": "assistant", "content": said}])


def example(rng: Random, max_peers: int) -> corpus.Example:
    """A chat about a picture: its description, the solution of a problem, or a later round of a debate.

    A debate has up to `max_peers` peers; there is none if that is 0.
    """
    if rng.random() < DESCRIBED:
        return describing(rng)
    asked = exercise(rng)
    if max_peers and rng.random() < DEBATED:
        return corpus.debating(rng, asked, max_peers, [])
    question = prompts.user_turn(asked.problem.question, asked.problem.image)
    return corpus.Example([*question, {"role": "assistant", "content": asked.right()}])


def token_ids(tokenizer) -> dict[str, int]:
    """The token ids that the config of a network with a vision tower names.  Raises ValueError if there are none."""
    vocabulary = tokenizer.get_vocab()
    if IMAGE not in vocabulary:
        raise ValueError("the tokenizer has no tokens for pictures: delete its folder, so that a new one is made, and "
                         "train all networks again")  # fmt: skip
    # There are no films: their token is one that no text has.
    return {"vision_start_token_id": vocabulary[VISION_START], "image_token_id": vocabulary[IMAGE],
            "vision_end_token_id": vocabulary[VISION_END], "video_token_id": -1}  # fmt: skip


class Vision:
    """How chats are packed for a network with a vision config, which has four positions for each token."""

    def __init__(self, config, tokenizer):
        self.config, self.image_token = config, token_ids(tokenizer)["image_token_id"]
        self.n = images.tokens_of(config)

    def spread(self, ids: list[int], labels: list[int]) -> tuple[list[int], list[int], list[tuple[int, ...]]]:
        """A chat's ids and labels with an image token for each merged patch of its pictures, and their positions.

        These are the place in the chat, from which the mask of a block is made, and those in three dimensions.
        """
        longer: list[int] = []
        learnt: list[int] = []
        positions: list[tuple[int, ...]] = []
        side, start = round(self.n**0.5), 0
        for token, label in zip(ids, labels, strict=True):
            n, width = (self.n, side) if token == self.image_token else (1, 1)
            for k in range(n):
                positions.append((len(longer), start, start + k // width, start + k % width))
                longer.append(token)
                learnt.append(label)
            start += width
        return longer, learnt, positions
