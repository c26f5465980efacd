"""Carries the outbox to the platform: chooses what to send next, hears cursors, says that it is there.

One `Sender` an epoch decides; this module shares the window among them: the live epoch first, a backlog with what it
leaves, neither with less than a quarter. It knows no socket: `Link` is the broker's connection, or a test's network.
"""

from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Protocol

import msgspec

from contracts import wire
from contracts.cursor import Sender
from contracts.log import log
from contracts.wire import CursorMessage, Header
from edge.condition import Condition
from edge.outbox import Epoch, Outbox


class Link(Protocol):
    """A connection to the platform that may lose, double, delay and break."""

    @property
    def nonce(self) -> int | None:
        """Number of the connection; None while there is none."""

    def cursors(self) -> list[CursorMessage]:
        """Cursors that came in since the last call."""

    def has_room(self, size: int) -> bool:
        """Whether it takes `size` more bytes without piling them up."""

    def publish(self, payload: bytes, nonce: int) -> None:
        """Send, if the connection is still the one of `nonce`."""


class Window(msgspec.Struct, frozen=True):
    batches: int = 32
    bytes: int = 1024 * 1024


class Uplink:
    """Call `pump` whenever something may have changed, and again at the time it returns."""

    def __init__(
        self,
        outbox: Outbox,
        link: Link,
        *,
        random: Callable[[], float],
        window: Window | None = None,
        heartbeat_ms: int = 30_000,
        backlog_epoch_batches: int = 200,
        backlog_epoch_ms: int = 60_000,
    ) -> None:
        self._outbox = outbox
        self._link = link
        self._random = random
        self._window = window or Window()
        self._heartbeat_ms = heartbeat_ms
        self._backlog_epoch_batches = backlog_epoch_batches
        self._backlog_epoch_ms = backlog_epoch_ms
        self._nonce: int | None = None
        self._senders: dict[int, Sender] = {}
        self._sizes: dict[int, dict[int, int]] = {}  # bytes of what is under way, by epoch and seq
        self._heartbeat_at_ms = 0
        self._probe_at_ms = 0
        self._to_probe: list[int] = []
        self._turn = 0
        self._behind = Condition("uplink_behind")

    @property
    def connected(self) -> bool:
        return self._link.nonce is not None

    @property
    def finished(self) -> bool:
        """The platform has everything that was sealed."""
        self._follow_outbox()
        return all(sender.finished for sender in self._senders.values())

    def pump(self, now_ms: int, *, wall_ms: int, clock_ms: int) -> int:
        """Hear, send, and say when to be called again at the latest; all times but the stamps are monotonic."""
        self._follow_link(now_ms, wall_ms=wall_ms, clock_ms=clock_ms)
        self._follow_outbox()
        for cursor in self._link.cursors():
            self._hear(cursor, now_ms)
        if self._nonce is None:
            return now_ms + 1000
        self._send(now_ms, self._nonce)
        self._say_hello(now_ms, self._nonce, wall_ms=wall_ms, clock_ms=clock_ms)
        self._tell_backlog()
        under_way = any(sender.in_flight for sender in self._senders.values())
        return min(self._heartbeat_at_ms, self._probe_at_ms, now_ms + (250 if under_way else 60_000))

    # -- hearing

    def _follow_link(self, now_ms: int, *, wall_ms: int, clock_ms: int) -> None:
        nonce = self._link.nonce
        if nonce == self._nonce:
            return
        self._nonce = nonce
        for sender in self._senders.values():
            sender.disconnect()
        if nonce is None:
            return
        self._open_epoch_over_backlog(wall_ms=wall_ms, clock_ms=clock_ms)
        self._follow_outbox()
        for sender in self._senders.values():
            sender.connect(nonce, now_ms)
        self._heartbeat_at_ms = self._probe_at_ms = now_ms + self._heartbeat_ms
        self._to_probe = list(self._senders)  # all of them now, then one by one

    def _open_epoch_over_backlog(self, *, wall_ms: int, clock_ms: int) -> None:
        """New observations overtake what piled up while there was no connection."""
        live = self._outbox.live
        batches = live.next_seq - max(live.committed + 1, live.floor)
        oldest_ms = self._outbox.oldest_waiting_ms(live)
        old = oldest_ms is not None and wall_ms - oldest_ms > self._backlog_epoch_ms
        if batches > self._backlog_epoch_batches or old:
            self._outbox.open_epoch(clock_ms=clock_ms)
            log("epoch_opened", reason="backlog", batches=batches)

    def _follow_outbox(self) -> None:
        for epoch in self._outbox.epochs.values():
            sender = self._senders.get(epoch.epoch)
            if sender is None:
                sender = Sender(epoch.epoch, floor=epoch.floor, top=epoch.next_seq - 1, acked=epoch.committed)
                if self._nonce is not None:
                    sender.connect(self._nonce, 0)
                self._senders[epoch.epoch] = sender
            sender.seal(epoch.next_seq - 1)
            sender.drop_below(epoch.floor)
        for gone in self._senders.keys() - self._outbox.epochs.keys():
            del self._senders[gone]
            self._sizes.pop(gone, None)

    def _hear(self, cursor: CursorMessage, now_ms: int) -> None:
        sender = self._senders.get(cursor.epoch)
        if sender is None:
            return
        before = sender.acked
        if sender.on_cursor(cursor.seq, cursor.nonce, now_ms, gap=cursor.gap):
            if sender.acked < before:
                log("cursor_went_back", level="warning", epoch=cursor.epoch, was=before, now=sender.acked)
            self._outbox.commit(cursor.epoch, sender.acked)

    # -- sending

    def _send(self, now_ms: int, nonce: int) -> None:
        *old, live = self._outbox.epochs.values()
        backlog = [epoch for epoch in old if not self._senders[epoch.epoch].finished]
        share = 4 if backlog else 0  # one part in `share` of the window is kept from either side
        for epochs in ([live], backlog):
            for epoch in epochs:
                sender = self._senders[epoch.epoch]
                while (seq := sender.next_to_send(now_ms, self._random)) is not None:
                    has_room = seq <= sender.sent or self._has_room(epochs, share)  # what is under way is counted
                    if not has_room or not self._send_batch(epoch, sender, seq, now_ms, nonce):
                        break

    def _has_room(self, epochs: list[Epoch], share: int) -> bool:
        batches, size = self._under_way(self._outbox.epochs.values())
        mine, my_size = self._under_way(epochs) if share else (batches, size)
        kept, kept_bytes = (self._window.batches // share, self._window.bytes // share) if share else (0, 0)
        return (
            batches < self._window.batches
            and size < self._window.bytes
            and mine < self._window.batches - kept
            and my_size < self._window.bytes - kept_bytes
        )

    def _under_way(self, epochs: Iterable[Epoch]) -> tuple[int, int]:
        """Batches and bytes that are sent and not known to be committed."""
        batches = size = 0
        for epoch in epochs:
            sender = self._senders[epoch.epoch]
            sizes = self._sizes.get(epoch.epoch)
            if sizes:
                base = max(sender.acked, sender.floor - 1)
                for seq in [seq for seq in sizes if not base < seq <= sender.sent]:
                    del sizes[seq]
                size += sum(sizes.values())
                batches += sender.in_flight
        return batches, size

    def _send_batch(self, epoch: Epoch, sender: Sender, seq: int, now_ms: int, nonce: int) -> bool:
        batch = self._outbox.read(epoch.epoch, seq)
        if batch is None:
            raise RuntimeError(
                f"cannot send batch {seq} of epoch {epoch.epoch}: not in the outbox, floor {epoch.floor}"
            )
        if not self._link.has_room(len(batch.body)):
            return False
        older = takewhile(lambda key: key != epoch.epoch, self._outbox.epochs)
        overtakes = any(not self._senders[key].finished for key in older)
        header = Header(
            epoch=epoch.epoch,
            seq=seq,
            floor=epoch.floor,
            nonce=nonce,
            first=batch.first,
            count=batch.count,
            clock_ms=0 if overtakes else batch.clock_ms,  # the platform judges silence by it, and has not heard all
            taken_ms=batch.taken_ms,
            backlog=self._outbox.backlog,
        )
        self._link.publish(wire.pack(header, batch.body), nonce)
        sender.mark_sent(seq, now_ms)
        self._sizes.setdefault(epoch.epoch, {})[seq] = len(batch.body)
        self._heartbeat_at_ms = now_ms + self._heartbeat_ms
        return True

    def _say_hello(self, now_ms: int, nonce: int, *, wall_ms: int, clock_ms: int) -> None:
        """Heartbeats: of the live epoch in silence, of the others in turn; the answer tells of a restored database."""
        *old, live = self._outbox.epochs.values()
        if now_ms >= self._heartbeat_at_ms:
            self._heartbeat_at_ms = now_ms + self._heartbeat_ms
            self._to_probe.append(live.epoch)
        if now_ms >= self._probe_at_ms:
            self._probe_at_ms = now_ms + self._heartbeat_ms
            if old:
                self._turn = (self._turn + 1) % len(old)
                self._to_probe.append(old[self._turn].epoch)
        if not self._link.has_room(wire.HEADER_BYTES):
            return
        probes, self._to_probe = self._to_probe, []
        for key in dict.fromkeys(probes):
            epoch = self._outbox.epochs.get(key)
            if epoch is None or self._senders[key].in_flight:
                continue  # what is under way will be answered
            header = Header(
                epoch=key,
                seq=0,
                floor=epoch.floor,
                nonce=nonce,
                first=epoch.next_number,
                count=0,
                # of an older epoch it would say nothing: a restored database may lack what the live one has sent
                clock_ms=clock_ms if key == live.epoch and not self._outbox.backlog else 0,
                taken_ms=wall_ms,
                backlog=self._outbox.backlog,
            )
            self._link.publish(wire.pack(header, b""), nonce)

    def _tell_backlog(self) -> None:
        *old, live = self._outbox.epochs.values()
        batches = live.next_seq - 1 - live.committed
        behind = batches > self._backlog_epoch_batches or any(not self._senders[epoch.epoch].finished for epoch in old)
        self._behind.update(behind, backlog=self._outbox.backlog, epochs=len(old) + 1)
