"""Control channels: asking a running Kamailio or Asterisk, one transport a file, every wait bounded."""

from redirectd.apply.control.channel import AnswerError, Channel, RetryLater, UnknownMethodError, prove
from redirectd.apply.control.reload_forms import open_channel

__all__ = ["AnswerError", "Channel", "RetryLater", "UnknownMethodError", "open_channel", "prove"]
