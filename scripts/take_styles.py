"""Take the compiled styles of npm's ``nhsuk-frontend`` into `openscr.pages`, without what is fetched from elsewhere.

::

    npm pack nhsuk-frontend@10.6.1 && tar xzf nhsuk-frontend-10.6.1.tgz && python scripts/take_styles.py package

The version must be the one that the installed ``nhsuk-frontend-jinja`` is made for. The typeface of NHS services is not
ours to use and is served by another host: its ``@font-face`` rules are left out, text is set in Arial. Spec: 80 §8.
"""

import json
import re
import sys
from pathlib import Path

STATIC = Path(__file__).resolve().parents[1] / "src" / "openscr" / "pages" / "static"


def main(package: Path) -> None:
    """Write the styles and the images that they name; forget those of another version."""
    version = json.loads((package / "package.json").read_text("utf-8"))["version"]
    compiled = package / "dist" / "nhsuk"
    styles = (compiled / f"nhsuk-frontend-{version}.min.css").read_text("utf-8")
    styles = re.sub(r"@font-face\{[^}]*\}", "", styles)
    styles = re.sub(r"/\*# sourceMappingURL=.*?\*/\s*", "", styles)
    styles = styles.replace("Frutiger W01,arial", "arial").replace("url(/assets/images/", "url(images/")
    if re.search(r"https?://(?!www\.w3\.org/)", styles):
        raise SystemExit("the styles still name another host")
    for old in STATIC.glob("nhsuk-frontend-*.min.css"):
        old.unlink()
    (STATIC / f"nhsuk-frontend-{version}.min.css").write_text(styles, "utf-8")
    for name in sorted(set(re.findall(r"url\(images/([^)]*)\)", styles))):
        (STATIC / "images" / name).write_bytes((compiled / "assets" / "images" / name).read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
