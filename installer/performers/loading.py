"""From the media to this host: images to the registry, tools and secrets to their places, the release's own folder."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from installer.bundle.content import Sink
from installer.deltas import Ground
from installer.durable import make_folder, remove_folder, write_folder
from installer.media import ToolSink
from installer.performers.host import Handlers, Host, Incoming, require
from installer.plan import actions as act
from installer.registry.access import blob_files, install_credentials, registry_client
from installer.registry.fill import fill_registry
from installer.registry.load import RegistrySink
from installer.site.secretfiles import install_secrets
from installer.state.releases import keep, list_kept, release_folder, surplus
from installer.state.state import load_state


class Loading:
    """Touches nothing that runs."""

    def __init__(self, host: Host, incoming: Incoming | None) -> None:
        self._host, self._incoming = host, incoming

    def handlers(self) -> Handlers:
        return {
            act.LoadContent: self._load_content,
            act.InstallSecrets: self._install_secrets,
            act.KeepRelease: self._keep_release,
            act.ForgetRelease: self._forget_release,
            act.ForgetProduct: self._forget_product,
            act.PruneKept: self._prune_kept,
        }

    def _load_content(self, _: act.LoadContent) -> None:
        incoming = require(self._incoming)
        media, talk = incoming.media, self._host.talk
        install_credentials(self._host.site, self._host.state_dir)
        client = registry_client(self._host.site, self._host.state_dir)
        files = blob_files(self._host.site, self._host.state_dir)
        ground = Ground.of(media, client, self._host.state_dir, files)
        not_checked: tuple[str, ...] = ()

        def read(sink: RegistrySink, again: bool) -> None:
            nonlocal not_checked
            ground.refuse_lacking(sink.held)
            with talk.progress("load again" if again else "verify and load", media.size) as meter:
                sinks: list[Sink] = [sink] if again else [sink, ToolSink(self._host.state_dir)]
                quick = again or incoming.quick
                left = media.read(
                    sinks, progress=meter.advance, quick=quick, rebuild=ground.rebuilder, outrun=sink.outrun
                )
                not_checked = not_checked if again else left

        fill_registry(client, media.release, read, talk.warn, others=ground.repositories)
        if not_checked:
            talk.warn(f"not checked, because nobody needed them: {len(not_checked)} members of the bundle")

    def _install_secrets(self, action: act.InstallSecrets) -> None:
        for warning in install_secrets(self._host.site, action.product, action.names, self._host.state_dir).warnings:
            self._host.talk.warn(warning)

    def _keep_release(self, _: act.KeepRelease) -> None:
        incoming = require(self._incoming)
        rendered = incoming.rendered
        keep(self._host.state_dir, incoming.media.verified, incoming.media.files, rendered.files)
        if rendered.base_folder is not None and not rendered.base_folder.exists():
            make_folder(rendered.base_folder.parent)
            write_folder(rendered.base_folder, {path: (data, 0o644) for path, data in rendered.base_files.items()})

    def _prune_kept(self, action: act.PruneKept) -> None:
        state_dir = self._host.state_dir
        product = load_state(state_dir).products[action.product]
        kept = list_kept(state_dir, action.product)
        oldest_first = sorted(kept, key=lambda ref: release_folder(state_dir, ref).stat().st_mtime)
        for ref in surplus(oldest_first, product.needed, action.keep):
            remove_folder(release_folder(state_dir, ref))

    def _forget_product(self, action: act.ForgetProduct) -> None:
        """Trust, journal and site file stay."""
        state_dir = self._host.state_dir
        left = load_state(state_dir).without_product(action.product)
        self._host.remember(products=left.products, departed=left.departed)
        _take_away(state_dir, action.product)
        if action.last:
            shutil.rmtree(state_dir / "tools", ignore_errors=True)

    def _forget_release(self, action: act.ForgetRelease) -> None:
        state_dir, product = self._host.state_dir, action.release.product
        shutil.rmtree(release_folder(state_dir, action.release), ignore_errors=True)
        if list_kept(state_dir, product):
            return
        _take_away(state_dir, product)  # the last one takes with it what only it needed


def _take_away(state_dir: Path, product: str) -> None:
    for place in ("releases", "base", "secrets"):
        shutil.rmtree(state_dir / place / product, ignore_errors=True)
        with suppress(OSError):  # other products are there
            (state_dir / place).rmdir()
