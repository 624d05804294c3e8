"""What every workflow job shares: the scan out of Snakemake's configuration, a log file, and honest exits."""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnqft.cluster.settings import option
from nnqft.core.errors import InputError
from nnqft.spec.load import parse_scan
from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout, layout
from nnqft.stages.progress import LogFormatter, TerminalHandler, steps_only
from nnqft.storage.location import claim


@contextmanager
def job(snakemake: Any) -> Iterator[tuple[Scan, Layout]]:
    """The validated scan and its paths; messages go to the rule's log and, short, to standard error."""
    logger = logging.getLogger("nnqft")
    logger.setLevel(logging.INFO)
    handlers: list[logging.Handler] = [TerminalHandler()]
    if snakemake.log:
        Path(snakemake.log[0]).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(snakemake.log[0], mode="w", encoding="utf-8"))
        handlers[-1].setFormatter(LogFormatter("%(relativeCreated)9.0f ms  %(levelname)-7s %(message)s"))
        handlers[-1].addFilter(steps_only)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        source = "Snakemake's configuration"
        scan = parse_scan(dict(snakemake.config), source)
        where = layout(scan.name)
        claim(where.root, where.url, bool(option("store_take")))
        yield scan, where
    except InputError as error:
        logger.error("nnqft: %s", error)
        sys.exit(2)
    except Exception as error:
        logger.error("nnqft: %s: %s", type(error).__name__, error)
        if snakemake.log:
            with Path(snakemake.log[0]).open("a", encoding="utf-8") as stream:
                traceback.print_exc(file=stream)
        sys.exit(1)
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
