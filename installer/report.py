"""Results as people and scripts see them. Pure but for handing them to :class:`Talk`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from installer import __version__
from installer.bundle.verify import VerifiedRelease
from installer.errors import SealiftError
from installer.look.findings import Finding, warnings_as_json
from installer.plan.actions import UsePermit
from installer.plan.plan import Plan
from installer.program.hostprogram import Program
from installer.state.chronicle import StepRun, took
from installer.state.journal import Entry, Run
from installer.talk import Table, Talk
from installer.trust.permit import kept_permit
from installer.words import span


@dataclass(frozen=True)
class Outcome:
    """How an upgrade or rollback ended. ``result``: installed, unchanged, rolled-back, planned."""

    result: str
    product: str
    version: str
    strategy: str
    active: str | None
    previous: str | None
    steps: int
    seconds: float
    plan: Plan | None = None
    error: SealiftError | None = None
    findings: tuple[Finding, ...] = ()

    def noting(self, findings: tuple[Finding, ...]) -> Outcome:
        """The same, with what was found on the way."""
        return replace(self, findings=findings)

    @property
    def serving(self) -> str:
        """The version that serves now, and its colour."""
        if self.error is not None:
            return self.previous or "nothing"
        return f"{self.version} ({self.active})" if self.active else self.version

    def as_json(self) -> dict[str, object]:
        value: dict[str, object] = {
            "result": self.result,
            "product": self.product,
            "version": self.version,
            "strategy": self.strategy,
            "active": self.active,
            "previous": self.previous,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
        }
        if self.plan is not None and self.result == "planned":
            value["plan"] = self.plan.model_dump(mode="json")
        if self.plan is not None and self.plan.permit is not None:
            value["permit"] = self.plan.permit.permit.id
        if self.findings:
            value["warnings"] = warnings_as_json(self.findings)
        return value


@dataclass(frozen=True)
class ServiceStatus:
    name: str
    digest: str
    healthy: bool
    detail: str


@dataclass(frozen=True)
class ProductStatus:
    """One product as it runs. ``pending`` is an unfinished run."""

    product: str
    version: str | None
    digest: str | None
    active: str | None
    previous: str | None
    since: str
    healthy: bool
    services: tuple[ServiceStatus, ...]
    pending: dict[str, object] | None


@dataclass(frozen=True)
class TrustStatus:
    """The root of trust of this host, and what is wrong with it or with the clock. ``site`` is our own fingerprint."""

    version: int
    epoch: int
    expires: datetime | None
    days_left: int | None
    site: str | None
    findings: tuple[Finding, ...]

    @property
    def until(self) -> str:
        return f"until {self.expires:%Y-%m-%d}" if self.expires else "for ever"

    def line(self) -> str:
        return f"root of trust: version {self.version}, {self.until}"

    def as_json(self) -> dict[str, object]:
        return {
            "version": self.version,
            "epoch": self.epoch,
            "expires": self.expires.strftime("%Y-%m-%dT%H:%M:%SZ") if self.expires else None,
            "days_left": self.days_left,
            "site": self.site,
            "warnings": warnings_as_json(self.findings),
        }


def show_outcome(talk: Talk, outcome: Outcome) -> None:
    """The table at the end; an upgrade that was taken back shows its result and raises its error."""
    if outcome.result == "planned" and outcome.plan is not None:
        talk.result("\n".join([outcome.plan.headline, *outcome.plan.lines()]), outcome.as_json())
        return
    rows = (
        ("product", outcome.product),
        ("serving", outcome.serving),
        ("before", outcome.previous or "nothing"),
        ("strategy", outcome.strategy),
        ("steps", str(outcome.steps)),
        ("time", f"{outcome.seconds:.1f} s"),
    )
    talk.result(Table(("", ""), rows, f"{outcome.result}: {outcome.product} {outcome.version}"), outcome.as_json())
    if outcome.error is not None:
        raise outcome.error


def show_verified(talk: Talk, verified: VerifiedRelease, findings: tuple[Finding, ...] = ()) -> None:
    """What was verified, and by whom it was signed."""
    release = verified.release
    signers = [signer.as_json() for signer in verified.signers]
    names = ", ".join(f"{signer.name} ({signer.key.short})" for signer in verified.signers)
    members = sum(1 for _ in release.members())
    talk.result(
        f"verified: {release.product} {release.version} ({verified.digest})\nsigned by {names}\n"
        f"trusted by {verified.policy.place}\n"
        f"checked: signatures, and every byte of {members} files and blobs",
        {
            "verified": True,
            "digest": str(verified.digest),
            "product": release.product,
            "version": release.version,
            "signers": signers,
            "root": {"version": verified.policy.root_version, "epoch": verified.policy.epoch},
            "checked": ["signatures", "content"],
            "not_checked": [],
            **({"warnings": warnings_as_json(findings)} if findings else {}),
        },
    )


def show_doctor(talk: Talk, found: Sequence[Finding], stop: SealiftError | None) -> None:
    """Every finding in order; raises the first that stops."""
    mark = {"ok": "ok", "warn": "warning", "stop": "STOPS"}
    rows = tuple((mark[item.level], item.id, item.message) for item in found)
    title = "nothing here would stop an upgrade" if stop is None else "an upgrade would be stopped"
    value: dict[str, object] = {"ready": stop is None, "findings": [item.as_json() for item in found]}
    talk.result(Table(("", "", ""), rows, title), value)
    for item in found:
        if item.hint and (item.error is None or item.error is not stop):
            talk.say(f"{item.id}: {item.hint}")
    if stop is not None:
        raise stop


def show_status(
    talk: Talk,
    products: Sequence[ProductStatus],
    trust: TrustStatus | None,
    program: Program | None,
    found: Sequence[Finding] = (),
) -> None:
    """One block per product, how long the root of trust lasts, and which program this is (None: from sources).

    ``found``: what says that none of it may be true.
    """
    value: dict[str, object] = {
        "products": [
            {
                "product": item.product,
                "version": item.version,
                "digest": item.digest,
                "active": item.active,
                "previous": item.previous,
                "since": item.since,
                "healthy": item.healthy,
                "services": [
                    {"name": service.name, "digest": service.digest, "healthy": service.healthy}
                    for service in item.services
                ],
                "pending": item.pending,
            }
            for item in products
        ],
        "program": {"version": __version__, "digest": str(program.digest) if program else None},
    }
    if found:
        value["warnings"] = [finding.as_json() for finding in found]
        for finding in found:
            talk.warn(f"{finding.message} ({finding.hint})")
    if trust is not None:
        if products:
            value["trust"] = trust.as_json()
        for finding in trust.findings:
            talk.warn(f"{finding.message} ({finding.hint})")
    if not products:
        talk.result(
            "\n".join([f"nothing is installed here (sealift {__version__})", *([trust.line()] if trust else [])]), value
        )
        return
    rows = [
        (
            item.product if number == 0 else "",
            service.name,
            "healthy" if service.healthy else "NOT healthy",
            service.detail,
        )
        for item in products
        for number, service in enumerate(item.services)
    ]
    rows += [("root of trust", f"version {trust.version}", "", trust.until)] if trust is not None else []
    titles = [
        f"{item.product} {item.version or '-'} serves as {item.active or 'nobody'} since {item.since or '-'}, "
        f"back to {item.previous or 'nothing'}{_pending(item.pending)}"
        for item in products
    ]
    titles.append(f"sealift {__version__} looks after it")
    talk.result(Table(("product", "service", "health", ""), tuple(rows), "\n".join(titles)), value)


def _run_lines(run: Run, plan: Plan, steps: Sequence[StepRun]) -> list[tuple[str, ...]]:
    """One run, the permit that it used, and its steps."""
    end = (plan.by or "-", _seconds(took(run.began, run.ended)), run.outcome or "unfinished", run.failed or run.stopped)
    lines = [(run.began[:19], plan.headline, *end)]
    if plan.permit:
        lines += [
            (run.began[:19], f"  by leave of {kept_permit(plan.permit.permit)}", _names(plan.permit), "-", "", "")
        ]
    return [*lines, *((one.began[:19], f"  {one.step}", "", _seconds(one.seconds), one.outcome, "") for one in steps)]


def _permit(use: UsePermit) -> dict[str, object]:
    said = use.permit.model_dump(mode="json", by_alias=True)
    return said | {"signed_by": list(use.signed_by), "kept": kept_permit(use.permit)}


def _names(use: UsePermit) -> str:
    return ", ".join(signer["name"] for signer in use.signed_by)


def _seconds(count: float | None) -> str:
    return "-" if count is None else span(count)


def _pending(pending: dict[str, object] | None) -> str:
    """What waits for somebody, as the end of a line."""
    match pending:
        case None:
            return ""
        case {"kind": "staged"}:
            return f"; {pending['version']} is staged: sealift switch, or sealift unstage"
        case {"kind": "unconfirmed", "seconds_left": float(left)}:
            return (
                f"; {pending['back_to']} comes back in {span(left)} by itself ({pending['watcher']}): sealift confirm"
            )
    return "; an unfinished run is pending"


def show_history(
    talk: Talk, runs: Sequence[Run], programs: Sequence[Entry], steps: Mapping[str, Sequence[StepRun]], *, long: bool
) -> None:
    """One line per run, newest last, and one for each newer sealift that took over; ``long``: and one for each step."""
    plans = [(run, Plan.model_validate_json(run.intent)) for run in runs]
    lines = [(run.number, _run_lines(run, plan, steps.get(run.id, ()) if long else ())) for run, plan in plans]
    lines += [
        (
            one.number,
            [(one.at[:19], f"sealift {one.detail['to']} instead of {one.detail['from']}", "-", "-", "done", "")],
        )
        for one in programs
    ]
    rows = tuple(row for _, some in sorted(lines, key=lambda line: line[0]) for row in some)  # whatever the clock said
    value: dict[str, object] = {
        "runs": [
            {
                "run": run.id,
                "began": run.began,
                "ended": run.ended or None,
                "kind": plan.kind,
                "product": plan.product,
                "version": plan.version,
                "outcome": run.outcome or None,
                "failed": run.failed or run.stopped or None,
                "steps": list(run.done),
                **({"permit": _permit(plan.permit)} if plan.permit else {}),
                "by": plan.by or None,
                "seconds": took(run.began, run.ended),
                "timeline": [one.as_json() for one in steps.get(run.id, ())],
            }
            for run, plan in plans
        ],
        "programs": [{"at": one.at, **one.detail} for one in programs],
    }
    headers = ("when", "what", "who", "took", "outcome", "failed at")
    talk.result(Table(headers, rows) if rows else "nothing was done here yet", value)
