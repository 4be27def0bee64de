"""One request: judged, sent, answered. It is recorded once, whatever happens to it."""

import asyncio

from proxy.attach.bodies import BodyFault
from proxy.core.audit import Ending
from proxy.core.reasons import Reason
from proxy.lanes import faults
from proxy.lanes.exchange import Exchange
from proxy.lanes.familiar import remember
from proxy.lanes.fast.answer import Answer, final_head
from proxy.lanes.fast.asked import Asked
from proxy.lanes.fast.incoming import Incoming
from proxy.lanes.fast.messages import GO_ON, SWITCHED, own_answer, request_head
from proxy.lanes.fast.side import Side
from proxy.lanes.fast.tunnel import is_websocket, tunnel
from proxy.lanes.fast.upload import Upload, outlived, passed, write_whole
from proxy.lanes.fast.upstreams import Origin, Upstream, Upstreams
from proxy.lanes.fast.watched import Sent, Waiting, Watched
from proxy.lanes.held_body import IDEMPOTENT, HeldBody
from proxy.lanes.interface import LaneWorld
from proxy.transaction.opening import Answered, Forward, Refused
from proxy.wire.framing import CHUNKED, Length
from proxy.wire.outcomes import BadHead
from proxy.wire.response_head import ResponseHead


class OneRequest(Watched):
    # Of most requests these stay as they are, and are not written into each.
    _upload: Upload | None = None
    _sending: asyncio.Task[None] | None = None
    # What is sent in place of what comes: collected before it was judged, or kept for a second time.
    _whole: bytes | None = None
    # What is cut off of its answer would look whole.
    _resets = False
    # Something of it was sent to an upstream.
    _has_travelled = False
    _sent: Sent | None = None

    def __init__(  # noqa: PLR0917 - what one request needs
        self,
        world: LaneWorld,
        origin: Origin,
        client: Side,
        upstreams: Upstreams,
        asked: Asked,
        exchange: Exchange,
        raw_head: bytes,
    ) -> None:
        super().__init__(client, upstreams)
        self._world = world
        self._origin = origin
        self._asked = asked
        self._head = asked.head
        self._raw_head = raw_head
        self._exchange = exchange
        self._incoming = Incoming(client, asked.framing)
        self._held = HeldBody()
        # The client has neither been told to send its body nor begun.
        self._waits = asked.waits
        self._goes_on = asked.goes_on

    def resume(self, sent: Sent, waiting: Waiting) -> None:
        """To be served from where another left it: all of it is on its way."""
        self.take_over(waiting)
        self._sent, self._has_travelled = sent, True
        self._held.allow(self._exchange.opening, self._head.method, 0)

    async def serve(self) -> bool:
        """Whether the connection goes on."""
        exchange, client = self._exchange, self._client
        client.on_news = self._news
        client.watch()
        self._is_left = self._is_left or (client.is_over and not client.is_dropped)
        try:
            return await self._serve()
        except Exception as error:  # noqa: BLE001 - fail closed: what fails ends its connection
            self._world.recorder.crashed("fast lane", error)
            if not self._has_travelled:
                exchange.revoke()
            client.drop(reset=self._resets)
            return False
        finally:
            client.on_news = None
            if self._sending is not None:
                self._sending.cancel()
            self._let_go()
            if not exchange.finished:
                if self._resets:
                    client.drop(reset=True)
                switched = exchange.status == SWITCHED
                exchange.finish(Ending.COMPLETED if switched else self._how_it_broke)

    def _is_lost(self) -> bool:
        """Nobody waits for it any more, or nobody may."""
        return self._has_left or self._exchange.is_cut or self._client.is_broken

    @property
    def _has_left(self) -> bool:
        return self._is_left or (self._upload is not None and self._upload.is_left)

    def cut(self) -> None:
        """Without a word: a farewell would make a body that ends with its connection look whole."""
        self._let_go()
        self._client.drop(reset=self._resets)

    # --- the verdict ---

    async def _serve(self) -> bool:
        exchange = self._exchange
        if self._sent is not None:
            goes_on = await self._answered(self._sent)
            if goes_on is not None:
                return goes_on
        elif exchange.familiar is None:
            if not exchange.open_now():
                await exchange.open()
            remember(self._world, self._raw_head, exchange, self._asked)
        while not self._is_lost():
            if exchange.wants_body:
                self._go_on()  # nobody else could ask for it
                await self._collect()
                await exchange.open()
                continue
            opening = exchange.opening
            if isinstance(opening, Refused | Answered):
                return await self._answer(opening)
            goes_on = await self._travel(opening)
            if goes_on is not None:
                return goes_on
        return False

    def _go_on(self) -> None:
        """Once, and not to who has begun."""
        if self._is_waiting:
            self._waits = False
            self._client.write(GO_ON)

    async def _collect(self) -> None:
        """Read whole before anything is sent; then the request is judged from the start, with it at hand."""
        body = self._exchange.body
        while data := await self._incoming.read():
            if not body.collect(data):
                return
        if self._incoming.is_whole:
            body.collected()
        else:
            self._is_left = True

    async def _answer(self, opening: Refused | Answered) -> bool:
        """Our own answer, whole and at once. What remains of the request's body is read and dropped."""
        exchange = self._exchange
        closes = self._is_waiting or not self._goes_on or (isinstance(opening, Refused) and opening.closes)
        await self._stop_sending()
        self._client.write(own_answer(exchange.answer(opening), closes=closes))
        exchange.finish(Ending.REFUSED if isinstance(opening, Refused) else Ending.COMPLETED)
        if closes:
            return False
        while await self._incoming.read():
            pass
        return self._incoming.is_whole

    async def _stop_sending(self) -> None:
        """Only one reads the client."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
            await asyncio.wait({sending})

    async def _fail(self, fault: faults.Fault) -> bool:
        return await self._answer(self._exchange.fail(*fault))

    # --- on its way ---

    async def _travel(self, opening: Forward, *, fresh: bool = False) -> bool | None:
        """Send it, and pass its answer on. None: it was judged again, for a second time."""
        exchange, (name, _) = self._exchange, self._origin
        upstream = None if fresh else self._upstreams.take(self._origin)
        found = upstream or await self._upstreams.connect(self._origin)
        if not isinstance(found, Upstream):
            return await self._fail(found)
        self._upstream = found
        if self._is_lost():
            return False
        if upstream is None and exchange.is_outdated and not exchange.retried:
            # While it was connected a policy was replaced, or the lease ended. Nothing has been sent.
            self._let_go(park=True)
            await exchange.open()
            return None
        exchange.upstream(found.peer)
        if found.name != name or not isinstance(exchange.opening, Forward):
            self._world.recorder.failed_open("fast")
            return await self._fail((Reason.INTERNAL_ERROR, "a self-check failed"))
        sent = Sent(found, opening, found.side.came, was_idle=upstream is not None)
        fault = await self._send(opening, found.side)
        if fault is not None:
            return await self._spoil(fault)
        return await self._answered(sent)

    async def _answered(self, sent: Sent) -> bool | None:
        """Its answer, whichever comes. None as in `_travel`."""
        side, (name, _) = sent.upstream.side, self._origin
        response = await final_head(side, self._head.method, self._go_on)
        if isinstance(response, ResponseHead):
            return await self._pass_on(response, sent.upstream)
        if self._upload is not None and self._upload.fault is not None:
            return await self._spoil(self._upload.fault)
        if self._is_lost():
            return False
        if isinstance(response, BadHead):
            return await self._fail((Reason.UPSTREAM_FAILED, faults.TWO_READINGS))
        if self._is_stalled:
            return await self._fail(faults.stalled(name, self._world.timeouts.idle))
        if sent.was_idle and side.came == sent.heard and self._may_go_again(sent.opening):
            # It had died while it was idle, and nobody had told us.
            await self._stop_sending()
            self._let_go()
            return await self._travel(sent.opening, fresh=True)
        return await self._fail(faults.silent(name))

    def _may_go_again(self, opening: Forward) -> bool:
        """On a connection that is new: nothing came of the first one, and twice is as good as once."""
        if self._head.method not in IDEMPOTENT:
            return False
        if self._is_waiting:
            return True
        if opening.rewrite is not None:
            return False
        if not self._head.has_body or self._whole is not None:
            return True
        if self._upload is None or not self._upload.is_done or not self._held.is_whole:
            return False
        self._whole = self._held.take()
        return True

    async def _send(self, opening: Forward, side: Side) -> BodyFault | None:
        """Its edits, before any byte of the body; then the body: as it comes, or as it was read."""
        exchange = self._exchange
        self._upload = self._sending = None
        head = request_head(opening, self._head.method, waits=self._is_waiting)
        if exchange.has_no_body:
            self._held.allow(opening, self._head.method, 0)
            self._has_travelled = True
            side.write(head)
            return None
        body, chunked = exchange.body, self._asked.is_chunked
        whole = self._whole if self._whole is not None else body.whole
        elsewhere = whole is not None
        self._held.allow(opening, self._head.method, self._head.declared_length, elsewhere=elsewhere)
        if whole is not None:
            exchange.sent = len(whole)
            out = body.feed_whole(whole)
            if not isinstance(out, BodyFault):
                if self._asked.framing not in {CHUNKED, Length(len(out))}:
                    # What is missing would be the beginning of another request.
                    self._world.recorder.failed_open("fast")
                    return BodyFault(Reason.INTERNAL_ERROR, "a self-check failed")
                self._has_travelled = True
                write_whole(side, head, out, chunked=chunked)
                self._sending = asyncio.get_running_loop().create_task(passed(exchange, side))
        elif not self._head.has_body:
            out = body.finish()
            if not isinstance(out, BodyFault):
                self._has_travelled = True
                side.write(head)
        else:
            self._has_travelled = True
            upload = self._upload = Upload(exchange, self._incoming, self._held, chunked=chunked)
            if self._incoming.is_short and not self._is_waiting:
                await upload.run(side, head)
                return upload.fault
            side.write(head)
            self._sending = asyncio.get_running_loop().create_task(upload.beside(side, self._world.recorder))
            return None
        return out if isinstance(out, BodyFault) else None

    async def _spoil(self, fault: BodyFault) -> bool:
        """The upstream has a part of the body, and never gets its end: it commits nothing."""
        await self._stop_sending()
        self._let_go()
        refused = self._exchange.spoil(fault, was_sent=self._has_travelled)
        if self._exchange.status is None:
            self._goes_on = self._goes_on and self._incoming.fault is None
            return await self._answer(refused)
        self._client.drop(reset=self._resets)
        return False

    # --- the answer ---

    async def _pass_on(self, response: ResponseHead, upstream: Upstream) -> bool | None:
        exchange, opening = self._exchange, self._exchange.opening
        if response.status == SWITCHED:
            if not (isinstance(opening, Forward) and opening.is_websocket and is_websocket(response)):
                self._let_go()
                return await self._fail((Reason.UPSTREAM_FAILED, faults.UNASKED_SWITCH))
            await tunnel(exchange, response, self._client, upstream.side)
            return False
        answer = Answer(exchange, self._client, upstream.side, response)
        complains = answer.may_complain and self._may_repeat and await answer.hold()
        if complains:
            # Until it is sent again, if it is, what comes of its body waits.
            await self._stop_sending()
        # Who waited may have begun since.
        if complains and self._may_repeat and exchange.judge_again():
            self._let_go(park=answer.frees_upstream and self._is_sent)
            await exchange.open()
            if isinstance(exchange.opening, Refused | Answered):
                return None
            if exchange.retried:
                self._keep_body()
                return None
        return await self._deliver(answer)

    @property
    def _may_repeat(self) -> bool:
        """Whether the request could be sent once more: all of it was sent, and is here, or nothing of its
        body was; and it never was."""
        if self._exchange.retried:
            return False
        if self._is_waiting:
            return self._held.may_go_twice
        return self._held.is_whole and self._is_sent

    @property
    def _is_waiting(self) -> bool:
        """The client waits to be told that its body is welcome."""
        return self._waits and not (self._upload is not None and self._upload.has_begun)

    @property
    def _is_sent(self) -> bool:
        return self._upload is None or self._upload.is_done

    def _keep_body(self) -> None:
        """For the second time, unless it is kept already."""
        is_kept = self._whole is not None or self._exchange.body.whole is not None
        if self._upload is not None and self._upload.is_done and not is_kept:
            self._whole = self._held.take()

    async def _deliver(self, answer: Answer) -> bool:
        exchange, client = self._exchange, self._client
        minor_version = self._asked.minor_version
        self._held.drop()
        # Whoever was not told to go on may send the body all the same, or the next request.
        self._resets = answer.closes(minor_version)
        closes = self._resets or self._is_waiting or not self._goes_on
        if answer.is_here:
            answer.pass_now(closes=closes)
        else:
            await answer.pass_on(minor_version=minor_version, closes=closes)
        if answer.is_whole and not client.is_broken:
            is_sent = self._is_sent if self._sending is None else await self._finish_upload(answer)
            if self._upload is None or self._upload.fault is None:
                was_cut_off = answer.was_cut_off
                exchange.finish(Ending.UPSTREAM_FAILED if was_cut_off else Ending.COMPLETED)
                self._let_go(park=answer.frees_upstream and is_sent)
                if was_cut_off:
                    await client.drained(0)
                    client.drop(reset=True)
                return is_sent and not closes
        if self._upload is not None and self._upload.fault is not None:
            return await self._spoil(self._upload.fault)
        if exchange.is_cut or client.is_dropped:
            exchange.finish(Ending.CUT)
        else:
            exchange.finish(Ending.CLIENT_GONE if client.is_over else Ending.UPSTREAM_FAILED)
        client.drop(reset=self._resets)
        return False

    async def _finish_upload(self, answer: Answer) -> bool:
        """Whether all of the request was sent: its answer may have come before that."""
        sending, upstream = self._sending, self._upstream
        if sending is None or self._upload is None or upstream is None:
            await self._stop_sending()
            return self._is_sent
        goes_on = answer.frees_upstream and not self._is_waiting
        await outlived(sending, upstream.side, goes_on=goes_on)
        return self._upload.is_done
