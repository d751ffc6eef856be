"""Pictures: drawing, questions about them, chats with them in engines, and their place in the zoo's training."""

import re
import struct
import zlib
from collections import Counter, defaultdict
from itertools import islice
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoConfig

from agentark import engines, pictures, tasks
from agentark.distill import data, sft
from agentark.distill.data import DistillError
from agentark.engines import EngineError, Sampling, images, openai_engine, refuse_pictures, tokens
from agentark.engines.transformers_engine import TransformersEngine
from agentark.mas import prompts
from agentark.models import load
from agentark.models.load import auto_class
from agentark.tasks import mini_pictures
from agentark.tasks.problem import SPLITS
from agentark.zoo import corpus, packing, train
from agentark.zoo import pictures as zoo_pictures

TASK = mini_pictures.TASK
KEY = pictures.key(["rc", "bs", "g4", "--"] * 4, 7)
VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32,
          "patch_size": 7, "fullatt_block_indexes": [1], "initializer_range": 0.3}  # fmt: skip


def pieces(mask):
    """The connected pieces of a mask, each as a set of pixels."""
    left, found = {tuple(pixel) for pixel in np.argwhere(mask).tolist()}, []
    while left:
        todo, piece = [left.pop()], set()
        while todo:
            y, x = todo.pop()
            piece.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            todo += near
        found.append(piece)
    return found


def shape(piece):
    """The shape of a piece, from its pixels: how wide its rows are, first to last."""
    rows = [sum(y == row for y, _ in piece) for row in sorted({y for y, _ in piece})]
    height, width = len(rows), max(rows)
    if len(set(rows)) == 1:
        return "s"
    return "t" if rows == sorted(rows) and height == width else "c"


# Drawing


def test_a_drawing_is_a_function_of_its_key():
    picture = pictures.draw(KEY)
    assert picture.shape == (56, 56, 3) and picture.dtype == np.uint8
    assert (picture == pictures.draw(KEY)).all()
    assert zlib.crc32(picture.tobytes()) == 3429164985  # on every machine and in every version
    assert (picture != pictures.draw(pictures.key(pictures.cells(KEY), 8))).any()


def test_the_paper_says_where_a_cell_is():
    paper = pictures.draw(pictures.BLANK)
    cells = paper.reshape(4, 14, 4, 14, 3).swapaxes(1, 2).reshape(16, 14 * 14, 3)
    assert (cells == cells[:, :1]).all() and len({tuple(cell[0]) for cell in cells}) == 16
    assert (paper[0, 0] == 255).all() and paper.min() == 135


@pytest.mark.parametrize("key", ["", "rc", KEY.replace("rc", "xc"), KEY.replace("rc", "r?"), KEY.replace("rc", "r", 1)])
def test_other_texts_are_no_keys(key):
    with pytest.raises(ValueError, match="is not the key of a picture: it must have 16 codes"):
        pictures.draw(key)


def test_png():
    data = pictures.png(KEY)
    width, height = struct.unpack(">II", data[16:24])
    start = data.index(b"IDAT") + 4
    rows = np.frombuffer(zlib.decompress(data[start:-16]), np.uint8).reshape(height, -1)
    assert data.startswith(b"\x89PNG") and (rows[:, 0] == 0).all()
    assert (rows[:, 1:].reshape(height, width, 3) == pictures.draw(KEY)).all()
    assert pictures.data_url(KEY).startswith("data:image/png;base64,iVBORw0KGgo")


def test_things_can_be_read_off_the_pixels():
    """The pieces of each colour are the things of the cells, with their shapes."""
    seen = Counter()
    for case, _ in islice(mini_pictures.stream("train", Random(3)), 150):
        if case.kind.startswith("read"):
            continue
        pixels, drawn = pictures.draw(case.picture), Counter()
        for code, colour in pictures.COLOURS.items():
            drawn += Counter(code + shape(piece) for piece in pieces((pixels == colour).all(-1)))
        assert drawn == Counter(code for code in pictures.cells(case.picture) if code != pictures.EMPTY)
        seen += drawn
    assert set(seen) == set(mini_pictures.THINGS)


def test_digits_differ_and_the_number_can_be_read_off_the_pixels():
    def glyph(pixels, cell):
        part = (pixels != pictures.draw(pictures.BLANK))[cell // 4 * 14 :][:14, cell % 4 * 14 :][:, :14]
        ys, xs = np.nonzero(part.any(-1))
        return part.any(-1)[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]

    fonts = {}
    for digit in "0123456789":
        cells = [pictures.EMPTY] * 15 + [f"b{digit}"]
        forms = {glyph(pictures.draw(pictures.key(cells, n)), 15).tobytes() for n in range(9)}
        assert len(forms) == 1
        fonts[forms.pop()] = digit
    assert len(fonts) == 10
    for case, problem in islice(mini_pictures.stream("test", Random(3)), 200):
        if case.kind == "read":
            pixels, cells = pictures.draw(case.picture), pictures.cells(case.picture)
            digits = [fonts[glyph(pixels, n).tobytes()] for n, code in enumerate(cells) if code[1].isdigit()]
            assert "".join(digits) == problem.answer


# Questions


def test_problems_are_what_they_should_be():
    for split in SPLITS:
        problems = tasks.problems("mini_pictures", split, 300)
        assert problems[:100] == tasks.problems("mini_pictures", split, 100)
        assert len({p.id for p in problems}) == 300 and len({(p.question, p.image) for p in problems}) == 300
        for p in problems:
            assert TASK.prompt(p) == p.question and p.image not in p.question
            assert len(pictures.cells(p.image)) == 16 and hash(p)
            parsed, strict, flexible = TASK.verify(p.solution, p)
            assert strict and flexible and parsed.strict == p.answer
            for formula, value in re.findall(r"(\d+(?:[-+*]\d+)+)=(\d+)", p.solution):
                terms = [int(x) for x in re.findall(r"\d+", formula)]
                minus, times = "-" in formula, "*" in formula
                result = terms[0] - terms[1] if minus else terms[0] * terms[1] if times else sum(terms)
                assert result == int(value)


def test_spoiled_solutions_are_wrong_and_look_like_right_ones():
    kinds = Counter()
    for case, p in islice(mini_pictures.stream("train", Random(0)), 600):
        wrong = mini_pictures.spoil(case, Random(p.id))
        assert not TASK.verify(wrong, p)[2], (p, wrong)
        assert [re.sub(r"\d+", "1", line) for line in wrong.splitlines()[:-1]] == [
            re.sub(r"\d+", "1", line) for line in p.solution.splitlines()[:-1]
        ]
        kinds[case.kind] += 1
    assert set(kinds) == set(mini_pictures.WORDINGS) and min(kinds.values()) > 20


def test_both_answers_of_a_comparison_are_equally_frequent():
    pairs = [(case, p) for case, p in islice(mini_pictures.stream("train", Random(1)), 3000) if case.kind == "compare"]
    firsts = sum(p.answer == mini_pictures.name(case.targets[0]) for case, p in pairs)
    assert firsts / len(pairs) == pytest.approx(0.5, abs=0.1)


def test_splits():
    content, templates = defaultdict(set), defaultdict(set)
    for split in ("pretrain", *SPLITS):
        for case, p in islice(mini_pictures.stream(split, Random(split)), 400):
            number = mini_pictures.seen(case)[0] if not case.targets else case.picture.split("/")[0]
            content[number].add(split)
            if p.held_out:
                templates[split].add(p.template)
            else:
                templates["train"].add(p.template)
    assert all(len(splits) == 1 for splits in content.values()) and len(content) > 600
    assert templates["dev"] and templates["test"] and not templates["dev"] & templates["test"]
    assert not templates["train"] & (templates["dev"] | templates["test"])
    held = [p.held_out for p in tasks.problems("mini_pictures", "test", 300)]
    assert sum(held) / 300 == pytest.approx(0.5, abs=0.02)
    assert not any(p.held_out for p in tasks.problems("mini_pictures", "train", 100))


# Chats


@pytest.mark.parametrize("layout", prompts.LAYOUTS)
def test_the_picture_is_in_the_first_turn(layout):
    terse = prompts.WORDINGS["terse"]
    for make in (
        lambda image: prompts.user_turn("2+3?", image),
        lambda image: prompts.revise("2+3?", ["5", "6"], 1, layout, terse, image),
        lambda image: prompts.aggregate("2+3?", ["5", "6"], terse, image),
        lambda image: prompts.correct("2+3?", "5", terse, image),
        lambda image: prompts.oppose("2+3?", ["5"], 1, terse, image),
        lambda image: prompts.judge("2+3?", ["5", "6"], terse, image),
    ):
        with_picture, without = make(KEY), make("")
        assert [turn.get("image") for turn in with_picture] == [KEY] + [None] * (len(without) - 1)
        assert [{k: turn[k] for k in ("role", "content")} for turn in with_picture] == without


def test_debates_show_the_picture_in_every_round():
    from agentark.mas.log import Logger
    from agentark.mas.protocol import protocols

    problems = tasks.problems("mini_pictures", "train", 2)
    image = {p.question: p.image for p in problems}
    engine = tiny.Scripted(lambda question, number, agent: str(agent + number))
    journal = SimpleNamespace(chunks={}, add=lambda key, rows: journal.chunks.update({key: rows}))
    log = Logger(lambda: engine, TASK, tiny.DEBATE, 0, journal, lambda *_: None)
    protocols()["debate"].run(problems, log)
    assert len(engine.requests) == 4  # three rounds and the aggregator
    for chats, _, _ in engine.requests:
        assert all(chat[0]["image"] == image[chat[0]["content"].split("\n\nSolutions:")[0]] for chat in chats)


def test_the_template_renders_texts_as_before_and_a_picture_as_three_tokens(networks):
    _, tokenizer = load.load(networks["qwen3"])
    chat = [*prompts.user_turn(" a\n{{x}} "), {"role": "assistant", "content": "\nb"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<|user|> a\n{{x}} <|end|><|assistant|>\nb<|end|>"
    rendered = "<|user|><|vision_start|><|image_pad|><|vision_end|>a <|end|><|assistant|>"
    assert tokens.prompt_texts(tokenizer, [prompts.user_turn("a ", KEY)]) == [rendered]
    half = [*prompts.user_turn("a ", KEY), {"role": "assistant", "content": "so\n"}]
    assert tokens.prompt_texts(tokenizer, [half]) == [rendered + "so\n"]
    special = tokenizer.convert_tokens_to_ids(packing.SPECIAL)
    assert special == list(range(7)) and tokens.encode(tokenizer, rendered)[:4] == [1, 4, 5, 6]
    assert tokenizer.decode([4, 5, 5, 6], skip_special_tokens=True) == ""


# Engines


@pytest.fixture(scope="module")
def folder(networks, tmp_path_factory):
    """A random network with a vision tower for these pictures, with wide weights so that pictures matter."""
    folder = tmp_path_factory.mktemp("vision")
    _, tokenizer = load.load(networks["qwen2_5_vl"])
    options = AutoConfig.from_pretrained(networks["qwen2_5_vl"]).to_dict()
    config = AutoConfig.for_model(**options | {"vision_config": VISION} | zoo_pictures.token_ids(tokenizer))
    torch.manual_seed(1)
    auto_class(config).from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def chats():
    problems = tasks.problems("mini_pictures", "train", 4)
    first = prompts.user_turn(problems[0].question, problems[0].image)
    same_text = [prompts.user_turn(problems[0].question, p.image) for p in problems]
    debate = [prompts.revise(p.question, ["so\nAnswer: 3", "Answer: 4"], k, layout, prompts.WORDINGS["terse"], p.image)
              for p in problems[:2] for layout in prompts.LAYOUTS for k in (1, 2)]  # fmt: skip
    half = [*first, {"role": "assistant", "content": "number: 3\n"}]
    two = [*first, {"role": "assistant", "content": "3"}, *prompts.user_turn("And here?", problems[1].image)]
    return [first, first, *same_text, *debate, prompts.user_turn("2+3?"), half, two]


def generated(network, tokenizer, chat, new):
    """What transformers itself generates, with its own image tokens, positions and cache."""
    [text] = tokens.prompt_texts(tokenizer, [chat])
    shown, config = images.keys(chat), network.config
    drawn = [images.patches(key, config.vision_config) for key in shown]
    ids = torch.tensor([tokens.encode(tokenizer, text.replace("<|image_pad|>", "<|image_pad|>" * 16))])
    more = {}
    if shown:
        more = {"pixel_values": torch.from_numpy(np.concatenate([pixels for pixels, _ in drawn])),
                "image_grid_thw": torch.tensor([grid for _, grid in drawn]),
                "mm_token_type_ids": (ids == config.image_token_id).int()}  # fmt: skip
    out = network.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new,
                           pad_token_id=0, **more)  # fmt: skip
    return out[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("batch, share", [(1, False), (3, True), (64, True)])
def test_greedy_is_that_of_transformers(folder, batch, share):
    engine = TransformersEngine(folder, tiny.but(tiny.ENGINE, batch=batch, share_prefix=share))
    network, tokenizer = load.load(folder)  # with transformers' own attention
    replies = engine.generate(chats(), Sampling(0.0, 12), 0)
    expected = [generated(network, tokenizer, chat, 12) for chat in chats()]
    assert [list(c.token_ids) for c in replies] == expected
    assert len({tuple(reply) for reply in expected[1:6]}) > 2  # the picture decides
    assert (max(c.tokens_cached for c in replies) > 20) == share


def test_a_sample_with_a_picture_depends_on_seed_and_index_only(folder):
    def samples(batch, part=slice(None)):
        engine = TransformersEngine(folder, tiny.but(tiny.ENGINE, batch=batch))
        return [c.token_ids for c in engine.generate(chats()[part], Sampling(1.3, 12), 5)]

    whole = samples(64)
    assert samples(3) == whole and samples(4, slice(6)) == whole[:6]
    assert whole[0] != whole[1]  # the same chat


def test_patches_are_those_of_qwens_own_processor():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    for size, merge, frames in ((7, 2, 2), (14, 2, 2), (7, 4, 1)):
        vision = SimpleNamespace(patch_size=size, spatial_merge_size=merge, temporal_patch_size=frames)
        processor = Qwen2VLImageProcessorPil(patch_size=size, merge_size=merge, temporal_patch_size=frames,
                                             do_resize=False)  # fmt: skip
        expected = processor(pictures.draw(KEY), return_tensors="np")
        pixels, grid = images.patches(KEY, vision)
        np.testing.assert_allclose(pixels, expected["pixel_values"], atol=1e-5)
        assert [list(grid)] == expected["image_grid_thw"].tolist()
        assert images.tokens_of(vision) == len(pixels) // merge**2
    with pytest.raises(ValueError, match="56 pixels cannot be cut into patches of 16 pixels of which 2 by 2"):
        images.patches(KEY, SimpleNamespace(patch_size=16, spatial_merge_size=2, temporal_patch_size=2))


def test_pictures_that_cannot_be_seen_are_refused(networks, folder):
    text = prompts.user_turn("2+3?")
    asked = [text, prompts.user_turn("How many?", KEY)]
    engine = TransformersEngine(networks["qwen3"], tiny.ENGINE)
    with pytest.raises(EngineError, match="prompt 1 has a picture, which a network of the kind qwen3 cannot see"):
        engine.generate(asked, Sampling(0.0, 3), 0)
    engine = TransformersEngine(networks["qwen2_5_vl"], tiny.ENGINE)  # the image token of its config is 151655
    with pytest.raises(EngineError, match="prompt 1 has a picture, but the tokenizer of the network has no image tok"):
        engine.generate(asked, Sampling(0.0, 3), 0)
    engine = TransformersEngine(folder, tiny.ENGINE)
    with pytest.raises(EngineError, match="prompt 0 has 2 image tokens for 1 pictures: its text must not have any"):
        engine.generate([prompts.user_turn("<|image_pad|>?", KEY)], Sampling(0.0, 3), 0)
    with pytest.raises(EngineError, match="prompt 1 has a picture, and this engine scores choices for a text only"):
        engine.generate(asked, Sampling(0.0, 3, choices=("a", "b")), 0)
    with pytest.raises(EngineError, match="prompt 1 has a picture, and so"):
        refuse_pictures(asked, "and so")
    with pytest.raises(EngineError, match=r"prompt 0 has \d+ tokens; with max_new_tokens = 1000"):
        engine.generate(asked[1:], Sampling(0.0, 1000), 0)


def test_a_request_holds_the_picture():
    assert openai_engine._message(turn := {"role": "user", "content": "How many?"}) is turn
    message = openai_engine._message({**turn, "image": KEY})
    assert message == {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": pictures.data_url(KEY)}},
            {"type": "text", "text": "How many?"},
        ],
    }


# Students


def example_of(problem):
    return data.Example(problem.id, TASK.prompt(problem), problem.solution, image=problem.image)


def test_students_learn_from_pictures(folder, tmp_path):
    """The loss of a batch of a student with pictures is that of each example alone."""
    network, tokenizer = load.load(folder)
    problems = tasks.problems("mini_pictures", "train", 3)
    rows = [data.encode(example_of(p), tokenizer, 1.0, images.tokens_of_network(folder)) for p in problems]
    rows.append(data.encode(data.Example("a", "2+3?", "Answer: 5"), tokenizer, 1.0, 16))
    assert [row["input_ids"].count(5) for row in rows] == [16, 16, 16, 0]
    assert [row.get("pictures") for row in rows] == [[p.image] for p in problems] + [None]
    total = tokens_ = 0.0
    for row in rows:
        inputs = {"input_ids": torch.tensor([row["input_ids"]]), "labels": torch.tensor([row["labels"]])}
        if row.get("pictures"):
            inputs |= images.tensors(row["pictures"], network.config.vision_config)
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == 5).int()
        n = sum(label != -100 for label in row["labels"])
        total += n * network(**inputs).loss.item()
        tokens_ += n
    config = tiny.but(tiny.DISTILL, epochs=1, batch=4)
    log = sft.train(folder, rows, tmp_path / "student", {"a": 1}, config, 0)
    assert log["loss"][0]["loss"] == pytest.approx(total / tokens_, rel=1e-3)
    before, after = (load.load(path)[0].state_dict() for path in (folder, str(tmp_path / "student")))
    assert any((after[name] != before[name]).any() for name in before if "visual" in name)


def test_training_on_text_leaves_the_vision_tower_as_it_was(folder, tmp_path):
    """Every other parameter moves: what is forgotten of pictures is forgotten by the language part."""
    _, tokenizer = load.load(folder)
    rows = [data.encode(data.Example("a", f"{n}+3?", f"Answer: {n + 3}"), tokenizer, 1.0) for n in range(4)]
    sft.train(folder, rows, tmp_path / "student", {"a": 1}, tiny.but(tiny.DISTILL, epochs=1, weight_decay=0.1), 0)
    before, after = (load.load(path)[0].state_dict() for path in (folder, str(tmp_path / "student")))
    same = {name for name in before if (after[name] == before[name]).all()}
    assert same == {name for name in before if "visual" in name} and 0 < len(same) < len(before)


def test_students_that_cannot_see_are_refused(networks):
    [problem] = tasks.problems("mini_pictures", "train", 1)
    _, tokenizer = load.load(networks["qwen3"])
    assert images.tokens_of_network(networks["qwen3"]) == 0
    with pytest.raises(DistillError, match="has a picture, which a student without a vision tower cannot see: take"):
        data.encode(example_of(problem), tokenizer, 1.0)
    with pytest.raises(DistillError, match="mini_pictures/train/0 has a picture, from which a reward model cannot le"):
        data.refuse_pictures([problem], "a reward model")
    data.refuse_pictures(tasks.problems("mini_gsm", "train", 1), "a reward model")


# The zoo


COMMON = {"seed": 0, "tokens": 1024, "block": 256, "max_peers": 3}
PHASES = [{"steps": 2, "shares": {"picture": 0.7, "debate": 0.1}, "lengths": [1, 2]}]


def test_descriptions_are_those_of_the_pictures():
    things = 0
    for i in range(60):
        question, reply = zoo_pictures.describing(Random(i)).chat
        names = dict(zip("ABCDEFGHIJKLMNOP", map(mini_pictures.single, pictures.cells(question["image"]))))
        letters = question["content"].removeprefix("Quote ").removesuffix(".").split(", ")
        assert 1 <= len(letters) <= 6
        assert reply["content"].split(", ") == [f"{letter} {names[letter]}" for letter in letters]
        things += sum(names[letter] != "nothing" for letter in letters) / len(letters)
    assert 35 < things < 57
    assert [mini_pictures.single(code) for code in ("rc", "bt", "g4", "--")] == [
        "red circle",
        "blue triangle",
        "green 4",
        "nothing",
    ]


def test_chats_about_pictures():
    kinds, phase = Counter(), {"shares": {"picture": 1.0}, "lengths": [1, 2]}
    for i in range(150):
        example = corpus.example(0, i, phase, 3)
        assert example == corpus.example(0, i, phase, 3)
        assert len(images.keys(example.chat)) == 1 and example.also == ()
    for i in range(150):
        example = corpus.example(0, i, {**phase, "shares": {"picture": 0.9, "debate": 0.1}}, 3)
        kinds[bool(images.keys(example.chat)), example.chat[-1]["content"].startswith("Check ")] += 1
    assert kinds[True, True] > 10 and kinds[True, False] > 50


def test_positions_of_packed_chats_are_those_of_the_network(folder):
    network, tokenizer = load.load(folder)
    vision = zoo_pictures.Vision(network.config.vision_config, tokenizer)
    for chat in (chats()[0], chats()[-1], chats()[-3]):
        example = corpus.Example([*chat, {"role": "assistant", "content": "Answer: 3"}])
        ids, labels = packing.encode(example, tokenizer)
        longer, learnt, positions = vision.spread(ids, labels)
        shown = len(images.keys(chat))
        assert len(longer) == len(ids) + 15 * shown and longer.count(5) == 16 * shown
        assert [label for label in learnt if label != -100] == [label for label in labels if label != -100]
        ids_1L = torch.tensor([longer])
        grid = torch.tensor([[1, 8, 8]]).expand(shown, -1)
        expected, _ = network.model.get_rope_index(ids_1L, (ids_1L == 5).int(), image_grid_thw=grid)
        assert torch.tensor(positions)[:, 1:].T.tolist() == expected[:, 0].tolist()
        assert [place for place, *_ in positions] == list(range(len(longer)))


def test_a_packed_block_has_the_loss_of_each_chat_alone(folder):
    network, tokenizer = load.load(folder)
    network.config.get_text_config().use_cache = False
    vision = zoo_pictures.Vision(network.config.vision_config, tokenizer)
    phases = [{"steps": 1, "shares": {"picture": 0.7}, "lengths": [1, 2]}]
    step = packing.Steps(tokenizer, {**COMMON, "tokens": 2048, "block": 512}, phases, vision=vision)[0]
    blocks = step["input_ids"].shape[0]
    assert step["position_ids"].shape == (4, blocks, 512) and len(step["image_grid_thw"]) >= 4
    assert (step["input_ids"] == 5).sum() == 16 * len(step["image_grid_thw"])
    with torch.no_grad():
        logits = network(**{k: v for k, v in step.items() if k != "labels"}).logits
        losses, alone = [], []
        for b in range(blocks):
            starts = [*(step["position_ids"][0, b] == 0).nonzero()[:, 0].tolist(), 512]
            for start, end in zip(starts, starts[1:]):
                ids, labels = step["input_ids"][b, start:end], step["labels"][b, start:end]
                if not (labels != -100).any():
                    continue
                losses.append(torch.nn.functional.cross_entropy(logits[b, start : end - 1], labels[1:]).item())
                before = int((step["input_ids"][:b] == 5).sum() + (step["input_ids"][b, :start] == 5).sum()) // 16
                shown = int((ids == 5).sum()) // 16
                more = {}
                if shown:
                    more = {"pixel_values": step["pixel_values"][64 * before : 64 * (before + shown)],
                            "image_grid_thw": step["image_grid_thw"][before : before + shown],
                            "mm_token_type_ids": (ids == 5).int()[None]}  # fmt: skip
                alone.append(network(input_ids=ids[None], labels=labels[None], **more).loss.item())
    assert len(losses) > 8 and losses == pytest.approx(alone, abs=1e-3)


def test_only_networks_with_a_vision_tower_learn_pictures(networks):
    _, tokenizer = load.load(networks["qwen3"])
    with pytest.raises(ValueError, match="only a network with a vision tower can learn pictures"):
        packing.Steps(tokenizer, COMMON, PHASES)
    old = SimpleNamespace(get_vocab=lambda: {"<|pad|>": 0})
    with pytest.raises(ValueError, match="the tokenizer has no tokens for pictures: delete its folder"):
        zoo_pictures.token_ids(old)


def test_a_vision_tower_is_trained(tmp_path):
    """A step with pictures changes the tower, and the trained network answers questions about pictures."""
    tokenizer = packing.make_tokenizer(vocab_size=400, chats=100, seed=0, context=1024)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    text = {k: v for k, v in tiny.SIZE.items() if k != "head_dim"}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    spec = {"role": "test", "architecture": "qwen2_5_vl", "learning_rate": 1e-3,
            "config": {"text_config": text, "vision_config": VISION},
            "phases": [{"steps": 3, "shares": {"picture": 0.6}, "lengths": [1, 2]}]}  # fmt: skip
    common = {**COMMON, "context": 1024, "weight_decay": 0.05, "rest_rate": 1e-3, "bf16": False}
    torch.manual_seed(0)
    before = train.make_model(spec, tokenizer, 1024).state_dict()
    assert train.train("see", spec, common, tmp_path / "work", zoo=tmp_path)
    network, _ = load.load(str(tmp_path / "see"))
    changed = {name for name, value in network.state_dict().items() if (value - before[name]).abs().max() > 1e-3}
    assert any("visual.patch_embed" in name for name in changed) and any("visual.merger" in name for name in changed)
    engine = engines.make(str(tmp_path / "see"), tiny.ENGINE)
    [reply] = engine.generate([prompts.user_turn("How many circles are in the picture?", KEY)], Sampling(0.0, 5), 0)
    assert reply.tokens_in > 16 and reply.tokens_out
