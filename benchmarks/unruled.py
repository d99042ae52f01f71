"""A service that holds no rule against any message: what the rules cost is the difference to one that does.

    python -m benchmarks.unruled serve --demo ...

For measurements only; it stores whatever can be read. Spec: 90 §6.4.
"""

import sys
from collections.abc import Mapping

from lxml import etree

from openscr.cli.application import main
from openscr.hl7.rules.book import RuleSet
from openscr.hl7.wrapper import Finding


def _find_nothing(_: RuleSet, element: etree._Element, variables: Mapping[str, str] | None = None) -> list[Finding]:
    return []


if __name__ == "__main__":
    setattr(RuleSet, "judge", _find_nothing)  # noqa: B010
    setattr(RuleSet, "judge_document", _find_nothing)  # noqa: B010
    sys.exit(main())
