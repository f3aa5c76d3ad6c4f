"""What an operator adds to the servers' configuration, place by place."""
