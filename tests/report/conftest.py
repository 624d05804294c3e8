import pytest

from nnqft.stages.tables import read_groups


@pytest.fixture(scope="session")
def report_groups(finished):
    """Point set -> store -> its dataset in memory."""
    return {points: {k: v.load() for k, v in group.items()} for points, group in read_groups(*finished).items()}


@pytest.fixture(scope="session")
def changed(report_groups):
    """Function (points, store, change) -> the groups with a changed copy of one dataset."""

    def copied(points, stage, change, groups=report_groups):
        data = groups[points][stage].copy(deep=True)
        change(data)
        return groups | {points: groups[points] | {stage: data}}

    return copied
