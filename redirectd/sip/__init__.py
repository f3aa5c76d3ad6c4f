"""SIP as it is written on the wire: text, URIs, headers, messages. Pure, and below every other room."""
