"""Where the values of settings come from: flags, the environment, a file, defaults; and what is said of wrong ones.

A flag beats the environment, that beats the file, that beats the default. What a source gives is a mapping of settings
to `Given`; `Sources.build` makes the settings of a few such mappings, laid over each other.

Spec: 00 §4 "Configuration"; 50 §7, C2.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

_FLAG: Final = "flag --"
_YAML: Final = (".yaml", ".yml")


class InvalidSetting(ValueError):
    """A setting cannot be used. ``setting`` is which, ``source`` where it came from, ``expected`` what would be right.

    The text holds no value: it might be a secret.
    """

    def __init__(self, setting: str, source: str, expected: str) -> None:
        super().__init__(f"setting {setting} (from {source}): {expected}")
        self.setting = setting
        self.source = source
        self.expected = expected

    @property
    def wrong_usage(self) -> bool:
        """Whether a flag of the command itself is wrong, and not what the machine is set up with."""
        return self.source.startswith(_FLAG)


class SourcedSettings(BaseSettings):
    """Settings that know where each of their values came from; made by `Sources.build`, never changed."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `Sources` has gathered, and nothing else: it alone knows the order and the sources."""
        return (init_settings,)

    def source(self, name: str) -> str:
        """Where the value of a setting came from, in words for people; ``default`` when nobody set it."""
        return self._sources.get(name, "default")


S = TypeVar("S", bound=SourcedSettings)


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave to a setting, and where, in words for people."""

    value: Any
    source: str


class Sources(Generic[S]):
    """The sources of one class of settings.

    Its variables begin with ``prefix``. ``other_names`` are further names of settings; one with a dot stands in a table
    of the file.
    """

    def __init__(self, model: type[S], prefix: str, other_names: Mapping[str, str]) -> None:
        self._model = model
        self._prefix = prefix
        self._other_names = other_names

    def of_file(self, path: Path, *, required: bool) -> dict[str, Given]:
        """Return what a TOML file sets, or a YAML file by its suffix; nothing when it may be missing and is.

        Raises: `InvalidSetting`.
        """
        settings = _settings_of(_read_file(path, required=required))
        return {
            name: Given(value, str(path) if given == name else f"{path}, {given}")
            for name, given, value in self._named(settings, str(path))
        }

    def of_environment(self) -> dict[str, Given]:
        """Return what the environment sets; a variable without text sets nothing. Raises: `InvalidSetting`."""
        return {
            name: Given(value, f"environment {self.variable(given)}")
            for name, given, value in self._named(self._variables(), "environment")
        }

    def of_flags(self, flags: Mapping[str, object]) -> dict[str, Given]:
        """Return what flags set, by the names of settings; none means not given."""
        return {
            name: Given(value, _FLAG + name.replace("_", "-")) for name, value in flags.items() if value is not None
        }

    def build(self, given: Mapping[str, Given]) -> S:
        """Make the settings. Raises: `InvalidSetting`."""
        sources = {name: each.source for name, each in given.items()}
        try:
            settings = self._model(**{name: each.value for name, each in given.items()})
        except ValidationError as error:
            raise _invalid(error, sources) from None
        settings._sources.update(sources)
        return settings

    def variable(self, name: str) -> str:
        """Return the variable of a setting."""
        return self._prefix + name.replace(".", "_").upper()

    def _variables(self) -> Iterator[tuple[str, str]]:
        variables = {name.upper(): value for name, value in os.environ.items() if value}
        # Some other names are spelled as ours are when they stand in a variable: ours come first.
        for name in (*self._model.model_fields, *self._other_names):
            if (value := variables.pop(self.variable(name), None)) is not None:
                yield name, value

    def _named(self, settings: Iterable[tuple[str, Any]], source: str) -> Iterator[tuple[str, str, Any]]:
        """Give each setting by its own name, the name that it was given by, and its value. Raises: `InvalidSetting`."""
        found: dict[str, str] = {}
        for given, value in settings:
            name = self._other_names.get(given, given)
            if name not in self._model.model_fields:
                raise InvalidSetting(given, source, "there is no such setting")
            if name in found:
                raise InvalidSetting(name, source, f"{found[name]} and {given} are one setting: give one of them")
            found[name] = given
            yield name, given, value


def effective(settings: SourcedSettings) -> list[tuple[str, str, str]]:
    """Return every setting as (name, value, source) for people to read, secrets masked. Spec: 00 §4."""
    names = type(settings).model_fields
    return [(name, _show(getattr(settings, name)), settings.source(name)) for name in names]


def read_names(value: object) -> tuple[str, ...]:
    """Read names with commas between them, each once. Raises: `ValueError`."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError("this is a list of names, separated by commas")
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def read_url(value: object) -> object:
    """Read a URL of HTTP that holds no password. Raises: `ValueError`."""
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts and parts.scheme in {"http", "https"} and parts.hostname and not parts.username:
        return value
    raise ValueError("an address is a URL such as https://spine.example/sync-service")


def _read_path(value: object) -> object:
    if isinstance(value, str) and not value:
        raise ValueError("a path is not empty")
    return Path(value).expanduser() if isinstance(value, str | os.PathLike) else value


Names = Annotated[tuple[str, ...], BeforeValidator(read_names)]
"""Names, separated by commas."""

PathName = Annotated[Path, BeforeValidator(_read_path)]
"""A path; ``~`` is the home folder."""

Url = Annotated[str, BeforeValidator(read_url)]
"""A URL of HTTP."""


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if not required:
            return {}
        raise InvalidSetting("config", f"{_FLAG}config", "there is no such file") from None
    except OSError as error:
        raise InvalidSetting("config", str(path), f"the file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSetting("config", str(path), "the file is not UTF-8") from None
    return _read_yaml(text, path) if path.suffix in _YAML else _read_toml(text, path)


def _read_toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise InvalidSetting("config", str(path), f"not TOML: {error}") from None


def _read_yaml(text: str, path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - hardly anybody has such a file, and every start would pay for it

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The error's own text quotes the file.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise InvalidSetting("config", str(path), f"not YAML{where}") from None
    if not isinstance(document or {}, dict) or not all(isinstance(name, str) for name in document or {}):
        raise InvalidSetting("config", str(path), "the file is not a mapping of settings to their values")
    return document or {}


def _settings_of(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give what a file sets; what stands in a table has the table's name before its own. A name alone sets nothing."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{member}", inner) for member, inner in value.items() if inner is not None)
        elif value is not None:
            yield name, value


def _invalid(error: ValidationError, sources: Mapping[str, str]) -> InvalidSetting:
    """Say the first thing that is wrong; a default that could not follow from it is not worth a word."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = next((fault for fault in faults if fault["type"] != "default_factory_not_called"), faults[0])
    name = str(first["loc"][0]) if first["loc"] else "settings"
    text = "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"]
    return InvalidSetting(name, sources.get(name, "default"), text.removeprefix("Value error, "))


def _show(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join("=".join(map(_number, each)) if isinstance(each, tuple) else each for each in value)
    return _mask(str(value))


def _number(value: object) -> str:
    """Write a part of a pair as people give it: hours without a fraction that they have not."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def holds_credentials(path: str) -> bool:
    """Whether what should be the path of a file looks like a mistyped URL with a password, not to be repeated.

    Or like the words in which other programs are told of a database: ``host=… password=…``.
    """
    return re.match(r"[^@]*:[^@]*@|(.*\s)?(host|hostaddr|port|dbname|user|password)\s*=", path) is not None


def _mask(text: str) -> str:
    """Hide the password of an address, with or without its scheme: before the host, or among the parameters."""
    masked = re.sub(r"(://[^:/?#@]*):.*@", r"\1:***@", text)
    masked = re.sub(r"^([^:/?#@]*):(?!//).*@", r"\1:***@", masked)
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", masked)
