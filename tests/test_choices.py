"""The multiple-choice parser: hand-written traps with their strict and flexible reading; None is unparsed."""

import pytest

from agentark.tasks import choices
from agentark.tasks.problem import Parsed, Problem

NOSE = (
    "Sphenopalatine artery",
    "Anterior ethmoidal artery",
    "Greater palatine artery",
    "Septal branch of superior labial artery",
)
SPINE = ("Scoliosis", "Lordosis", "Kyphosis", "Kyphoscoliosis")
VITAMINS = ("Vitamin A", "Vitamin B12", "Vitamin C", "A vitamin deficiency")
BLOOD = ("B", "A", "AB", "O")  # option A is group B
CELLS = ("T cells", "NK cells", "B cells", "Mast cells")
BUGS = ("E. coli", "C. difficile", "Bordetella pertussis", "Salmonella typhi")
NUMBERS = ("5", "10", "15", "50")
SIGNS = ("Fever", "Cough", "Rash", "All of the above")
LIVER = ("Hepatitis A", "Hepatitis B", "Hepatitis C", "Hepatitis D and E")

TRAPS = [  # options, text, strict, flexible
    # the requested form
    (NOSE, "Answer: B", "B", "B"),
    (NOSE, "It is a branch of the ophthalmic artery.\nAnswer: B", "B", "B"),
    (NOSE, "Answer: B.", "B", "B"),
    (NOSE, "answer: b", "B", "B"),
    (NOSE, "Answer: (B)", "B", "B"),
    (NOSE, "Answer: [B]", "B", "B"),
    (NOSE, "Answer: B)", "B", "B"),
    (NOSE, "Answer: a", "A", "A"),  # the form has a letter, so that this is one
    (NOSE, "**Answer: B**", "B", "B"),
    (NOSE, "**Answer:** B", "B", "B"),
    (NOSE, "### Final Answer: **(C)**", "C", "C"),
    (NOSE, "The correct answer is: D", "D", "D"),
    (NOSE, "Answer: $\\boxed{C}$", "C", "C"),
    (NOSE, "Answer: \\text{C}", "C", "C"),
    (NOSE, "Answer:\nB", "B", "B"),
    (NOSE, "Answer:\n\nB. Anterior ethmoidal artery", "B", "B"),
    (NOSE, "Answer: Option B", "B", "B"),
    (NOSE, "Answer: The correct option is (d).", "D", "D"),
    (NOSE, "Answer is C", "C", "C"),
    # with the option's text or a reason
    (NOSE, "Answer: B. Anterior ethmoidal artery", "B", "B"),
    (NOSE, "Answer: B) Anterior ethmoidal artery.", "B", "B"),
    (NOSE, "Answer: (B) anterior ethmoidal artery", "B", "B"),
    (NOSE, "Answer: B - Anterior ethmoidal artery", "B", "B"),
    (NOSE, "Answer: B Anterior ethmoidal artery", "B", "B"),
    (NOSE, "Answer: B: it comes from the internal carotid", "B", "B"),
    (NOSE, "Answer: B because it comes from the internal carotid", "B", "B"),
    (NOSE, "Answer: A because it is the largest", "A", "A"),
    (NOSE, "Answer: Anterior ethmoidal artery", "B", "B"),
    (NOSE, "Answer: the anterior ethmoidal artery.", "B", "B"),
    (NOSE, "Answer: It is the anterior ethmoidal artery, from the internal carotid", None, "B"),
    (LIVER, "Answer: B. Hepatitis B", "B", "B"),
    (LIVER, "Answer: D. Hepatitis D and E", "D", "D"),  # the letters are the option's own
    (VITAMINS, "Answer: C. Vitamin C", "C", "C"),
    # the last word counts
    (NOSE, "Answer: A\nNo, wait.\nAnswer: B", "B", "B"),
    (NOSE, "Answer: B\nThis is a well-known exception. A branch of it supplies the nose.", "B", "B"),
    (NOSE, "The answer is A. On reflection, the answer is C.", None, "C"),
    (NOSE, "\\boxed{A}\nAnswer: B", "B", "B"),
    (NOSE, "(A) is a branch. (C) is one, too.\nAnswer: B", "B", "B"),
    # sentences
    (NOSE, "So the answer is B.", None, "B"),
    (NOSE, "Therefore, the correct answer is **B**, since it is the exception", None, "B"),
    (NOSE, "The best choice would be (C).", None, "C"),
    (NOSE, "Therefore the correct option is B. Anterior ethmoidal artery", None, "B"),
    (NOSE, "The correct answer to this question is C.", None, "C"),
    (SPINE, "The answer is Lordosis, which is normal there.", None, "B"),
    (SPINE, "The answer is a.", None, "A"),
    # boxes
    (NOSE, "It follows \\boxed{B}", None, "B"),
    (NOSE, "First \\boxed{A}, corrected: \\boxed{\\text{C}}", None, "C"),
    (NOSE, "So $\\boxed{\\textbf{(D)}}$.", None, "D"),
    (NOSE, "\\boxed{42}", None, None),
    # an (X), a letter, or an option's text on the last line
    (NOSE, "The exception comes from the internal carotid.\nThat is (B).", None, "B"),
    (NOSE, "(B) Anterior ethmoidal artery", None, "B"),
    (NOSE, "B. Anterior ethmoidal artery", None, "B"),
    (NOSE, "B", None, "B"),
    (NOSE, "A", None, "A"),  # the whole reply is the letter
    (NOSE, "B.", None, "B"),
    (NOSE, "It is the exception, the anterior ethmoidal artery.", None, "B"),
    (SPINE, "The curve is a kyphoscoliosis.", None, "D"),  # which contains two other options
    (SIGNS, "I think it is all of the above.", None, "D"),
    # the article "a" is no option A, nor is another word
    (NOSE, "The answer is a vessel of the nose.", None, None),
    (NOSE, "Answer: a vessel of the nose", None, None),
    (NOSE, "Answer: A vessel of the nose", None, None),
    (NOSE, "A vessel of the nose is asked for.", None, None),
    (NOSE, "I think the answer is a", None, None),  # broken off before the noun
    (NOSE, "The nose has many vessels.\nA", None, None),  # likewise
    (VITAMINS, "Answer: A vitamin deficiency", "D", "D"),
    (VITAMINS, "The answer is a vitamin deficiency.", None, "D"),
    (CELLS, "Answer: B cells", "C", "C"),  # not B, NK cells
    (CELLS, "The answer is B cells.", None, "C"),
    (CELLS, "Answer: B lymphocytes", None, None),
    (BUGS, "Answer: C. difficile", "B", "B"),
    (BUGS, "Answer: E. coli", "A", "A"),
    (BUGS, "Answer: B. pertussis", None, None),  # B, or the text of C?
    (BUGS, "Answer: C-reactive protein", None, None),
    (BLOOD, "Answer: B", "B", "B"),  # a letter first, as asked: group A
    (BLOOD, "Answer: AB", "C", "C"),
    (BLOOD, "Answer: O", "D", "D"),
    (NUMBERS, "Answer: 10", "B", "B"),
    (NUMBERS, "Answer: 100", None, None),
    (NUMBERS, "It takes 5 days.", None, None),  # too short a text to be named in passing
    # hedges, denials, contradictions
    (NOSE, "Answer: A or B", None, None),
    (NOSE, "Answer: A and C", None, None),
    (NOSE, "Answer: A/B", None, None),
    (NOSE, "Answer: A, B", None, None),
    (NOSE, "Answer: B. Anterior ethmoidal artery or C. Greater palatine artery", None, None),
    (NOSE, "Answer: either (A) or (C)", None, None),
    (NOSE, "Answer: not B", None, None),
    (NOSE, "Answer: neither A nor B", None, None),
    (NOSE, "Answer: B is wrong", None, None),
    (NOSE, "Answer: A. Greater palatine artery", None, None),  # the letter of one, the text of another
    (NOSE, "I think it is (A) or (C).", None, None),
    (NOSE, "It is not (B).", None, None),
    (SPINE, "It isn't Lordosis.", None, None),
    (SPINE, "Lordosis and kyphosis are both possible.", None, None),
    # refusals
    (NOSE, "I'm sorry, but I cannot answer medical questions.", None, None),
    (NOSE, "Answer: I cannot determine the answer", None, None),
    (NOSE, "Answer: I don't know whether it is the anterior ethmoidal artery", None, None),
    (NOSE, "Answer: None of the options", None, None),
    (NOSE, "Answer: E", None, None),
    (NOSE, "Answer: X", None, None),  # the form itself
    (NOSE, "Answer: A\nAnswer: I am not sure", None, None),  # taken back
    (NOSE, "", None, None),
    (NOSE, "  \n ", None, None),
    # broken off, or the options listed over
    (NOSE, "Let us look at each. (A) Sphenopalatine artery is a branch of", None, None),
    (NOSE, "(A) is one, (B) is", None, None),
    (
        NOSE,
        "A. Sphenopalatine artery\nB. Anterior ethmoidal artery\nC. Greater palatine artery\nD. Septal branch of superior labial artery",
        None,
        None,
    ),
    (NOSE, "(A) Sphenopalatine artery\n(B) Anterior ethmoidal artery", None, None),
    (NOSE, "First the definition.\nAnswer:", None, None),
    (NOSE, "Step 1: Kiesselbach's plexus is where several vessels meet, and", None, None),
]


def problem(options) -> Problem:
    return Problem("x/test/0", "?\n" + choices.listed(options), "A", "Answer: A", options=options)


@pytest.mark.parametrize(
    ("options", "text", "strict", "flexible"), TRAPS, ids=[f"{n}-{trap[1][:30]!r}" for n, trap in enumerate(TRAPS)]
)
def test_trap(options, text, strict, flexible):
    assert choices.parse(text, problem(options)) == Parsed(strict, flexible)


def test_there_are_sixty_traps_and_each_is_another():
    assert len(TRAPS) >= 60 and len({trap[:2] for trap in TRAPS}) == len(TRAPS)
    assert sum(trap[3] is None for trap in TRAPS) > 30  # the unparsed ones among them


def test_options_are_listed_by_letter():
    assert choices.listed(("x", "y")) == "A. x\nB. y"


@pytest.mark.parametrize("n", [2, 3, 5])
def test_only_the_letters_of_the_options_are_read(n):
    options = tuple(f"thing number {k}" for k in range(n))
    for k, letter in enumerate("ABCDE"):
        assert choices.parse(f"Answer: {letter}", problem(options)).strict == (letter if k < n else None)


@pytest.mark.parametrize("options", [(), ("one",), tuple("abcdefghijk")])
def test_a_choice_needs_options(options):
    with pytest.raises(ValueError, match=f"x/test/0 has {len(options)} options"):
        choices.parse("Answer: A", Problem("x/test/0", "?", "A", "", options=options))


def test_equal_is_the_same_letter():
    assert choices.equal("B", "B") and not choices.equal("B", "C")
