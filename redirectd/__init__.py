"""redirectd keeps SIP routing true to what the network says has moved for good."""

__version__ = "0.1.0"
