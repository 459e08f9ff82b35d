"""What a task is told of the turns before it: chosen once, by references, and looked up again.

The newest turns are shown as far as they fit. What no longer fits is in a summary that the model
writes in the background, before it is needed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.chassis.errors import Aborted, ServiceError
from services.orchestrator.domain import history as hs
from services.orchestrator.domain import session as ss
from services.orchestrator.domain.events import Message, Sampling, Spec
from services.orchestrator.domain.place import Window
from services.orchestrator.domain.prompt import conversation, most_bytes
from services.orchestrator.equipment import Equipment
from services.orchestrator.ports import Generation, Model, Models, SessionStore

log = logging.getLogger(__name__)

LEAST_OUTPUT_TOKENS: Final = 16
MAX_TURNS: Final = 200  # That are shown; each is two messages.
BYTES_A_TOKEN: Final = 6  # More than any text has on average: what is beyond is not looked at.
MAX_BYTES: Final = 256 * 1024  # Half of what inference takes, whatever the window is.
USUAL_BYTES: Final = 3  # Of a token, or more.
COUNT_SECONDS: Final = 2.0
SUMMARY_TOKENS: Final = 192
SUMMARY_SECONDS: Final = 45.0
_PAGE: Final = 16


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a task is shown, by reference and as text."""

    window: Window
    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class _Fit:
    """How much can be shown."""

    turns: int
    """-1: not even the summary."""
    is_full: bool = False


class Memory:
    """Reads sessions for the tasks in them, and writes their summaries."""

    def __init__(
        self,
        sessions: SessionStore,
        models: Models,
        now: Callable[[], datetime],
        *,
        share: float = 0.5,
    ) -> None:
        """`share` of what a request leaves of its model's window is for the turns before."""
        self._sessions = sessions
        self._models = models
        self._now = now
        self._share = share
        self._summarizing: set[tuple[str, str]] = set()

    async def choose(self, spec: Spec, equipment: Equipment) -> Chosen | None:
        """What a task that begins to run is shown; None where nothing was said before."""
        if spec.place.turn == 1:
            return None
        session = await self._sessions.find(spec.tenant, spec.session_id)
        if session is None:
            return None
        past = await self._past(session, spec.place.sequence, equipment.model)
        if not past.turns and past.summary is None:
            return None
        fit = await self._fit(spec, equipment, past)
        characters = hs.most_characters(equipment.model.context_tokens)
        window = _window(past, fit, spec.place.sequence, characters)
        return Chosen(window, past.messages(max(0, fit.turns), has_summary=window.summary > 0))

    async def recall(self, spec: Spec, window: Window) -> Sequence[Message]:
        """The same messages as when the window was chosen."""
        session = await self._sessions.find(spec.tenant, spec.session_id)
        if session is None:
            return ()
        summary = None
        if window.summary:
            found = await self._sessions.events(session, after=window.summary - 1, limit=1)
            kept = (each.summary for _, each in found if isinstance(each, ss.Summarized))
            summary = next(kept, None)
        until = spec.place.sequence - 1
        exchanges = await self._between(session, window.after, until)
        turns = [hs.shown(each, window.characters) for each in exchanges]
        return hs.Past(turns, summary).messages(len(turns))

    async def summarize(self, spec: Spec, model: Model, through: int) -> None:
        """Have the model write down what the turns up to this one were about.

        One at a time for each session. What goes wrong is logged, and tried after a later task.
        """
        session = (spec.tenant, spec.session_id)
        if session in self._summarizing:
            return
        self._summarizing.add(session)
        try:
            goes_on = True
            while goes_on:
                async with asyncio.timeout(SUMMARY_SECONDS):
                    goes_on = await self._fold(spec, model, through)
        except (ServiceError, TimeoutError) as error:
            reason = error.reason if isinstance(error, ServiceError) else "TIMEOUT"
            named = {"session_id": spec.session_id, "error_code": reason}
            log.warning("session not summarized", extra=named)
        except Exception:
            log.exception("session not summarized", extra={"session_id": spec.session_id})
        finally:
            self._summarizing.discard(session)

    async def exchanges(
        self, session: ss.Session, events: Sequence[tuple[int, ss.Event]]
    ) -> list[ss.Exchange]:
        """The turns among a session's events, and what was said in them.

        One whose task never came is passed over: whoever added it was lost before it began.
        """
        turns = [(at, each) for at, each in events if isinstance(each, ss.TurnAdded)]
        said = await asyncio.gather(
            *(self._sessions.said(session.tenant, each.task_id) for _, each in turns)
        )
        return [
            ss.Exchange(at, each.turn, found, each.has_answer)
            for (at, each), found in zip(turns, said, strict=True)
            if found is not None
        ]

    async def _past(self, session: ss.Session, before: int, model: Model) -> hs.Past:
        """What can be shown: as much as might fit, the newest first."""
        summary = session.summary
        if summary is not None and summary.through >= before:
            summary = None
        above = summary.through if summary else 0
        characters = hs.most_characters(model.context_tokens)
        until, found = before - 1, hs.Past((), summary)
        most = min(model.context_tokens * BYTES_A_TOKEN, MAX_BYTES)
        while until > above:
            start = max(above, until - _PAGE)
            older = await self._between(session, start, until)
            turns = [hs.shown(each, characters) for each in older]
            found = replace(found, turns=(*turns, *found.turns))
            until = start
            if len(found.turns) >= MAX_TURNS or found.newest(most) is not found:
                break
        return replace(found, is_whole=until <= above).newest(most)

    async def _between(self, session: ss.Session, after: int, until: int) -> list[ss.Exchange]:
        if until <= after:
            return []
        events = await self._sessions.events(session, after=after, limit=until - after)
        return await self.exchanges(session, events)

    async def _fit(self, spec: Spec, equipment: Equipment, past: hs.Past) -> _Fit:
        """How many turns fit. They are counted only where their bytes do not say so already."""
        window = equipment.model.context_tokens - LEAST_OUTPUT_TOKENS
        own = most_bytes(spec, equipment.briefing)
        proven = past.within(hs.room(self._share, window, own))
        if proven == len(past.turns):
            return _Fit(proven, is_full=not past.is_whole)
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                return await self._counted(spec, equipment, past, proven)
        except (ServiceError, TimeoutError):
            return _Fit(proven, is_full=True)

    async def _counted(self, spec: Spec, equipment: Equipment, past: hs.Past, least: int) -> _Fit:
        """The largest number of turns that fits, of which `least` is known to."""
        window = equipment.model.context_tokens - LEAST_OUTPUT_TOKENS
        own = await self._tokens(spec, equipment, ())
        room = hs.room(self._share, window, own)

        async def used(turns: int) -> int:
            return await self._tokens(spec, equipment, past.messages(turns)) - own

        most = len(past.turns)
        if (all_of_it := await used(most)) <= room:
            return _Fit(most, is_full=all_of_it > hs.FULL * room)
        low, high = least, most - 1
        while low < high:
            middle = (low + high + 1) // 2
            if await used(middle) <= room:
                low = middle
            else:
                high = middle - 1
        return _Fit(low, is_full=True)

    async def _tokens(self, spec: Spec, equipment: Equipment, history: Sequence[Message]) -> int:
        briefing = replace(equipment, history=history).briefing
        return await self._models.count_tokens(spec.model, conversation(spec, briefing, ()))

    async def _fold(self, spec: Spec, model: Model, through: int) -> bool:
        """Take some more turns into the summary; whether there are still more."""
        session = ss.existing(
            await self._sessions.find(spec.tenant, spec.session_id), spec.session_id
        )
        before = session.summary
        after = before.through if before else 0
        if not (exchanges := await self._next(session, after, through)):
            return False
        taken, asked = await self._clerks_prompt(model, before, exchanges)
        text = await self._written(model, asked)
        summary = ss.Summary(text, taken[-1].turn, taken[-1].sequence)
        return bool(text) and await self._keep(session, summary) and summary.through < through

    async def _next(self, session: ss.Session, after: int, through: int) -> list[ss.Exchange]:
        """Some turns that came to something, however many came to nothing before them."""
        while after < through:
            until = min(through, after + _PAGE)
            if found := await self._between(session, after, until):
                return found
            after = until
        return []

    async def _clerks_prompt(
        self, model: Model, before: ss.Summary | None, exchanges: Sequence[ss.Exchange]
    ) -> tuple[Sequence[ss.Exchange], Sequence[Message]]:
        """As many turns as fit, by count; or as many as surely do."""
        most = model.context_tokens - SUMMARY_TOKENS - LEAST_OUTPUT_TOKENS
        taken, asked = hs.clerks_prompt(before, exchanges, most * USUAL_BYTES)
        if hs.size(asked) <= most or await self._models.count_tokens(model.name, asked) <= most:
            return taken, asked
        return hs.clerks_prompt(before, exchanges, most)

    async def _written(self, model: Model, asked: Sequence[Message]) -> str:
        sampling = Sampling(temperature=0.0)
        generation = Generation(model.name, asked, sampling, SUMMARY_TOKENS, None)
        writing = self._models.generate(generation, timeout=SUMMARY_SECONDS)
        async with aclosing(writing) as pieces:
            said = [piece.text async for piece in pieces]
        return hs.tidied("".join(said))

    async def _keep(self, session: ss.Session, summary: ss.Summary) -> bool:
        """Store a summary, unless another one came first."""
        while True:
            try:
                await self._sessions.append(session, [ss.Summarized(self._now(), summary)])
            except Aborted:
                found = await self._sessions.find(session.tenant, session.session_id)
                if found is None or found.is_deleted or found.summary != session.summary:
                    return False
                if found.sequence == session.sequence:
                    return False  # It is not somebody else's turn that is in the way.
                session = found
            else:
                return True


def _window(past: hs.Past, fit: _Fit, before: int, characters: int) -> Window:
    shown, whole = max(0, fit.turns), len(past.turns)
    is_cut = not past.is_whole or shown < whole or (past.summary is not None and fit.turns < 0)
    after = before - 1
    if shown:
        after = past.turns[whole - shown].sequence - 1
    return Window(
        after,
        past.summary.sequence if past.summary is not None and fit.turns >= 0 else 0,
        characters,
        is_cut,
        past.due(shown) if fit.is_full and whole else 0,
    )
