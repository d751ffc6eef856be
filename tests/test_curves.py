"""Curves of training: what is drawn is what the logs say."""

from agentark.report import curves


def log(steps=4, dev=True):
    rows = [
        {"step": n, "reward": 0.1 * n, "accuracy": 0.5, "zero_variance": 0.25, "length": 40.0, "kl": 0.01}
        for n in range(1, steps + 1)
    ]
    return {"log": rows, "dev": [{"step": 0, "accuracy": 0.4}, {"step": steps, "accuracy": 0.6}] if dev else []}


def test_reward_and_truth_stand_side_by_side():
    figure = curves.reward_and_truth({"a": log(), "b": log(dev=False)})
    reward, truth, health = figure.axes[:3]
    assert len(figure.axes) == 6 and reward.get_title(loc="left") == "a"
    assert reward.lines[0].get_ydata()[-1] == 0.25  # the mean of the last five at most: 0.1 … 0.4
    assert list(truth.lines[1].get_ydata()) == [0.4, 0.6]
    assert len(figure.axes[4].lines) == 1 and len(health.lines) == 3


def test_no_legend_covers_data_and_titles_are_not_cut():
    name = "Qwen3-0.6B role, 0.2 M, trained on mini_gsm, seed 0"
    figure = curves.reward_and_truth({name: log()})
    assert not [axes for axes in figure.axes if axes.get_legend()] and len(figure.legends[0].get_texts()) == 5
    assert figure.axes[0].get_title(loc="left").replace("\n", " ") == name
    assert max(map(len, figure.axes[0].get_title(loc="left").splitlines())) <= curves.TITLE_WIDTH
    loss = curves.training_loss({"a": {"loss": [{"step": 1, "loss": 0.5}]}}, unit="Eq. 7")
    assert loss.axes[0].get_ylabel() == "loss (Eq. 7)" and not loss.axes[0].get_legend() and loss.legends
