import pytest

from nnqft.storage.product import read_tree

STAGES = ("cumulants", "theory", "couplings", "flow", "sixpoints", "action")


@pytest.fixture(scope="session")
def groups(small_results):
    """Point set -> stage -> its dataset in memory."""
    _, layout = small_results
    trees = {stage: read_tree(layout.store(stage)) for stage in STAGES}
    return {points: {stage: trees[stage][points].to_dataset().load() for stage in STAGES} for points in ("ray", "near")}


@pytest.fixture(scope="session")
def texts():
    """All words in a figure, in one string."""

    def collect(figure):
        found = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]
        return "\n".join(text for text in found if text)

    return collect


def without_order(dataset, order):
    """The dataset of a scan that stopped below `order`."""
    names = {4: ("G4", "G4c"), 6: ("G6", "G6c")}
    gone = [v for k in (4, 6) if k >= order for name in names[k] for v in dataset.data_vars if v.startswith(name)]
    return dataset.drop_vars(gone).sel(order=[k for k in dataset["order"].values if k < order])


@pytest.fixture(scope="session")
def truncated():
    """Function (dataset, order) -> the dataset without that order and those above."""
    return without_order
