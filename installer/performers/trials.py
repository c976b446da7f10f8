"""A release on trial: when its time began, and what looks after it."""

from __future__ import annotations

from installer.performers.host import Handlers, Host
from installer.plan import actions as act
from installer.state.state import Trial, load_state
from installer.trial import forget, read_clocks


class Trials:
    """Idempotent as all performers: a trial that runs goes on."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def handlers(self) -> Handlers:
        return {
            act.ArmWatcher: self._arm,
            act.DisarmWatcher: self._disarm,
            act.StartTrial: self._start,
        }

    def _arm(self, action: act.ArmWatcher) -> None:
        self._host.watcher().arm(action.site_file)

    def _disarm(self, _: act.DisarmWatcher) -> None:
        products = load_state(self._host.state_dir).products.values()
        for product in products:
            if product.trial is None:
                forget(self._host.state_dir, product.product)
        if not any(product.trial for product in products):
            self._host.watcher().disarm()

    def _start(self, action: act.StartTrial) -> None:
        state = load_state(self._host.state_dir)
        product = state.products[action.product]
        if product.trial is not None:
            return
        now = read_clocks()
        trial = Trial(
            seconds=action.seconds,
            boot=now.boot,
            uptime=now.uptime,
            wall=now.wall,
            marks=action.marks,
            watcher=self._host.watcher().kind,
        )
        self._host.remember(products=state.with_product(product.model_copy(update={"trial": trial})).products)
