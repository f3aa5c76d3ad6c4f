"""`pcap`: capture files, classic and pcapng, of SIP over UDP and TCP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from redirectd.dialects.extent import find_message
from redirectd.dialects.frame import Dialect, Frame, Peer, Unsearched
from redirectd.dialects.hep import HepFile
from redirectd.dialects.packets import UDP, PacketReader, TransportSegment, ip_packet
from redirectd.dialects.pcapfile import Packet, is_capture, packets
from redirectd.dialects.tcp import Streams


class CapturedPcap(HepFile):
    """The messages of a capture, once they are written as HEP datagrams."""

    name: ClassVar[str] = "pcap"


class Pcap(Unsearched):
    """Read from its beginning only. Who captured it is not known: direction unknown, peer the sender."""

    name: ClassVar[str] = "pcap"
    captured: ClassVar[Dialect] = CapturedPcap()

    def recognises(self, head: bytes) -> bool:
        """See `StreamDialect.recognises`."""
        return is_capture(head)

    def messages(self, chunks: Iterable[bytes]) -> Iterator[Frame]:
        """See `StreamDialect.messages`. A message of several packets has the bounds of the one that completed it."""
        reader, streams = PacketReader(), Streams()
        for packet in packets(chunks):
            segment = reader.segment(ip_packet(packet.link, packet.data))
            if segment is None:
                continue
            for payload in _payloads(segment, streams):
                yield self._frame(packet, segment, payload)

    def _frame(self, packet: Packet, segment: TransportSegment, payload: bytes) -> Frame:
        transport = "udp" if segment.protocol == UDP else "tcp"
        return Frame(
            start=packet.start,
            end=packet.end,
            payload=payload,
            dialect=self.name,
            peer=Peer(transport, *segment.source),
            local=Peer(transport, *segment.target),
            stamp=packet.stamp,
            cut=packet.cut,
        )


def _payloads(segment: TransportSegment, streams: Streams) -> list[bytes]:
    if segment.protocol != UDP:
        return streams.add(segment)
    first_line = segment.payload.find(b"\n") + 1
    return [segment.payload] if find_message(segment.payload, 0, first_line) == 0 else []
