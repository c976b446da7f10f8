"""What a service mounts: volumes, secrets, configs, files of variables. Pure.

Rendered files are mounted read-only, for a rollback verifies them again. Data belongs in named volumes, and those
belong to stateful services: two colours must not write to one folder.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, Final

from installer.errors import SealiftError

_OPTIONS: Final = {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"}
_PROPAGATION: Final = {"shared", "slave", "private", "rshared", "rslave", "rprivate"}
Spec = dict[str, Any]


def invalid(message: str, hint: str) -> SealiftError:
    """The refusal of a compose file."""
    return SealiftError("compose-invalid", message, hint=hint)


class Mounts:
    """Translates the mounts of one service, and remembers what they reach for."""

    def __init__(self, service: str, stateful: bool, rendered: Mapping[str, bytes], document: Spec) -> None:
        self._service, self._stateful, self._rendered, self._document = service, stateful, rendered, document
        self.files: set[str] = set()
        self.volumes: set[str] = set()
        self.secrets: set[str] = set()
        self.configs: set[str] = set()
        self.warnings: list[str] = []

    def translate(self, spec: Spec) -> Spec:
        """The keys of ``spec`` that mount something, in their long form. Raises ``compose-invalid`` (2)."""
        result: Spec = {}
        if spec.get("volumes"):
            result["volumes"] = [self._volume(item) for item in self._list(spec, "volumes")]
        if spec.get("secrets"):
            result["secrets"] = [self._secret(item) for item in self._list(spec, "secrets")]
        if spec.get("configs"):
            result["configs"] = [self._config(item) for item in self._list(spec, "configs")]
        if spec.get("env_file"):
            result["env_file"] = self._env_files(spec["env_file"])
        return result

    def _list(self, spec: Spec, key: str) -> list[Any]:
        if not isinstance(spec[key], list):
            raise invalid(f"{key} of the service {self._service} is not a list", "write it as a list")
        items: list[Any] = spec[key]
        return items

    def _volume(self, item: object) -> Spec:
        mount = self._short_volume(item) if isinstance(item, str) else item
        if not isinstance(mount, dict) or not isinstance(mount.get("target"), str):
            raise invalid(
                f"a volume of the service {self._service} is not understood: {item}", "name source and target"
            )
        kind, source = mount.get("type", "volume"), mount.get("source")
        if kind == "bind" and isinstance(source, str):
            return self._bind(dict(mount), source)
        if kind == "volume" and source:
            self._named(str(source))
        elif kind == "volume" and self._stateful:
            self._warn(f"{mount['target']} is an unnamed volume: its data is lost when the service is taken off")
        elif kind not in ("volume", "tmpfs"):
            raise invalid(f"the service {self._service} mounts a {kind}", "use a bind, a volume or a tmpfs")
        return dict(mount, type=kind)

    def _short_volume(self, item: str) -> Spec:
        source, _, rest = item.partition(":")
        target, _, options = rest.partition(":")
        if not target:
            return {"type": "volume", "target": source}
        flags = set(filter(None, options.split(",")))
        if unknown := flags - _OPTIONS - _PROPAGATION:
            raise invalid(f"options of the volume {item} are not understood: {', '.join(sorted(unknown))}", "drop them")
        mount: Spec = {"source": source, "target": target}
        if "ro" in flags:
            mount["read_only"] = True
        if source.startswith((".", "/", "~")):
            bind: Spec = {"create_host_path": True}
            for flag in sorted(flags & _PROPAGATION | flags & {"z", "Z"}):
                bind["selinux" if flag in "zZ" else "propagation"] = flag
            return mount | {"type": "bind", "bind": bind}
        return mount | {"type": "volume"} | ({"volume": {"nocopy": True}} if "nocopy" in flags else {})

    def _bind(self, mount: Spec, source: str) -> Spec:
        if "$" in source or source.startswith("~"):
            raise invalid(f"the service {self._service} mounts {source}", "write the path out, or take it from a value")
        if source.startswith("/"):
            named = "the engine's socket" if source.endswith("docker.sock") else "this host's"
            self._warn(f"it mounts {named} {source}")
            return mount
        path = self._rendered_path(source, "mounts")
        self._use(path)
        options = mount.get("bind") if isinstance(mount.get("bind"), dict) else {}
        bind = {**(options or {}), "create_host_path": False}
        return mount | {"type": "bind", "source": f"./{path}", "read_only": True, "bind": bind}

    def _named(self, source: str) -> None:
        if "$" in source or source not in _section(self._document, "volumes"):
            raise invalid(
                f"the service {self._service} mounts the volume {source}, which the compose file doesn't declare",
                "declare it below `volumes:`",
            )
        if not self._stateful:
            raise invalid(
                f"the service {self._service} is started once per colour, but it mounts the volume {source}: "
                "two colours would write to it at once",
                f"mark it `state: shared` below services.{self._service} in the manifest, or drop the volume",
            )
        self.volumes.add(source)

    def _secret(self, item: object) -> Spec:
        source, target = self._named_file(item, "secrets")
        self.secrets.add(source)
        return {"source": source} | ({"target": target} if target else {})

    def _config(self, item: object) -> Spec:
        source, _ = self._named_file(item, "configs")
        self.configs.add(source)
        declared = _section(self._document, "configs")[source]
        if isinstance(declared, dict) and isinstance(declared.get("file"), str):
            self._use(self._rendered_path(declared["file"], f"takes the config {source} from"))
        elif not (isinstance(declared, dict) and isinstance(declared.get("content"), str)):
            raise invalid(f"the config {source} has neither a file nor content", "a config is a rendered file")
        return dict(item) if isinstance(item, dict) else {"source": source}

    def _named_file(self, item: object, section: str) -> tuple[str, str | None]:
        source = item.get("source") if isinstance(item, dict) else item
        if not isinstance(source, str) or source not in _section(self._document, section):
            raise invalid(
                f"the service {self._service} uses {source} of {section}, which the compose file doesn't declare",
                f"declare it below `{section}:`",
            )
        target = item.get("target") if isinstance(item, dict) else None
        return source, str(target) if target else None

    def _env_files(self, value: object) -> list[Spec]:
        result = []
        for item in value if isinstance(value, list) else [value]:
            entry: Spec = dict(item) if isinstance(item, dict) else {"path": item}
            if not isinstance(entry.get("path"), str):
                raise invalid(f"an env_file of the service {self._service} is not understood: {item}", "name its path")
            path = self._rendered_path(entry["path"], "takes variables from")
            if path in self._rendered or entry.get("required") is not False:
                self._use(path)
            result.append(entry | {"path": f"./{path}"})
        return result

    def _rendered_path(self, source: str, verb: str) -> str:
        path = posixpath.normpath(source)
        if path.startswith(("..", "/", "~")) or "$" in path:
            raise invalid(
                f"the service {self._service} {verb} {source}, which is not among the product's templates",
                "put the file beside the compose template and name it by a relative path",
            )
        return path

    def _use(self, path: str) -> None:
        found = {name for name in self._rendered if path == "." or name == path or name.startswith(f"{path}/")}
        if not found:
            raise invalid(
                f"the service {self._service} uses ./{path}, which is not among the product's templates",
                "add it to the templates; for data use a named volume of a service with `state: shared`",
            )
        self.files |= found

    def _warn(self, text: str) -> None:
        self.warnings.append(f"service {self._service}: {text}")


def _section(document: Spec, name: str) -> Spec:
    section = document.get(name)
    return section if isinstance(section, dict) else {}
